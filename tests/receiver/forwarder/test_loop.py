"""The forwarder's loop, under a clock that the tests move."""

import asyncio
import random

import pytest

from hookline.handler.v1 import handler_pb2 as pb
from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import Event, SubscriptionRef
from hookline_receiver.forwarder.breaker import BreakerState
from hookline_receiver.forwarder.decide import CallFailed
from hookline_receiver.forwarder.lane import Capacity
from hookline_receiver.forwarder.loop import LoopLimits
from hookline_receiver.store.memory import MemoryEventStore
from hookline_receiver.store.port import Claimed, Filter, Settlement, StoreUnavailable
from support.forwarder import (
    SECOND,
    a_book,
    a_route,
    a_subscription,
    accept,
    an_event,
    duration,
    outcomes,
    reject,
)
from support.loop import LoopRig, hang, settle


def a_rig(*routes: routing.Route, **options: object) -> LoopRig:
    """A loop with one subscription."""
    return LoopRig(a_book(a_subscription(*(routes or (a_route(),)))), **options)  # type: ignore[arg-type]


def rejecting(poison: bytes, code: str = "INTERNAL") -> object:
    """A handler whose call fails whenever *poison* is in the batch."""

    def script(request: pb.DeliverRequest) -> pb.DeliverResponse | CallFailed:
        if any(one.event.binary_data == poison for one in request.deliveries):
            return CallFailed(code, "boom", reached=True)
        return accept(request)

    return script


async def test_what_is_due_is_delivered_once() -> None:
    """The plain case."""
    rig = a_rig(a_route(batch=8))
    events = [an_event() for _ in range(20)]
    async with rig.running():
        rig.add(*events)
        await settle()

        assert rig.handlers.bodies("notifier") == [event.body for event in events]
        assert rig.states(events) == ["Delivered"] * 20
        await rig.clock.advance(3600)
    assert len(rig.handlers.bodies("notifier")) == 20


async def test_a_route_may_ask_for_the_raw_event_only() -> None:
    """Typing is the forwarder's largest cost for an event; whoever archives bodies need not pay it."""
    raw = a_route("archive", service="archive", payload=routing.Handler.PAYLOAD_FORM_RAW)
    rig = a_rig(a_route(), raw)
    async with rig.running():
        rig.add(an_event())
        await settle()

        forms = {
            service: one.untyped.reason for service, _, request in rig.handlers.requests for one in request.deliveries
        }
        bodies = rig.handlers.bodies("archive")

    assert forms["archive"] == pb.Untyped.REASON_NOT_WANTED
    assert forms["notifier"] != pb.Untyped.REASON_NOT_WANTED
    assert bodies == rig.handlers.bodies("notifier")


async def test_a_rejected_event_is_dead_and_an_other_of_its_batch_is_not() -> None:
    """Outcomes are event by event."""
    rig = a_rig(a_route(batch=2))
    first, second = an_event(), an_event()
    rig.handlers.scripts["notifier"] = lambda request: pb.DeliverResponse(
        outcomes=[
            pb.Outcome(delivery_id=request.deliveries[0].delivery_id, accepted=pb.Accepted()),
            pb.Outcome(delivery_id=request.deliveries[1].delivery_id, rejected=pb.Rejected(reason="no")),
        ]
    )
    async with rig.running():
        rig.add(first, second)
        await settle()

        assert rig.states([first, second]) == ["Delivered", "Dead"]
        assert [letter.detail for letter in rig.store.dead_letters(Filter(), 10)] == ["no"]


async def test_the_handlers_delay_is_kept() -> None:
    """Not earlier, and not much later either."""
    rig = a_rig(a_route(max_backoff=60))
    answers = iter([pb.RetryAfter(delay=duration(30))])
    rig.handlers.scripts["notifier"] = lambda request: (
        outcomes(request, retry_after=wanted) if (wanted := next(answers, None)) else accept(request)
    )
    async with rig.running():
        rig.add(an_event())
        await rig.clock.advance(60)

    assert rig.handlers.times("notifier") == [0, 30]


async def test_an_event_without_outcome_and_an_answer_for_a_stranger_change_nothing() -> None:
    """A sloppy handler must neither lose an event nor end one that it was not sent."""
    rig = a_rig()
    answers = iter([pb.DeliverResponse(outcomes=[pb.Outcome(delivery_id="stranger", accepted=pb.Accepted())])])
    rig.handlers.scripts["notifier"] = lambda request: next(answers, None) or accept(request)
    event = an_event()
    async with rig.running():
        rig.add(event)
        await rig.clock.advance(5)

        assert rig.states([event]) == ["Delivered"]
    assert rig.tally.attempts == ["NoOutcome", "Accepted"]


async def test_a_handler_that_answers_for_strangers_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """It does so with each call until its author mends it, and the logs are paid for by those who did not write it."""

    def sloppy(request: pb.DeliverRequest) -> pb.DeliverResponse:
        response = accept(request)
        response.outcomes.add(delivery_id="stranger", accepted=pb.Accepted())
        return response

    rig = a_rig(a_route(batch=1), a_route("other", service="other", batch=1))
    rig.handlers.scripts.update(notifier=sloppy, other=sloppy)
    async with rig.running():
        rig.add(*(an_event() for _ in range(50)))
        await rig.clock.advance(5)

    said = [one for one in caplog.records if one.message == "a handler answered for deliveries it was not sent"]
    assert len(rig.handlers.requests) == 100
    assert [(vars(one)["handler"], vars(one)["outcomes"]) for one in said] == [
        ("acme/notifier:9000", 1),
        ("acme/other:9000", 1),
    ]


async def test_a_handler_that_hangs_delays_no_other_route() -> None:
    """Structurally: the healthy route is called at the same moments, with and without the others."""

    async def times(parked: int) -> list[float]:
        stuck = [f"stuck-{number}" for number in range(20)]
        hanging = [a_route(name, service=name, timeout=60, triggers=["call_ended"]) for name in stuck]
        rig = LoopRig(
            a_book(a_subscription(*hanging, a_route("fine", service="fine", triggers=["message_sent"]))),
            limits=LoopLimits(capacity=Capacity(calls=512)),
        )
        rig.handlers.scripts = dict.fromkeys(stuck, hang)
        async with rig.running():
            rig.add(*(an_event(trigger="call_ended") for _ in range(parked)))
            await settle()
            for _ in range(5):
                await rig.clock.advance(1)
                rig.add(an_event(trigger="message_sent"))
                await settle()
            return rig.handlers.times("fine")

    assert await times(parked=200) == await times(parked=0) == [1, 2, 3, 4, 5]


async def test_handlers_that_hang_leave_calls_for_those_that_answer() -> None:
    """However many hang, what failed lately has no more than half of all calls."""
    hanging = [a_route(f"stuck-{number}", service=f"stuck-{number}", timeout=10) for number in range(40)]
    rig = LoopRig(
        a_book(a_subscription(*hanging, a_route("fine", service="fine"))),
        limits=LoopLimits(capacity=Capacity(calls=16)),
    )
    for number in range(40):
        rig.handlers.scripts[f"stuck-{number}"] = hang
    async with rig.running():
        rig.add(*(an_event() for _ in range(30)))
        await rig.clock.advance(45)
        done = len(rig.handlers.times("fine"))
        rig.add(an_event())
        await settle()

        assert len(rig.handlers.times("fine")) > done
        assert sum(rig.handlers.under_way.values()) <= 16


async def test_every_route_gets_its_turn_however_many_are_due() -> None:
    """Only so many due routes are looked at in a turn; the ones behind them must not wait for the first to run dry."""
    routes = [a_route(f"r{number}", service=f"s{number}") for number in range(30)]
    rig = LoopRig(a_book(a_subscription(*routes)), limits=LoopLimits(look=5, orders=3))
    async with rig.running():
        rig.add(*(an_event() for _ in range(40)))
        for _ in range(60):
            await rig.clock.advance(0.05)
        seen = {name for name, _, _ in rig.handlers.requests}
        assert seen == {f"s{number}" for number in range(30)}
        await rig.clock.advance(120)
        assert all(len(rig.handlers.bodies(f"s{number}")) == 40 for number in range(30))


async def test_routes_that_are_full_do_not_hide_those_behind_them() -> None:
    """More routes hang with a backlog than a turn looks at, and all are longer due than the healthy one."""
    stuck = [f"stuck-{number}" for number in range(12)]
    routes = [a_route(name, service=name, max_in_flight=1, timeout=600, triggers=["call_ended"]) for name in stuck]
    fine = a_route("fine", service="fine", triggers=["message_sent"])
    rig = LoopRig(a_book(a_subscription(*routes, fine)), limits=LoopLimits(look=5))
    rig.handlers.scripts = dict.fromkeys(stuck, hang)
    async with rig.running():
        rig.add(*(an_event(trigger="call_ended") for _ in range(10)))
        await rig.clock.advance(3)
        for _ in range(5):
            rig.add(an_event(trigger="message_sent"))
            await rig.clock.advance(1)

        times = rig.handlers.times("fine")
        assert len(times) == 5
        assert max(when - 3 - number for number, when in enumerate(times)) < 0.5


async def test_no_route_exceeds_its_in_flight_cap() -> None:
    """A tenant sets it to protect a database behind the handler."""
    rig = a_rig(a_route(max_in_flight=10, batch=4))

    async def slowly(request: pb.DeliverRequest) -> pb.DeliverResponse:
        await rig.clock.sleep(0.5)
        return accept(request)

    rig.handlers.scripts["notifier"] = slowly
    events = [an_event() for _ in range(100)]
    async with rig.running():
        rig.add(*events)
        await rig.clock.advance(30)

        assert rig.states(events) == ["Delivered"] * 100
    assert rig.handlers.most_under_way["notifier"] == 10


async def test_a_batch_waits_for_more_only_as_long_as_the_route_says() -> None:
    """Latency against cost: the tenant's choice."""
    rig = a_rig(a_route(batch=4, wait=0.2))
    async with rig.running():
        rig.add(an_event())
        await rig.clock.advance(0.1)
        rig.add(an_event())
        await rig.clock.advance(0.05)
        assert rig.handlers.sizes("notifier") == []
        await rig.clock.advance(0.1)
        assert (rig.handlers.sizes("notifier"), rig.handlers.times("notifier")) == ([2], [0.2])

        rig.add(*(an_event() for _ in range(4)))
        await settle()
        assert rig.handlers.sizes("notifier") == [2, 4]


async def test_a_full_batch_does_not_wait() -> None:
    """What is there is enough."""
    rig = a_rig(a_route(batch=4, wait=10))
    async with rig.running():
        rig.add(*(an_event() for _ in range(8)))
        await settle()

        assert rig.handlers.sizes("notifier") == [4, 4]


@pytest.mark.parametrize("code", ["INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"])
async def test_one_poison_event_is_isolated_and_the_others_are_delivered(code: str) -> None:
    """Whatever the status: an event may crash its handler, hang it or be too much for it."""
    rig = a_rig(a_route(batch=16, initial_backoff=0.1, max_backoff=600))
    events = [an_event() for _ in range(16)]
    rig.handlers.scripts["notifier"] = rejecting(events[5].body, code)  # type: ignore[assignment]
    async with rig.running():
        rig.add(*events)
        await rig.clock.advance(60)

        states = rig.states(events)
        assert states.count("Delivered") == 15
        assert states[5] == "Pending"
        assert rig.handlers.sizes("notifier")[:3] == [16, 8, 8]
        newcomer = an_event()
        rig.add(newcomer)
        await rig.clock.advance(60)
        assert rig.states([newcomer]) == ["Delivered"]


async def test_a_misconfigured_handler_costs_no_delivery() -> None:
    """UNIMPLEMENTED for an hour, then deployed right: everything arrives, nothing died, and it was asked politely."""
    rig = a_rig(a_route(batch=4, max_attempts=2, max_age=86_400))
    rig.handlers.scripts["notifier"] = lambda request: CallFailed("UNIMPLEMENTED", "no such service", reached=True)
    events = [an_event() for _ in range(100)]
    async with rig.running():
        rig.add(*events)
        await rig.clock.advance(3600)
        assert rig.states(events) == ["Pending"] * 100
        calls = rig.handlers.sizes("notifier")
        assert len(calls) < 300
        assert set(calls[40:]) == {1}
        assert rig.board.states()[BreakerState.OPEN] == 1

        del rig.handlers.scripts["notifier"]
        await rig.clock.advance(90)
        assert rig.states(events) == ["Delivered"] * 100


async def test_an_endpoint_that_comes_up_ends_the_wait() -> None:
    """Whoever restarts a handler sees events at once."""
    rig = a_rig()
    rig.handlers.scripts["notifier"] = lambda request: CallFailed("UNAVAILABLE", "refused", reached=False)
    event = an_event()
    async with rig.running():
        rig.add(event)
        await rig.clock.advance(300)
        del rig.handlers.scripts["notifier"]
        done = len(rig.handlers.requests)

        rig.dispatcher.reachable(next(iter(rig.book.handlers)))
        await rig.clock.advance(0.3)

        assert len(rig.handlers.requests) == done + 1
        assert rig.states([event]) == ["Delivered"]


async def test_an_answer_closes_the_breaker_however_late_it_comes() -> None:
    """Three calls failed, the fourth was under way and was answered: the handler is there, nobody waits any longer."""
    routes = (a_route(max_in_flight=4, triggers=["message_sent"]), a_route("other", triggers=["call_ended"]))
    rig = a_rig(*routes, chance=lambda: 0.99)
    release = asyncio.Event()
    events = [an_event() for _ in range(4)]

    async def last_one_works(request: pb.DeliverRequest) -> pb.DeliverResponse | CallFailed:
        if request.deliveries[0].event.binary_data == events[3].body:
            await release.wait()
            return accept(request)
        return accept(request) if release.is_set() else CallFailed("UNIMPLEMENTED", "", reached=True)

    rig.handlers.scripts["notifier"] = last_one_works
    async with rig.running():
        rig.add(*events)
        await rig.clock.advance(0.5)
        assert rig.board.states()[BreakerState.OPEN] == 1
        release.set()
        await settle()
        assert rig.board.states()[BreakerState.OPEN] == 0
        newcomers = [an_event(), an_event(trigger="call_ended")]
        rig.add(*newcomers)
        await settle()
        assert rig.states(newcomers) == ["Delivered"] * 2


async def test_a_probe_that_finds_nothing_to_send_does_not_shut_the_road() -> None:
    """The delivery that it would have been sent with had grown too old."""
    rig = a_rig(a_route(max_age=100))
    rig.handlers.scripts["notifier"] = lambda request: CallFailed("UNIMPLEMENTED", "", reached=True)
    old, young = an_event(), an_event()
    async with rig.running():
        rig.add(old)
        await rig.clock.advance(85)
        # Not called between: the breaker is open for up to 30 s.
        rig.clock.time += 29 * SECOND
        del rig.handlers.scripts["notifier"]
        rig.add(young)
        await rig.clock.advance(40)

        assert rig.states([old, young]) == ["Dead", "Delivered"]


class EmptyHanded(MemoryEventStore):
    """A store that names a route as due and has nothing to give."""

    def claim(self, *arguments: object) -> list[Claimed]:  # type: ignore[override]
        """Nothing."""
        return []


async def test_a_claim_that_comes_back_empty_does_not_make_the_loop_spin() -> None:
    """Two statements of the store may disagree for a moment; a core must not burn meanwhile."""
    rig = a_rig(store=EmptyHanded(same=same_event))
    async with rig.running():
        rig.add(an_event())
        await settle()
        before = rig.runner.visits
        await rig.clock.advance(1)

        assert rig.runner.visits - before < 50


async def test_a_forwarder_that_was_paused_past_its_lease_can_not_settle() -> None:
    """Its word is stale: the one that took over may have been told something else meanwhile."""
    first = a_rig(a_route(timeout=10))
    release = asyncio.Event()

    async def answer_late(request: pb.DeliverRequest) -> pb.DeliverResponse:
        await release.wait()
        return reject(request)

    first.handlers.scripts["notifier"] = answer_late
    second = LoopRig(first.book, store=first.store, clock=first.clock)
    event = an_event()
    async with first.running():
        first.add(event)
        await settle()
        # The first is not scheduled while its lease runs out: nobody turns its clock's timers for it.
        first.clock.time += 100 * SECOND
        async with second.running():
            await settle()
            assert second.states([event]) == ["Delivered"]
            release.set()
            await settle()
            assert second.states([event]) == ["Delivered"]
    assert first.tally.lost == 1
    assert list(first.store.dead_letters(Filter(), 10)) == []


async def test_what_is_too_old_at_its_claim_is_not_sent() -> None:
    """It may have waited behind an outage; nobody wants it any more."""
    rig = a_rig(a_route(max_age=60))
    old = an_event()
    rig.add(old)
    rig.clock.time += 61 * SECOND
    async with rig.running():
        await settle()

        assert rig.states([old]) == ["Dead"]
    assert rig.handlers.requests == []
    assert "Expired" in rig.tally.results


async def test_an_event_that_fits_into_no_message_is_dead_and_holds_up_nobody() -> None:
    """It would fail for ever, and with it the batch that it is in."""
    rig = a_rig(a_route(batch=4), limits=LoopLimits(message_bytes=65_536))
    events = [an_event(), an_event(b"x" * 70_000), an_event()]
    async with rig.running():
        rig.add(*events)
        await settle()

        assert rig.states(events) == ["Delivered", "Dead", "Delivered"]
        letter = rig.store.dead_letters(Filter(), 10)[0]
        assert (letter.reason, "65536" in letter.detail) == ("TooLarge", True)


async def test_an_event_whose_message_can_not_be_built_holds_up_nobody() -> None:
    """A bug of ours must not turn one odd event into a standstill; a release that mends it finds the event waiting."""
    rig = a_rig(a_route(batch=4))
    events = [an_event(), an_event(b"{}", trigger="\ud800"), an_event()]
    async with rig.running():
        rig.add(*events)
        await settle()

        assert rig.states(events) == ["Delivered", "Pending", "Delivered"]
        await rig.clock.advance(10)
        assert rig.dispatcher.calls == 0


async def test_a_bug_in_a_call_ends_the_loop() -> None:
    """Whoever supervises starts a new process; silence would leave the delivery to its lease, and us without a trace."""
    rig = a_rig()

    def broken(request: pb.DeliverRequest) -> pb.DeliverResponse:
        raise ZeroDivisionError

    rig.handlers.scripts["notifier"] = broken
    running = asyncio.ensure_future(rig.dispatcher.run())
    rig.add(an_event())
    await rig.clock.advance(3)

    assert running.done()
    assert isinstance(running.exception(), ZeroDivisionError)


async def test_requests_stay_below_the_limit_of_bytes() -> None:
    """Servers refuse larger ones whole."""
    rig = a_rig(a_route(batch=32), limits=LoopLimits(message_bytes=65_536))
    events = [an_event(b"x" * 20_000) for _ in range(12)]
    async with rig.running():
        rig.add(*events)
        await settle()

        assert rig.states(events) == ["Delivered"] * 12
    assert all(request.ByteSize() <= 65_536 for _, _, request in rig.handlers.requests)


async def test_what_takes_long_to_type_is_typed_beside_the_loop() -> None:
    """One hostile body must not keep everybody's answers waiting; its own event is delivered as any other."""
    turns: dict[int, int] = {}
    for elements in (10, 9_000):
        rig = a_rig(a_route(batch=1))
        event = an_event(MANY_VALUES % b",".join([b'{"":0}'] * elements))
        async with rig.running():
            rig.add(event)
            while rig.states([event]) != ["Delivered"]:
                turns[elements] = turns.get(elements, 0) + 1
                await asyncio.sleep(0)
        [(_, _, request)] = rig.handlers.requests
        assert request.deliveries[0].WhichOneof("typed") == "payload"

    # Meanwhile the loop went round and round.
    assert turns[9_000] > 10 * turns[10]


MANY_VALUES = b'{"trigger":"message_sent","data":{"message":{"id":"1","data":{"metadata":{"a":[%s]}}}}}'
"""Its message is up to four times as large as itself."""


@pytest.mark.parametrize("body", [b"x" * 50_000, MANY_VALUES % (b'"%s"' % (b"x" * 50_000))], ids=["plain", "typed"])
async def test_bodies_and_messages_in_memory_are_bounded(body: bytes) -> None:
    """Routes that hang with large events must not fill the forwarder's memory, whatever their messages come to."""
    routes = [a_route(f"r{number}", service=f"s{number}", max_in_flight=64) for number in range(8)]
    capacity = Capacity(calls=512, bytes=10_000_000)
    rig = LoopRig(a_book(a_subscription(*routes)), limits=LoopLimits(capacity=capacity, message_bytes=400_000))
    answer = asyncio.Event()

    async def hang_until_then(request: pb.DeliverRequest) -> pb.DeliverResponse:
        await answer.wait()
        return accept(request)

    for number in range(8):
        rig.handlers.scripts[f"s{number}"] = hang_until_then
    async with rig.running():
        # Some to go by: how much larger than bodies their messages are.
        answer.set()
        rig.add(*(an_event(body) for _ in range(20)))
        for _ in range(60):
            await settle()
        answer.clear()
        before = len(rig.handlers.requests)
        events = [an_event(body) for _ in range(40)]
        rig.add(*events)
        for _ in range(10):
            await settle()

        weight = sum(
            2 * request.ByteSize() + sum(len(one.event.binary_data) for one in request.deliveries)
            for _, _, request in rig.handlers.requests[before:]
        )
        under_way = sum(rig.handlers.under_way.values())
        assert under_way >= 8
        assert 5_000_000 <= weight <= 10_000_000 + 8 * 450_000

        # What has ended weighs nothing any more: all of it goes through in the end.
        answer.set()
        for _ in range(60):
            await settle()
        assert rig.states(events) == ["Delivered"] * 40 * 8


async def test_a_paused_route_is_not_called() -> None:
    """Events are kept, and come when it goes on."""
    rig = a_rig(a_route(paused=True))
    event = an_event()
    async with rig.running():
        rig.add(event)
        await rig.clock.advance(10)
        assert rig.handlers.requests == []

        rig.book = a_book(a_subscription(a_route()))
        rig.dispatcher.wake()
        await settle()
        assert rig.states([event]) == ["Delivered"]


async def test_stopping_waits_for_what_is_under_way_and_claims_nothing_more() -> None:
    """A graceful stop makes no duplicates."""
    rig = a_rig(a_route(max_in_flight=1))
    answered = asyncio.Event()

    async def answer(request: pb.DeliverRequest) -> pb.DeliverResponse:
        await answered.wait()
        return accept(request)

    rig.handlers.scripts["notifier"] = answer
    first, second = an_event(), an_event()
    running = asyncio.ensure_future(rig.dispatcher.run())
    rig.add(first, second)
    await settle()

    rig.dispatcher.stop()
    await settle()
    assert not running.done()
    answered.set()
    await settle()

    assert running.done()
    assert rig.states([first, second]) == ["Delivered", "Pending"]


async def test_calls_that_are_given_up_at_the_stop_come_again() -> None:
    """A handler that hangs must not keep a pod from ending, nor lose the event."""
    rig = a_rig()
    rig.handlers.scripts["notifier"] = hang
    event = an_event()
    running = asyncio.ensure_future(rig.dispatcher.run())
    rig.add(event)
    await settle()

    rig.dispatcher.stop()
    rig.dispatcher.abandon_calls()
    await settle()

    assert running.done()
    assert rig.states([event]) == ["Pending"]


class FailingStore(MemoryEventStore):
    """A store that is unavailable for a while."""

    def __init__(self) -> None:
        super().__init__(same=same_event)
        self.failing = False

    def settle(self, settlements: list[Settlement], now: int) -> set[int]:  # type: ignore[override]
        """Settle, unless it can't."""
        if self.failing:
            raise StoreUnavailable("disk full")
        return set(super().settle(settlements, now))


async def test_outcomes_outlast_a_store_that_is_unavailable() -> None:
    """The handler has taken the event: forgetting that would send it twice for want of disk space."""
    store = FailingStore()
    rig = a_rig(store=store)
    event = an_event()
    async with rig.running():
        store.failing = True
        rig.add(event)
        await rig.clock.advance(5)
        assert rig.states([event]) == ["InFlight"]
        assert rig.tally.unavailable == 1

        store.failing = False
        await rig.clock.advance(2)
        assert rig.states([event]) == ["Delivered"]
    assert len(rig.handlers.requests) == 1


async def test_an_idle_loop_visits_the_store_about_once_a_second() -> None:
    """Thousands of idle gateways share a cluster."""
    rig = a_rig()
    async with rig.running():
        before = rig.runner.visits
        await rig.clock.advance(60)

        assert rig.runner.visits - before < 70


async def test_parked_deliveries_do_not_make_the_loop_turn() -> None:
    """A hundred routes whose handlers are down cost their probes, and nothing between them."""
    routes = [a_route(f"r{number}", service=f"s{number}", max_backoff=600) for number in range(100)]
    rig = LoopRig(a_book(a_subscription(*routes)))
    for number in range(100):
        rig.handlers.scripts[f"s{number}"] = lambda request: CallFailed("UNIMPLEMENTED", "no", reached=True)
    async with rig.running():
        rig.add(an_event(), an_event())
        await rig.clock.advance(300)
        visits, calls = rig.runner.visits, len(rig.handlers.requests)
        await rig.clock.advance(60)

        assert rig.runner.visits - visits < 60 + 4 * (len(rig.handlers.requests) - calls) + 20


async def test_whatever_handlers_do_every_event_is_delivered_or_dead_in_the_end() -> None:
    """Random handlers, random statuses, random times: at least once or a dead letter, and no delivery forgotten."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    subscriptions = [SubscriptionRef(f"uid-{number}", "acme", f"s{number}") for number in range(3)]
    orderings = [
        routing.DeliveryPolicy.ORDERING_NONE,
        routing.DeliveryPolicy.ORDERING_CONVERSATION,
        routing.DeliveryPolicy.ORDERING_SUBSCRIPTION,
    ]
    rig = LoopRig(
        a_book(
            *(
                a_subscription(
                    a_route("a", service=f"a{number}", ordering=orderings[number], batch=chance.randint(1, 8)),
                    a_route("b", service=f"b{number}", batch=chance.randint(1, 8), wait=chance.random()),
                    ref=ref,
                )
                for number, ref in enumerate(subscriptions)
            )
        ),
        chance=chance.random,
    )
    behaving = False

    def moody(request: pb.DeliverRequest) -> pb.DeliverResponse | CallFailed:
        if behaving:
            return accept(request)
        kind = chance.randrange(8)
        if kind < 2:
            return CallFailed(chance.choice(["UNAVAILABLE", "INTERNAL", "UNIMPLEMENTED", "CANCELLED"]), "", kind == 0)
        return pb.DeliverResponse(
            outcomes=[
                pb.Outcome(
                    delivery_id=one.delivery_id,
                    accepted=pb.Accepted() if mood < 3 else None,
                    rejected=pb.Rejected() if mood == 3 else None,
                    retry_after=pb.RetryAfter() if mood == 4 else None,
                )
                for one in request.deliveries
                if (mood := chance.randrange(7)) < 6
            ]
        )

    rig.handlers.scripts = {f"{letter}{number}": moody for letter in "ab" for number in range(3)}
    events: list[Event] = []
    async with rig.running():
        for _ in range(60):
            fresh = [
                an_event(subscription=chance.choice(subscriptions), partition_key=f"group_{chance.randrange(3)}")
                for _ in range(chance.randrange(6))
            ]
            events += fresh
            rig.add(*fresh)
            await rig.clock.advance(chance.random())
        behaving = True
        await rig.clock.advance(600)

        states = rig.states(events)
        assert len(states) == 2 * len(events)
        assert set(states) <= {"Delivered", "Dead"}
        assert sum(rig.handlers.under_way.values()) == 0
        assert rig.dispatcher.calls == 0
