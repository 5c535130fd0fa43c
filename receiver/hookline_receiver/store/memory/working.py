"""Events and deliveries as carrier and forwarder work them off."""

from collections.abc import Callable, Collection, Mapping, Sequence

from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.journal.port import Position
from hookline_receiver.store import rules
from hookline_receiver.store.memory.kept import OUT, Delivery, Kept, Stored
from hookline_receiver.store.port import (
    Added,
    Arrival,
    Claimed,
    Dead,
    DeadReason,
    Delivered,
    DueRoute,
    Retention,
    RetryAt,
    Settlement,
    State,
)


class Working(Kept):
    """What carrier and forwarder ask for."""

    def __init__(self, same: Callable[[bytes, bytes], bool]) -> None:
        super().__init__()
        self._same = same
        self._positions: dict[str, Position] = {}
        self._held: dict[RouteRef, int] = {}

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

    def _holders(self, event: Event) -> list[Stored]:
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
        stored = Stored(self._next_sequence, event, event_id, now, arrival.duplicate_until, arrival.unrouted)
        self._next_sequence += 1
        self._events.append(stored)
        for number, target in zip(rules.delivery_ids(stored.sequence, arrival), arrival.targets, strict=True):
            state = State.WAITING if self._is_taken(target.route, target.ordering_key) else State.PENDING
            stood = now - self._clock(target.route).read(now)
            since = event.received_at_ns
            stored.deliveries.append(
                Delivery(number, target.route, state, now, target.ordering_key, since, since - stood)
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
            if one.state in OUT and self._clock(one.route).paused_since is None:
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
        due = [one for one in self._of(route) if one.state in OUT and one.due_at <= now]
        due = sorted(due, key=lambda one: (one.due_at, one.number))[: max(0, limit)]
        due = due[: rules.fitting([len(self._event(one).event.body) for one in due], max_bytes)]
        for one in due:
            one.state, one.due_at, one.fence = State.IN_FLIGHT, lease_until, one.fence + 1
        return [self._claimed(one, now) for one in due]

    def _claimed(self, one: Delivery, now: int) -> Claimed:
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
