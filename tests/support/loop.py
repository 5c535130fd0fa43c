"""The forwarder's loop with clock, store and handlers in a test's hands: nothing of it waits for real time."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from msgspec import structs

from hookline.handler.v1 import handler_pb2 as pb
from hookline_receiver.carrying.fanout import fan_out
from hookline_receiver.carrying.routebook import Handler, RouteBook
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import Event
from hookline_receiver.forwarder.board import Board
from hookline_receiver.forwarder.breaker import BreakerPolicy
from hookline_receiver.forwarder.call import Reply
from hookline_receiver.forwarder.decide import CallFailed
from hookline_receiver.forwarder.loop import Dispatcher, LoopLimits
from hookline_receiver.ops.logs import Throttle
from hookline_receiver.store.memory import MemoryEventStore
from hookline_receiver.store.port import EventStore
from support.forwarder import SECOND, accept

NOON = 1_800_000_000 * SECOND
T = TypeVar("T")

Script = Callable[[pb.DeliverRequest], "pb.DeliverResponse | CallFailed | Awaitable[pb.DeliverResponse | CallFailed]"]


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = NOON
        self._timers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> int:
        """What the test says it is."""
        return self.time

    async def wait(self, event: asyncio.Event, until: int) -> None:
        """Return when *event* is set or the test has moved to *until*."""
        if event.is_set() or until <= self.time:
            await asyncio.sleep(0)
            return
        timer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._timers, (until, next(self._numbers), timer))
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait([waiting, timer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            timer.cancel()

    async def sleep(self, seconds: float) -> None:
        """Return when the test has moved so far."""
        await self.wait(asyncio.Event(), self.time + int(seconds * SECOND))

    async def advance(self, seconds: float) -> None:
        """Move on, letting everything that becomes due on the way happen in its order."""
        target = self.time + int(seconds * SECOND)
        await settle()
        while self._timers and self._timers[0][0] <= target:
            until, _, timer = heapq.heappop(self._timers)
            self.time = max(self.time, until)
            if not timer.done():
                timer.set_result(None)
            await settle()
        self.time = target
        await settle()


async def settle() -> None:
    """Let the event loop run until nothing more happens by itself."""
    for _ in range(60):
        await asyncio.sleep(0)


class InlineStore:
    """A store without a thread of its own; counts what it is asked."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.visits = 0

    async def run(self, work: Callable[[EventStore], T]) -> T:
        """Do *work* now."""
        self.visits += 1
        await asyncio.sleep(0)
        return work(self.store)


@dataclass
class FakeHandlers:
    """All handlers; each does as its script says, and everything they are asked is remembered."""

    clock: FakeClock
    scripts: dict[str, Script] = field(default_factory=dict)
    requests: list[tuple[str, int, pb.DeliverRequest]] = field(default_factory=list)
    """Service, when, what."""
    under_way: dict[str, int] = field(default_factory=dict)
    most_under_way: dict[str, int] = field(default_factory=dict)
    """Deliveries at once, by service."""

    async def call(self, handler: Handler, request: bytes, timeout: float) -> Reply:
        """Run the script, within the time."""
        message = pb.DeliverRequest.FromString(request)
        service = handler.service
        self.requests.append((service, self.clock.time, message))
        self.under_way[service] = self.under_way.get(service, 0) + len(message.deliveries)
        self.most_under_way[service] = max(self.most_under_way.get(service, 0), self.under_way[service])
        try:
            result = await self._within(timeout, self.scripts.get(service, accept)(message))
        finally:
            self.under_way[service] -= len(message.deliveries)
        return Reply(f"{service}:1", result if isinstance(result, CallFailed) else result.SerializeToString())

    async def _within(
        self, timeout: float, answer: "pb.DeliverResponse | CallFailed | Awaitable[pb.DeliverResponse | CallFailed]"
    ) -> pb.DeliverResponse | CallFailed:
        if not isinstance(answer, Awaitable):
            await asyncio.sleep(0)
            return answer
        working = asyncio.ensure_future(answer)
        deadline = asyncio.ensure_future(self.clock.sleep(timeout))
        try:
            await asyncio.wait([working, deadline], return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else CallFailed("DEADLINE_EXCEEDED", "too late", reached=True)
        finally:
            working.cancel()
            deadline.cancel()

    def bodies(self, service: str) -> list[bytes]:
        """What *service* was sent, in order."""
        return [
            one.event.binary_data for name, _, request in self.requests if name == service for one in request.deliveries
        ]

    def sizes(self, service: str) -> list[int]:
        """Events in each call of *service*."""
        return [len(request.deliveries) for name, _, request in self.requests if name == service]

    def times(self, service: str) -> list[float]:
        """When *service* was called, in seconds since the start."""
        return [(when - NOON) / SECOND for name, when, _ in self.requests if name == service]


class Tally:
    """A meter that a test reads."""

    def __init__(self) -> None:
        self.attempts: list[str] = []
        self.results: list[str] = []
        self.lost = 0
        self.unavailable = 0

    def attempt(self, code: str) -> None:
        """Count."""
        self.attempts.append(code)

    def ended(self, result: str, since_received: int) -> None:
        """Count."""
        self.results.append(result)

    def call(self, seconds: float, events: int) -> None:
        """Not asked for here."""

    def lease_lost(self, deliveries: int) -> None:
        """Count."""
        self.lost += deliveries

    def store_unavailable(self) -> None:
        """Count."""
        self.unavailable += 1


async def hang(request: pb.DeliverRequest) -> pb.DeliverResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


class LoopRig:
    """A dispatcher with everything around it in a test's hands."""

    def __init__(
        self,
        book: RouteBook,
        *,
        limits: LoopLimits | None = None,
        store: EventStore | None = None,
        clock: FakeClock | None = None,
        chance: Callable[[], float] = lambda: 0.5,
        policy: BreakerPolicy | None = None,
    ) -> None:
        self.book = book
        self.clock = clock or FakeClock()
        self.store = store if store is not None else MemoryEventStore(same=same_event)
        self.runner = InlineStore(self.store)
        self.handlers = FakeHandlers(self.clock)
        self.tally = Tally()
        self.board = Board(policy or BreakerPolicy(), chance)
        self.dispatcher = Dispatcher(
            self.runner,
            self.handlers,
            lambda: self.book,
            self.clock,
            self.tally,
            self.board,
            chance,
            Throttle(lambda: 0.0),
            limits,
        )

    def add(self, *events: Event) -> None:
        """Store *events*, accepted now, as the carrier would."""
        fresh = [structs.replace(event, received_at_ns=self.clock.time) for event in events]
        arrivals = [fan_out(event, self.book.subscriptions.get(event.subscription.uid)).arrival for event in fresh]
        self.store.add(arrivals, {}, self.clock.time)
        self.dispatcher.wake()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it for the block; everything under way is given up at the end."""
        running = asyncio.ensure_future(self.dispatcher.run())
        await settle()
        try:
            yield
        finally:
            self.dispatcher.stop()
            await settle()
            self.dispatcher.abandon_calls()
            for _ in range(200):
                if running.done():
                    break
                await self.clock.advance(0.5)
            await running

    def states(self, events: Sequence[Event]) -> list[str]:
        """How each delivery of each event stands."""
        return [
            delivery.state.value
            for event in events
            for story in self.store.story(str(UUID(bytes=event.ingest_id)))
            for delivery in story.deliveries
        ]
