"""What the tables say, for people and for scripts."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

QUESTIONS = {
    "messages": (
        "SELECT conversation, hour, messages FROM messages"
        " WHERE tenant LIKE :tenant AND hour >= :since AND hour < :until"
        " ORDER BY messages DESC, hour, conversation LIMIT :limit"
    ),
    "users": (
        "SELECT day, count(DISTINCT uid) AS active FROM users"
        " WHERE tenant LIKE :tenant AND day >= :since AND day < :until"
        " GROUP BY day ORDER BY day DESC LIMIT :limit"
    ),
    "calls": (
        "SELECT day, kind, sum(sessions) AS sessions, round(sum(seconds) / 60.0, 1) AS minutes,"
        " sum(participants) AS participants, round(sum(participant_seconds) / 60.0, 1) AS participant_minutes"
        " FROM sessions WHERE tenant LIKE :tenant AND day >= :since AND day < :until"
        " GROUP BY day, kind ORDER BY day DESC, kind LIMIT :limit"
    ),
    "events": (
        "SELECT trigger, sum(events) AS events FROM events"
        " WHERE tenant LIKE :tenant AND hour >= :since AND hour < :until"
        " GROUP BY trigger ORDER BY events DESC, trigger LIMIT :limit"
    ),
}


@dataclass(frozen=True, slots=True)
class Span:
    """Which rows to look at; times are texts as the tables have them, or their beginnings."""

    tenant: str = "%"
    since: str = ""
    until: str = "9"
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """A table."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str | int | float, ...]]


class NoDatabase(Exception):
    """Nothing has been counted there yet."""


def ask(path: Path, question: str, span: Span) -> Answer:
    """Answer one of QUESTIONS from the file *path*, also while events are counted; raises NoDatabase."""
    if not path.is_file():
        raise NoDatabase(f"{path}: no such file; `serve` makes it")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        found = database.execute(
            QUESTIONS[question],
            {"tenant": span.tenant, "since": span.since, "until": span.until, "limit": span.limit},
        )
        return Answer(tuple(column[0] for column in found.description), found.fetchall())


def as_text(answer: Answer) -> str:
    """Columns below each other, numbers to the right."""
    table = [answer.columns, *(tuple(_shown(value) for value in row) for row in answer.rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(answer.columns))]
    numeric = [bool(answer.rows) and not isinstance(value, str) for value in (answer.rows or [answer.columns])[0]]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in table
    )


def _shown(value: str | float) -> str:
    """SECURITY: ids come from outside; what a terminal would obey is not shown."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))
