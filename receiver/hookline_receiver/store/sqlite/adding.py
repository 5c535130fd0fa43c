"""Arrivals become events and deliveries; those that are known already become none."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hookline_receiver.event import Event, RouteRef
from hookline_receiver.journal.port import Position
from hookline_receiver.store import rules
from hookline_receiver.store.port import Added, Arrival
from hookline_receiver.store.sqlite.ledger import Directory, Tally

_CHUNK = 64
"""Keys looked up in one statement: one text, prepared once."""
_MARKS = ", ".join("?" * _CHUNK)


@dataclass(frozen=True, slots=True)
class _Known:
    """An event that an arrival may be a duplicate of."""

    sequence: int
    until: int
    body: bytes | None
    """None: not of this batch, to be read."""


class _Batch:
    """One call of `add`, within its transaction."""

    def __init__(
        self, connection: sqlite3.Connection, directory: Directory, same: Callable[[bytes, bytes], bool], now: int
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._same = same
        self._now = now
        self._tally = Tally()
        self._sequence: int = _next_sequence(connection)
        self._known: dict[tuple[bytes, int], list[_Known]] = {}
        self._paused: dict[int, int] = {}
        self._taken: set[tuple[int, str]] = set()
        self._repeated: dict[int, int] = {}
        self._compared = 0
        self._duplicates: list[bytes] = []
        self._targets: set[RouteRef] = set()
        self._rows: dict[str, list[tuple[Any, ...]]] = {
            table: [] for table in ("events", "bodies", "identities", "deliveries", "ended")
        }

    def run(self, arrivals: Sequence[Arrival]) -> Added:
        """Judge each arrival in turn, then write all of them."""
        seen = _ingest_ids(self._connection, [arrival.event.ingest_id for arrival in arrivals])
        for arrival in arrivals:
            if arrival.event.ingest_id not in seen:
                seen.add(arrival.event.ingest_id)
                self._take(arrival)
        self._write()
        return Added(len(self._rows["events"]), self._duplicates, self._targets)

    def _take(self, arrival: Arrival) -> None:
        event = arrival.event
        subscription = self._directory.subscription_made(event.subscription)
        held = self._holders(event, subscription)
        for known in reversed(held):
            if self._repeats(self._body(known), event.body):
                self._duplicates.append(event.ingest_id)
                self._repeated[known.sequence] = self._repeated.get(known.sequence, 0) + 1
                return
        self._store(arrival, subscription, own_id=rules.has_own_id(event, key_taken=bool(held)))

    def _repeats(self, known: bytes, body: bytes) -> bool:
        """Whether *body* tells the same event; bounded, since others' events wait for the store's thread meanwhile."""
        if known != body:
            self._compared += len(known)
        return known == body if self._compared > rules.BYTES_COMPARED else self._same(known, body)

    def _holders(self, event: Event, subscription: int) -> list[_Known]:
        """The newest events that hold the identity of *event* when it was accepted, oldest first."""
        if not event.identity.key:
            return []
        place = (event.identity.key, subscription)
        if place not in self._known:
            self._known[place] = self._holders_stored(*place)
        newest = self._known[place][-rules.BODIES_COMPARED :]
        return [known for known in newest if event.received_at_ns < known.until]

    def _body(self, known: _Known) -> bytes:
        if known.body is not None:
            return known.body
        body: bytes = self._connection.execute(
            "SELECT body FROM bodies WHERE sequence = ?", (known.sequence,)
        ).fetchone()[0]
        return body

    def _store(self, arrival: Arrival, subscription: int, *, own_id: bool) -> None:
        event, sequence = arrival.event, self._sequence
        self._sequence += 1
        self._rows["events"].append(_event_row(arrival, sequence, subscription, self._now, own_id=own_id))
        self._rows["bodies"].append((sequence, event.body))
        if event.identity.key:
            key = (event.identity.key, subscription)
            self._rows["identities"].append((*key, sequence, arrival.duplicate_until))
            self._known[key].append(_Known(sequence, arrival.duplicate_until, event.body))
        self._tally.count_events(subscription, 1)
        if arrival.targets:
            self._tally.count_bytes(subscription, len(event.body))
            self._fan_out(arrival, sequence)
        else:
            kept_from = rules.kept_from(self._now, arrival.duplicate_until)
            self._rows["ended"].append((subscription, 0, kept_from, sequence))

    def _fan_out(self, arrival: Arrival, sequence: int) -> None:
        received_at = arrival.event.received_at_ns
        for number, target in zip(rules.delivery_ids(sequence, arrival), arrival.targets, strict=True):
            route = self._directory.route_made(target.route)
            waits = target.ordering_key is not None and self._is_taken(route, target.ordering_key)
            born = received_at - self._paused_time(route)
            self._rows["deliveries"].append(
                (number, route, 2 if waits else 0, self._now, target.ordering_key, received_at, born)
            )
            self._tally.count(route, unended=1, deliveries=1)
            self._targets.add(target.route)

    def _is_taken(self, route: int, key: str) -> bool:
        """Whether another delivery of this ordering key goes first; from now on one does."""
        if (route, key) in self._taken:
            return True
        self._taken.add((route, key))
        return key_is_taken(self._connection, route, key)

    def _paused_time(self, route: int) -> int:
        if route not in self._paused:
            self._paused[route] = paused_time(self._connection, route, self._now)
        return self._paused[route]

    def _holders_stored(self, key: bytes, subscription: int) -> list[_Known]:
        # PERF: bounded, since one identity may be repeated as often as a sender likes.
        rows = self._connection.execute(
            "SELECT sequence, until FROM identities WHERE identity = ? AND subscription = ? ORDER BY sequence DESC LIMIT ?",
            (key, subscription, rules.BODIES_COMPARED),
        ).fetchall()
        return [_Known(sequence, until, None) for sequence, until in reversed(rows)]

    def _write(self) -> None:
        for table, columns in _COLUMNS.items():
            if self._rows[table]:
                self._connection.executemany(columns, self._rows[table])
        self._connection.executemany(
            "UPDATE events SET duplicates = duplicates + ? WHERE sequence = ?",
            [(times, sequence) for sequence, times in self._repeated.items()],
        )
        self._connection.execute("UPDATE state SET value = ? WHERE name = 'next_sequence'", (self._sequence,))
        self._tally.write(self._connection)


def add(
    connection: sqlite3.Connection,
    directory: Directory,
    same: Callable[[bytes, bytes], bool],
    arrivals: Sequence[Arrival],
    now: int,
) -> Added:
    """Store *arrivals*, find duplicates, fan out."""
    if not arrivals:
        return Added(0, (), ())
    return _Batch(connection, directory, same, now).run(arrivals)


def remember(connection: sqlite3.Connection, positions: Mapping[str, Position]) -> None:
    """Remember how far journals were carried; never goes back."""
    connection.executemany(
        """
        INSERT INTO positions (journal, segment, byte_offset) VALUES (?, ?, ?)
        ON CONFLICT (journal) DO UPDATE SET segment = excluded.segment, byte_offset = excluded.byte_offset
        WHERE (excluded.segment, excluded.byte_offset) > (segment, byte_offset)
        """,
        [(journal, position.segment, position.offset) for journal, position in positions.items()],
    )


def key_is_taken(connection: sqlite3.Connection, route: int, key: str) -> bool:
    """Whether a delivery of this ordering key is pending or in flight."""
    found = connection.execute(
        "SELECT 1 FROM deliveries WHERE route = ? AND ordering_key = ? AND state <= 1", (route, key)
    ).fetchone()
    return found is not None


def paused_time(connection: sqlite3.Connection, route: int, now: int) -> int:
    """For how long the clock of *route* has stood, nanoseconds."""
    row = connection.execute(
        "SELECT paused_total + ? - coalesce(paused_since, ?) FROM routes WHERE id = ?", (now, now, route)
    ).fetchone()
    return 0 if row is None else int(row[0])


_COLUMNS = {
    "events": """
        INSERT INTO events (
            sequence, ingest_id, subscription, received_at, stored_at, trigger_name, category, app_id, receiver_type,
            identity, strong, own_id, partition_key, subject, time_ms, traceparent, size, duplicate_until, unrouted
        ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    """,
    "bodies": "INSERT INTO bodies (sequence, body) VALUES (?, ?)",
    "identities": "INSERT INTO identities (identity, subscription, sequence, until) VALUES (?, ?, ?, ?)",
    "deliveries": """
        INSERT INTO deliveries (id, route, state, due_at, ordering_key, since, born) VALUES (?, ?, ?, ?, ?, ?, ?)
    """,
    "ended": "INSERT INTO ended (subscription, dead, kept_from, sequence) VALUES (?, ?, ?, ?)",
}


def _event_row(arrival: Arrival, sequence: int, subscription: int, now: int, *, own_id: bool) -> tuple[Any, ...]:
    event, envelope, identity = arrival.event, arrival.event.envelope, arrival.event.identity
    return (
        sequence,
        event.ingest_id,
        subscription,
        event.received_at_ns,
        now,
        envelope.trigger,
        envelope.category,
        envelope.app_id,
        envelope.receiver_type,
        identity.key,
        identity.strong,
        own_id,
        identity.partition_key,
        identity.subject,
        identity.time_ms,
        event.traceparent,
        len(event.body),
        arrival.duplicate_until,
        arrival.unrouted,
    )


def _next_sequence(connection: sqlite3.Connection) -> int:
    value: int = connection.execute("SELECT value FROM state WHERE name = 'next_sequence'").fetchone()[0]
    return value


def _ingest_ids(connection: sqlite3.Connection, ids: Sequence[bytes]) -> set[bytes]:
    found = _looked_up(connection, f"SELECT ingest_id FROM events WHERE ingest_id IN ({_MARKS})", ids)
    return {row[0] for row in found}


def _looked_up(connection: sqlite3.Connection, sql: str, keys: Sequence[bytes]) -> Iterable[tuple[Any, ...]]:
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        yield from connection.execute(sql, [*chunk, *([None] * (_CHUNK - len(chunk)))])
