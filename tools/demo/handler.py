"""A handler of the demonstration: notes every delivery in a file, and refuses one trigger until a person insists."""

import argparse
import base64
import json
import time
from pathlib import Path
from typing import TextIO

from hookline_kit import Event, Handler, Outcome, Reject, ServerSettings


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo.handler")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--refuse", default="", metavar="TRIGGER")
    given = parser.parse_args()
    with given.record.open("a", encoding="ascii") as record:
        handler = noting(record, given.refuse)
        handler.run(port=given.port, host="127.0.0.1", settings=ServerSettings(notice=0.1))


def noting(record: TextIO, refuse: str) -> Handler:
    """A handler that writes each delivery down before it answers."""
    handler = Handler()

    @handler.default
    async def note(event: Event) -> Outcome | None:
        record.write(json.dumps(as_object(event)) + "\n")
        record.flush()
        if event.trigger == refuse and not event.replay:
            return Reject("nobody reviews on Sundays")
        return None

    return handler


def as_object(event: Event) -> dict[str, object]:
    """What is to be known of a delivery afterwards."""
    return {
        "route": f"{event.namespace}/{event.subscription}/{event.route}",
        "delivery": event.delivery_id,
        "at": time.monotonic(),
        "body": base64.b64encode(event.body).decode("ascii"),
    }


if __name__ == "__main__":
    main()
