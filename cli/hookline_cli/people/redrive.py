"""`hookline redrive`: dead letters are sent again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from hookline.admin.v1 import admin_pb2, admin_pb2_grpc
from hookline_cli.failure import FAILED, Failure
from hookline_cli.output import print_json
from hookline_cli.people.connection import admin_of, data_option
from hookline_cli.people.pace import Pace, progress, rate_option
from hookline_cli.people.selection import Criteria, by_route, criteria_options, ingest_ids_of, selection_of


@dataclass(slots=True)
class Count:
    """What was sent again."""

    redriven: int = 0
    without_route: int = 0
    """Left dead since their route is gone."""


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@data_option
@criteria_options
@click.option("--all", "everything", is_flag=True, help="Whatever is dead.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="At most so many; 0: no limit.")
@rate_option
@click.option("--dry-run", is_flag=True, help="Say how many it would be, send nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    ids: tuple[str, ...],
    data: Path,
    subscription: tuple[str, str],
    route: str,
    trigger: str,
    reason: str | None,
    everything: bool,
    limit: int,
    rate: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Send dead letters again: those with these IDs, or all that the options select.

    An ID is a delivery's (as `hookline dead` prints it), an event's ingest id or its CloudEvent id. Attempts start
    anew; the story is kept.
    """
    criteria = Criteria(subscription, route, trigger, reason or "")
    if not ids and criteria.empty and not everything:
        raise click.UsageError("name IDs, say which (--subscription, --route, --trigger, --reason), or --all")
    count = Count()
    with admin_of(data) as admin, progress(lambda: f"{count.redriven:,} sent again") as show:
        requests = list(requests_of(admin, ids, criteria, everything=everything, dry_run=dry_run))
        redrive(admin, requests, count, Pace(rate), limit=limit, show=show)
    report(count, dry_run=dry_run, as_json=as_json)
    if ids and not count.redriven:
        raise Failure("none of these is a dead letter that can be sent again", FAILED)


def redrive(
    admin: admin_pb2_grpc.EventAdminServiceStub,
    requests: Iterable[admin_pb2.RedriveRequest],
    count: Count,
    pace: Pace,
    *,
    limit: int,
    show: Callable[[], None],
) -> None:
    """Redrive what each of *requests* selects, step by step, *limit* in all (0: no limit)."""
    for request in requests:
        while not limit or count.redriven < limit:
            request.limit = min(pace.step, limit - count.redriven) if limit else pace.step
            answer = admin.Redrive(request, timeout=600)
            count.redriven += answer.redriven
            count.without_route += answer.without_route
            show()
            request.after = answer.next
            if not answer.next:
                break
            if not request.dry_run:
                pace.wait(count.redriven)


def requests_of(
    admin: admin_pb2_grpc.EventAdminServiceStub,
    ids: Sequence[str],
    criteria: Criteria,
    *,
    everything: bool,
    dry_run: bool,
) -> Iterator[admin_pb2.RedriveRequest]:
    """One request for each route that IDs name; without IDs one for the criteria."""
    named = by_route(ingest_ids_of(admin, ids)) if ids else {"": []}
    for route, ingest_ids in named.items():
        selection = selection_of(criteria, route, ingest_ids)
        yield admin_pb2.RedriveRequest(selection=selection, all=everything, dry_run=dry_run)


def report(count: Count, *, dry_run: bool, as_json: bool) -> None:
    """Say how many."""
    if as_json:
        print_json({"redriven": count.redriven, "without_route": count.without_route, "dry_run": dry_run})
        return
    verb = "would be sent again" if dry_run else "sent again"
    click.echo(f"{count.redriven} {verb}")
    if count.without_route:
        click.echo(f"{count.without_route} stay dead: their route is gone", err=True)
