"""`python -m moderation serve` fills the queue; `list`, `show`, `approve`, `reject` and `apply` are for reviewers."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from hookline_kit import Event, Handler, Reject
from hookline_kit.program import Flags, add_server_flags, serve
from moderation.calls import API, BadSubject
from moderation.cometchat import CallFailed, CometChat, Http, SaysOnly
from moderation.item import State
from moderation.queue import NoSuchItem, NotOpen, Queue
from moderation.reading import read
from moderation.reviewing import Review
from moderation.showing import as_object, lines, printable, whole

DATABASE = "moderation.db"
FAILED = 1
VERDICTS = {"approve": State.APPROVED, "reject": State.REJECTED}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    given = parser().parse_args(arguments)
    given.data.mkdir(parents=True, exist_ok=True)
    with closing(Queue(given.data / DATABASE)) as queue:
        if given.command == "serve":
            return serve(make_handler(queue), given)
        try:
            return review(queue, given)
        except (NoSuchItem, NotOpen, BadSubject, OSError) as error:
            print(f"moderation: {printable(str(error))}", file=sys.stderr)
        except CallFailed as error:
            print(f"moderation: decided, but not carried out: {error}\n`apply` tries again", file=sys.stderr)
        return FAILED


def make_handler(queue: Queue) -> Handler:
    """Takes events in any order; what comes again changes nothing."""
    handler = Handler(in_order=False)

    @handler.on(
        "moderation_engine_blocked", "moderation_engine_failed", "moderation_manual_approved", "message_deleted"
    )
    def take(event: Event) -> Reject | None:
        said = read(event)
        if said is None:
            return Reject(f"the event names no message: {event.untyped or 'its id is missing'}")
        queue.take(said)
        return None

    return handler


def review(queue: Queue, given: argparse.Namespace) -> int:
    """One of the reviewers' commands."""
    match given.command:
        case "list":
            items = queue.items(None if given.state == "all" else State(given.state))
            print("\n".join(json.dumps(as_object(item)) for item in items) if given.json else lines(items, time.time()))
        case "show":
            print(whole(queue.item(given.number)))
        case "apply":
            done, failures = Review(queue, adapter(given), given.api).carry_out_due()
            print("\n".join([f"{done} carried out, {len(queue.due())} due", *failures]))
            return FAILED if failures else 0
        case command:
            verdict = VERDICTS[command]
            decided = Review(queue, adapter(given), given.api).decide(given.number, verdict, given.by, given.note)
            print(printable(f"item {decided.number} {decided.state} by {given.by}"))
    return 0


def adapter(given: argparse.Namespace) -> CometChat:
    """Calls CometChat where there is a key, else says what would be called; raises OSError."""
    return Http(given.api_key_file.read_text().strip()) if given.api_key_file else SaysOnly(print)


def parser() -> argparse.ArgumentParser:
    """Every flag is also a variable MODERATION_… of the environment."""
    made = argparse.ArgumentParser("moderation", description="Review what CometChat's engine blocked.")
    commands = made.add_subparsers(dest="command", required=True)
    by_name = {
        name: commands.add_parser(name, help=text)
        for name, text in (
            ("serve", "handle events"),
            ("list", "print the queue"),
            ("show", "print everything about an item"),
            ("approve", "let people see the message"),
            ("reject", "keep or take the message away"),
            ("apply", "make the calls to CometChat that are due"),
        )
    }
    for name, command in by_name.items():
        flags = Flags(command, "MODERATION")
        flags.add("--data", type=Path, default=Path(".hookline"), help="folder of moderation.db (default: %(default)s)")
        if name in ("approve", "reject", "apply"):
            flags.add("--api-key-file", type=Path, metavar="FILE", help="CometChat's REST API key; none: only say it")
            flags.add("--api", default=API, metavar="URL", help="CometChat's REST API (default: %(default)s)")
        if name in ("show", *VERDICTS):
            command.add_argument("number", type=int)
        if name in VERDICTS:
            user = os.environ.get("USER")
            flags.add("--by", default=user, required=not user, metavar="NAME", help="who decides (default: you)")
            command.add_argument("--note", default="", help="why")
    add_server_flags(Flags(by_name["serve"], "MODERATION"), port=9003)
    by_name["list"].add_argument("--state", choices=[*State, "all"], default=State.OPEN)
    by_name["list"].add_argument("--json", action="store_true", help="one JSON object a line")
    return made


if __name__ == "__main__":
    sys.exit(main())
