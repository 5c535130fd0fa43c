"""The five example handlers, as somebody would run them, and what each has to show for what it got."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.demo.stage import Mishap, end, free_port, listens, spawn, wait

HANDLERS = Path(__file__).resolve().parent.parent.parent / "examples" / "handlers"
NAMES = ("notifications", "analytics", "moderation", "sync", "automation")
PERSON = "cometchat-uid-2"
"""Who the documented messages are for; has a mail address here."""


@dataclass(frozen=True)
class Examples:
    """The running examples."""

    folder: Path
    addresses: Mapping[str, str]
    """"host:port" by name."""

    def shown(self) -> dict[str, str]:
        """What each has to show, in a few words; "" as long as it is nothing."""
        return {name: show(self.folder) for name, show in SHOWS.items()}


@contextmanager
def examples(folder: Path) -> Iterator[Examples]:
    """Start a mail server and the five handlers; end all at the end of the block."""
    folder.mkdir()
    (folder / "people.json").write_text(json.dumps({PERSON: "grace@example.com"}), encoding="utf-8")
    mail, ports = free_port(), {name: free_port() for name in NAMES}
    more = {
        # The documented payloads are of 2023: no mail is too old here.
        "notifications": ("--directory", "people.json", "--smtp", f"127.0.0.1:{mail}", "--max-age-hours", "0"),
    }
    with ExitStack() as stack:
        start(
            stack,
            folder,
            "mail",
            mail,
            "-m",
            "aiosmtpd",
            "-n",
            "-c",
            "aiosmtpd.handlers.Mailbox",
            "-l",
            f"127.0.0.1:{mail}",
            "mails",
        )
        for name, port in ports.items():
            start(
                stack, folder, name, port, "-m", name, "serve", "--port", str(port), "--data", name, *more.get(name, ())
            )
        yield Examples(folder, {name: f"127.0.0.1:{port}" for name, port in ports.items()})


def start(stack: ExitStack, folder: Path, name: str, port: int, *arguments: str) -> None:
    """Start one program in *folder*, and return once it listens."""
    with (folder / f"{name}.log").open("wb") as log:
        process = spawn([sys.executable, *arguments], stdout=log, stderr=log, cwd=folder, env=environment())
    stack.callback(end, process)
    wait(lambda: listens(port) or process.poll() is not None, f"{name} did not start: see {folder}/{name}.log")
    if process.poll() is not None:
        raise Mishap(f"{name} ended with {process.returncode}: see {folder}/{name}.log")


def environment() -> dict[str, str]:
    """The examples are found by their folder."""
    return {**os.environ, "PYTHONPATH": str(HANDLERS)}


def mails(folder: Path) -> str:
    """Mails that the mail server took."""
    count = sum(1 for _ in (folder / "mails" / "new").glob("*"))
    return f"mails sent: {count}" if count else ""


def counted(folder: Path) -> str:
    """Events that were counted."""
    rows = asked(folder, "analytics", "query", "events", "--limit", "1000")
    return f"kinds of events counted: {len(rows)}" if rows else ""


def queued(folder: Path) -> str:
    """Messages that wait for a person's decision."""
    rows = asked(folder, "moderation", "list")
    return f"messages to review: {len(rows)}" if rows else ""


def mirrored(folder: Path) -> str:
    """Messages in the mirror."""
    rows = asked(folder, "sync", "show", "messages")
    return f"messages mirrored: {len(rows)}" if rows else ""


def acted(folder: Path) -> str:
    """Actions that the rules led to."""
    file = folder / "automation" / "automation.db"
    if not file.is_file():
        return ""
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
        (count,) = database.execute("SELECT count(*) FROM done").fetchone()
    return f"actions done: {count}" if count else ""


SHOWS: Mapping[str, Callable[[Path], str]] = {
    "notifications": mails,
    "analytics": counted,
    "moderation": queued,
    "sync": mirrored,
    "automation": acted,
}


def asked(folder: Path, name: str, *arguments: str) -> list[object]:
    """The objects that an example's own command prints."""
    command = [sys.executable, "-m", name, *arguments, "--data", name, "--json"]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    return [json.loads(line) for line in done.stdout.splitlines()] if done.returncode == 0 else []
