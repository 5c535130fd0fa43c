"""
The forwarder's main loop: due routes → claim → call → decide → settle.

One turn is one visit to the store's thread: what ended since the last one is settled, what was planned is claimed, and
the due routes are looked at. Between turns the loop plans by values that it alone changes; calls are tasks that hand
their settlements back to the next turn. So a turn's cost is shared by all that happened meanwhile, and a handler that
hangs occupies its own tasks and nothing else.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from hookline.handler.v1 import handler_pb2 as pb
from hookline_receiver.event import Event, RouteRef
from hookline_receiver.forwarder.board import Board
from hookline_receiver.forwarder.breaker import Failure, Permission
from hookline_receiver.forwarder.call import Caller, Reply, read_answers
from hookline_receiver.forwarder.clock import Clock
from hookline_receiver.forwarder.decide import (
    Answer,
    CallFailed,
    NoOutcome,
    Tried,
    decide,
    expired,
    may_be_an_events_fault,
    too_large,
    weight,
)
from hookline_receiver.forwarder.lane import Capacity, Lane, Lanes, Planned, Room
from hookline_receiver.forwarder.message import DEFAULT_LIMIT, LARGE, NOT_WANTED, Built, Typed, Typer, build, pack
from hookline_receiver.forwarder.store_thread import StoreRunner
from hookline_receiver.forwarder.tries import Tries
from hookline_receiver.forwarder.turn import Order, Turn, Turned, work_off
from hookline_receiver.logs import Throttle
from hookline_receiver.routebook import Handler, Ordering, RouteBook, RoutePlan
from hookline_receiver.store.port import Claimed, Dead, Delivered, DueRoute, RetryAt, Settlement

log = logging.getLogger(__name__)

_MILLISECOND = 1_000_000
_SECOND = 1_000 * _MILLISECOND


_GIVEN_UP = Reply("", CallFailed("CANCELLED", "the forwarder stopped before the handler answered", reached=False))


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """Bounds of the loop; times in nanoseconds."""

    capacity: Capacity = field(default_factory=Capacity)
    message_bytes: int = DEFAULT_LIMIT
    lease_margin: int = 15 * _SECOND
    """How long a lease outlasts the handler's timeout: for waiting, connecting and settling."""
    orders: int = 64
    """Claims of one turn: bounds how long settlements wait for the store's thread."""
    look: int = 1_000
    """Due routes looked at in one turn; where there are more, those that were served or are full step back."""
    step_back: int = 200 * _MILLISECOND
    idle: int = 1 * _SECOND
    """Longest time between two looks, for what nobody announces: leases that lapse."""
    nothing: int = 50 * _MILLISECOND
    trouble: int = 500 * _MILLISECOND
    """How long the store is left alone when it is unavailable."""


class Meter(Protocol):
    """What is counted of delivering."""

    def attempt(self, code: str) -> None: ...
    def ended(self, result: str, since_received: int) -> None: ...
    def call(self, seconds: float, events: int) -> None: ...
    def lease_lost(self, deliveries: int) -> None: ...
    def store_unavailable(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Call:
    """One batch on its way."""

    lane: Lane
    plan: RoutePlan
    batch: Sequence[Built]
    probe: bool
    started_at: int


class Dispatcher:
    """Delivers what is due; run `run` as a task, call `wake` when something new is there, `stop` to end."""

    def __init__(
        self,
        store: StoreRunner,
        caller: Caller,
        book: Callable[[], RouteBook | None],
        clock: Clock,
        meter: Meter,
        board: Board,
        chance: Callable[[], float],
        throttle: Throttle,
        limits: LoopLimits | None = None,
    ) -> None:
        self._store = store
        self._caller = caller
        self._book = book
        self._clock = clock
        self._meter = meter
        self._board = board
        self._chance = chance
        self._throttle = throttle
        self._limits = limits or LoopLimits()
        self._lanes = Lanes(self._limits.capacity)
        self._tries = Tries()
        self._typer = Typer()
        self._due: Sequence[DueRoute] = ()
        self._settlements: list[Settlement] = []
        self._holds: dict[RouteRef, int] = {}
        self._held: dict[RouteRef, int] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._claimed_at: dict[int, int] = {}
        self._turns = 0
        self._wake = asyncio.Event()
        self._stopping = False
        self._abandoned = False
        self._troubled = False

    def wake(self) -> None:
        """Something may be due; call from the event loop's thread."""
        self._wake.set()

    def reachable(self, handler: Handler) -> None:
        """An endpoint of *handler* came up: a probe needn't wait any longer."""
        if self._board.reachable(handler, self._clock.now()):
            self._hold_routes(handler)
            self._wake.set()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when everything under way is settled."""
        self._stopping = True
        self._wake.set()

    @property
    def calls(self) -> int:
        """Calls under way."""
        return len(self._calls)

    def abandon_calls(self) -> None:
        """Give up on calls under way; their deliveries are due again at once."""
        self._abandoned = True
        for call in self._calls:
            call.cancel()

    async def run(self) -> None:
        """Deliver until `stop`; returns once all calls have ended and are settled."""
        while True:
            self._wake.clear()
            turn = self._plan()
            turned = await self._store.run(lambda store, turn=turn: work_off(store, turn, self._clock.now()))  # type: ignore[misc]
            self._absorb(turn, turned)
            if self._stopping and not self._calls and not self._settlements:
                return
            self._tell_trouble(turned.trouble)
            if turned.trouble:
                await self._back_off()
            elif not self._busy(turned):
                await self._clock.wait(self._wake, self._next_look())

    # --- plan ---------------------------------------------------------------------------------------------------

    def _plan(self) -> Turn:
        now = self._clock.now()
        self._turns += 1
        orders = () if self._stopping else tuple(self._orders(now))
        settlements, self._settlements = tuple(self._settlements), []
        holds, self._holds = self._holds, {}
        self._held = {route: until for route, until in (self._held | holds).items() if until > now}
        return Turn(settlements, holds, orders, self._limits.look)

    def _orders(self, now: int) -> list[Order]:
        """One batch for each due route that has room, the one that waited longest for its turn first."""
        book = self._book()
        if book is None:
            return []
        crowded = len(self._due) >= self._limits.look and self._due[-1].due_at <= now
        orders: list[Order] = []
        planned = Planned()
        for due in sorted(self._due, key=lambda one: self._lanes.served(one.route)):
            if due.due_at > now:
                continue
            full = len(orders) >= self._limits.orders
            plan = book.routes.get(due.route)
            order = self._order(plan, now, planned) if plan and not full else None
            if order:
                orders.append(order)
            if crowded and not full:
                self._holds[due.route] = max(now + self._limits.step_back, self._holds.get(due.route, 0))
        return orders

    def _order(self, plan: RoutePlan, now: int, planned: Planned) -> Order | None:
        room = self._room(plan, now, planned)
        if not room.events:
            return None
        probe = self._board.permits(plan.handler, now) is Permission.PROBE
        if probe:
            self._board.probe(plan.handler)
        self._lanes.of(plan).served = self._turns
        planned.calls += -(-room.events // plan.batch_max_events)
        planned.bytes += room.bytes
        lease = now + plan.timeout + plan.batch_max_wait + self._limits.lease_margin
        return Order(plan.ref, 1 if probe else room.events, room.bytes, lease, probe)

    def _room(self, plan: RoutePlan, now: int, planned: Planned) -> Room:
        """What may be claimed of a route now."""
        if plan.paused or self._board.permits(plan.handler, now) is Permission.NOTHING:
            return Room(0, 0)
        lane = self._lanes.of(plan)
        if now < lane.nothing_until:
            return Room(0, 0)
        suspect = self._board.suspects(plan.handler)
        return self._lanes.room(lane, self._limits.message_bytes, planned, suspect=suspect)

    # --- absorb -------------------------------------------------------------------------------------------------

    def _absorb(self, turn: Turn, turned: Turned) -> None:
        self._account(turn, turned)
        now = self._clock.now()
        self._due = turned.due
        book = self._book()
        asked = dict(turned.claims)
        for order in turn.orders:
            self._take(order, list(asked.get(order, ())), book, now)
        for lane in self._lanes.forming():
            self._flush(lane, now)
        if self._turns % 256 == 0:
            self._lanes.forget_idle()

    def _account(self, turn: Turn, turned: Turned) -> None:
        """What was settled is done; what could not be is asked again; what was fenced out is said."""
        if turned.settled is None:
            self._settlements = [*turn.settlements, *self._settlements]
            self._holds = {**turn.holds, **self._holds}
            return
        settled = frozenset(turned.settled)
        lost = [one.delivery_id for one in turn.settlements if one.delivery_id not in settled]
        if lost:
            self._meter.lease_lost(len(lost))
            log.warning("leases were lost before the outcome could be kept", extra={"deliveries": len(lost)})

    def _take(self, order: Order, claimed: list[Claimed], book: RouteBook | None, now: int) -> None:
        plan = book.routes.get(order.route) if book else None
        lane = self._lanes.known(order.route)
        alive: list[Claimed] = []
        for one in claimed:
            ended = expired(one, lane.plan.retry)
            if ended:
                self._end(ended, one, now)
            else:
                self._claimed_at[one.delivery_id] = now
                alive.append(one)
        if not alive:
            lane.nothing_until = 0 if claimed else now + self._limits.nothing
            if order.probe:
                self._board.probe_unsent(lane.plan.handler, now)
            return
        if plan is not None:
            lane.plan = plan
        if not lane.forming:
            lane.flush_at = now + self._patience(lane.plan)
        self._lanes.claimed(lane, alive)
        if order.probe:
            self._send_off(lane, len(lane.forming), probe=True)

    def _patience(self, plan: RoutePlan) -> int:
        """How long a batch waits to fill: not at all where only one event is ever out."""
        return 0 if plan.ordering is Ordering.SUBSCRIPTION or plan.batch_max_events == 1 else plan.batch_max_wait

    def _flush(self, lane: Lane, now: int) -> None:
        """Send what has waited long enough, and batches that are full."""
        size = lane.plan.batch_max_events
        if (
            now >= lane.flush_at
            or self._stopping
            or lane.deliveries >= lane.plan.max_in_flight
            or lane.forming_bytes >= self._limits.message_bytes // 2
        ):
            self._send_off(lane, len(lane.forming))
        elif len(lane.forming) >= size:
            self._send_off(lane, len(lane.forming) // size * size)
            lane.flush_at = now + self._patience(lane.plan)

    def _send_off(self, lane: Lane, count: int, *, probe: bool = False) -> None:
        """Send the first *count* of the forming batch, apart what must be tried apart."""
        size = lane.plan.batch_max_events
        going, lane.forming = lane.forming[:count], lane.forming[count:]
        for group in self._tries.arrange(going):
            for start in range(0, len(group), size):
                self._lanes.call_begins(lane)
                self._start(self._send(lane, lane.plan, group[start : start + size], probe=probe))
                probe = False

    # --- call ---------------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _send(self, lane: Lane, plan: RoutePlan, group: Sequence[Claimed], *, probe: bool) -> None:
        """Build the messages and call with them: once, or more often where they don't fit into one request."""
        batches = await self._batches(lane, group)
        for batch in batches[1:]:
            self._lanes.call_begins(lane)
            self._start(self._deliver(_Call(lane, plan, batch, False, self._clock.now())))
        if batches:
            await self._deliver(_Call(lane, plan, batches[0], probe, self._clock.now()))
            return
        self._lanes.call_ended(lane)
        if probe:
            self._board.probe_unsent(plan.handler, self._clock.now())
        self._wake.set()

    async def _batches(self, lane: Lane, group: Sequence[Claimed]) -> list[list[Built]]:
        """*group* as requests that fit; what fits into none is ended."""
        limit = self._limits.message_bytes
        built: list[Built] = []
        for claimed in group:
            typed = NOT_WANTED if lane.plan.raw_only else await self._typed(claimed.event)
            one = build(claimed, typed, limit)
            if isinstance(one, Built):
                built.append(one)
            else:
                self._end(too_large(claimed, one.size, limit), claimed, self._clock.now())
                self._lanes.let_go(lane, [claimed])
        return pack(built, limit)

    async def _typed(self, event: Event) -> Typed:
        if len(event.body) <= LARGE or self._typer.known(event):
            return self._typer.of(event)
        working = asyncio.ensure_future(asyncio.to_thread(self._typer.of, event))
        while not working.done():
            # Cancelled or not, it is waited for: the call after it is what may be given up.
            with suppress(asyncio.CancelledError):
                await asyncio.shield(working)
        return working.result()

    async def _deliver(self, call: _Call) -> None:
        request = pb.DeliverRequest(deliveries=[one.message for one in call.batch]).SerializeToString()
        reply = _GIVEN_UP
        if not self._abandoned:
            # Only `abandon_calls` cancels: the task ends here, its deliveries go back.
            with suppress(asyncio.CancelledError):
                reply = await self._caller.call(call.plan.handler, request, call.plan.timeout / 1e9)
        self._lanes.call_ended(call.lane)
        self._conclude(call, reply)
        self._wake.set()

    def _conclude(self, call: _Call, reply: Reply) -> None:
        now = self._clock.now()
        names = [one.message.delivery_id for one in call.batch]
        answers = read_answers(reply, names)
        if isinstance(answers, CallFailed):
            failure: CallFailed | None = answers
            outcomes: list[Answer] = [answers] * len(call.batch)
        else:
            failure = None
            outcomes = [answers[name] for name in names]
        settlements = self._decide(call, reply, outcomes, now)
        self._remember(call, failure, outcomes)
        self._judge_handler(call, failure, now)
        self._settlements.extend(settlements)
        for one in call.batch:
            self._claimed_at.pop(one.claimed.delivery_id, None)
        self._lanes.let_go(call.lane, [one.claimed for one in call.batch])
        if call.plan.ref in self._held and not self._board.open_until(call.plan.handler):
            self._holds[call.plan.ref] = 0
        self._report(call, reply, settlements, now)

    def _decide(self, call: _Call, reply: Reply, outcomes: Sequence[Answer], now: int) -> list[Settlement]:
        """Each delivery's end or next time; the halves of a batch that is split come due together."""
        middle = (len(call.batch) + 1) // 2
        chances = [self._chance(), self._chance()]
        together = len(outcomes) > 1 and isinstance(outcomes[0], CallFailed)
        settlements = []
        for index, (one, answer) in enumerate(zip(call.batch, outcomes, strict=True)):
            claimed = one.claimed
            tried = Tried(
                claimed,
                failures=self._tries.failures(claimed.delivery_id),
                alone=len(call.batch) == 1,
                claimed_at=self._claimed_at.get(claimed.delivery_id, call.started_at),
                started_at=call.started_at,
                endpoint=reply.endpoint,
            )
            chance = chances[index >= middle] if together else self._chance()
            settlements.append(decide(tried, answer, call.plan.retry, now, chance))
        return settlements

    def _remember(self, call: _Call, failure: CallFailed | None, outcomes: Sequence[Answer]) -> None:
        ids = [one.claimed.delivery_id for one in call.batch]
        if failure:
            self._tries.failed(ids, split=len(ids) > 1 and may_be_an_events_fault(failure))
            return
        for each, answer in zip(ids, outcomes, strict=True):
            if isinstance(answer, NoOutcome):
                self._tries.failed([each], split=False)
            else:
                self._tries.forget([each])

    def _judge_handler(self, call: _Call, failure: CallFailed | None, now: int) -> None:
        handler = call.plan.handler
        if failure is None:
            if self._board.succeeded(handler):
                self._hold_routes(handler)
            return
        if self._board.failed(handler, Failure(weight(failure), f"{failure.code}: {failure.detail}", call.probe), now):
            self._hold_routes(handler)

    def _hold_routes(self, handler: Handler) -> None:
        """Let the routes of *handler* be due as its breaker says."""
        until = self._board.open_until(handler)
        book = self._book()
        for plan in book.of_handler(handler) if book else ():
            self._holds[plan.ref] = until

    def _end(self, settlement: Settlement, claimed: Claimed, now: int) -> None:
        """End a delivery for which no call was made."""
        self._settlements.append(settlement)
        if isinstance(settlement.result, Dead):
            self._meter.ended(settlement.result.reason.value, now - claimed.event.received_at_ns)
            log.error(
                "a delivery is dead",
                extra={
                    "delivery": claimed.name,
                    "route": str(claimed.route),
                    "reason": settlement.result.reason.value,
                    "detail": settlement.result.detail,
                },
            )

    # --- wait and tell ------------------------------------------------------------------------------------------

    def _busy(self, turned: Turned) -> bool:
        """Whether another turn is worth it at once."""
        if self._settlements or self._holds:
            return True
        if self._stopping:
            return False
        now = self._clock.now()
        return any(due.due_at <= now and self._has_room(due.route, now) for due in turned.due)

    def _has_room(self, route: RouteRef, now: int) -> bool:
        book = self._book()
        plan = book.routes.get(route) if book else None
        return plan is not None and self._room(plan, now, Planned()).events > 0

    def _next_look(self) -> int:
        now = self._clock.now()
        times = [now + self._limits.idle]
        times += [due.due_at for due in self._due if due.due_at > now]
        times += [lane.flush_at for lane in self._lanes.forming()]
        times += [until for until in self._held.values() if until > now]
        times += self._lanes.waits(now)
        return min(times)

    def _tell_trouble(self, trouble: str) -> None:
        if trouble and not self._troubled:
            log.error("the event store is unavailable, nothing is delivered", extra={"reason": trouble})
            self._meter.store_unavailable()
        elif self._troubled and not trouble:
            log.info("the event store is available again")
        self._troubled = bool(trouble)

    async def _back_off(self) -> None:
        wait = asyncio.Event()
        await self._clock.wait(wait, self._clock.now() + self._limits.trouble)

    def _report(self, call: _Call, reply: Reply, settlements: Sequence[Settlement], now: int) -> None:
        """Count, and say in one line how the call went."""
        delivered = retried = dead = 0
        for one, settlement in zip(call.batch, settlements, strict=True):
            if settlement.attempt:
                self._meter.attempt(settlement.attempt.code)
            match settlement.result:
                case Delivered():
                    delivered += 1
                    self._meter.ended("Delivered", now - one.claimed.event.received_at_ns)
                case RetryAt():
                    retried += 1
                case Dead(reason, _):
                    dead += 1
                    self._meter.ended(reason.value, now - one.claimed.event.received_at_ns)
        self._meter.call((now - call.started_at) / 1e9, len(call.batch))
        level = logging.ERROR if dead else logging.WARNING if retried else logging.DEBUG
        if not log.isEnabledFor(level):
            return
        held_back = 0 if level == logging.DEBUG else self._throttle.admit(f"{level} {call.plan.ref}")
        if held_back is not None:
            log.log(level, "a call ended", extra=_story(call, reply, settlements, now) | {"held_back": held_back})


def _story(call: _Call, reply: Reply, settlements: Sequence[Settlement], now: int) -> dict[str, object]:
    """Fields of a call's line in the log: the worst delivery stands for the others."""
    worst = max(settlements, key=lambda one: (isinstance(one.result, Dead), isinstance(one.result, RetryAt)))
    name = next(one.message.delivery_id for one in call.batch if one.claimed.delivery_id == worst.delivery_id)
    results = [type(one.result).__name__ for one in settlements]
    return {
        "route": str(call.plan.ref),
        "endpoint": reply.endpoint,
        "events": len(results),
        "delivered": results.count("Delivered"),
        "retried": results.count("RetryAt"),
        "dead": results.count("Dead"),
        "delivery": name,
        "code": worst.attempt.code if worst.attempt else "",
        # What a handler says of an event may be private: it is in the event's story, not in the log.
        "detail": worst.attempt.detail if worst.attempt and not worst.attempt.answered else "",
        "milliseconds": round((now - call.started_at) / 1e6, 1),
    }
