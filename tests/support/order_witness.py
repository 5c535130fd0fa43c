"""What the order's specification is told of a gateway: what arrives, what ends and why, what comes back."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import Event, RouteRef
from hookline_receiver.journal.port import Position
from hookline_receiver.store.port import (
    Added,
    Arrival,
    Claimed,
    Dead,
    DeadReason,
    Delivered,
    EventFilter,
    Filter,
    Settlement,
    State,
    Walk,
)
from hookline_receiver.store.sqlite import SqliteEventStore
from support.order_specification import OrderSpecification

Delivery = tuple[int, str]
ALL = 10_000
MAX_ATTEMPTS = 3
MAX_AGE = 600


class Witness:
    """What was accepted, what handlers said since a delivery came (back), and the specification that is told."""

    def __init__(self, key_of: Callable[[Event, RouteRef], str | None]) -> None:
        """*key_of*: under which key an event stands in a route's line, by the routes of now."""
        self._key_of = key_of
        self.specification = OrderSpecification()
        self.numbers: dict[bytes, int] = {}
        """Number of each event's acceptance, by ingest id."""
        self.carried = 0
        self.said: dict[Delivery, list[str]] = {}

    def accepted(self, event: Event) -> None:
        """A worker journalled it, the latest of all."""
        self.numbers[event.ingest_id] = len(self.numbers) + 1

    def delivery(self, ingest_id: bytes, route: RouteRef) -> Delivery:
        """As the specification calls it."""
        return self.numbers[ingest_id], route.name

    def named(self, name: str) -> Delivery:
        """The delivery of this name, "{ingest id}/{route}"."""
        ident, _, route = name.partition("/")
        return self.numbers[UUID(ident).bytes], route

    def arrived(self, arrivals: Sequence[Arrival]) -> None:
        """They were carried: in the order of their acceptance, each once."""
        for one in arrivals:
            number = self.numbers[one.event.ingest_id]
            assert number > self.carried, "carried behind what was accepted later"
            self.carried = number
            self.sent(one.event, one)

    def sent(self, event: Event, arrival: Arrival) -> None:
        """Deliveries of *event* came (back) to those routes where none is under way."""
        for target in arrival.targets:
            delivery = self.delivery(event.ingest_id, target.route)
            if delivery not in self.specification.unended:
                self.said[delivery] = []
                self.specification.arrives(*delivery, self._key_of(event, target.route))

    def ended(self, delivery: Delivery, result: Delivered | Dead) -> None:
        """It ended; for a reason that there was."""
        said = self.said[delivery]
        match result:
            case Delivered():
                assert "accept" in said, f"{delivery} ended as delivered and nobody took it"
            case Dead(DeadReason.REJECTED):
                assert "reject" in said, f"{delivery} ended as rejected and nobody refused it"
            case Dead(DeadReason.ATTEMPTS_EXHAUSTED):
                assert said.count("retry") >= MAX_ATTEMPTS, f"{delivery} ended after {said}"
        self.specification.ends(*delivery)


class TellingStore(SqliteEventStore):
    """The real store; tells what arrives and ends, and checks that what it gives out may be out."""

    def __init__(self, path: Path, witness: Witness) -> None:
        super().__init__(path, same=same_event)
        self._witness = witness
        self._claimed: dict[int, Delivery] = {}
        self._fences: dict[int, int] = {}
        """The newest of each delivery."""

    def add(self, arrivals: Sequence[Arrival], positions: Mapping[str, Position], now: int) -> Added:
        """Add, and tell."""
        added = super().add(arrivals, positions, now)
        assert added.stored == len(arrivals)
        self._witness.arrived(arrivals)
        return added

    def claim(self, route: RouteRef, limit: int, max_bytes: int, now: int, lease_until: int) -> Sequence[Claimed]:
        """Claim, and check."""
        claimed = super().claim(route, limit, max_bytes, now, lease_until)
        for one in claimed:
            delivery = self._claimed[one.delivery_id] = self._witness.delivery(one.event.ingest_id, one.route)
            assert one.fence > self._fences.get(one.delivery_id, 0)
            self._fences[one.delivery_id] = one.fence
            assert self._witness.specification.may_be_out(*delivery), f"{delivery} was claimed out of turn"
        return claimed

    def settle(self, settlements: Sequence[Settlement], now: int) -> Collection[int]:
        """Settle, and tell what ended."""
        settled = super().settle(settlements, now)
        for one in settlements:
            newest = one.delivery_id in settled and one.fence == self._fences[one.delivery_id]
            if newest and isinstance(one.result, Delivered | Dead):
                self._witness.ended(self._claimed[one.delivery_id], one.result)
        return settled

    def expired(self, route: RouteRef, max_age: int, limit: int, now: int) -> int:
        """Expire, and tell."""
        return self._telling(lambda: super(TellingStore, self).expired(route, max_age, limit, now))

    def retire(self, keep: Collection[RouteRef], limit: int, now: int) -> int:
        """Retire, and tell."""
        return self._telling(lambda: super(TellingStore, self).retire(keep, limit, now))

    def _telling(self, work: Callable[[], int]) -> int:
        before = self.dead()
        ended = work()
        for delivery, reason in self.dead().items():
            if delivery not in before:
                self._witness.ended(delivery, Dead(reason, ""))
        return ended

    def dead(self) -> dict[Delivery, DeadReason]:
        """All dead letters, the oldest first."""
        letters = self.dead_letters(Filter(), ALL)
        return {self._witness.delivery(one.ingest_id, one.route): DeadReason(one.reason) for one in letters}

    def redrive_some(self, ingest_ids: Sequence[bytes], keep: Collection[RouteRef], now: int) -> None:
        """Redrive the dead letters of these events, and tell."""
        before = self.dead()
        self.redrive(Filter(ingest_ids=ingest_ids), ALL, now, dry_run=False, keep=keep)
        after = self.dead()
        for delivery in before:
            if delivery not in after:
                self._witness.said[delivery] = []
                self._witness.specification.is_redriven(*delivery)

    def replay_some(self, ingest_ids: Sequence[bytes], fan: Callable[[Event], Arrival], now: int) -> None:
        """Send these events again to where they go now, and tell."""
        again: list[Arrival] = []

        def fan_and_remember(event: Event) -> Arrival:
            again.append(fan(event))
            return again[-1]

        self.replay(EventFilter(ingest_ids=ingest_ids), Walk(ALL, ALL), fan_and_remember, now, dry_run=False)
        for arrival in again:
            self._witness.sent(arrival.event, arrival)

    def states(self) -> dict[Delivery, State]:
        """How every delivery stands."""
        return {
            self._witness.delivery(ingest_id, delivery.route): delivery.state
            for ingest_id in self._witness.numbers
            for story in self.story(str(UUID(bytes=ingest_id)))
            for delivery in story.deliveries
        }
