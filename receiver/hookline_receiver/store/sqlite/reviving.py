"""Deliveries that have ended become pending again: dead letters that are redriven, events that are replayed."""

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from hookline_receiver.event import Event
from hookline_receiver.store import rules
from hookline_receiver.store.port import Arrival, EventFilter, Replayed, Target, Walk
from hookline_receiver.store.sqlite.adding import key_is_taken, paused_time
from hookline_receiver.store.sqlite.ending import DEAD, DELIVERED
from hookline_receiver.store.sqlite.finding import Delivery, Kept, event_at, walked
from hookline_receiver.store.sqlite.ledger import Directory, Tally


@dataclass(frozen=True, slots=True)
class Ended:
    """A delivery that is to be pending again, under this ordering key."""

    number: int
    route: int
    ordering_key: str | None
    dead: bool


def revive(connection: sqlite3.Connection, ended: Collection[Ended], now: int) -> None:
    """Make them pending again; their story goes on, answers and age begin anew."""
    tally = Tally()
    wake(connection, tally, sorted({rules.sequence_of(one.number) for one in ended}))
    for one in ended:
        _revive(connection, tally, one, now)
    tally.write(connection)


def _revive(connection: sqlite3.Connection, tally: Tally, one: Ended, now: int) -> None:
    waits = one.ordering_key is not None and key_is_taken(connection, one.route, one.ordering_key)
    connection.execute(
        """
        UPDATE deliveries SET state = ?, due_at = ?, ordering_key = ?, answers = 0, since = ?, born = ?, replay = 1,
            reason = '', detail = '', ended_at = NULL WHERE id = ?
        """,
        (
            2 if waits else 0,
            now,
            one.ordering_key,
            now,
            now - paused_time(connection, one.route, now),
            one.number,
        ),
    )
    tally.count(one.route, unended=1, dead=-1 if one.dead else 0)


def wake(connection: sqlite3.Connection, tally: Tally, sequences: Collection[int]) -> None:
    """Events that rested have something to do again: their bytes are pending, their retention has not begun."""
    rows = connection.execute(
        f"""
        SELECT e.subscription, e.size, e.sequence, e.duplicate_until, coalesce((
            SELECT max(ended_at) FROM deliveries WHERE id >= e.sequence * {rules.DELIVERIES_PER_EVENT}
            AND id < (e.sequence + 1) * {rules.DELIVERIES_PER_EVENT}
        ), e.stored_at) FROM json_each(?) AS one CROSS JOIN events AS e ON e.sequence = one.value
        """,
        (json.dumps(list(sequences)),),
    ).fetchall()
    for subscription, size, sequence, duplicate_until, ended_at in rows:
        resting = connection.execute(
            "DELETE FROM ended WHERE subscription = ? AND dead IN (0, 1) AND kept_from = ? AND sequence = ?",
            (subscription, rules.kept_from(ended_at, duplicate_until), sequence),
        ).rowcount
        if resting:
            tally.count_bytes(subscription, size)


@dataclass(slots=True)
class _Counts:
    events: int = 0
    deliveries: int = 0
    under_way: int = 0
    without_route: int = 0


class _Replay:
    """One step, within its transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        directory: Directory,
        fan_out: Callable[[Event], Arrival],
        now: int,
        *,
        dry_run: bool,
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._fan_out = fan_out
        self._now = now
        self._dry_run = dry_run
        self._tally = Tally()
        self.counts = _Counts()

    def take(self, kept: Kept) -> Kept:
        """Send one event again."""
        arrival = self._fan_out(event_at(self._connection, self._directory, kept.sequence))
        if not arrival.targets:
            self.counts.without_route += 1
            return kept
        had = {self._directory.route_ref(one.route): one for one in kept.deliveries}
        ended = [target for target in arrival.targets if _has_ended(had.get(target.route))]
        self.counts.under_way += len(arrival.targets) - len(ended)
        self.counts.deliveries += len(ended)
        self.counts.events += bool(ended)
        if ended and not self._dry_run:
            wake(self._connection, self._tally, [kept.sequence])
            self._send(kept, ended, {target.route.name: had.get(target.route) for target in ended})
            self._connection.execute(
                "UPDATE events SET unrouted = ? WHERE sequence = ?", (arrival.unrouted, kept.sequence)
            )
        return kept

    def _send(self, kept: Kept, targets: Sequence[Target], had: dict[str, Delivery | None]) -> None:
        number = max((one.number for one in kept.deliveries), default=kept.sequence * rules.DELIVERIES_PER_EVENT - 1)
        for target in targets:
            known = had[target.route.name]
            if known is not None:
                ended = Ended(known.number, known.route, target.ordering_key, known.state == DEAD)
            else:
                number += 1
                ended = Ended(number, self._made(number, target), target.ordering_key, dead=False)
            _revive(self._connection, self._tally, ended, self._now)

    def _made(self, number: int, target: Target) -> int:
        """A delivery that the event never had, as if it had just been delivered; returns its route."""
        route = self._directory.route_made(target.route)
        self._connection.execute(
            "INSERT INTO deliveries (id, route, state, due_at, since, born) VALUES (?, ?, ?, ?, ?, ?)",
            (number, route, DELIVERED, self._now, self._now, self._now),
        )
        self._tally.count(route, deliveries=1)
        return route

    def write(self) -> None:
        """Bring the sums up to date."""
        self._tally.write(self._connection)


def replay(
    connection: sqlite3.Connection,
    directory: Directory,
    which: EventFilter,
    walk: Walk,
    fan_out: Callable[[Event], Arrival],
    now: int,
    *,
    dry_run: bool,
) -> Replayed:
    """Send events again, to where they go now."""
    step = _Replay(connection, directory, fan_out, now, dry_run=dry_run)
    way = walked(connection, directory, which, walk, step.take)
    step.write()
    counts = step.counts
    return Replayed(
        events=counts.events,
        deliveries=counts.deliveries,
        under_way=counts.under_way,
        without_route=counts.without_route,
        selected=len(way.found),
        next=way.next,
    )


def _has_ended(known: Delivery | None) -> bool:
    """Whether it can be sent again: it was never sent, or has ended."""
    return known is None or known.state in (DELIVERED, DEAD)
