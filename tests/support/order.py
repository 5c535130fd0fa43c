"""A gateway from journals to handlers whose every step the order's specification is told: tests/receiver/order plays with it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hookline.handler.v1 import handler_pb2 as pb
from hookline_receiver.carrying.carrier import Carrier
from hookline_receiver.carrying.fanout import fan_out
from hookline_receiver.carrying.routebook import Ordering, RouteBook
from hookline_receiver.event import Event, RouteRef
from hookline_receiver.forwarder.decide import CallFailed
from hookline_receiver.forwarder.upkeep import Upkeep
from hookline_receiver.journal.memory import MemoryJournals
from hookline_receiver.ops.logs import Throttle
from hookline_receiver.record import encode
from hookline_receiver.store.port import (
    Arrival,
    State,
)
from support.carrier import Counts, Kept, Ticks, WatchedJournal
from support.forwarder import an_event
from support.loop import FakeClock, LoopRig, settle
from support.order_witness import Delivery, TellingStore, Witness


@dataclass(eq=False)
class Call:
    """A request that a handler is working on."""

    deliveries: Sequence[Delivery]
    names: Sequence[str]
    answer: "asyncio.Future[pb.DeliverResponse | CallFailed]"
    stale: bool = False
    """Of a forwarder that died, or was paused past its leases: its deliveries may be out a second time."""


class Handlers:
    """What all handlers do: work on a request until a test says how it ends."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self.calls: list[Call] = []
        self.well = False
        """From now on they take everything at once."""

    def __call__(self, request: pb.DeliverRequest) -> "asyncio.Future[pb.DeliverResponse | CallFailed]":
        """A request comes in: is it in order?"""
        names = [one.delivery_id for one in request.deliveries]
        call = Call([self._witness.named(name) for name in names], names, asyncio.get_running_loop().create_future())
        self.calls = [one for one in self.calls if not one.answer.done()]
        for delivery in call.deliveries:
            self._check(delivery)
        assert len({self._witness.specification.key(*one) or one for one in call.deliveries}) == len(names)
        self.calls.append(call)
        if self.well:
            self.end(call, ["accept"])
        return call.answer

    def _check(self, delivery: Delivery) -> None:
        specification = self._witness.specification
        assert specification.may_be_out(*delivery), f"{delivery} reached its handler out of turn"
        others = [one for call in self.calls if not call.stale for one in call.deliveries]
        assert delivery not in others, f"{delivery} is out twice"
        key = specification.key(*delivery)
        beside = [one for one in others if key is not None and specification.key(*one) == key]
        assert not beside, f"{delivery} is out beside {beside}"

    def under_way(self) -> list[Call]:
        """Calls that nobody gave up."""
        return [one for one in self.calls if not one.answer.done()]

    def end(self, call: Call, said: Sequence[str]) -> None:
        """End *call*: a status' name, or what is said of its deliveries in turn."""
        if said[0].isupper():
            call.answer.set_result(CallFailed(said[0], "no", reached=True))
            return
        response = pb.DeliverResponse()
        for index, (name, delivery) in enumerate(zip(call.names, call.deliveries, strict=True)):
            word = said[index % len(said)]
            self._witness.said[delivery].append(word)
            match word:
                case "accept":
                    response.outcomes.add(delivery_id=name, accepted=pb.Accepted())
                case "reject":
                    response.outcomes.add(delivery_id=name, rejected=pb.Rejected(reason="never"))
                case "retry":
                    response.outcomes.add(delivery_id=name, retry_after=pb.RetryAfter())
        call.answer.set_result(response)

    def forsaken(self) -> None:
        """Whoever called is gone or was paused: what is under way now does not count any more."""
        for call in self.calls:
            call.stale = True


@dataclass(frozen=True)
class RoutesInForce:
    """Routes that change at once."""

    book: Callable[[], RouteBook]

    def refresh(self) -> bool:
        """There is never a newer table."""
        return False


class Gateway:
    """Workers' journals, carrier, store, upkeep and loop, under a clock that a test moves."""

    def __init__(self, folder: Path, book: RouteBook) -> None:
        self.witness = Witness(self._key)
        self.book = book
        self.clock = FakeClock()
        self._ticks = Ticks()
        self.workers = [WatchedJournal(name, self._ticks, []) for name in "abc"]
        self.on_the_way: dict[int, Event] = {}
        self.journals = MemoryJournals(*self.workers, clock=self._ticks)
        self.handlers = Handlers(self.witness)
        self._services = [plan.handler.service for plan in book.routes.values()]
        self._path = folder / "store.db"
        self._running: list[tuple[LoopRig, asyncio.Task[None]]] = []
        self.store = TellingStore(self._path, self.witness)
        self._start()

    def _key(self, event: Event, route: RouteRef) -> str | None:
        match self.book.routes[route].ordering:
            case Ordering.SUBSCRIPTION:
                return "everything"
            case Ordering.CONVERSATION:
                return event.identity.partition_key or None
            case _:
                return None

    # --- receivers ----------------------------------------------------------------------------------------------

    async def accept(self, worker: int, conversation: str) -> None:
        """A worker journals an event."""
        if worker in self.on_the_way:
            await self.finish(worker)
        self._ticks.now += 1
        event = self._event(conversation)
        await self.workers[worker].append(encode(event))

    def begin(self, worker: int, conversation: str) -> None:
        """A worker begins to journal an event: it has its stamp, and can't be read yet."""
        if worker not in self.on_the_way:
            self._ticks.now += 1
            self.workers[worker].incomplete_from = self._ticks.now
            self.on_the_way[worker] = self._event(conversation)

    async def finish(self, worker: int) -> None:
        """What it began is there, with the stamp of when it began."""
        if event := self.on_the_way.pop(worker, None):
            journal = self.workers[worker]
            journal._records.append((journal.incomplete_from or 0, encode(event)))
            journal.incomplete_from = None

    def _event(self, conversation: str) -> Event:
        event = an_event(partition_key=conversation, received_at_ns=self.clock.time)
        self.witness.accepted(event)
        return event

    # --- forwarder ----------------------------------------------------------------------------------------------

    async def carry(self) -> None:
        """What is complete goes into the store."""
        self._ticks.now += 1
        while self._carrier.step().more:
            pass
        self._rig.dispatcher.wake()
        await self.turn()

    async def keep_up(self) -> None:
        """A round of upkeep: pauses, ages, routes that are gone."""
        self._upkeep.round(self.store)
        self._rig.dispatcher.wake()
        await self.turn()

    async def turn(self) -> None:
        """Let the loop do what there is to do."""
        await settle()
        self.look()

    async def pass_time(self, seconds: float) -> None:
        """And everything that becomes due meanwhile."""
        await self.clock.advance(seconds)
        self.look()

    async def pause_process(self, seconds: float) -> None:
        """The forwarder is not scheduled for so long, and comes back to a later time."""
        self.handlers.forsaken()
        self.clock.time += int(seconds * 1e9)
        await self.clock.advance(0)
        self.look()

    async def take(self, book: RouteBook) -> None:
        """New routes are in force."""
        self.book = self._rig.book = book
        self._rig.dispatcher.wake()
        await self.keep_up()

    async def crash(self) -> None:
        """The process is gone with all it had in mind, handlers go on with what they were given; a new one starts."""
        self.handlers.forsaken()
        for _, task in self._running:
            task.cancel()
        await asyncio.gather(*(task for _, task in self._running), return_exceptions=True)
        self._running = []
        self.store.close()
        self.store = TellingStore(self._path, self.witness)
        self._start()
        await self.turn()

    async def overtake(self) -> None:
        """A second loop takes the store over while the first one's calls are still under way; its word may come late."""
        self._rig.dispatcher.stop()
        self.handlers.forsaken()
        self._start()
        await self.turn()

    def _start(self) -> None:
        self.store.release_leases(self.clock.time)
        self._rig = LoopRig(self.book, store=self.store, clock=self.clock)
        self._rig.handlers.scripts = dict.fromkeys(self._services, self.handlers)
        routes = RoutesInForce(lambda: self.book)
        self._carrier = Carrier(
            self.journals, self.store, routes, Kept(), Counts(), self.clock.now, Throttle(lambda: 0.0)
        )
        self._upkeep = Upkeep(lambda: self.book, lambda: True, self.clock.now, elapsed=lambda: 0)
        self._running.append((self._rig, asyncio.ensure_future(self._rig.dispatcher.run())))

    async def close(self) -> None:
        """End everything."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.store.close()

    # --- what must hold -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """No loop may have died, of a check in its store or its handlers' for one."""
        for _, task in self._running:
            if task.done() and not task.cancelled():
                task.result()

    def disagreements(self) -> Iterable[Any]:
        """Deliveries whose state in the store is none that the specification allows."""
        specification = self.witness.specification
        states = self.store.states()
        for delivery in specification.deliveries:
            state = states[delivery]
            if specification.may_be_out(*delivery):
                fits = state in (State.PENDING, State.IN_FLIGHT)
            elif specification.must_wait(*delivery):
                fits = state is State.WAITING
            else:
                fits = state in (State.DELIVERED, State.DEAD)
            if not fits:
                yield delivery, state

    def fan(self, event: Event) -> Arrival:
        """Where *event* goes now."""
        return fan_out(event, self.book.subscriptions.get(event.subscription.uid)).arrival
