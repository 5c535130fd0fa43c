"""`hookline replay`: events are sent again, to where they go now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hookline.admin.v1 import admin_pb2, admin_pb2_grpc
from hookline_cli.failure import FAILED, Failure
from hookline_cli.output import print_json
from hookline_cli.people.connection import admin_of, data_option
from hookline_cli.people.event_selection import criteria_of, event_options
from hookline_cli.people.moments import now
from hookline_cli.people.pace import Pace, progress, rate_option
from hookline_cli.people.selection import by_route, ingest_ids_of


@dataclass(slots=True)
class Count:
    """What was sent again."""

    events: int = 0
    deliveries: int = 0
    under_way: int = 0
    """Left alone: they had not ended, and come anyway."""
    without_route: int = 0
    """Events that no route takes now."""

    def __str__(self) -> str:
        return f"{self.events:,} events, {self.deliveries:,} deliveries"


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@data_option
@event_options
@click.option("--to", "routes", multiple=True, metavar="ROUTE", help="To this route only; may be given several times.")
@click.option("--all", "everything", is_flag=True, help="Whatever is kept.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="At most so many events; 0: no limit.")
@rate_option
@click.option("--dry-run", is_flag=True, help="Say how many it would be, send nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    ids: tuple[str, ...],
    data: Path,
    routes: tuple[str, ...],
    everything: bool,
    limit: int,
    rate: float | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """
    Send events again: those with these IDs, or all that the options select.

    They go to the routes that match them now, delivered before or not, marked as replay (attribute hooklinereplay). What
    has not been delivered yet is left alone. Events that come in meanwhile are not replayed. An ID is an event's ingest
    id, its CloudEvent id or a delivery's.
    """
    criteria = criteria_of(**given)
    if not ids and criteria.empty and not everything:
        raise click.UsageError("name IDs, say which (--since, --subscription, --unrouted, …), or --all")
    until, count = now(), Count()
    pace = Pace(rate)
    with admin_of(data) as admin, progress(lambda: f"{count} sent again") as show:
        named = by_route(ingest_ids_of(admin, ids)) if ids else {"": []}
        for route, ingest_ids in named.items():
            request = admin_pb2.ReplayRequest(
                selection=criteria.selection(ingest_ids, until),
                all=everything,
                routes=[route] if route else routes,
                dry_run=dry_run,
            )
            _replay(admin, request, count, pace, limit, show)
    report(count, dry_run=dry_run, as_json=as_json)
    if ids and not count.events:
        raise Failure("none of these is a kept event that can be sent again", FAILED)


def _replay(
    admin: admin_pb2_grpc.EventAdminServiceStub,
    request: admin_pb2.ReplayRequest,
    count: Count,
    pace: Pace,
    limit: int,
    show: Callable[[], None],
) -> None:
    """Step by step to the end of the selection, or to *limit* (0: none) events in all."""
    while not limit or count.events < limit:
        request.limit = min(pace.step, limit - count.events) if limit else pace.step
        answer = admin.Replay(request, timeout=600)
        count.events += answer.events
        count.deliveries += answer.deliveries
        count.under_way += answer.under_way
        count.without_route += answer.without_route
        show()
        request.after = answer.next
        if not answer.next:
            return
        if not request.dry_run:
            pace.wait(count.events)


def report(count: Count, *, dry_run: bool, as_json: bool) -> None:
    """Say how many."""
    if as_json:
        names: Sequence[str] = ("events", "deliveries", "under_way", "without_route")
        print_json({**{name: getattr(count, name) for name in names}, "dry_run": dry_run})
        return
    click.echo(f"{count} {'would be sent again' if dry_run else 'sent again'}")
    if count.under_way:
        click.echo(f"{count.under_way:,} deliveries have not ended yet and were left alone", err=True)
    if count.without_route:
        click.echo(f"{count.without_route:,} events stay: no route takes them now", err=True)
