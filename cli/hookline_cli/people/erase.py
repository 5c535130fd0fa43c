"""`hookline erase`: a tenant's or a user's events are removed for good."""

from dataclasses import dataclass
from pathlib import Path

import click

from hookline.admin.v1 import admin_pb2, admin_pb2_grpc
from hookline_cli.output import print_json, print_table
from hookline_cli.people.connection import admin_of, data_option
from hookline_cli.people.moments import now
from hookline_cli.people.pace import progress
from hookline_cli.people.selection import SubscriptionName


@dataclass(slots=True)
class Count:
    """What was erased."""

    events: int = 0
    unended: int = 0
    """Deliveries among them that had not ended."""

    def __str__(self) -> str:
        waiting = f" ({self.unended:,} deliveries of them had not ended)" if self.unended else ""
        return f"{self.events:,} events{waiting}"


@click.command()
@data_option
@click.option("--subscription", type=SubscriptionName(), help="Events of NAMESPACE/NAME, or of all in NAMESPACE.")
@click.option("--user", default="", metavar="UID", help="Events whose body names this CometChat user.")
@click.option("--dry-run", is_flag=True, help="Say how many it would be, erase nothing.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--history", is_flag=True, help="Show how many were erased, by day and subscription.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
def command(
    data: Path,
    subscription: tuple[str, str] | None,
    user: str,
    dry_run: bool,
    yes: bool,
    history: bool,
    as_json: bool,
) -> None:
    """
    Remove events for good: of a subscription, or those that name a user, delivered or not.

    A user is named where the uid stands alone: as a value or key in the body's JSON, in a conversation's id, in a
    mention. Gone are bodies, identities, deliveries and attempts; counts by day and subscription stay (--history).
    """
    with admin_of(data) as admin:
        if history:
            show_history(admin, as_json=as_json)
            return
        if subscription is None and not user:
            raise click.UsageError("whose events: --subscription or --user")
        namespace, name = subscription or ("", "")
        selection = admin_pb2.EventSelection(namespace=namespace, subscription=name, until=now())
        request = admin_pb2.EraseRequest(selection=selection, user=user, dry_run=True)
        if not dry_run and not yes:
            click.confirm(f"Erase {erase(admin, request)} for good?", abort=True, err=True)
        request.dry_run = dry_run
        count = erase(admin, request)
    if as_json:
        print_json({"events": count.events, "unended": count.unended, "dry_run": dry_run})
    else:
        click.echo(f"{count} {'would be erased' if dry_run else 'erased'}")


def erase(admin: admin_pb2_grpc.EventAdminServiceStub, request: admin_pb2.EraseRequest) -> Count:
    """Step by step to the end."""
    count = Count()
    request.after = 0
    with progress(lambda: f"{count} {'found' if request.dry_run else 'erased'}") as show:
        while True:
            answer = admin.Erase(request, timeout=600)
            count.events += answer.events
            count.unended += answer.unended
            show()
            request.after = answer.next
            if not answer.next:
                return count


def show_history(admin: admin_pb2_grpc.EventAdminServiceStub, *, as_json: bool) -> None:
    """What is left of erased events."""
    rows = [
        {
            "day": one.day,
            "subscription": f"{one.namespace}/{one.subscription}",
            "events": one.events,
            "unended": one.unended,
        }
        for one in admin.ListErasures(admin_pb2.ListErasuresRequest(), timeout=60).erasures
    ]
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        print_table(("DAY", "SUBSCRIPTION", "EVENTS", "NOT DELIVERED"), [list(row.values()) for row in rows])
    else:
        click.echo("nothing was erased", err=True)
