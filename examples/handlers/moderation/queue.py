"""
What is to be reviewed: a SQLite file that the handler writes and reviewers' commands read and write at the same time.

Findings, approvals made elsewhere and decisions may come in any order and more than once (see `item`): a finding of an
edited message opens its item again, a repeated or late one does not.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import timedelta
from pathlib import Path
from threading import Lock

from moderation.calls import Call
from moderation.item import Item, Reason, Settlement, State
from moderation.reading import ApprovedElsewhere, Finding, Gone, Said, Subject

KEPT = timedelta(days=30)
"""How long settled items and deletions are remembered."""

ELSEWHERE = "CometChat"
"""Who decided, when it was not decided here."""


class NoSuchItem(Exception):
    """There is no item of that number: never was, or its message is gone."""


class NotOpen(Exception):
    """Somebody else was faster, or there is more to look at. The message says what."""


_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    app TEXT NOT NULL, message TEXT NOT NULL,
    region TEXT NOT NULL, tenant TEXT NOT NULL, conversation TEXT NOT NULL, sender TEXT NOT NULL, receiver TEXT NOT NULL,
    text TEXT, text_at INTEGER NOT NULL DEFAULT -1,
    queued_at REAL NOT NULL,
    verdict TEXT, settled_until INTEGER NOT NULL DEFAULT -1, settled_at REAL, decided_by TEXT, note TEXT,
    UNIQUE (app, message)
);
CREATE INDEX IF NOT EXISTS items_settled ON items (settled_at);
CREATE TABLE IF NOT EXISTS findings (
    number INTEGER REFERENCES items ON DELETE CASCADE,
    kind TEXT, content_type TEXT, at INTEGER, withheld INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (number, kind, content_type, at)
);
CREATE TABLE IF NOT EXISTS gone (
    app TEXT, message TEXT, at REAL NOT NULL, PRIMARY KEY (app, message)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS gone_at ON gone (at);
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY REFERENCES items ON DELETE CASCADE,
    method TEXT NOT NULL, url TEXT NOT NULL, body BLOB NOT NULL
);
"""


class Queue:
    """The queue. Safe to use from several threads, and from several processes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Use the file *path*, made if it is not there."""
        self._clock = clock
        self._lock = Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA foreign_keys = ON")
        self._database.executescript(_SCHEMA)

    def take(self, said: Said) -> None:
        """Take in what an event said."""
        with self._transaction():
            match said:
                case Finding():
                    self._find(said)
                case ApprovedElsewhere():
                    number = self._item(said.subject)
                    self._settle(number, Settlement(State.APPROVED, said.until, ELSEWHERE, ""))
                case Gone():
                    self._forget(said)
            self._purge()

    def items(self, state: State | None = None) -> Sequence[Item]:
        """Those in *state*, or all; the oldest first."""
        with self._lock:
            rows = self._database.execute("SELECT * FROM items ORDER BY number").fetchall()
            items = [item for row in rows if (item := self._item_of(row)) is not None]
        return [item for item in items if state is None or item.state is state]

    def item(self, number: int) -> Item:
        """The item of that number; raises NoSuchItem."""
        with self._lock:
            return self._read(number)

    def decide(self, item: Item, settlement: Settlement, call: Call | None) -> Item:
        """
        Settle *item*, and note the *call* that CometChat must get, in one transaction.

        The item as it is then; raises NoSuchItem, or NotOpen: of two reviewers one is first, and what is decided is
        what was looked at.
        """
        with self._transaction():
            now = self._read(item.number)
            if now.state is not State.OPEN:
                by = now.settlement.by if now.settlement else ""
                raise NotOpen(f"item {now.number} was {now.state} by {by} already")
            if now.latest != item.latest:
                raise NotOpen(f"item {now.number} has changed meanwhile: look at it again")
            self._settle(item.number, settlement)
            self._database.execute("DELETE FROM calls WHERE number = ?", (item.number,))
            if call is not None:
                values = (item.number, call.method, call.url, call.body)
                self._database.execute("INSERT INTO calls VALUES (?, ?, ?, ?)", values)
            return self._read(item.number)

    def due(self) -> Sequence[tuple[int, Call]]:
        """Calls that CometChat has not got yet, by the number of their item."""
        with self._lock:
            rows = self._database.execute("SELECT number, method, url, body FROM calls ORDER BY number")
            return [(row["number"], Call(row["method"], row["url"], row["body"])) for row in rows]

    def made(self, number: int, call: Call) -> None:
        """CometChat has got that call; another one that is due meanwhile stays due."""
        with self._transaction():
            values = (number, call.method, call.url, call.body)
            self._database.execute("DELETE FROM calls WHERE (number, method, url, body) = (?, ?, ?, ?)", values)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _read(self, number: int) -> Item:
        row = self._database.execute("SELECT * FROM items WHERE number = ?", (number,)).fetchone()
        item = None if row is None else self._item_of(row)
        if item is None:
            raise NoSuchItem(f"there is no item {number}")
        return item

    def _item_of(self, row: sqlite3.Row) -> Item | None:
        """None: nothing was found about it, it was only approved elsewhere."""
        found = self._database.execute(
            "SELECT * FROM findings WHERE number = ? ORDER BY at, kind, content_type", (row["number"],)
        )
        reasons = [
            Reason(each["kind"], each["content_type"], each["at"], bool(each["withheld"]), each["reason"])
            for each in found
        ]
        if not reasons:
            return None
        verdict = row["verdict"]
        settled = verdict and Settlement(State(verdict), row["settled_until"], row["decided_by"], row["note"])
        return Item(row["number"], _subject_of(row), row["queued_at"], reasons, settled or None)

    def _find(self, finding: Finding) -> None:
        subject = finding.subject
        gone = self._database.execute(
            "SELECT 1 FROM gone WHERE (app, message) = (?, ?)", (subject.app, subject.message)
        )
        if gone.fetchone() is not None:
            return
        number = self._item(subject)
        self._database.execute(
            "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (number, finding.kind, finding.content_type, finding.at, finding.withheld, finding.reason),
        )
        if subject.text is not None:
            self._database.execute(
                "UPDATE items SET text = ?, text_at = ? WHERE number = ? AND text_at < ?",
                (subject.text, finding.at, number, finding.at),
            )

    def _item(self, subject: Subject) -> int:
        """The number of the message's item, made if there is none."""
        row = {**asdict(subject), "queued_at": self._clock()}
        self._database.execute(
            "INSERT INTO items (app, message, region, tenant, conversation, sender, receiver, queued_at)"
            " VALUES (:app, :message, :region, :tenant, :conversation, :sender, :receiver, :queued_at)"
            " ON CONFLICT DO NOTHING",
            row,
        )
        key = (subject.app, subject.message)
        found = self._database.execute("SELECT number FROM items WHERE (app, message) = (?, ?)", key).fetchone()
        return int(found[0])

    def _settle(self, number: int, settled: Settlement) -> None:
        """An older settlement changes nothing; neither does CometChat's echo of one that was made here."""
        self._database.execute(
            "UPDATE items SET verdict = ?, settled_until = ?, settled_at = ?, decided_by = ?, note = ?"
            " WHERE number = ? AND settled_until < ?",
            (settled.verdict, settled.until, self._clock(), settled.by, settled.note, number, settled.until),
        )

    def _forget(self, gone: Gone) -> None:
        """The text goes too: it was deleted."""
        key = (gone.app, gone.message)
        self._database.execute("DELETE FROM items WHERE (app, message) = (?, ?)", key)
        self._database.execute("INSERT INTO gone VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (*key, self._clock()))

    def _purge(self) -> None:
        """Nothing is kept for ever; what is open stays."""
        before = self._clock() - KEPT.total_seconds()
        self._database.execute("DELETE FROM gone WHERE at < ?", (before,))
        self._database.execute(
            "DELETE FROM items WHERE settled_at < ? AND number NOT IN (SELECT number FROM calls)"
            " AND settled_until >= (SELECT coalesce(max(at), -1) FROM findings WHERE findings.number = items.number)",
            (before,),
        )


def _subject_of(row: sqlite3.Row) -> Subject:
    return Subject(**{field.name: row[field.name] for field in fields(Subject)})
