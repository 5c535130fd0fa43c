"""The store: beside what is worked off, what people ask for."""

from collections.abc import Callable, Collection, Iterator, Sequence

from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.store import rules
from hookline_receiver.store.memory.kept import OUT, UNENDED, Delivery, Stored
from hookline_receiver.store.memory.working import Working
from hookline_receiver.store.port import (
    Arrival,
    DeadLetter,
    DeliveryStory,
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
    RouteBacklog,
    State,
    Target,
    Walk,
)


class MemoryEventStore(Working):
    """An `EventStore` that ends with its process. `same(first, later)` as for every engine."""

    def __init__(self, *, same: Callable[[bytes, bytes], bool]) -> None:
        super().__init__(same)
        self._erasures: dict[tuple[int, SubscriptionRef], Erasure] = {}

    def dead_letters(self, which: Filter, limit: int, after: int = 0) -> Sequence[DeadLetter]:
        """Oldest first."""
        return [self._dead_letter(one) for one in self._dead(which) if one.number > after][:limit]

    def _dead(self, which: Filter) -> Iterator[Delivery]:
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

    def _dead_letter(self, one: Delivery) -> DeadLetter:
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

    def _send_again(self, stored: Stored, target: Target, now: int) -> None:
        delivery = stored.delivery(target.route)
        if delivery is None:
            numbers = [one.number for one in stored.deliveries]
            number = max(numbers, default=stored.sequence * rules.DELIVERIES_PER_EVENT - 1) + 1
            delivery = Delivery(number, target.route, State.DELIVERED, now, None, now, now)
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
        unended = sum(delivery.state in UNENDED for one in step.found for delivery in one.deliveries)
        for one in [] if dry_run else step.found:
            self._events.remove(one)
            for delivery in one.deliveries:
                self._let_next_go(delivery, now)
            self._count_erased(one, now)
        return Erased(len(step.found), unended, step.next)

    def _count_erased(self, one: Stored, now: int) -> None:
        day, subscription = rules.day_of(now), one.event.subscription
        known = self._erasures.get((day, subscription), Erasure(day, subscription, 0, 0))
        unended = known.unended + sum(delivery.state in UNENDED for delivery in one.deliveries)
        self._erasures[day, subscription] = Erasure(day, subscription, known.events + 1, unended)

    def erasures(self) -> Sequence[Erasure]:
        """Counts of what was erased."""

        def place(one: Erasure) -> tuple[int, str, str, str]:
            return one.day, one.subscription.namespace, one.subscription.name, one.subscription.uid

        return sorted(self._erasures.values(), key=place)

    def _on(self, which: EventFilter, walk: Walk) -> Iterator[tuple[int, Stored]]:
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

    def _story(self, one: Stored) -> EventStory:
        deliveries = [
            DeliveryStory(
                delivery_id=delivery.number,
                route=delivery.route,
                state=delivery.state,
                reason=delivery.reason,
                detail=delivery.detail,
                due_at=delivery.due_at if delivery.state in OUT else 0,
                attempts=list(delivery.attempts),
                replay=delivery.replay,
            )
            for delivery in one.deliveries
        ]
        return EventStory(one.event, one.event_id, one.stored_at, one.duplicates, one.unrouted, deliveries)

    def backlog(self, which: Filter) -> Sequence[RouteBacklog]:
        """How much waits."""
        routes = dict.fromkeys(one.route for one in self._deliveries() if rules.route_matches(which, one.route))
        found = [self._backlog(route) for route in routes]
        return [one for one in found if one.pending or one.dead]

    def _backlog(self, route: RouteRef) -> RouteBacklog:
        unended = sorted(
            (one for one in self._of(route) if one.state in UNENDED), key=lambda one: (one.born, one.number)
        )
        dead = sum(1 for one in self._of(route) if one.state is State.DEAD)
        return RouteBacklog(route, len(unended), dead, unended[0].since if unended else None)

    def close(self) -> None:
        """Nothing to let go of."""


def _matches(which: EventFilter, one: Stored) -> bool:
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


def _found(one: Stored) -> FoundEvent:
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
