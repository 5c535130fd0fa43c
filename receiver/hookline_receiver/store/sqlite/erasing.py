"""Events go for good, with everything that hangs on them; counts of them stay."""

import sqlite3
from collections.abc import Callable

from hookline_receiver.event import Event, SubscriptionRef
from hookline_receiver.store import rules
from hookline_receiver.store.port import Erased, Erasure, EventFilter, Walk
from hookline_receiver.store.sqlite.ending import DEAD, release
from hookline_receiver.store.sqlite.finding import Kept, event_at, walked
from hookline_receiver.store.sqlite.ledger import Directory, Tally

_UNENDED = (0, 1, 2)


class _Erasing:
    """One step, within its transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        directory: Directory,
        holds: Callable[[Event], bool] | None,
        now: int,
        *,
        dry_run: bool,
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._holds = holds
        self._now = now
        self._dry_run = dry_run
        self._tally = Tally()
        self.events = 0
        self.unended = 0

    def take(self, kept: Kept) -> Kept | None:
        """Erase one event, if it is meant."""
        if self._holds is not None and not self._holds(event_at(self._connection, self._directory, kept.sequence)):
            return None
        unended = sum(one.state in _UNENDED for one in kept.deliveries)
        self.events += 1
        self.unended += unended
        if not self._dry_run:
            self._remove(kept, unended)
            self._count(kept.facts.subscription, unended)
        return kept

    def _remove(self, kept: Kept, unended: int) -> None:
        ended_at = self._connection.execute(_LAST_END, (kept.sequence,)).fetchone()[0]
        kept_from = rules.kept_from(kept.stored_at if ended_at is None else ended_at, kept.duplicate_until)
        self._connection.execute(
            "DELETE FROM ended WHERE subscription = ? AND dead IN (0, 1) AND kept_from = ? AND sequence = ?",
            (kept.subscription, kept_from, kept.sequence),
        )
        self._connection.execute(
            "DELETE FROM identities WHERE identity = ? AND subscription = ? AND sequence = ?",
            (kept.identity, kept.subscription, kept.sequence),
        )
        for deletion in DELETIONS:
            self._connection.execute(deletion, (kept.sequence,))
        for one in kept.deliveries:
            self._tally.count(one.route, unended=-(one.state in _UNENDED), dead=-(one.state == DEAD), deliveries=-1)
        self._tally.count_events(kept.subscription, -1)
        if unended:
            self._tally.count_bytes(kept.subscription, -kept.size)
        keys = [(one.route, one.ordering_key) for one in kept.deliveries if one.ordering_key is not None]
        release(self._connection, keys, self._now)

    def _count(self, ref: SubscriptionRef, unended: int) -> None:
        self._connection.execute(
            """
            INSERT INTO erasures (day, uid, namespace, name, events, unended) VALUES (?, ?, ?, ?, 1, ?)
            ON CONFLICT DO UPDATE SET events = events + 1, unended = unended + excluded.unended
            """,
            (rules.day_of(self._now), ref.uid, ref.namespace, ref.name, unended),
        )

    def write(self) -> None:
        """Bring the sums up to date."""
        self._tally.write(self._connection)


def erase(
    connection: sqlite3.Connection,
    directory: Directory,
    which: EventFilter,
    walk: Walk,
    holds: Callable[[Event], bool] | None,
    now: int,
    *,
    dry_run: bool,
) -> Erased:
    """Remove events for which *which* and *holds* (None: any) are true."""
    step = _Erasing(connection, directory, holds, now, dry_run=dry_run)
    way = walked(connection, directory, which, walk, step.take)
    step.write()
    return Erased(step.events, step.unended, way.next)


def erasures(connection: sqlite3.Connection) -> list[Erasure]:
    """Counts of what was erased, by day and subscription."""
    rows = connection.execute(
        "SELECT day, uid, namespace, name, events, unended FROM erasures ORDER BY day, namespace, name, uid"
    ).fetchall()
    return [Erasure(day, SubscriptionRef(*ref), events, unended) for day, *ref, events, unended in rows]


_LAST_END = f"""
    SELECT max(ended_at) FROM deliveries
    WHERE id >= ?1 * {rules.DELIVERIES_PER_EVENT} AND id < (?1 + 1) * {rules.DELIVERIES_PER_EVENT}
"""
DELETIONS = (
    f"""
    DELETE FROM deliveries
    WHERE id >= ?1 * {rules.DELIVERIES_PER_EVENT} AND id < (?1 + 1) * {rules.DELIVERIES_PER_EVENT}
    """,
    "DELETE FROM events WHERE sequence = ?",
)
"""Attempts and bodies go along."""
