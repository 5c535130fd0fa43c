"""What is kept: events with their deliveries, and how one delivery's state changes another's."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hookline_receiver.event import Event, RouteRef
from hookline_receiver.store import rules
from hookline_receiver.store.port import Arrival, Attempt, State, Target

OUT = (State.PENDING, State.IN_FLIGHT)
UNENDED = (State.PENDING, State.IN_FLIGHT, State.WAITING)


@dataclass(slots=True)
class Delivery:
    """One event's way to one route."""

    number: int
    route: RouteRef
    state: State
    due_at: int
    ordering_key: str | None
    since: int
    born: int
    fence: int = 0
    answers: int = 0
    replay: bool = False
    reason: str = ""
    detail: str = ""
    ended_at: int = 0
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(slots=True)
class Stored:
    """An event that was taken up, and its deliveries."""

    sequence: int
    event: Event
    event_id: str
    stored_at: int
    duplicate_until: int
    unrouted: str
    duplicates: int = 0
    deliveries: list[Delivery] = field(default_factory=list)

    def unended(self) -> bool:
        """Whether a delivery is still to come."""
        return any(one.state in UNENDED for one in self.deliveries)

    def dead(self) -> bool:
        """Whether one of its deliveries is a dead letter."""
        return any(one.state is State.DEAD for one in self.deliveries)

    def delivery(self, route: RouteRef) -> Delivery | None:
        """Its delivery to *route*, if it has one."""
        return next((one for one in self.deliveries if one.route == route), None)

    def endings(self, arrival: Arrival) -> list[Target]:
        """Targets that can have the event again: those that never had it, and those whose delivery has ended."""
        known = [(target, self.delivery(target.route)) for target in arrival.targets]
        return [target for target, delivery in known if delivery is None or delivery.state not in UNENDED]

    def kept_from(self) -> int:
        """When its retention begins."""
        ended_at = max((one.ended_at for one in self.deliveries), default=self.stored_at)
        return rules.kept_from(ended_at, self.duplicate_until)


@dataclass(slots=True)
class Clock:
    """Of one route: stands while the route is paused."""

    paused_since: int | None = None
    paused_total: int = 0

    def read(self, now: int) -> int:
        """What it says at *now*."""
        standing = 0 if self.paused_since is None else now - self.paused_since
        return now - self.paused_total - standing


class Kept:
    """Everything that there is, and the few steps that all the rest is made of."""

    def __init__(self) -> None:
        self._events: list[Stored] = []
        self._next_sequence = 1
        self._clocks: dict[RouteRef, Clock] = {}

    def _deliveries(self) -> Iterator[Delivery]:
        return (delivery for one in self._events for delivery in one.deliveries)

    def _of(self, route: RouteRef) -> list[Delivery]:
        return [one for one in self._deliveries() if one.route == route]

    def _event(self, delivery: Delivery) -> Stored:
        return next(one for one in self._events if delivery in one.deliveries)

    def _clock(self, route: RouteRef) -> Clock:
        return self._clocks.setdefault(route, Clock())

    def _is_taken(self, route: RouteRef, key: str | None) -> bool:
        return key is not None and any(one.ordering_key == key and one.state in OUT for one in self._of(route))

    def _unclaimed(self, route: RouteRef, now: int) -> list[Delivery]:
        """Oldest first; a lapsed lease is none."""
        unclaimed = (State.PENDING, State.WAITING)
        found = [
            one
            for one in self._of(route)
            if one.state in unclaimed or (one.state is State.IN_FLIGHT and one.due_at <= now)
        ]
        return sorted(found, key=lambda one: (one.born, one.number))

    def _revive(self, one: Delivery, now: int) -> None:
        one.state = State.WAITING if self._is_taken(one.route, one.ordering_key) else State.PENDING
        one.due_at = one.since = now
        one.born = self._clock(one.route).read(now)
        one.answers, one.replay, one.reason, one.detail, one.ended_at = 0, True, "", "", 0

    def _end(self, one: Delivery, state: State, reason: str, detail: str, now: int) -> None:
        one.state, one.reason, one.detail, one.ended_at = state, reason, detail, now
        self._let_next_go(one, now)

    def _let_next_go(self, one: Delivery, now: int) -> None:
        """The next of the key of *one*, which is out no more."""
        if one.ordering_key is None or self._is_taken(one.route, one.ordering_key):
            return
        waiting = [
            other
            for other in self._of(one.route)
            if other.state is State.WAITING and other.ordering_key == one.ordering_key
        ]
        if waiting:
            first = min(waiting, key=lambda other: other.number)
            first.state, first.due_at = State.PENDING, now
