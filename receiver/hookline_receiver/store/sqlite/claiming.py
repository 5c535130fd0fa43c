"""What is due, under a lease; and what keeps a route from being due: a hold, a pause."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from hookline_receiver.event import Envelope, Event, Identity, RouteRef
from hookline_receiver.store import rules
from hookline_receiver.store.port import Claimed, DueRoute
from hookline_receiver.store.sqlite.adding import paused_time
from hookline_receiver.store.sqlite.ledger import Directory, Tally

EVENT_COLUMNS = """
    e.ingest_id, e.subscription, e.received_at, b.body, e.trigger_name, e.category, e.app_id, e.receiver_type,
    e.identity, e.strong, e.partition_key, e.subject, e.time_ms, e.traceparent
"""
"""What `event_of` makes an event of."""

DUE_ROUTES = "SELECT id, ready_at FROM routes WHERE ready_at IS NOT NULL ORDER BY ready_at, id LIMIT ?"

DUE = f"""
    SELECT {EVENT_COLUMNS}, d.id, d.fence, d.answers, d.born, d.replay, d.ordering_key, e.stored_at, e.own_id, e.size
    FROM deliveries AS d INDEXED BY deliveries_due
    CROSS JOIN events AS e ON e.sequence = d.id / {rules.DELIVERIES_PER_EVENT}
    CROSS JOIN bodies AS b ON b.sequence = e.sequence
    WHERE d.route = ? AND d.state <= 1 AND d.due_at <= ?
    ORDER BY d.due_at, d.id LIMIT ?
"""


def due_routes(connection: sqlite3.Connection, directory: Directory, limit: int) -> list[DueRoute]:
    """Routes with something to claim, soonest first."""
    rows = connection.execute(DUE_ROUTES, (limit,)).fetchall()
    return [DueRoute(directory.route_ref(route), ready_at) for route, ready_at in rows]


def hold(connection: sqlite3.Connection, directory: Directory, route: RouteRef, until: int) -> None:
    """Let *route* not be due before *until*."""
    connection.execute("UPDATE routes SET held_until = ? WHERE id = ?", (until, directory.route_made(route)))


def paused_routes(connection: sqlite3.Connection, directory: Directory) -> set[RouteRef]:
    """Routes that are paused now."""
    rows = connection.execute("SELECT id FROM routes WHERE paused_since IS NOT NULL").fetchall()
    return {directory.route_ref(route) for (route,) in rows}


def pause(connection: sqlite3.Connection, directory: Directory, routes: Collection[RouteRef], now: int) -> None:
    """Exactly these routes are paused from now on."""
    paused = paused_routes(connection, directory)
    connection.executemany(
        "UPDATE routes SET paused_total = paused_total + max(0, ? - paused_since), paused_since = NULL WHERE id = ?",
        [(now, directory.route(route)) for route in paused if route not in routes],
    )
    connection.executemany(
        "UPDATE routes SET paused_since = ? WHERE id = ?",
        [(now, directory.route_made(route)) for route in routes if route not in paused],
    )


def claim(
    connection: sqlite3.Connection,
    directory: Directory,
    ref: RouteRef,
    bounds: tuple[int, int],
    now: int,
    lease_until: int,
) -> list[Claimed]:
    """Lease due deliveries of *ref*, at most *bounds* (deliveries, bytes)."""
    limit, max_bytes = bounds
    route = directory.route(ref)
    if route is None or limit <= 0 or _is_paused(connection, route):
        return []
    rows = _fitting(connection.execute(DUE, (route, now, limit)), max_bytes)
    if not rows:
        return []
    connection.executemany(
        "UPDATE deliveries SET state = 1, fence = fence + 1, due_at = ? WHERE id = ?",
        [(lease_until, row[14]) for row in rows],
    )
    tally = Tally()
    tally.touch(route)
    tally.write(connection)
    stood = paused_time(connection, route, now)
    return [_claimed(directory, ref, row, now - stood) for row in rows]


def release_leases(connection: sqlite3.Connection, now: int) -> int:
    """Let every lease lapse that has not, and every hold."""
    routes = connection.execute(
        "UPDATE deliveries INDEXED BY deliveries_due SET due_at = min(due_at, ?) WHERE state <= 1 AND state = 1 RETURNING route",
        (now,),
    ).fetchall()
    connection.execute("UPDATE routes SET held_until = 0 WHERE held_until > 0")
    tally = Tally()
    for (route,) in routes:
        tally.touch(route)
    tally.write(connection)
    return len(routes)


def event_of(directory: Directory, row: Sequence[Any]) -> Event:
    """The event in a row of EVENT_COLUMNS."""
    return Event(
        ingest_id=row[0],
        subscription=directory.subscription_ref(row[1]),
        received_at_ns=row[2],
        body=row[3],
        envelope=Envelope(row[4], row[5], row[6], row[7]),
        identity=Identity(row[8], bool(row[9]), row[10], row[11], row[12]),
        traceparent=row[13],
    )


def _fitting(rows: sqlite3.Cursor, max_bytes: int) -> list[tuple[Any, ...]]:
    """The first rows whose bodies fit, one at least. PERF: read one by one, a body that does not fit ends it."""
    taken: list[tuple[Any, ...]] = []
    total = 0
    for row in rows:
        total += row[-1]
        if taken and total > max_bytes:
            break
        taken.append(row)
    rows.close()
    return taken


def _claimed(directory: Directory, ref: RouteRef, row: tuple[Any, ...], clock: int) -> Claimed:
    event = event_of(directory, row)
    delivery, fence, answers, born, replay, ordering_key, stored_at, own_id, _ = row[14:]
    return Claimed(
        delivery_id=delivery,
        fence=fence + 1,
        route=ref,
        event=event,
        event_id=rules.event_id(event.ingest_id, event.identity.key, own_id=bool(own_id)),
        stored_at=stored_at,
        attempts=answers,
        age=max(0, clock - born),
        replay=bool(replay),
        ordering_key=ordering_key,
    )


def _is_paused(connection: sqlite3.Connection, route: int) -> bool:
    row = connection.execute("SELECT paused_since FROM routes WHERE id = ?", (route,)).fetchone()
    return row is not None and row[0] is not None
