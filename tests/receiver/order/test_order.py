"""
The order of deliveries against its specification (tests/support/order_specification.py), whatever happens on the way.

Real: carrier, SQLite store, upkeep, the forwarder's loop. Played: clock, journals' files, handlers. Every claim and every
call is checked when it happens, the state of every delivery after each step.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.carrying.routebook import RouteBook
from hookline_receiver.store.port import State
from support.forwarder import a_book, a_route, a_subscription
from support.order import Gateway
from support.order_witness import MAX_AGE, MAX_ATTEMPTS

NONE = routing.DeliveryPolicy.ORDERING_NONE
CONVERSATION = routing.DeliveryPolicy.ORDERING_CONVERSATION
SUBSCRIPTION = routing.DeliveryPolicy.ORDERING_SUBSCRIPTION
PAUSED, GONE = "paused", "gone"
ROUTES = {"sync": CONVERSATION, "audit": SUBSCRIPTION, "notify": NONE}

CONVERSATIONS = st.sampled_from(["group_1", "group_2", ""])
WORKERS = st.integers(0, 2)
ROUTE = st.sampled_from(sorted(ROUTES))
OUTCOMES = st.lists(st.sampled_from(["accept", "accept", "retry", "reject", "nothing"]), min_size=1, max_size=4)
STATUSES = st.sampled_from([["INTERNAL"], ["UNAVAILABLE"], ["UNIMPLEMENTED"]])
SOME_NUMBERS = st.lists(st.integers(1, 12), min_size=1, max_size=3)


def the_book(orderings: dict[str, Any], away: dict[str, str]) -> RouteBook:
    """Routes of these names and orderings, but for those that are gone."""
    return a_book(
        a_subscription(
            *(
                a_route(
                    name,
                    service=name,
                    ordering=ordering,
                    batch=4,
                    max_attempts=MAX_ATTEMPTS,
                    max_age=MAX_AGE,
                    max_backoff=2,
                    paused=away.get(name) == PAUSED,
                )
                for name, ordering in orderings.items()
                if away.get(name) != GONE
            )
        )
    )


class Order(RuleBasedStateMachine):
    """Everything that may come between an event and its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.orderings: dict[str, Any] = dict(ROUTES)
        self.away: dict[str, str] = {}
        self.gateway: Gateway = self.run(self.open())
        self.handlers = self.gateway.handlers

    async def open(self) -> Gateway:
        return Gateway(self.folder, self.book())

    def book(self) -> RouteBook:
        return the_book(self.orderings, self.away)

    def run(self, work: Coroutine[None, None, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        try:
            self.run(self.all_ends_well())
        finally:
            self.run(self.gateway.close())
            self.loop.close()
            shutil.rmtree(self.folder)

    # --- events come ----------------------------------------------------------------------------------------------

    @rule(worker=WORKERS, conversations=st.lists(CONVERSATIONS, min_size=1, max_size=5))
    def accept(self, worker: int, conversations: list[str]) -> None:
        for index, conversation in enumerate(conversations):
            self.run(self.gateway.accept((worker + index) % 3, conversation))
        self.run(self.gateway.carry())

    @rule(worker=WORKERS, conversation=CONVERSATIONS)
    def a_worker_is_slow(self, worker: int, conversation: str) -> None:
        self.gateway.begin(worker, conversation)

    @rule(worker=WORKERS)
    def a_slow_worker_is_done(self, worker: int) -> None:
        self.run(self.gateway.finish(worker))
        self.run(self.gateway.carry())

    # --- handlers answer, or don't --------------------------------------------------------------------------------

    @precondition(lambda self: self.handlers.under_way())
    @rule(which=st.integers(0, 5), said=OUTCOMES | STATUSES)
    def answer(self, which: int, said: list[str]) -> None:
        calls = self.handlers.under_way()
        self.handlers.end(calls[which % len(calls)], said)
        self.run(self.gateway.turn())

    @precondition(lambda self: any(call.stale for call in self.handlers.under_way()))
    @rule(which=st.integers(0, 5), said=OUTCOMES)
    def answer_to_a_forwarder_that_lost_its_leases(self, which: int, said: list[str]) -> None:
        calls = [call for call in self.handlers.under_way() if call.stale]
        self.handlers.end(calls[which % len(calls)], said)
        self.run(self.gateway.turn())

    @precondition(lambda self: self.handlers.under_way())
    @rule(said=OUTCOMES | STATUSES)
    def answer_all(self, said: list[str]) -> None:
        for call in self.handlers.under_way():
            self.handlers.end(call, said)
        self.run(self.gateway.turn())

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(self.gateway.pass_time(seconds))

    @rule(seconds=st.sampled_from([MAX_AGE * 2 // 3, MAX_AGE - 1]))
    def much_time_passes(self, seconds: int) -> None:
        self.run(self.gateway.pause_process(seconds))

    @rule()
    def upkeep(self) -> None:
        self.run(self.gateway.keep_up())

    # --- what goes wrong ------------------------------------------------------------------------------------------

    @rule()
    def crash(self) -> None:
        self.run(self.gateway.crash())

    @rule()
    def overtake(self) -> None:
        self.run(self.gateway.overtake())

    @rule(seconds=st.sampled_from([5.0, 60.0]))
    def the_process_stands_still(self, seconds: float) -> None:
        self.run(self.gateway.pause_process(seconds))

    # --- people -----------------------------------------------------------------------------------------------------

    @rule(name=ROUTE, what=st.sampled_from([NONE, CONVERSATION, SUBSCRIPTION, PAUSED, GONE]))
    def change(self, name: str, what: Any) -> None:
        """Another ordering for what comes from now on; paused, or taken away, until the next change."""
        if what in (PAUSED, GONE):
            self.away = {**self.away, name: what}
        else:
            self.away.pop(name, None)
            self.orderings[name] = what
        self.run(self.gateway.take(self.book()))

    @rule(numbers=SOME_NUMBERS)
    def redrive(self, numbers: list[int]) -> None:
        gateway = self.gateway
        gateway.store.redrive_some(self.events(numbers), frozenset(gateway.book.routes), gateway.clock.time)
        self.run(gateway.carry())

    @rule(numbers=SOME_NUMBERS)
    def replay(self, numbers: list[int]) -> None:
        gateway = self.gateway
        gateway.store.replay_some(self.events(numbers), gateway.fan, gateway.clock.time)
        self.run(gateway.carry())

    def events(self, numbers: list[int]) -> list[bytes]:
        return [ingest_id for ingest_id, number in self.gateway.witness.numbers.items() if number in numbers] or [b"?"]

    # --- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def the_store_agrees_with_the_specification(self) -> None:
        assert list(self.gateway.disagreements()) == []

    async def all_ends_well(self) -> None:
        """Once handlers take everything, nothing is left behind in any line."""
        gateway = self.gateway
        gateway.look()
        self.handlers.well = True
        for call in self.handlers.under_way():
            self.handlers.end(call, ["accept"])
        for worker in range(3):
            await gateway.finish(worker)
        await gateway.take(the_book(ROUTES, {}))
        await gateway.carry()
        await gateway.pass_time(100)
        assert list(gateway.witness.specification.unended) == []
        assert set(gateway.store.states().values()) <= {State.DELIVERED, State.DEAD}
        assert gateway.witness.carried == len(gateway.witness.numbers)


Order.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestOrder = Order.TestCase
