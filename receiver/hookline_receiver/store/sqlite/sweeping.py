"""What nobody asked for but time: deliveries grow too old, routes go away, events have been kept long enough."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

from hookline_receiver.event import RouteRef, SubscriptionRef
from hookline_receiver.store import rules
from hookline_receiver.store.port import DeadReason, Retention
from hookline_receiver.store.sqlite.adding import paused_time
from hookline_receiver.store.sqlite.ending import DEAD, Ending, end
from hookline_receiver.store.sqlite.erasing import DELETIONS
from hookline_receiver.store.sqlite.ledger import Directory, Tally

OLDER = """
    SELECT id, ordering_key FROM deliveries INDEXED BY deliveries_age
    WHERE route = ? AND state <= 2 AND born < ? AND (state <> 1 OR due_at <= ?) ORDER BY born, id LIMIT ?
"""
"""Unclaimed ones, a lapsed lease being none. Skips what is in flight, which is bounded by the route's maxInFlight."""

PAST_RETENTION = """
    SELECT kept_from, sequence FROM ended WHERE subscription = ? AND dead = ? AND kept_from <= ? ORDER BY kept_from LIMIT ?
"""

_ALL_AGES = 1 << 62

_SPARE_PAGES = 4096
"""Free pages that stay in the file for the events to come (16 MiB); so does a quarter of the file."""
_PAGES_GIVEN_BACK = 512
"""At most so many at once (2 MiB): each is a page moved within the transaction."""


def expired(
    connection: sqlite3.Connection, directory: Directory, ref: RouteRef, max_age: int, limit: int, now: int
) -> int:
    """End what grew older than *max_age*."""
    if (route := directory.route(ref)) is None:
        return 0
    born_before = now - paused_time(connection, route, now) - max_age
    rows = connection.execute(OLDER, (route, born_before, now, limit)).fetchall()
    return _end_dead(connection, route, rows, (DeadReason.EXPIRED, rules.expired_detail(max_age)), now)


def retire(
    connection: sqlite3.Connection, directory: Directory, keep: Collection[RouteRef], limit: int, now: int
) -> int:
    """End deliveries of routes that are gone; forget a gone route that has no delivery left."""
    ended = 0
    for (route,) in connection.execute("SELECT id FROM routes WHERE unended > 0 ORDER BY id").fetchall():
        ref = directory.route_ref(route)
        if ref in keep:
            continue
        rows = connection.execute(OLDER, (route, _ALL_AGES, now, limit - ended)).fetchall()
        ended += _end_dead(connection, route, rows, (DeadReason.ROUTE_REMOVED, rules.removed_detail(ref)), now)
        if ended >= limit:
            break
    return ended


def _end_dead(
    connection: sqlite3.Connection,
    route: int,
    rows: Iterable[tuple[int, str | None]],
    why: tuple[DeadReason, str],
    now: int,
) -> int:
    reason, detail = why
    endings = [Ending(delivery, route, key, DEAD, reason.value, detail) for delivery, key in rows]
    if endings:
        tally = Tally()
        end(connection, tally, endings, now)
        tally.write(connection)
    return len(endings)


def purge(
    connection: sqlite3.Connection,
    directory: Directory,
    retention: Mapping[SubscriptionRef, Retention],
    default: Retention,
    limit: int,
    now: int,
) -> int:
    """Remove events past their retention."""
    purged = 0
    for (subscription,) in connection.execute("SELECT id FROM subscriptions WHERE events > 0 ORDER BY id").fetchall():
        kept = retention.get(directory.subscription_ref(subscription), default)
        for dead, how_long in ((0, kept.delivered), (1, kept.dead)):
            if purged < limit:
                place = (subscription, dead)
                rows = connection.execute(PAST_RETENTION, (*place, now - how_long, limit - purged)).fetchall()
                purged += _remove(connection, place, rows)
    _forget_idle(connection, directory, now)
    return purged


def give_back_space(connection: sqlite3.Connection) -> None:
    """Shorten the file by a few pages if far more are free than will soon be used again. Not within a transaction."""
    (free,), (pages,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count"))
    surplus = free - max(_SPARE_PAGES, pages // 4)
    if surplus > 0:
        # Not `execute`: it takes the pragma's first step only, which is one page.
        connection.executescript(f"PRAGMA incremental_vacuum({min(surplus, _PAGES_GIVEN_BACK)})")


def _remove(connection: sqlite3.Connection, place: tuple[int, int], rows: Sequence[tuple[int, int]]) -> int:
    """Remove events listed in `ended` under *place* (subscription, dead)."""
    if not rows:
        return 0
    sequences = json.dumps([sequence for _, sequence in rows])
    tally = Tally()
    tally.count_events(place[0], -len(rows))
    for route, state, deliveries in connection.execute(_COUNTED, (sequences,)).fetchall():
        tally.count(route, dead=-deliveries if state == DEAD else 0, deliveries=-deliveries)
    connection.executemany(
        "DELETE FROM ended WHERE subscription = ? AND dead = ? AND kept_from = ? AND sequence = ?",
        [(*place, *row) for row in rows],
    )
    identities = connection.execute(_IDENTITIES, (sequences,)).fetchall()
    connection.executemany(
        "DELETE FROM identities WHERE identity = ? AND subscription = ? AND sequence = ?", identities
    )
    for deletion in DELETIONS:
        connection.executemany(deletion, [(sequence,) for _, sequence in rows])
    tally.write(connection)
    return len(rows)


def _forget_idle(connection: sqlite3.Connection, directory: Directory, now: int) -> None:
    """Forget routes and subscriptions of which nothing is left; they come back by themselves with their next event."""
    forgotten = connection.execute(
        "DELETE FROM routes WHERE deliveries = 0 AND paused_since IS NULL AND held_until <= ?", (now,)
    ).rowcount
    forgotten += connection.execute(
        "DELETE FROM subscriptions WHERE events = 0 AND NOT EXISTS (SELECT 1 FROM routes WHERE subscription = subscriptions.id)"
    ).rowcount
    if forgotten:
        directory.forget()


_COUNTED = f"""
    SELECT d.route, d.state, count(*) FROM json_each(?) AS one
    CROSS JOIN deliveries AS d ON d.id >= one.value * {rules.DELIVERIES_PER_EVENT}
        AND d.id < (one.value + 1) * {rules.DELIVERIES_PER_EVENT}
    GROUP BY d.route, d.state
"""
_IDENTITIES = """
    SELECT e.identity, e.subscription, e.sequence FROM json_each(?) AS one
    CROSS JOIN events AS e ON e.sequence = one.value WHERE e.identity <> x''
"""
