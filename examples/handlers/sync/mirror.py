"""
A fact → one upsert.

The statement is the whole trick: it changes the row only if the fact's version is greater than the one that the row has.
So the same fact twice, or an older one later, changes nothing, and no row need be read before it is written. The SQL is
that of SQLite and PostgreSQL alike (there, give the version columns COLLATE "C").
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from sync.facts import Aspect, Fact

KEYS = {
    "messages": ("app", "id"),
    "users": ("app", "uid"),
    "groups": ("app", "guid"),
    "members": ("app", "guid", "uid"),
}

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    app TEXT, id TEXT,
    conversation TEXT, sender TEXT, receiver_type TEXT, receiver TEXT, type TEXT, sent_at INTEGER,
    origin_version TEXT NOT NULL DEFAULT '',
    text TEXT, edited_at INTEGER, content_version TEXT NOT NULL DEFAULT '',
    deleted_at INTEGER, deleted_by TEXT, removal_version TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (app, id)
);
CREATE INDEX IF NOT EXISTS messages_of ON messages (app, conversation, sent_at);
CREATE TABLE IF NOT EXISTS users (
    app TEXT, uid TEXT,
    name TEXT, avatar TEXT, role TEXT, profile_version TEXT NOT NULL DEFAULT '',
    status TEXT, status_at INTEGER, presence_version TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (app, uid)
);
CREATE TABLE IF NOT EXISTS groups (
    app TEXT, guid TEXT,
    name TEXT, type TEXT, owner TEXT, created_at INTEGER, profile_version TEXT NOT NULL DEFAULT '',
    deleted_at INTEGER, existence_version TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (app, guid)
);
CREATE TABLE IF NOT EXISTS members (
    app TEXT, guid TEXT, uid TEXT,
    state TEXT, scope TEXT, membership_version TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (app, guid, uid)
);
"""


class Mirror:
    """The tables. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Use the file *path*, made if it is not there."""
        self._lock = Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        # Accepted means mirrored, also after the power has failed.
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(SCHEMA)

    def apply(self, facts: Sequence[Fact]) -> None:
        """Take over what is news of *facts*: all of them or, if it raises, none."""
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for fact in facts:
                self._database.execute(
                    upsert(fact.aspect, tuple(fact.values)), (*fact.key, *fact.values.values(), fact.version)
                )

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def upsert(aspect: Aspect, columns: Sequence[str]) -> str:
    """The statement for a fact; its names are this program's own, its values are parameters."""
    table, _, version = aspect.partition(".")
    written = (*columns, version)
    names = ", ".join((*KEYS[table], *written))
    marks = ", ".join("?" * (len(KEYS[table]) + len(written)))
    changes = ", ".join(f"{name} = excluded.{name}" for name in written)
    return (
        f"INSERT INTO {table} ({names}) VALUES ({marks})"
        f" ON CONFLICT ({', '.join(KEYS[table])}) DO UPDATE SET {changes}"
        f" WHERE excluded.{version} > {table}.{version}"
    )
