"""`python -m sync serve` mirrors, `python -m sync show TABLE` prints what is mirrored."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from hookline_kit import Event, Handler, Reject
from hookline_kit.program import Flags, add_server_flags, serve
from sync.facts import facts
from sync.mirror import Mirror
from sync.showing import VIEWS, NoDatabase, as_text, show

DATABASE = "sync.db"
FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    given = parser().parse_args(arguments)
    return print_rows(given) if given.command == "show" else run(given)


def run(given: argparse.Namespace) -> int:
    """Mirror until told to stop."""
    given.data.mkdir(parents=True, exist_ok=True)
    with closing(Mirror(given.data / DATABASE)) as mirror:
        return serve(make_handler(mirror), given)


def make_handler(mirror: Mirror) -> Handler:
    """Takes events in any order, and needs no memory of what came: an old fact changes nothing."""
    handler = Handler(in_order=False)

    @handler.on_category("message", "user", "group")
    def apply(event: Event) -> Reject | None:
        if event.payload is None and not event.untyped.startswith("UNKNOWN_TRIGGER"):
            return Reject(f"the event has no typed payload: {event.untyped}")
        mirror.apply(facts(event))
        return None

    return handler


def print_rows(given: argparse.Namespace) -> int:
    """Print a table."""
    try:
        rows = show(given.data / DATABASE, given.table, given.limit)
    except NoDatabase as error:
        print(f"sync: {error}", file=sys.stderr)
        return FAILED
    if given.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print(as_text(rows))
    return 0


def parser() -> argparse.ArgumentParser:
    """Every flag is also a variable SYNC_… of the environment."""
    made = argparse.ArgumentParser("sync", description="Mirror messages, users and groups into a database.")
    commands = made.add_subparsers(dest="command", required=True)
    serving = Flags(commands.add_parser("serve", help="handle events"), "SYNC")
    add_server_flags(serving, port=9004)
    shown = commands.add_parser("show", help="print what is mirrored")
    shown.add_argument("table", choices=list(VIEWS))
    showing = Flags(shown, "SYNC")
    for flags in (serving, showing):
        flags.add("--data", type=Path, default=Path(".hookline"), help="folder of sync.db (default: %(default)s)")
    showing.add("--limit", type=int, default=20, help="rows at most (default: %(default)s)")
    shown.add_argument("--json", action="store_true", help="one JSON object a line")
    return made


if __name__ == "__main__":
    sys.exit(main())
