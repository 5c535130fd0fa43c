"""A walk through the kept events, one bounded step at a time: what `find`, `replay` and `erase` have in common."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hookline_receiver.event import Event
from hookline_receiver.store import rules
from hookline_receiver.store.port import EventFilter, Found, FoundDelivery, FoundEvent, State, Walk
from hookline_receiver.store.sqlite.claiming import EVENT_COLUMNS, event_of
from hookline_receiver.store.sqlite.ledger import Directory

R = TypeVar("R")

STATES = (State.PENDING, State.IN_FLIGHT, State.WAITING, State.DELIVERED, State.DEAD)
"""By the number that `deliveries.state` holds."""

_COLUMNS = """
    e.sequence, e.ingest_id, e.subscription, e.trigger_name, e.category, e.received_at, e.unrouted, e.identity, e.own_id,
    e.stored_at, e.size, e.duplicates, e.duplicate_until
"""
_OLDEST_FIRST = f"SELECT {_COLUMNS} FROM events AS e WHERE e.sequence > ? ORDER BY e.sequence LIMIT ?"
_NEWEST_FIRST = f"SELECT {_COLUMNS} FROM events AS e WHERE e.sequence < ? ORDER BY e.sequence DESC LIMIT ?"
_NAMED = f"SELECT {_COLUMNS} FROM events AS e WHERE e.ingest_id = ?"
_DELIVERIES = f"""
    SELECT id, route, state, reason, ordering_key FROM deliveries
    WHERE id >= ?1 * {rules.DELIVERIES_PER_EVENT} AND id < (?1 + 1) * {rules.DELIVERIES_PER_EVENT} ORDER BY id
"""
_LAST = (1 << 62) - 1


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of deliveries, as far as it is needed on the way."""

    number: int
    route: int
    state: int
    reason: str
    ordering_key: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """An event met on the way that the filter holds for."""

    sequence: int
    subscription: int
    facts: rules.Facts
    identity: bytes
    own_id: bool
    stored_at: int
    size: int
    duplicates: int
    duplicate_until: int
    deliveries: tuple[Delivery, ...]


def walked(
    connection: sqlite3.Connection,
    directory: Directory,
    which: EventFilter,
    walk: Walk,
    take: Callable[[Kept], R | None],
) -> rules.Walked[R]:
    """What *take* makes of the events that *which* holds for; it may change what it is given, and nothing else."""

    def kept(row: tuple[Any, ...]) -> R | None:
        found = _kept(connection, directory, which, row)
        return None if found is None else take(found)

    return rules.walked(walk, ((row[0], row) for row in _rows(connection, which, walk)), kept)


def find(connection: sqlite3.Connection, directory: Directory, which: EventFilter, walk: Walk) -> Found:
    """Events as a list shows them."""
    step = walked(connection, directory, which, walk, lambda kept: _found(directory, kept))
    return Found(step.found, step.next)


def event_at(connection: sqlite3.Connection, directory: Directory, sequence: int) -> Event:
    """The event with this number, whole."""
    row = connection.execute(
        f"SELECT {EVENT_COLUMNS} FROM events AS e JOIN bodies AS b ON b.sequence = e.sequence WHERE e.sequence = ?",
        (sequence,),
    ).fetchone()
    return event_of(directory, row)


def _rows(connection: sqlite3.Connection, which: EventFilter, walk: Walk) -> list[tuple[Any, ...]]:
    """Candidates, at most one more than may be examined: read at once, since the step may change these tables."""
    limit = walk.examined + 1
    place = walk.after or (_LAST if walk.newest_first else 0)
    if which.ingest_ids:
        named = (connection.execute(_NAMED, (ingest_id,)).fetchone() for ingest_id in set(which.ingest_ids))
        rows = [row for row in named if row and (row[0] < place if walk.newest_first else row[0] > place)]
        return sorted(rows, reverse=walk.newest_first)[:limit]
    return connection.execute(_NEWEST_FIRST if walk.newest_first else _OLDEST_FIRST, (place, limit)).fetchall()


def _kept(
    connection: sqlite3.Connection, directory: Directory, which: EventFilter, row: tuple[Any, ...]
) -> Kept | None:
    sequence, ingest_id, subscription, trigger, category, received_at, unrouted, identity, own_id, *rest = row
    stored_at, size, duplicates, duplicate_until = rest
    ref = directory.subscription_ref(subscription)
    facts = rules.Facts(ingest_id, ref, trigger, category, received_at, unrouted)
    if not rules.event_matches(which, facts):
        return None
    deliveries = tuple(Delivery(*one) for one in connection.execute(_DELIVERIES, (sequence,)))
    if not rules.deliveries_match(which, [_delivery(directory, one) for one in deliveries]):
        return None
    return Kept(
        sequence=sequence,
        subscription=subscription,
        facts=facts,
        identity=identity,
        own_id=bool(own_id),
        stored_at=stored_at,
        size=size,
        duplicates=duplicates,
        duplicate_until=duplicate_until,
        deliveries=deliveries,
    )


def _found(directory: Directory, kept: Kept) -> FoundEvent:
    facts = kept.facts
    return FoundEvent(
        ingest_id=facts.ingest_id,
        event_id=rules.event_id(facts.ingest_id, kept.identity, own_id=kept.own_id),
        subscription=facts.subscription,
        trigger=facts.trigger,
        category=facts.category,
        received_at=facts.received_at,
        stored_at=kept.stored_at,
        size=kept.size,
        duplicates=kept.duplicates,
        unrouted=facts.unrouted,
        deliveries=[_delivery(directory, one) for one in kept.deliveries],
    )


def _delivery(directory: Directory, one: Delivery) -> FoundDelivery:
    return FoundDelivery(directory.route_ref(one.route).name, STATES[one.state], one.reason)
