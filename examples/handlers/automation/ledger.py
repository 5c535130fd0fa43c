"""Which actions were done: a SQLite file."""

import sqlite3
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Lock

KEPT = timedelta(days=30)
"""Longer than the gateway keeps events that can be sent again."""


class Ledger:
    """Safe to use from several threads."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Use the file *path*, made if it is not there."""
        self._clock = clock
        self._lock = Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID")
        self._database.execute("CREATE INDEX IF NOT EXISTS done_at ON done (at)")

    def done(self, key: str) -> bool:
        """Whether the action of that key was done."""
        with self._lock:
            return self._database.execute("SELECT 1 FROM done WHERE key = ?", (key,)).fetchone() is not None

    def note(self, key: str) -> None:
        """The action of that key was done; forget what was done long ago."""
        now = self._clock()
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("INSERT OR IGNORE INTO done VALUES (?, ?)", (key, now))
            self._database.execute("DELETE FROM done WHERE at < ?", (now - KEPT.total_seconds(),))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
