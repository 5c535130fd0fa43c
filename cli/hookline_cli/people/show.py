"""`hookline show`: an event's story."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from hookline.admin.v1 import admin_pb2
from hookline_cli.failure import FAILED, Failure
from hookline_cli.output import local, moment, print_json, print_table, printable
from hookline_cli.people.connection import admin_of, data_option

COLUMNS = ("ROUTE", "STATE", "ATTEMPT", "AT", "TOOK", "ANSWER", "DETAIL", "ENDPOINT")


@click.command()
@click.argument("ident", metavar="ID")
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line an acceptance.")
def command(ident: str, data: Path, as_json: bool) -> None:
    """
    Tell an event's story: received, stored, and each delivery with each attempt.

    ID is the event's CloudEvent id, its ingest id, or the id of one of its deliveries.
    """
    with admin_of(data) as admin:
        answer = admin.ShowEvent(admin_pb2.ShowEventRequest(id=ident), timeout=60)
    if not answer.events:
        raise Failure(f"no event {ident} is kept on {data}", FAILED)
    for event in answer.events:
        story = as_object(event)
        if as_json:
            print_json(story)
        else:
            tell(story)


def as_object(event: admin_pb2.EventStory) -> dict[str, Any]:
    """What `--json` says of an acceptance."""
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
            {
                "delivery_id": delivery.delivery_id,
                "route": delivery.route,
                "state": delivery.state,
                "reason": delivery.reason,
                "detail": delivery.detail,
                "replay": delivery.replay,
                "due_at": moment(delivery.due_at),
                "attempts": [attempt_object(attempt) for attempt in delivery.attempts],
            }
            for delivery in event.deliveries
        ],
    }


def attempt_object(attempt: admin_pb2.Attempt) -> dict[str, Any]:
    """One call."""
    return {
        "number": attempt.number,
        "started_at": moment(attempt.started_at),
        "ended_at": moment(attempt.ended_at),
        "seconds": round((attempt.ended_at.ToNanoseconds() - attempt.started_at.ToNanoseconds()) / 1e9, 6),
        "code": attempt.code,
        "detail": attempt.detail,
        "endpoint": attempt.endpoint,
    }


def tell(story: dict[str, Any]) -> None:
    """For a person: the event in a few lines, its deliveries in a table."""
    lines = {
        "event": story["event_id"],
        "ingest id": story["ingest_id"],
        "trigger": f"{story['trigger']} to {story['subscription']}, {story['size']:,} bytes",
        "received": local(story["received_at"]),
        "stored": local(story["stored_at"]),
    }
    if story["duplicates"]:
        lines["duplicates"] = f"{story['duplicates']} (retries of the sender, not delivered again)"
    if story["unrouted"]:
        lines["unrouted"] = story["unrouted"]
    for name, text in lines.items():
        click.echo(f"{name:<11}{printable(str(text))}")
    print_table(COLUMNS, list(rows(story)))


def rows(story: dict[str, Any]) -> Iterator[list[object]]:
    """A row per attempt; a delivery without one has a row all the same."""
    for delivery in story["deliveries"]:
        remarks = [delivery["reason"], "replay" if delivery["replay"] else ""]
        said = ", ".join(remark for remark in remarks if remark)
        state = delivery["state"] + (f" ({said})" if said else "")
        if not delivery["attempts"]:
            yield [delivery["route"], state, "", "", "", "", delivery["detail"], ""]
        for attempt in delivery["attempts"]:
            took = f"{attempt['seconds'] * 1000:.1f} ms"
            answer = [attempt["code"], attempt["detail"], attempt["endpoint"]]
            yield [delivery["route"], state, attempt["number"], local(attempt["started_at"]), took, *answer]
