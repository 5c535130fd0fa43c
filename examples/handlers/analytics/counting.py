"""
The tables, a SQLite file.

That an event was counted is written in the transaction that counts it: what comes again adds nothing, and a crash leaves
either both or neither.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from analytics.reading import Counted, Increment, Table

WINDOW = timedelta(days=30)
"""How long a counted event is remembered. It must be longer than the gateway keeps events that can be sent again."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS counted (
    source TEXT, id TEXT, at INTEGER NOT NULL, PRIMARY KEY (source, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS counted_at ON counted (at);
CREATE TABLE IF NOT EXISTS events (
    tenant TEXT, hour TEXT, trigger TEXT, events INTEGER NOT NULL, PRIMARY KEY (tenant, hour, trigger)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    tenant TEXT, conversation TEXT, hour TEXT, messages INTEGER NOT NULL, PRIMARY KEY (tenant, conversation, hour)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (
    tenant TEXT, day TEXT, uid TEXT, PRIMARY KEY (tenant, day, uid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    tenant TEXT, day TEXT, kind TEXT,
    sessions INTEGER NOT NULL, seconds INTEGER NOT NULL,
    participants INTEGER NOT NULL, participant_seconds INTEGER NOT NULL,
    PRIMARY KEY (tenant, day, kind)
) WITHOUT ROWID;
"""

ADD = {
    Table.EVENTS: "INSERT INTO events VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events",
    Table.MESSAGES: (
        "INSERT INTO messages VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET messages = messages + excluded.messages"
    ),
    Table.USERS: "INSERT INTO users VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    Table.SESSIONS: (
        "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " sessions = sessions + excluded.sessions, seconds = seconds + excluded.seconds,"
        " participants = participants + excluded.participants,"
        " participant_seconds = participant_seconds + excluded.participant_seconds"
    ),
}


class Counters:
    """Adds to the tables. For one thread at a time."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Use the file *path*, made if it is not there; *clock* gives seconds since the epoch."""
        self._clock = clock
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        # Accepted means counted, also after the power has failed.
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(SCHEMA)

    def add(self, events: Sequence[Counted]) -> None:
        """Add each of *events* that was not added before, all in one transaction; raises, and adds none, if one can't be."""
        now = int(self._clock())
        self._database.execute("BEGIN IMMEDIATE")
        try:
            for event in events:
                self._add(event, now)
            self._database.execute("DELETE FROM counted WHERE at < ?", (now - WINDOW.total_seconds(),))
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _add(self, event: Counted, now: int) -> None:
        new = self._database.execute(
            "INSERT INTO counted VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (event.source, event.id, now)
        )
        if new.rowcount:
            for increment in event.increments:
                self._increase(increment)

    def _increase(self, increment: Increment) -> None:
        self._database.execute(ADD[increment.table], (*increment.key, *increment.amounts))
