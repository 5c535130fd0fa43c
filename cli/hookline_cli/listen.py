"""`hookline listen`: a handler that prints every delivery, and can play a bad one."""

import asyncio
import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
from google.protobuf import json_format

from hookline_cli.failure import UNAVAILABLE, Failure
from hookline_cli.output import printable
from hookline_kit import Accepted, Event, Handler, Outcome, Reject, RetryAfter, Server, ServerSettings
from hookline_kit.server import run_until_signalled

ANSWERS: dict[str, Outcome] = {
    "accept": Accepted(),
    "retry": RetryAfter(None, "hookline listen --answer retry"),
    "reject": Reject("hookline listen --answer reject"),
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How the listener behaves."""

    as_json: bool
    answer: Outcome
    delay: float
    """Seconds before the answer."""


def as_object(event: Event) -> dict[str, Any]:
    """What `--json` says of a delivery."""
    return {
        "id": event.id,
        "type": event.type,
        "subscription": f"{event.namespace}/{event.subscription}",
        "route": event.route,
        "attempt": event.attempt,
        "body": base64.b64encode(event.body).decode("ascii"),
        "typed": None if event.payload is None else json_format.MessageToDict(event.payload),
    }


def as_text(event: Event, now: datetime) -> str:
    """One delivery for a person: a line that says what it is, then the body as it came."""
    again = f" attempt {event.attempt}" if event.attempt > 1 else ""
    replay = " replay" if event.replay else ""
    key = f" key {event.partition_key}" if event.partition_key else ""
    head = f"{now:%H:%M:%S.%f} {event.trigger} {event.namespace}/{event.subscription}/{event.route}"
    body = event.body.decode("utf-8", "backslashreplace").strip()
    return printable(f"{head} {event.id}{key}{again}{replay}") + "\n  " + printable(body, keep="\n\t")


def listener(manner: Manner) -> Handler:
    """A handler that prints first and answers then, so that what was answered was seen."""
    handler = Handler(in_order=False)

    @handler.default
    async def show(event: Event) -> Outcome:
        line = json.dumps(as_object(event)) if manner.as_json else as_text(event, datetime.now(UTC).astimezone())
        click.echo(line)
        await asyncio.sleep(manner.delay)
        return manner.answer

    return handler


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, body in base64.")
@click.option("--answer", type=click.Choice(list(ANSWERS)), default="accept", show_default=True)
@click.option("--delay", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Wait before each answer.")
def command(port: int, host: str, as_json: bool, answer: str, delay: float) -> None:
    """
    Be a handler that prints every delivery.

    The address goes to standard error, so that standard output holds deliveries only.
    """
    handler = listener(Manner(as_json, ANSWERS[answer], delay))
    server = Server(handler.handle, ServerSettings(host=host, port=port, notice=0.1, grace=max(5.0, 2 * delay)))
    try:
        asyncio.run(run_until_signalled(server, _announce))
    except OSError as error:
        raise Failure(str(error), UNAVAILABLE) from error


def _announce(server: Server) -> None:
    click.echo(f"listening on {server.address}", err=True)
