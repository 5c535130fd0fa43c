"""
The event store in memory: simple and obviously right, slow and forgetful.

What the contract means, written as plainly as it can be: every question walks through everything there is. For tests, and
the model that the other engines are compared with.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.journal.port import Position
from hookline_receiver.store import rules
from hookline_receiver.store.port import (
    Added,
    Arrival,
    Attempt,
    Claimed,
    Dead,
    DeadLetter,
    DeadReason,
    Delivered,
    DeliveryStory,
    DueRoute,
    Erased,
    Erasure,
    EventFilter,
    EventStory,
    Filter,
    Found,
    FoundDelivery,
    FoundEvent,
    Redriven,
    Replayed,
    Retention,
    RetryAt,
    RouteBacklog,
    Settlement,
    State,
    Target,
    Walk,
)

_OUT = (State.PENDING, State.IN_FLIGHT)
_UNENDED = (State.PENDING, State.IN_FLIGHT, State.WAITING)


@dataclass(slots=True)
class _Delivery:
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
class _Stored:
    sequence: int
    event: Event
    event_id: str
    stored_at: int
    duplicate_until: int
    unrouted: str
    duplicates: int = 0
    deliveries: list[_Delivery] = field(default_factory=list)

    def unended(self) -> bool:
        return any(one.state in _UNENDED for one in self.deliveries)

    def dead(self) -> bool:
        return any(one.state is State.DEAD for one in self.deliveries)

    def delivery(self, route: RouteRef) -> _Delivery | None:
        return next((one for one in self.deliveries if one.route == route), None)

    def endings(self, arrival: Arrival) -> list[Target]:
        """Targets that can have the event again: those that never had it, and those whose delivery has ended."""
        known = [(target, self.delivery(target.route)) for target in arrival.targets]
        return [target for target, delivery in known if delivery is None or delivery.state not in _UNENDED]

    def kept_from(self) -> int:
        ended_at = max((one.ended_at for one in self.deliveries), default=self.stored_at)
        return rules.kept_from(ended_at, self.duplicate_until)


@dataclass(slots=True)
class _Clock:
    """Of one route: stands while the route is paused."""

    paused_since: int | None = None
    paused_total: int = 0

    def read(self, now: int) -> int:
        standing = 0 if self.paused_since is None else now - self.paused_since
        return now - self.paused_total - standing


class MemoryEventStore:
    """An `EventStore` that ends with its process. `same(first, later)` as for every engine."""

    def __init__(self, *, same: Callable[[bytes, bytes], bool]) -> None:
        self._same = same
        self._events: list[_Stored] = []
        self._next_sequence = 1
        self._positions: dict[str, Position] = {}
        self._held: dict[RouteRef, int] = {}
        self._clocks: dict[RouteRef, _Clock] = {}
        self._erasures: dict[tuple[int, SubscriptionRef], Erasure] = {}

    def positions(self) -> Mapping[str, Position]:
        """How far each journal has been carried."""
        return dict(self._positions)

    def add(self, arrivals: Sequence[Arrival], positions: Mapping[str, Position], now: int) -> Added:
        """Store, find duplicates, fan out, remember positions."""
        duplicates: list[bytes] = []
        routes: set[RouteRef] = set()
        stored = 0
        seen = {one.event.ingest_id for one in self._events}
        for arrival in arrivals:
            if arrival.event.ingest_id in seen:
                continue
            seen.add(arrival.event.ingest_id)
            holders = self._holders(arrival.event)
            first = next((one for one in reversed(holders) if self._same(one.event.body, arrival.event.body)), None)
            if first is not None:
                first.duplicates += 1
                duplicates.append(arrival.event.ingest_id)
                continue
            self._store(arrival, now, key_taken=bool(holders))
            stored += 1
            routes.update(target.route for target in arrival.targets)
        for journal, position in positions.items():
            self._positions[journal] = max(position, self._positions.get(journal, position))
        return Added(stored, duplicates, routes)

    def _holders(self, event: Event) -> list[_Stored]:
        if not event.identity.key:
            return []
        equal = [
            one
            for one in self._events
            if one.event.subscription == event.subscription and one.event.identity.key == event.identity.key
        ]
        return [one for one in equal[-rules.BODIES_COMPARED :] if event.received_at_ns < one.duplicate_until]

    def _store(self, arrival: Arrival, now: int, *, key_taken: bool) -> None:
        event = arrival.event
        own_id = rules.has_own_id(event, key_taken=key_taken)
        event_id = rules.event_id(event.ingest_id, event.identity.key, own_id=own_id)
        stored = _Stored(self._next_sequence, event, event_id, now, arrival.duplicate_until, arrival.unrouted)
        self._next_sequence += 1
        self._events.append(stored)
        for number, target in zip(rules.delivery_ids(stored.sequence, arrival), arrival.targets, strict=True):
            state = State.WAITING if self._is_taken(target.route, target.ordering_key) else State.PENDING
            stood = now - self._clock(target.route).read(now)
            since = event.received_at_ns
            stored.deliveries.append(
                _Delivery(number, target.route, state, now, target.ordering_key, since, since - stood)
            )

    def forget_journal(self, name: str) -> None:
        """Drop a removed journal's position."""
        self._positions.pop(name, None)

    def sync(self) -> None:
        """Nothing here outlives the process."""

    def due_routes(self, limit: int) -> Sequence[DueRoute]:
        """Routes with something to claim, soonest first."""
        due: dict[RouteRef, int] = {}
        for one in self._deliveries():
            if one.state in _OUT and self._clock(one.route).paused_since is None:
                due[one.route] = min(one.due_at, due.get(one.route, one.due_at))
        found = [DueRoute(route, max(due_at, self._held.get(route, 0))) for route, due_at in due.items()]
        return sorted(found, key=lambda one: one.due_at)[:limit]

    def hold(self, route: RouteRef, until: int) -> None:
        """Let *route* not be due before *until*."""
        self._held[route] = until

    def pause(self, routes: Collection[RouteRef], now: int) -> None:
        """Exactly these routes are paused from now on."""
        for route, clock in self._clocks.items():
            if clock.paused_since is not None and route not in routes:
                clock.paused_total += max(0, now - clock.paused_since)
                clock.paused_since = None
        for route in routes:
            clock = self._clock(route)
            clock.paused_since = now if clock.paused_since is None else clock.paused_since

    def claim(self, route: RouteRef, limit: int, max_bytes: int, now: int, lease_until: int) -> Sequence[Claimed]:
        """Lease due deliveries."""
        if self._clock(route).paused_since is not None:
            return []
        due = [one for one in self._of(route) if one.state in _OUT and one.due_at <= now]
        due = sorted(due, key=lambda one: (one.due_at, one.number))[: max(0, limit)]
        due = due[: rules.fitting([len(self._event(one).event.body) for one in due], max_bytes)]
        for one in due:
            one.state, one.due_at, one.fence = State.IN_FLIGHT, lease_until, one.fence + 1
        return [self._claimed(one, now) for one in due]

    def _claimed(self, one: _Delivery, now: int) -> Claimed:
        stored = self._event(one)
        return Claimed(
            delivery_id=one.number,
            fence=one.fence,
            route=one.route,
            event=stored.event,
            event_id=stored.event_id,
            stored_at=stored.stored_at,
            attempts=one.answers,
            age=max(0, self._clock(one.route).read(now) - one.born),
            replay=one.replay,
            ordering_key=one.ordering_key,
        )

    def release_leases(self, now: int) -> int:
        """Let every lease and hold lapse."""
        leased = [one for one in self._deliveries() if one.state is State.IN_FLIGHT]
        for one in leased:
            one.due_at = min(one.due_at, now)
        self._held.clear()
        return len(leased)

    def settle(self, settlements: Sequence[Settlement], now: int) -> Collection[int]:
        """Say what became of claimed deliveries."""
        settled: list[int] = []
        deliveries = {one.number: one for one in self._deliveries()}
        for settlement in settlements:
            one = deliveries.get(settlement.delivery_id)
            if one is None or one.state is not State.IN_FLIGHT or one.fence != settlement.fence:
                continue
            settled.append(one.number)
            if settlement.attempt is not None:
                one.attempts = [*one.attempts, settlement.attempt][-rules.ATTEMPTS_KEPT :]
                one.answers += settlement.attempt.answered
            match settlement.result:
                case RetryAt(due_at):
                    one.state, one.due_at = State.PENDING, due_at
                case Delivered():
                    self._end(one, State.DELIVERED, "", "", now)
                case Dead(reason, detail):
                    self._end(one, State.DEAD, reason.value, detail, now)
        return settled

    def expired(self, route: RouteRef, max_age: int, limit: int, now: int) -> int:
        """End what grew too old."""
        clock = self._clock(route).read(now)
        old = [one for one in self._unclaimed(route, now) if clock - one.born > max_age][:limit]
        for one in old:
            self._end(one, State.DEAD, DeadReason.EXPIRED.value, rules.expired_detail(max_age), now)
        return len(old)

    def retire(self, keep: Collection[RouteRef], limit: int, now: int) -> int:
        """End what has no route any more."""
        gone = dict.fromkeys(one.route for one in self._deliveries() if one.route not in keep)
        ended = [one for route in gone for one in self._unclaimed(route, now)][:limit]
        for one in ended:
            self._end(one, State.DEAD, DeadReason.ROUTE_REMOVED.value, rules.removed_detail(one.route), now)
        return len(ended)

    def purge(self, retention: Mapping[SubscriptionRef, Retention], default: Retention, limit: int, now: int) -> int:
        """Remove what has been kept long enough."""
        done = []
        for one in self._events:
            kept = retention.get(one.event.subscription, default)
            if not one.unended() and one.kept_from() + (kept.dead if one.dead() else kept.delivered) <= now:
                done.append(one)
        for one in done[:limit]:
            self._events.remove(one)
        return len(done[:limit])

    def pending_bytes(self) -> Mapping[SubscriptionRef, int]:
        """Bytes of events with an unended delivery."""
        sizes: dict[SubscriptionRef, int] = {}
        for one in self._events:
            if one.unended() and one.event.body:
                sizes[one.event.subscription] = sizes.get(one.event.subscription, 0) + len(one.event.body)
        return sizes

    def dead_letters(self, which: Filter, limit: int, after: int = 0) -> Sequence[DeadLetter]:
        """Oldest first."""
        return [self._dead_letter(one) for one in self._dead(which) if one.number > after][:limit]

    def redrive(
        self, which: Filter, limit: int, now: int, *, dry_run: bool, keep: Collection[RouteRef], after: int = 0
    ) -> Redriven:
        """Make dead letters pending again."""
        found = list(self._dead(which))
        redriven = [one for one in found if one.route in keep and one.number > after][:limit]
        for one in [] if dry_run else redriven:
            self._revive(one, now)
        gone = sum(1 for one in found if one.route not in keep) if after == 0 else 0
        return Redriven(len(redriven), gone, redriven[-1].number if 0 < limit <= len(redriven) else 0)

    def _revive(self, one: _Delivery, now: int) -> None:
        one.state = State.WAITING if self._is_taken(one.route, one.ordering_key) else State.PENDING
        one.due_at = one.since = now
        one.born = self._clock(one.route).read(now)
        one.answers, one.replay, one.reason, one.detail, one.ended_at = 0, True, "", "", 0

    def find(self, which: EventFilter, walk: Walk) -> Found:
        """Events by what they are and how they stand."""
        step = rules.walked(walk, self._on(which, walk), lambda one: _found(one) if _matches(which, one) else None)
        return Found(step.found, step.next)

    def replay(
        self, which: EventFilter, walk: Walk, fan_out: Callable[[Event], Arrival], now: int, *, dry_run: bool
    ) -> Replayed:
        """Send events again."""
        step = rules.walked(walk, self._on(which, walk), lambda one: one if _matches(which, one) else None)
        fanned = [(one, fan_out(one.event)) for one in step.found]
        sent = [(one, arrival, one.endings(arrival)) for one, arrival in fanned if arrival.targets]
        for one, arrival, ended in sent if not dry_run else ():
            if ended:
                one.unrouted = arrival.unrouted
            for target in ended:
                self._send_again(one, target, now)
        deliveries = sum(len(ended) for _, _, ended in sent)
        return Replayed(
            events=sum(bool(ended) for _, _, ended in sent),
            deliveries=deliveries,
            under_way=sum(len(arrival.targets) for _, arrival, _ in sent) - deliveries,
            without_route=len(fanned) - len(sent),
            selected=len(fanned),
            next=step.next,
        )

    def _send_again(self, stored: _Stored, target: Target, now: int) -> None:
        delivery = stored.delivery(target.route)
        if delivery is None:
            numbers = [one.number for one in stored.deliveries]
            number = max(numbers, default=stored.sequence * rules.DELIVERIES_PER_EVENT - 1) + 1
            delivery = _Delivery(number, target.route, State.DELIVERED, now, None, now, now)
            stored.deliveries.append(delivery)
        delivery.ordering_key = target.ordering_key
        self._revive(delivery, now)

    def erase(
        self, which: EventFilter, walk: Walk, holds: Callable[[Event], bool] | None, now: int, *, dry_run: bool
    ) -> Erased:
        """Remove events."""
        step = rules.walked(
            walk,
            self._on(which, walk),
            lambda one: one if _matches(which, one) and (holds is None or holds(one.event)) else None,
        )
        unended = sum(delivery.state in _UNENDED for one in step.found for delivery in one.deliveries)
        for one in [] if dry_run else step.found:
            self._events.remove(one)
            for delivery in one.deliveries:
                self._let_next_go(delivery, now)
            self._count_erased(one, now)
        return Erased(len(step.found), unended, step.next)

    def _count_erased(self, one: _Stored, now: int) -> None:
        day, subscription = rules.day_of(now), one.event.subscription
        known = self._erasures.get((day, subscription), Erasure(day, subscription, 0, 0))
        unended = known.unended + sum(delivery.state in _UNENDED for delivery in one.deliveries)
        self._erasures[day, subscription] = Erasure(day, subscription, known.events + 1, unended)

    def erasures(self) -> Sequence[Erasure]:
        """Counts of what was erased."""

        def place(one: Erasure) -> tuple[int, str, str, str]:
            return one.day, one.subscription.namespace, one.subscription.name, one.subscription.uid

        return sorted(self._erasures.values(), key=place)

    def _on(self, which: EventFilter, walk: Walk) -> Iterator[tuple[int, _Stored]]:
        """Events from the walk's place on, in its order; those that are named, where some are."""
        kept = [one for one in self._events if not which.ingest_ids or one.event.ingest_id in which.ingest_ids]
        if walk.newest_first:
            last = walk.after or self._next_sequence
            return ((one.sequence, one) for one in reversed(kept) if one.sequence < last)
        return ((one.sequence, one) for one in kept if one.sequence > walk.after)

    def story(self, ident: str) -> Sequence[EventStory]:
        """What became of events."""
        wanted = rules.wanted(ident)
        found = [
            one
            for one in self._events
            if one.event.ingest_id == wanted.ingest_id or (wanted.key is not None and one.event_id == wanted.key.hex())
        ]
        return [self._story(one) for one in found[: rules.STORIES_SHOWN]]

    def backlog(self, which: Filter) -> Sequence[RouteBacklog]:
        """How much waits."""
        routes = dict.fromkeys(one.route for one in self._deliveries() if rules.route_matches(which, one.route))
        found = [self._backlog(route) for route in routes]
        return [one for one in found if one.pending or one.dead]

    def _backlog(self, route: RouteRef) -> RouteBacklog:
        unended = sorted(
            (one for one in self._of(route) if one.state in _UNENDED), key=lambda one: (one.born, one.number)
        )
        dead = sum(1 for one in self._of(route) if one.state is State.DEAD)
        return RouteBacklog(route, len(unended), dead, unended[0].since if unended else None)

    def close(self) -> None:
        """Nothing to let go of."""

    def _deliveries(self) -> Iterator[_Delivery]:
        return (delivery for one in self._events for delivery in one.deliveries)

    def _of(self, route: RouteRef) -> list[_Delivery]:
        return [one for one in self._deliveries() if one.route == route]

    def _event(self, delivery: _Delivery) -> _Stored:
        return next(one for one in self._events if delivery in one.deliveries)

    def _clock(self, route: RouteRef) -> _Clock:
        return self._clocks.setdefault(route, _Clock())

    def _is_taken(self, route: RouteRef, key: str | None) -> bool:
        return key is not None and any(one.ordering_key == key and one.state in _OUT for one in self._of(route))

    def _unclaimed(self, route: RouteRef, now: int) -> list[_Delivery]:
        """Oldest first; a lapsed lease is none."""
        unclaimed = (State.PENDING, State.WAITING)
        found = [
            one
            for one in self._of(route)
            if one.state in unclaimed or (one.state is State.IN_FLIGHT and one.due_at <= now)
        ]
        return sorted(found, key=lambda one: (one.born, one.number))

    def _end(self, one: _Delivery, state: State, reason: str, detail: str, now: int) -> None:
        one.state, one.reason, one.detail, one.ended_at = state, reason, detail, now
        self._let_next_go(one, now)

    def _let_next_go(self, one: _Delivery, now: int) -> None:
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

    def _dead(self, which: Filter) -> Iterator[_Delivery]:
        for one in self._deliveries():
            event = self._event(one).event
            if (
                one.state is State.DEAD
                and rules.route_matches(which, one.route)
                and which.trigger in ("", event.envelope.trigger)
                and which.reason in ("", one.reason)
                and (not which.ingest_ids or event.ingest_id in which.ingest_ids)
            ):
                yield one

    def _dead_letter(self, one: _Delivery) -> DeadLetter:
        stored = self._event(one)
        return DeadLetter(
            delivery_id=one.number,
            ingest_id=stored.event.ingest_id,
            event_id=stored.event_id,
            route=one.route,
            trigger=stored.event.envelope.trigger,
            reason=one.reason,
            detail=one.detail,
            attempts=one.answers,
            received_at=stored.event.received_at_ns,
            died_at=one.ended_at,
        )

    def _story(self, one: _Stored) -> EventStory:
        deliveries = [
            DeliveryStory(
                delivery_id=delivery.number,
                route=delivery.route,
                state=delivery.state,
                reason=delivery.reason,
                detail=delivery.detail,
                due_at=delivery.due_at if delivery.state in _OUT else 0,
                attempts=list(delivery.attempts),
                replay=delivery.replay,
            )
            for delivery in one.deliveries
        ]
        return EventStory(one.event, one.event_id, one.stored_at, one.duplicates, one.unrouted, deliveries)


def _matches(which: EventFilter, one: _Stored) -> bool:
    event = one.event
    facts = rules.Facts(
        event.ingest_id,
        event.subscription,
        event.envelope.trigger,
        event.envelope.category,
        event.received_at_ns,
        one.unrouted,
    )
    return rules.event_matches(which, facts) and rules.deliveries_match(which, _found(one).deliveries)


def _found(one: _Stored) -> FoundEvent:
    event = one.event
    return FoundEvent(
        ingest_id=event.ingest_id,
        event_id=one.event_id,
        subscription=event.subscription,
        trigger=event.envelope.trigger,
        category=event.envelope.category,
        received_at=event.received_at_ns,
        stored_at=one.stored_at,
        size=len(event.body),
        duplicates=one.duplicates,
        unrouted=one.unrouted,
        deliveries=[FoundDelivery(each.route.name, each.state, each.reason) for each in one.deliveries],
    )
