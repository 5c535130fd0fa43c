"""The store itself, as whoever works with it sees it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.journal.port import Position
from hookline_receiver.store.port.arriving import Added, Arrival
from hookline_receiver.store.port.asking import (
    DeadLetter,
    Erased,
    Erasure,
    EventFilter,
    EventStory,
    Filter,
    Found,
    Redriven,
    Replayed,
    RouteBacklog,
    Walk,
)
from hookline_receiver.store.port.delivering import Claimed, DueRoute, Retention, Settlement


class StoreUnavailable(Exception):
    """The store could not do it now (disk full, I/O error). The transaction did not happen; try again later."""


class EventStore(Protocol):
    """Deliveries are worked off here, and events found again."""

    def positions(self) -> Mapping[str, Position]:
        """How far each journal has been carried, by the journal's name."""

    def add(self, arrivals: Sequence[Arrival], positions: Mapping[str, Position], now: int) -> Added:
        """
        Store *arrivals*, find duplicates, fan out and remember *positions*: one transaction.

        An ingest id that is there already is passed over, and is no duplicate. Positions never go back. An arrival of a
        known identity is a duplicate if its body is the same event's as that of one of the 16 newest within the window;
        else it is an event of its own, whose CloudEvent id is its ingest id.
        """

    def forget_journal(self, name: str) -> None:
        """Drop the position of a journal that has been removed."""

    def sync(self) -> None:
        """Return once everything committed so far is on stable storage: only then may journals be unlinked."""

    def due_routes(self, limit: int) -> Sequence[DueRoute]:
        """
        Routes that are not paused and have something to claim now or later, soonest first.

        A delivery in flight counts with the end of its lease; a held route is not due before the hold ends. Cost: *limit*,
        whatever is parked.
        """

    def hold(self, route: RouteRef, until: int) -> None:
        """Let `due_routes` not name *route* as due before *until* (an open breaker). The last call wins; 0: no hold."""

    def pause(self, routes: Collection[RouteRef], now: int) -> None:
        """Exactly these routes are paused from now on; the age of their deliveries stands still meanwhile."""

    def claim(self, route: RouteRef, limit: int, max_bytes: int, now: int, lease_until: int) -> Sequence[Claimed]:
        """
        Lease up to *limit* due deliveries of *route*, their bodies not above *max_bytes* together (one always fits).

        Deliveries whose lease ran out are due again. Of each ordering key at most one is out at a time. None of a paused
        route; a hold is no hindrance (half-open probes).
        Cost: what is claimed, whatever is parked.
        """

    def release_leases(self, now: int) -> int:
        """
        Let every lease lapse and return how many, and every hold: a new owner, at start, has no use for the old one's.

        Old fences stay valid only until the delivery is claimed again.
        """

    def settle(self, settlements: Sequence[Settlement], now: int) -> Collection[int]:
        """
        One transaction; returns the delivery ids that were settled. Those fenced out are missing and unchanged.

        A lapsed lease that nobody else took since is still settled.
        """

    def expired(self, route: RouteRef, max_age: int, limit: int, now: int) -> int:
        """End up to *limit* deliveries of *route* older than *max_age* ns and under no lease as dead; how many."""

    def retire(self, keep: Collection[RouteRef], limit: int, now: int) -> int:
        """End up to *limit* deliveries of routes not in *keep* and under no lease as dead (RouteRemoved); how many."""

    def purge(self, retention: Mapping[SubscriptionRef, Retention], default: Retention, limit: int, now: int) -> int:
        """Remove up to *limit* events with nothing left to do, past their retention and duplicates window; how many."""

    def pending_bytes(self) -> Mapping[SubscriptionRef, int]:
        """Bytes of events with an unended delivery, by subscription: what its share of storage is measured by."""

    def dead_letters(self, which: Filter, limit: int, after: int = 0) -> Sequence[DeadLetter]:
        """Oldest delivery id first, above *after*."""

    def redrive(
        self, which: Filter, limit: int, now: int, *, dry_run: bool, keep: Collection[RouteRef], after: int = 0
    ) -> Redriven:
        """
        Make up to *limit* dead letters of the routes in *keep* pending again, durable on return.

        In the order of their ids, above *after*: one that dies again at once is not met again on the same way.
        """

    def find(self, which: EventFilter, walk: Walk) -> Found:
        """Events that *which* holds for. Cost: what the step looks at, whatever is kept."""

    def replay(
        self, which: EventFilter, walk: Walk, fan_out: Callable[[Event], Arrival], now: int, *, dry_run: bool
    ) -> Replayed:
        """
        Send events again, to where *fan_out* says that they go now: one transaction, durable on return.

        A route that never had the event gets a delivery. One whose delivery has ended (delivered or dead) gets it again,
        under the same name and with its story going on. One whose delivery has not ended is left alone. All that became
        pending is marked as replay, its age and answers begin anew, and in an ordering it stands behind what is out, as
        a redriven one. Events that got a delivery are no longer unrouted, but for what *fan_out* says. Duplicates that
        were recognised are part of the event that they are duplicates of.
        """

    def erase(
        self, which: EventFilter, walk: Walk, holds: Callable[[Event], bool] | None, now: int, *, dry_run: bool
    ) -> Erased:
        """
        Remove events for which *which* and *holds* (None: any) are true, whatever their deliveries wait for; durable on return.

        Bodies, identities, deliveries and attempts go; what waited behind their deliveries goes on. A delivery that is
        under way can't be called back: its settlement is refused as one that lost its lease. Counts stay (`erasures`).
        """

    def erasures(self) -> Sequence[Erasure]:
        """Counts of what was erased, by day and subscription."""

    def story(self, ident: str) -> Sequence[EventStory]:
        """Events by ingest id (UUID), CloudEvent id or delivery name."""

    def backlog(self, which: Filter) -> Sequence[RouteBacklog]:
        """How much waits, one entry per route that has anything. Of *which*, only what names routes counts."""

    def close(self) -> None:
        """Let go of the store."""
