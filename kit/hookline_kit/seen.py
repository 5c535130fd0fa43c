"""Remembering what was handled, so that a repeated delivery does no harm."""

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Protocol

from hookline_kit.event import Event

DAY = timedelta(days=1)


class Seen(Protocol):
    """
    A memory of handled events by (source, id).

    An event is remembered after its function accepted it, so a crash in between lets it run twice: what must not
    happen twice at all belongs into one transaction with the effect itself.
    """

    def known(self, event: Event) -> bool:
        """Whether *event* was handled within the window."""

    def remember(self, event: Event) -> None:
        """Take *event* for handled."""


class SeenInMemory:
    """Forgets everything when the process ends; enough where a rare repetition is merely a nuisance."""

    def __init__(
        self, window: timedelta = DAY, limit: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Remember at most *limit* events (about 300 bytes each) for *window*; the oldest go first."""
        self._window = window.total_seconds()
        self._limit = limit
        self._clock = clock
        self._handled: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = Lock()

    def known(self, event: Event) -> bool:
        """Whether *event* was handled within the window."""
        with self._lock:
            self._forget()
            return (event.source, event.id) in self._handled

    def remember(self, event: Event) -> None:
        """Take *event* for handled."""
        with self._lock:
            self._handled[event.source, event.id] = self._clock()
            self._handled.move_to_end((event.source, event.id))
            self._forget()

    def _forget(self) -> None:
        oldest = self._clock() - self._window
        while self._handled and (len(self._handled) > self._limit or next(iter(self._handled.values())) <= oldest):
            self._handled.popitem(last=False)


class SeenInSqlite:
    """Survives the process: a small SQLite file, for one process at a time or several on one machine."""

    def __init__(self, path: Path, window: timedelta = DAY, clock: Callable[[], float] = time.time) -> None:
        """Remember events for *window* in the file *path*, made if it is not there."""
        self._window = window.total_seconds()
        self._clock = clock
        self._lock = Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS handled"
            " (source TEXT, id TEXT, at REAL NOT NULL, PRIMARY KEY (source, id)) WITHOUT ROWID"
        )
        self._database.execute("CREATE INDEX IF NOT EXISTS handled_at ON handled (at)")

    def known(self, event: Event) -> bool:
        """Whether *event* was handled within the window."""
        with self._lock:
            found = self._database.execute(
                "SELECT 1 FROM handled WHERE source = ? AND id = ? AND at > ?",
                (event.source, event.id, self._clock() - self._window),
            )
            return found.fetchone() is not None

    def remember(self, event: Event) -> None:
        """Take *event* for handled, and forget what is past the window."""
        with self._lock:
            now = self._clock()
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("INSERT OR REPLACE INTO handled VALUES (?, ?, ?)", (event.source, event.id, now))
            self._database.execute("DELETE FROM handled WHERE at <= ?", (now - self._window,))
            self._database.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
