"""What the tables say, for a person."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

VIEWS = {
    "messages": (
        "SELECT id, conversation, sender, datetime(sent_at, 'unixepoch') AS sent,"
        " CASE WHEN deleted_at IS NOT NULL THEN 'deleted' WHEN edited_at IS NOT NULL THEN 'edited' ELSE '' END AS state,"
        " text FROM messages ORDER BY sent_at DESC, id LIMIT ?"
    ),
    "users": "SELECT uid, name, role, status, datetime(status_at, 'unixepoch') AS since FROM users ORDER BY uid LIMIT ?",
    "groups": (
        "SELECT guid, name, type, owner, datetime(deleted_at, 'unixepoch') AS deleted FROM groups ORDER BY guid LIMIT ?"
    ),
    "members": "SELECT guid, uid, state, scope FROM members ORDER BY guid, uid LIMIT ?",
}


class NoDatabase(Exception):
    """Nothing has been mirrored there yet."""


def show(path: Path, table: str, limit: int) -> Sequence[dict[str, str | int | None]]:
    """Rows of one of VIEWS, also while events are mirrored; raises NoDatabase."""
    if not path.is_file():
        raise NoDatabase(f"{path}: no such file; `serve` makes it")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        found = database.execute(VIEWS[table], (limit,))
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]


def as_text(rows: Sequence[dict[str, str | int | None]]) -> str:
    """A line a row; SECURITY: what a terminal would obey is not shown."""
    lines = ["  ".join(f"{name}={value}" for name, value in row.items() if value not in (None, "")) for row in rows]
    return "\n".join("".join(letter if letter.isprintable() else "?" for letter in line) for line in lines)
