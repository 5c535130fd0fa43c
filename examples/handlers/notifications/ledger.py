"""Who is online, and which mails have gone: a SQLite file."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from notifications.deciding import Known, Notice
from notifications.reading import Presence

KEPT = timedelta(days=30)
"""How long a mail is remembered: longer than the gateway keeps an event, so that none is mailed again by a redrive."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS presence (
    app TEXT, uid TEXT, online INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (app, uid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mails (
    app TEXT, message TEXT, uid TEXT, conversation TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (app, message, uid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mails_to ON mails (app, uid, conversation, at);
CREATE INDEX IF NOT EXISTS mails_at ON mails (at);
"""

_SEE = """
INSERT INTO presence VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET online = excluded.online, at = excluded.at WHERE excluded.at > presence.at
"""
"""Events come in any order: the latest time wins, not the latest arrival."""


class Ledger:
    """Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Use the file *path*, made if it is not there."""
        self._lock = Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        # A mail that has gone must not be forgotten with the power, or it would go again.
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)

    def see(self, presence: Presence) -> None:
        """Note who came or went."""
        with self._lock:
            values = (presence.app, presence.uid, presence.online, presence.at.timestamp())
            self._database.execute(_SEE, values)

    def known(self, notice: Notice) -> Known:
        """What is known of the notice's person."""
        app, _, uid = notice.key
        with self._lock:
            one = self._database.execute
            mailed = one("SELECT 1 FROM mails WHERE app = ? AND message = ? AND uid = ?", notice.key).fetchone()
            online = one("SELECT online FROM presence WHERE app = ? AND uid = ?", (app, uid)).fetchone()
            last = one(
                "SELECT max(at) FROM mails WHERE app = ? AND uid = ? AND conversation = ?",
                (app, uid, notice.message.conversation),
            ).fetchone()
        return Known(
            mailed=mailed is not None,
            online=bool(online[0]) if online else None,
            last_mail=datetime.fromtimestamp(last[0], UTC) if last[0] is not None else None,
        )

    def mailed(self, notice: Notice, now: datetime) -> None:
        """Note that the notice's mail has gone, and forget what went long ago."""
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            values = (*notice.key, notice.message.conversation, now.timestamp())
            self._database.execute("INSERT OR IGNORE INTO mails VALUES (?, ?, ?, ?, ?)", values)
            self._database.execute("DELETE FROM mails WHERE at < ?", ((now - KEPT).timestamp(),))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
