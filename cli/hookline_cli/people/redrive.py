"""`hookline redrive`: dead letters are sent again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from hookline.admin.v1 import admin_pb2, admin_pb2_grpc
from hookline_cli.failure import FAILED, Failure
from hookline_cli.output import print_json
from hookline_cli.people.connection import admin_of, data_option
from hookline_cli.people.selection import Criteria, by_route, criteria_options, is_ingest_id, selection_of


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
    with admin_of(data) as admin:
        selections = list(selections_of(admin, ids, criteria)) if ids else [selection_of(criteria)]
        count = redrive(admin, selections, everything=everything, dry_run=dry_run, limit=limit)
    report(count, dry_run=dry_run, as_json=as_json)
    if ids and not count.redriven:
        raise Failure("none of these is a dead letter that can be sent again", FAILED)


def redrive(
    admin: admin_pb2_grpc.EventAdminServiceStub,
    selections: Sequence[admin_pb2.Selection],
    *,
    everything: bool,
    dry_run: bool,
    limit: int,
) -> Count:
    """Redrive each selection, *limit* in all (0: no limit)."""
    count = Count()
    for selection in selections:
        left = limit - count.redriven
        if limit and left <= 0:
            break
        request = admin_pb2.RedriveRequest(
            selection=selection, all=everything, dry_run=dry_run, limit=left if limit else 0
        )
        answer = admin.Redrive(request, timeout=600)
        count.redriven += answer.redriven
        count.without_route += answer.without_route
    return count


def selections_of(
    admin: admin_pb2_grpc.EventAdminServiceStub, ids: Sequence[str], criteria: Criteria
) -> Iterator[admin_pb2.Selection]:
    """One selection for each route that IDs name; a CloudEvent id is looked up first."""
    known = [ident for ident in ids if is_ingest_id(ident)]
    for ident in ids:
        if ident not in known:
            found = admin.ShowEvent(admin_pb2.ShowEventRequest(id=ident), timeout=60)
            known.extend(event.ingest_id for event in found.events)
    for route, ingest_ids in by_route(known).items():
        yield selection_of(criteria, route, ingest_ids)


def report(count: Count, *, dry_run: bool, as_json: bool) -> None:
    """Say how many."""
    if as_json:
        print_json({"redriven": count.redriven, "without_route": count.without_route, "dry_run": dry_run})
        return
    verb = "would be sent again" if dry_run else "sent again"
    click.echo(f"{count.redriven} {verb}")
    if count.without_route:
        click.echo(f"{count.without_route} stay dead: their route is gone", err=True)
