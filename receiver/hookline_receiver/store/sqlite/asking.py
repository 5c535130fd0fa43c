"""What people ask: dead letters, one event's story, how much waits; and to send dead letters again."""

import heapq
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any

from hookline_receiver.event import RouteRef, SubscriptionRef
from hookline_receiver.store import rules
from hookline_receiver.store.port import (
    Attempt,
    DeadLetter,
    DeliveryStory,
    EventStory,
    Filter,
    Redriven,
    RouteBacklog,
)
from hookline_receiver.store.sqlite.claiming import EVENT_COLUMNS, event_of
from hookline_receiver.store.sqlite.finding import STATES
from hookline_receiver.store.sqlite.ledger import Directory
from hookline_receiver.store.sqlite.reviving import Ended, revive

DEAD_OF_ROUTE = f"""
    SELECT d.id, d.route, e.ingest_id, e.identity, e.own_id, e.trigger_name, d.reason, d.detail, d.answers,
        e.received_at, d.ended_at, d.ordering_key
    FROM deliveries AS d INDEXED BY deliveries_dead
    CROSS JOIN events AS e ON e.sequence = d.id / {rules.DELIVERIES_PER_EVENT}
    WHERE d.route = ?1 AND d.state = 4 AND d.id > ?2
        AND (?3 = '' OR e.trigger_name = ?3) AND (?4 = '' OR d.reason = ?4)
    ORDER BY d.id LIMIT ?5
"""
_DEAD_OF_EVENT = f"""
    SELECT d.id, d.route, e.ingest_id, e.identity, e.own_id, e.trigger_name, d.reason, d.detail, d.answers,
        e.received_at, d.ended_at, d.ordering_key
    FROM events AS e
    CROSS JOIN deliveries AS d ON d.id >= e.sequence * {rules.DELIVERIES_PER_EVENT}
        AND d.id < (e.sequence + 1) * {rules.DELIVERIES_PER_EVENT}
    WHERE e.ingest_id = ?1 AND d.state = 4 AND d.id > ?2
        AND (?3 = '' OR e.trigger_name = ?3) AND (?4 = '' OR d.reason = ?4)
    ORDER BY d.id LIMIT ?5
"""


def dead_letters(
    connection: sqlite3.Connection, directory: Directory, which: Filter, limit: int, after: int
) -> list[DeadLetter]:
    """Oldest delivery first."""
    routes = {
        number: ref for number, ref in _routes(connection, directory, "dead > 0") if rules.route_matches(which, ref)
    }
    return [_dead_letter(row, routes[row[1]]) for row in _dead(connection, which, routes, limit, after)]


def redrive(
    connection: sqlite3.Connection,
    directory: Directory,
    which: Filter,
    limit: int,
    now: int,
    *,
    dry_run: bool,
    keep: Collection[RouteRef],
    after: int,
) -> Redriven:
    """Make dead letters pending again; how many, and how many are left dead since their route is gone."""
    routes = {
        number: ref for number, ref in _routes(connection, directory, "dead > 0") if rules.route_matches(which, ref)
    }
    kept = [number for number, ref in routes.items() if ref in keep]
    gone = [number for number, ref in routes.items() if ref not in keep]
    left = len(_dead(connection, which, gone, -1, 0)) if after == 0 else 0
    rows = _dead(connection, which, kept, limit, after)
    if not dry_run:
        revive(connection, [Ended(row[0], row[1], row[-1], dead=True) for row in rows], now)
    return Redriven(len(rows), left, rows[-1][0] if 0 < limit <= len(rows) else 0)


def story(connection: sqlite3.Connection, directory: Directory, ident: str) -> list[EventStory]:
    """Events by ingest id, CloudEvent id or delivery name."""
    wanted = rules.wanted(ident)
    sequences = connection.execute(
        """
        SELECT sequence FROM events WHERE ingest_id = ?1
        UNION SELECT i.sequence FROM identities AS i JOIN events AS e ON e.sequence = i.sequence
            WHERE i.identity = ?2 AND e.own_id = 0
        ORDER BY 1 LIMIT ?3
        """,
        (wanted.ingest_id, wanted.key, rules.STORIES_SHOWN),
    ).fetchall()
    return [_story(connection, directory, sequence) for (sequence,) in sequences]


def backlog(connection: sqlite3.Connection, directory: Directory, which: Filter) -> list[RouteBacklog]:
    """How much waits, by route."""
    rows = connection.execute(
        """
        SELECT id, unended, dead,
            (SELECT since FROM deliveries WHERE route = routes.id AND state <= 2 ORDER BY born, id LIMIT 1)
        FROM routes WHERE unended > 0 OR dead > 0 ORDER BY id
        """
    ).fetchall()
    named = ((directory.route_ref(route), unended, dead, oldest) for route, unended, dead, oldest in rows)
    return [RouteBacklog(*row) for row in named if rules.route_matches(which, row[0])]


def pending_bytes(connection: sqlite3.Connection, directory: Directory) -> dict[SubscriptionRef, int]:
    """Bytes of events with an unended delivery."""
    rows = connection.execute("SELECT id, pending_bytes FROM subscriptions WHERE pending_bytes > 0").fetchall()
    return {directory.subscription_ref(number): size for number, size in rows}


def _routes(connection: sqlite3.Connection, directory: Directory, condition: str) -> Iterator[tuple[int, RouteRef]]:
    rows = connection.execute(f"SELECT id FROM routes WHERE {condition} ORDER BY id").fetchall()
    return ((number, directory.route_ref(number)) for (number,) in rows)


def _dead(
    connection: sqlite3.Connection, which: Filter, routes: Collection[int], limit: int, after: int
) -> list[tuple[Any, ...]]:
    """Rows of dead deliveries of these routes, oldest first; *limit* -1: all."""
    sources: Iterable[Iterable[tuple[Any, ...]]]
    bounds = (after, which.trigger, which.reason, limit)
    if which.ingest_ids:
        found = (
            row
            for ingest_id in set(which.ingest_ids)
            for row in connection.execute(_DEAD_OF_EVENT, (ingest_id, *bounds))
        )
        sources = [sorted(row for row in found if row[1] in routes)]
    else:
        sources = [connection.execute(DEAD_OF_ROUTE, (route, *bounds)) for route in routes]
    return list(islice(heapq.merge(*sources, key=lambda row: row[0]), None if limit < 0 else limit))


def _dead_letter(row: tuple[Any, ...], route: RouteRef) -> DeadLetter:
    delivery, _, ingest_id, identity, own_id, trigger, reason, detail, answers, received_at, died_at, _ = row
    return DeadLetter(
        delivery_id=delivery,
        ingest_id=ingest_id,
        event_id=rules.event_id(ingest_id, identity, own_id=bool(own_id)),
        route=route,
        trigger=trigger,
        reason=reason,
        detail=detail,
        attempts=answers,
        received_at=received_at,
        died_at=died_at,
    )


def _story(connection: sqlite3.Connection, directory: Directory, sequence: int) -> EventStory:
    row = connection.execute(
        f"""
        SELECT {EVENT_COLUMNS}, e.own_id, e.stored_at, e.duplicates, e.unrouted
        FROM events AS e JOIN bodies AS b ON b.sequence = e.sequence WHERE e.sequence = ?
        """,
        (sequence,),
    ).fetchone()
    event = event_of(directory, row)
    own_id, stored_at, duplicates, unrouted = row[14:]
    return EventStory(
        event=event,
        event_id=rules.event_id(event.ingest_id, event.identity.key, own_id=bool(own_id)),
        stored_at=stored_at,
        duplicates=duplicates,
        unrouted=unrouted,
        deliveries=[_delivery(connection, directory, row) for row in _deliveries(connection, sequence)],
    )


def _deliveries(connection: sqlite3.Connection, sequence: int) -> list[tuple[Any, ...]]:
    first = sequence * rules.DELIVERIES_PER_EVENT
    return connection.execute(
        "SELECT id, route, state, reason, detail, due_at, replay FROM deliveries WHERE id >= ? AND id < ? ORDER BY id",
        (first, first + rules.DELIVERIES_PER_EVENT),
    ).fetchall()


def _delivery(connection: sqlite3.Connection, directory: Directory, row: tuple[Any, ...]) -> DeliveryStory:
    delivery, route, state, reason, detail, due_at, replay = row
    attempts = connection.execute(
        """
        SELECT started_at, ended_at, code, detail, endpoint, answered FROM attempts
        WHERE delivery = ? ORDER BY number DESC LIMIT ?
        """,
        (delivery, rules.ATTEMPTS_KEPT),
    ).fetchall()
    return DeliveryStory(
        delivery_id=delivery,
        route=directory.route_ref(route),
        state=STATES[state],
        reason=reason,
        detail=detail,
        due_at=due_at if state <= 1 else 0,
        attempts=[_attempt(*call) for call in reversed(attempts)],
        replay=bool(replay),
    )


def _attempt(started_at: int, ended_at: int, code: str, detail: str, endpoint: str, answered: int) -> Attempt:
    return Attempt(started_at, ended_at, code, detail, endpoint, bool(answered))
