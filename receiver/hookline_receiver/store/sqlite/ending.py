"""The one way in which deliveries end, and what that sets free: their key's next, their event, its bytes."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hookline_receiver.store import rules
from hookline_receiver.store.sqlite.adding import key_is_taken
from hookline_receiver.store.sqlite.ledger import Tally

DELIVERED = 3
DEAD = 4

NEXT_OF_KEY = """
    SELECT id FROM deliveries INDEXED BY deliveries_waiting
    WHERE route = ? AND ordering_key = ? AND state = 2 ORDER BY id LIMIT 1
"""

_OF_EVENT = f"""
    d.id >= e.sequence * {rules.DELIVERIES_PER_EVENT} AND d.id < (e.sequence + 1) * {rules.DELIVERIES_PER_EVENT}
"""
_ENDED_EVENTS = f"""
    SELECT e.sequence, e.subscription, e.size, e.duplicate_until,
        (SELECT max(d.ended_at) FROM deliveries AS d WHERE {_OF_EVENT}),
        EXISTS (SELECT 1 FROM deliveries AS d WHERE d.state = 4 AND {_OF_EVENT})
    FROM json_each(?) AS one CROSS JOIN events AS e ON e.sequence = one.value
    WHERE NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.state <= 2 AND {_OF_EVENT})
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """One unended delivery, and what it ends as."""

    delivery: int
    route: int
    ordering_key: str | None
    state: int
    """DELIVERED or DEAD."""
    reason: str
    detail: str


def end(connection: sqlite3.Connection, tally: Tally, endings: Sequence[Ending], now: int) -> None:
    """End them; then let the next of each ordering key go, and let events rest that have nothing left to do."""
    connection.executemany(
        "UPDATE deliveries SET state = ?, reason = ?, detail = ?, ended_at = ? WHERE id = ?",
        [(one.state, one.reason, one.detail, now, one.delivery) for one in endings],
    )
    for one in endings:
        tally.count(one.route, unended=-1, dead=one.state == DEAD)
    release(connection, {(one.route, one.ordering_key): None for one in endings if one.ordering_key is not None}, now)
    _rest(connection, tally, {rules.sequence_of(one.delivery): None for one in endings})


def release(connection: sqlite3.Connection, keys: Iterable[tuple[int, str]], now: int) -> None:
    """Let the first that waits under each (route, ordering key) go, unless another one is out."""
    for route, key in keys:
        if key_is_taken(connection, route, key):
            continue
        row = connection.execute(NEXT_OF_KEY, (route, key)).fetchone()
        if row is not None:
            connection.execute("UPDATE deliveries SET state = 0, due_at = ? WHERE id = ?", (now, row[0]))


def _rest(connection: sqlite3.Connection, tally: Tally, sequences: Iterable[int]) -> None:
    rows = connection.execute(_ENDED_EVENTS, (json.dumps(list(sequences)),)).fetchall()
    connection.executemany(
        "INSERT INTO ended (subscription, dead, kept_from, sequence) VALUES (?, ?, ?, ?)",
        [
            (subscription, dead, rules.kept_from(ended_at, until), sequence)
            for sequence, subscription, _, until, ended_at, dead in rows
        ],
    )
    for _, subscription, size, _, _, _ in rows:
        tally.count_bytes(subscription, -size)
