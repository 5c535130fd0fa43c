"""`hookline dead`: the deliveries that ended without success."""

from pathlib import Path
from typing import Any

import click

from hookline.admin.v1 import admin_pb2
from hookline_cli.output import local, moment, print_json, print_table
from hookline_cli.people.connection import admin_of, data_option
from hookline_cli.people.selection import Criteria, criteria_options, selection_of

COLUMNS = ("DELIVERY", "SUBSCRIPTION", "TRIGGER", "REASON", "DETAIL", "ATTEMPTS", "DIED")


@click.command()
@data_option
@criteria_options
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    data: Path, subscription: tuple[str, str], route: str, trigger: str, reason: str | None, limit: int, as_json: bool
) -> None:
    """List dead letters, oldest first: deliveries that ended without success, kept to be sent again."""
    selection = selection_of(Criteria(subscription, route, trigger, reason or ""))
    request = admin_pb2.ListDeadLettersRequest(selection=selection, limit=limit)
    with admin_of(data) as admin:
        letters = [as_object(answer.dead_letter) for answer in admin.ListDeadLetters(request, timeout=60)]
    if as_json:
        for letter in letters:
            print_json(letter)
    elif letters:
        print_table(COLUMNS, [as_row(letter) for letter in letters])
        if len(letters) == limit:
            click.echo(f"there may be more than these {limit} (--limit)", err=True)
    else:
        click.echo("no dead letters", err=True)


def as_object(letter: admin_pb2.DeadLetter) -> dict[str, Any]:
    """What `--json` says of a dead letter."""
    return {
        "delivery_id": letter.delivery_id,
        "ingest_id": letter.ingest_id,
        "event_id": letter.event_id,
        "subscription": f"{letter.namespace}/{letter.subscription}",
        "route": letter.route,
        "trigger": letter.trigger,
        "reason": letter.reason,
        "detail": letter.detail,
        "attempts": letter.attempts,
        "received_at": moment(letter.received_at),
        "died_at": moment(letter.died_at),
    }


def as_row(letter: dict[str, Any]) -> list[object]:
    """The same for a person."""
    names = ("delivery_id", "subscription", "trigger", "reason", "detail", "attempts")
    return [*(letter[name] for name in names), local(letter["died_at"])]
