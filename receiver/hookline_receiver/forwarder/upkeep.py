"""
What the store needs done now and then, in small bites: pausing, expiry, retirement and purging.

Each bite is bounded in rows and each round in time, since claims and carrying wait for the same thread.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hookline_receiver.carrying.routebook import RouteBook
from hookline_receiver.store.port import EventStore, Filter, Retention, RouteBacklog

if TYPE_CHECKING:
    from hookline_receiver.event import RouteRef

log = logging.getLogger(__name__)

_HOUR = 3600 * 1_000_000_000
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class UpkeepLimits:
    """Bounds of a round; times in nanoseconds."""

    bite: int = 200
    """Rows of one transaction."""
    budget: int = 20_000_000
    """Time of one round, after which the rest waits for the next one."""
    slow: int = 10 * _SECOND
    """Between two searches that found nothing the last time."""
    backlog: int = 5 * _SECOND
    """Between two counts of the backlog, for the metrics."""
    default: Retention = field(default_factory=lambda: Retention(delivered=24 * _HOUR, dead=168 * _HOUR))
    """For subscriptions that are gone."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found."""

    backlog: Sequence[RouteBacklog] | None
    """None: not counted in this round."""
    ended: int
    """Deliveries that expired or lost their route."""
    released: bool
    """Whether routes may have become due: pauses changed."""


class Upkeep:
    """Looks after a store; call `round` every second, from the store's thread."""

    def __init__(
        self,
        book: Callable[[], RouteBook | None],
        healthy: Callable[[], bool],
        clock: Callable[[], int],
        limits: UpkeepLimits | None = None,
        elapsed: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """*healthy*: whether the routes in force are what the table says, so that what is not there is really gone."""
        self._book = book
        self._healthy = healthy
        self._clock = clock
        self._limits = limits or UpkeepLimits()
        self._elapsed = elapsed
        self._paused: tuple[RouteBook, frozenset[RouteRef]] | None = None
        self._expiry: list[RouteRef] = []
        self._next: dict[str, int] = {}

    def round(self, store: EventStore) -> Round:
        """Do what is due, as far as the time goes; raises StoreUnavailable."""
        book = self._book()
        now = self._clock()
        released, ended = False, 0
        if book is not None:
            released = self._pause(store, book, now)
            until = self._elapsed() + self._limits.budget
            ended = self._expire(store, book, now, until) + self._retire(store, book, now, until)
            self._purge(store, book, now, until)
        backlog = store.backlog(Filter()) if self._due("backlog", now, self._limits.backlog) else None
        return Round(backlog, ended, released)

    def _pause(self, store: EventStore, book: RouteBook, now: int) -> bool:
        if self._paused is not None and self._paused[0] is book:
            return False
        paused = book.paused
        before = self._paused[1] if self._paused else None
        store.pause(paused, now)
        self._paused = (book, paused)
        self._next.pop("retire", None)
        return before != paused

    def _expire(self, store: EventStore, book: RouteBook, now: int, until: int) -> int:
        """End what is too old, route by route; the round after goes on where the time was over."""
        ended = 0
        if not self._expiry:
            self._expiry = list(book.routes)
        while self._expiry and self._elapsed() < until:
            plan = book.routes.get(self._expiry[-1])
            found = 0
            if plan is not None and not plan.paused:
                found = store.expired(plan.ref, plan.retry.max_age, self._limits.bite, now)
                if found:
                    log.error("deliveries died of age", extra={"route": str(plan.ref), "deliveries": found})
            ended += found
            if found < self._limits.bite:
                self._expiry.pop()
        return ended

    def _retire(self, store: EventStore, book: RouteBook, now: int, until: int) -> int:
        """End what has no route any more; never by a table that is missing or can't be read."""
        if not self._healthy() or not self._due("retire", now, self._limits.slow):
            return 0
        ended, keep = 0, frozenset(book.routes)
        while True:
            found = store.retire(keep, self._limits.bite, now)
            ended += found
            if found < self._limits.bite:
                break
            if self._elapsed() >= until:
                self._next.pop("retire", None)
                break
        if ended:
            log.error("deliveries died since their route is gone", extra={"deliveries": ended})
        return ended

    def _purge(self, store: EventStore, book: RouteBook, now: int, until: int) -> None:
        if not self._due("purge", now, self._limits.slow):
            return
        retention = book.retention
        while store.purge(retention, self._limits.default, self._limits.bite, now) >= self._limits.bite:
            if self._elapsed() >= until:
                self._next.pop("purge", None)
                return

    def _due(self, what: str, now: int, interval: int) -> bool:
        if now < self._next.get(what, 0):
            return False
        self._next[what] = now + interval
        return True
