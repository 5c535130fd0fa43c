"""`hookline events`: which events came in, and where they stand."""

from pathlib import Path
from typing import Any

import click

from hookline.admin.v1 import admin_pb2
from hookline_cli.output import local, moment, print_json, print_table
from hookline_cli.people.connection import admin_of, data_option
from hookline_cli.people.event_selection import criteria_of, event_options

COLUMNS = ("RECEIVED", "INGEST ID", "SUBSCRIPTION", "TRIGGER", "BYTES", "REPEATED", "DELIVERIES")


@click.command()
@data_option
@event_options
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@click.option("--oldest", is_flag=True, help="The oldest of them, instead of the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(data: Path, limit: int, oldest: bool, as_json: bool, **given: Any) -> None:
    """List kept events in the order they came, with where each stands; the newest, if there are more than --limit."""
    selection = criteria_of(**given).selection()
    request = admin_pb2.ListEventsRequest(selection=selection, limit=limit, newest_first=not oldest)
    with admin_of(data) as admin:
        events = [as_object(answer.event) for answer in admin.ListEvents(request, timeout=600)]
    if not oldest:
        events.reverse()
    if as_json:
        for event in events:
            print_json(event)
    elif events:
        print_table(COLUMNS, [as_row(event) for event in events])
        if len(events) == limit:
            click.echo(f"there may be more than these {limit} (--limit)", err=True)
    else:
        click.echo("no events", err=True)


def as_object(event: admin_pb2.EventSummary) -> dict[str, Any]:
    """What `--json` says of an event."""
    return {
        "ingest_id": event.ingest_id,
        "event_id": event.event_id,
        "subscription": f"{event.namespace}/{event.subscription}",
        "trigger": event.trigger,
        "category": event.category,
        "received_at": moment(event.received_at),
        "stored_at": moment(event.stored_at),
        "size": event.size,
        "duplicates": event.duplicates,
        "unrouted": event.unrouted,
        "deliveries": [
            {"route": delivery.route, "state": delivery.state, "reason": delivery.reason}
            for delivery in event.deliveries
        ],
    }


def as_row(event: dict[str, Any]) -> list[object]:
    """The same for a person."""
    standing = [
        f"{one['route']} {one['state']}" + (f" ({one['reason']})" if one["reason"] else "")
        for one in event["deliveries"]
    ]
    if event["unrouted"]:
        standing.append(f"unrouted: {event['unrouted']}")
    names = ("ingest_id", "subscription", "trigger", "size", "duplicates")
    return [local(event["received_at"]), *(event[name] for name in names), ", ".join(standing)]
