"""A route's turns and a claim's work do not depend on what others have parked; under a clock that the tests move."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import pytest

from hookline.handler.v1 import handler_pb2 as pb
from hookline_receiver.carrying.routebook import RouteBook
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import RouteRef
from hookline_receiver.forwarder.decide import CallFailed
from hookline_receiver.forwarder.loop import LoopLimits
from hookline_receiver.store.port import Arrival, Claimed, Filter, Target
from hookline_receiver.store.sqlite import SqliteEventStore
from support.forwarder import CHAT, SECOND, a_book, a_route, a_subscription, accept, an_event
from support.loop import NOON, LoopRig, settle
from support.store import connection_of

MILLION = 1_000_000
PER_EVENT = 1_000
"""Deliveries of one event: the quickest way to park many."""
TOMORROW = NOON + 86_400 * SECOND
LATER, WAITING, DEAD, PAUSED = (RouteRef(CHAT, name) for name in ("later", "waiting", "dead", "paused"))


def the_book() -> RouteBook:
    """A route that is well, and routes with what is parked."""
    others = [a_route(one.name, service=one.name, triggers=["call_ended"]) for one in (LATER, WAITING, DEAD)]
    paused = a_route(PAUSED.name, service=PAUSED.name, triggers=["call_ended"], paused=True)
    return a_book(a_subscription(a_route("fine", service="fine", triggers=["message_sent"]), *others, paused))


class CountingStore(SqliteEventStore):
    """Counts the instructions that SQLite's machine runs in each claim of the route that is well."""

    steps: list[int]

    def claim(self, route: RouteRef, limit: int, max_bytes: int, now: int, lease_until: int) -> Sequence[Claimed]:
        """Claim, and count."""
        counter = count()
        connection = connection_of(self)
        connection.set_progress_handler(lambda: next(counter) and 0, 1)
        try:
            return super().claim(route, limit, max_bytes, now, lease_until)
        finally:
            connection.set_progress_handler(None, 1)
            self.steps.append(next(counter))


def park(store: SqliteEventStore, deliveries: int) -> None:
    """So many of others: due tomorrow, behind others of their key, dead, paused; a quarter of each."""
    share = deliveries // 4
    for _ in range(share // PER_EVENT):
        store.add([many(DEAD, None)], {}, NOON)
        assert store.retire([], PER_EVENT, NOON) == PER_EVENT
    store.pause([PAUSED], NOON)
    for _ in range(share // PER_EVENT):
        store.add([many(LATER, None), many(WAITING, "one"), many(PAUSED, None)], {}, TOMORROW)


def many(route: RouteRef, ordering_key: str | None) -> Arrival:
    """An event that goes to *route* so many times."""
    event = an_event(trigger="call_ended", received_at_ns=TOMORROW)
    return Arrival(event, [Target(route, ordering_key)] * PER_EVENT, "", event.received_at_ns)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CountingStore, CountingStore]]:
    """One with nothing parked, one with a million deliveries."""
    made = []
    for parked in (0, MILLION):
        store = CountingStore(tmp_path_factory.mktemp("store") / "store.db", same=same_event)
        store.steps = []
        park(store, parked)
        made.append(store)
    yield made[0], made[1]
    for store in made:
        store.close()


@dataclass(frozen=True)
class Service:
    """How a route was served."""

    times: list[float]
    """When its handler was called."""
    sizes: list[int]
    turns: int
    """Of the loop, all in all."""
    steps: list[int]
    """Of each claim."""


async def serve(store: CountingStore) -> Service:
    """What a route that is well gets, with an event every 100 ms and now and then a burst."""
    rig = LoopRig(the_book(), store=store)
    async with rig.running():
        for number in range(50):
            rig.add(*(an_event(trigger="message_sent") for _ in range(40 if number % 10 == 0 else 1)))
            await rig.clock.advance(0.1)
        turns = rig.runner.visits
    return Service(rig.handlers.times("fine"), rig.handlers.sizes("fine"), turns, store.steps)


async def test_a_million_parked_deliveries_of_others_change_nothing(
    stores: tuple[CountingStore, CountingStore],
) -> None:
    """A week of a dead handler's events: the healthy route has the same turns at the same times, at the same cost."""
    parked = sum(one.pending + one.dead for one in stores[1].backlog(Filter()))
    assert parked == MILLION

    alone, beside = await serve(stores[0]), await serve(stores[1])

    assert len(alone.times) == 45 + 5 * 40
    assert (alone.times, alone.sizes, alone.turns) == (beside.times, beside.sizes, beside.turns)
    assert len(alone.steps) == len(beside.steps)
    assert max(full - bare for bare, full in zip(alone.steps, beside.steps, strict=True)) <= 20


async def test_a_newcomer_has_its_turn_before_the_old_backlogs_are_worked_off() -> None:
    """More routes are due than a turn claims for, all longer than the new one: whoever waited longest for a turn has it."""
    busy = [
        a_route(f"busy-{number}", service=f"busy-{number}", triggers=["call_ended"], max_in_flight=1)
        for number in range(12)
    ]
    fine = a_route("fine", service="fine", triggers=["message_sent"])
    rig = LoopRig(a_book(a_subscription(*busy, fine)), limits=LoopLimits(orders=3))
    rig.add(*(an_event(trigger="call_ended") for _ in range(100)))
    rig.clock.time += SECOND
    rig.add(an_event(trigger="message_sent"))
    async with rig.running():
        for _ in range(200):
            await settle()
            if rig.handlers.times("fine"):
                break
    before = [service for service, _, _ in rig.handlers.requests].index("fine")
    assert before < 3 * len(busy)


async def test_a_probe_goes_the_moment_the_breaker_allows_it() -> None:
    """Not at the loop's next idle look: a handler that is back shall not wait for our habits."""
    rig = LoopRig(a_book(a_subscription(a_route(initial_backoff=0.01))))
    rig.handlers.scripts["notifier"] = lambda request: CallFailed("UNIMPLEMENTED", "no", reached=True)
    async with rig.running():
        rig.add(an_event())
        await rig.clock.advance(0.74)
        assert rig.handlers.times("notifier") == [0]
        await rig.clock.advance(0.02)
        assert rig.handlers.times("notifier") == [0, 0.75]


def refusing(request: pb.DeliverRequest) -> pb.DeliverResponse | CallFailed:
    """A handler that takes nothing."""
    return CallFailed("PERMISSION_DENIED", "not you", reached=True)


Script = Callable[[pb.DeliverRequest], "pb.DeliverResponse | CallFailed"]


@pytest.mark.parametrize("script", [accept, refusing], ids=["that works", "that refuses all"])
async def test_a_neighbours_backlog_is_no_delay(script: Script) -> None:
    """However its handler does: the healthy route is called in the instant in which its event came."""
    routes = [
        a_route("other", service="other", triggers=["call_ended"]),
        a_route("fine", service="fine", triggers=["message_sent"]),
    ]
    rig = LoopRig(a_book(a_subscription(*routes)))
    rig.handlers.scripts["other"] = script
    async with rig.running():
        rig.add(*(an_event(trigger="call_ended") for _ in range(500)))
        for _ in range(20):
            rig.add(an_event(trigger="message_sent"))
            await rig.clock.advance(0.25)
    assert rig.handlers.times("fine") == [number * 0.25 for number in range(20)]
