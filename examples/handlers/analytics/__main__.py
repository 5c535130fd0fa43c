"""`python -m analytics serve` counts, `python -m analytics query WHAT` prints what was counted."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from analytics.asking import QUESTIONS, NoDatabase, Span, as_text, ask
from analytics.counting import Counters
from analytics.reading import Counted, count
from analytics.together import Together
from hookline_kit import Event, Handler
from hookline_kit.program import Flags, add_server_flags, serve

DATABASE = "analytics.db"
FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    given = parser().parse_args(arguments)
    return query(given) if given.command == "query" else run(given)


def run(given: argparse.Namespace) -> int:
    """Count until told to stop."""
    given.data.mkdir(parents=True, exist_ok=True)
    with closing(Counters(given.data / DATABASE)) as counters:
        return serve(make_handler(counters, lambda: datetime.now(UTC)), given)


def make_handler(counters: Counters, now: Callable[[], datetime]) -> Handler:
    """Takes every event; the order does not matter, so that a whole batch is counted in one transaction."""
    writer: Together[Counted] = Together(counters.add)
    handler = Handler(in_order=False)

    @handler.default
    async def add(event: Event) -> None:
        await writer.give(count(event, now()))

    return handler


def query(given: argparse.Namespace) -> int:
    """Print an answer."""
    try:
        span = Span(given.tenant, given.since, given.until, given.limit)
        answer = ask(given.data / DATABASE, given.what, span)
    except NoDatabase as error:
        print(f"analytics: {error}", file=sys.stderr)
        return FAILED
    if given.json:
        for row in answer.rows:
            print(json.dumps(dict(zip(answer.columns, row, strict=True))))
    else:
        print(as_text(answer))
    return 0


def parser() -> argparse.ArgumentParser:
    """Every flag is also a variable ANALYTICS_… of the environment."""
    made = argparse.ArgumentParser("analytics", description="Count what happens.")
    commands = made.add_subparsers(dest="command", required=True)
    serving = Flags(commands.add_parser("serve", help="handle events"), "ANALYTICS")
    add_server_flags(serving, port=9002)
    asked = commands.add_parser("query", help="print what was counted")
    asked.add_argument("what", choices=list(QUESTIONS))
    asking = Flags(asked, "ANALYTICS")
    for flags in (serving, asking):
        flags.add("--data", type=Path, default=Path(".hookline"), help="folder of analytics.db (default: %(default)s)")
    asking.add("--tenant", default="%", metavar="NAMESPACE", help="of this namespace only")
    asking.add("--since", default="", metavar="TIME", help="from 2026-11-01 or 2026-11-01T15:00Z on (UTC)")
    asking.add("--until", default="9", metavar="TIME", help="and before this time")
    asking.add("--limit", type=int, default=20, help="rows at most (default: %(default)s)")
    asked.add_argument("--json", action="store_true", help="one JSON object a line")
    return made


if __name__ == "__main__":
    sys.exit(main())
