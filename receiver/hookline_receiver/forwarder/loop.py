"""
The forwarder's main loop: due routes → claim → call → decide → settle.

One turn is one visit to the store's thread: what ended since the last one is settled, what was planned is claimed, and
the due routes are looked at. Between turns the loop plans by values that it alone changes; calls are tasks that hand
their settlements back to the next turn. So a turn's cost is shared by all that happened meanwhile, and a handler that
hangs occupies its own tasks and nothing else.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hookline_receiver.carrying.routebook import Handler, Ordering, RouteBook, RoutePlan
from hookline_receiver.event import RouteRef
from hookline_receiver.forwarder.board import Board
from hookline_receiver.forwarder.breaker import Permission
from hookline_receiver.forwarder.call import Caller
from hookline_receiver.forwarder.clock import Clock
from hookline_receiver.forwarder.decide import expired
from hookline_receiver.forwarder.lane import Capacity, Lane, Lanes, Planned, Room
from hookline_receiver.forwarder.message import DEFAULT_LIMIT
from hookline_receiver.forwarder.sending import Sender, Sending
from hookline_receiver.forwarder.store_thread import StoreRunner
from hookline_receiver.forwarder.telling import SendingMeter, Teller
from hookline_receiver.forwarder.tries import Tries
from hookline_receiver.forwarder.turn import Order, Turn, Turned, work_off
from hookline_receiver.ops.logs import Throttle
from hookline_receiver.store.port import Claimed, DueRoute, Settlement

log = logging.getLogger(__name__)

_MILLISECOND = 1_000_000
_SECOND = 1_000 * _MILLISECOND


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


class Meter(SendingMeter, Protocol):
    """What is counted of delivering."""

    def lease_lost(self, deliveries: int) -> None: ...
    def store_unavailable(self) -> None: ...


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
        self._book = book
        self._clock = clock
        self._meter = meter
        self._board = board
        self._limits = limits or LoopLimits()
        self._lanes = Lanes(self._limits.capacity)
        self._tries = Tries()
        sending = Sending(caller, clock, board, self._lanes, self._tries, chance, self._limits.message_bytes)
        self._sender = Sender(sending, Teller(meter, throttle), self)
        self._due: Sequence[DueRoute] = ()
        self._settlements: list[Settlement] = []
        self._holds: dict[RouteRef, int] = {}
        self._held: dict[RouteRef, int] = {}
        self._turns = 0
        self._wake = asyncio.Event()
        self._stopping = False
        self._troubled = False

    def wake(self) -> None:
        """Something may be due; call from the event loop's thread."""
        self._wake.set()

    def reachable(self, handler: Handler) -> None:
        """An endpoint of *handler* came up: a probe needn't wait any longer."""
        if self._board.reachable(handler, self._clock.now()):
            self.breaker_changed(handler)
            self._wake.set()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when everything under way is settled."""
        self._stopping = True
        self._wake.set()

    @property
    def calls(self) -> int:
        """Calls under way."""
        return self._sender.calls

    def abandon_calls(self) -> None:
        """Give up on calls under way; their deliveries are due again at once."""
        self._sender.abandon()

    async def run(self) -> None:
        """Deliver until `stop`; returns once all calls have ended and are settled."""
        while True:
            self._wake.clear()
            turn = self._plan()
            turned = await self._store.run(lambda store, turn=turn: work_off(store, turn, self._clock.now()))  # type: ignore[misc]
            self._absorb(turn, turned)
            self._sender.check()
            if self._stopping and not self._sender.calls and not self._settlements:
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
        planned.bytes += room.weight
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
                self._sender.end(one, ended, now)
            else:
                self._sender.claimed(one, now)
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
                self._sender.send(lane, group[start : start + size], probe=probe)
                probe = False

    # --- what a Sender tells ------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Let the next turn settle these."""
        self._settlements.extend(settlements)

    def breaker_changed(self, handler: Handler) -> None:
        """Let the routes of *handler* be due as its breaker says."""
        until = self._board.open_until(handler)
        book = self._book()
        for plan in book.of_handler(handler) if book else ():
            self._holds[plan.ref] = until

    def call_ended(self, plan: RoutePlan) -> None:
        """There is room again: a route that stepped back need not stay there."""
        if plan.ref in self._held and not self._board.open_until(plan.handler):
            self._holds[plan.ref] = 0
        self._wake.set()

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
