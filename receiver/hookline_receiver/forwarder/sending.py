"""
Calls as tasks: claimed deliveries → messages → a handler → settlements for the loop's next turn.

A handler that hangs holds its own task and nothing else.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from hookline_receiver.carrying.routebook import Handler, RoutePlan
from hookline_receiver.event import Event
from hookline_receiver.forwarder.board import Board
from hookline_receiver.forwarder.breaker import Failure
from hookline_receiver.forwarder.call import Answers, Caller, Reply, read_answers
from hookline_receiver.forwarder.clock import Clock
from hookline_receiver.forwarder.decide import (
    Answer,
    CallFailed,
    NoOutcome,
    Tried,
    decide,
    for_logs,
    may_be_an_events_fault,
    too_large,
    weight,
)
from hookline_receiver.forwarder.lane import Lane, Lanes
from hookline_receiver.forwarder.message import NOT_WANTED, Built, Typed, Typer, build, pack, request_of
from hookline_receiver.forwarder.telling import CallStory, Teller
from hookline_receiver.forwarder.tries import Tries
from hookline_receiver.store.port import Claimed, Settlement

log = logging.getLogger(__name__)

_GIVEN_UP = Reply("", CallFailed("CANCELLED", "the forwarder stopped before the handler answered", reached=False))


class Loop(Protocol):
    """Who is told how calls ended."""

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle these."""

    def breaker_changed(self, handler: Handler) -> None:
        """*handler*'s breaker opened or closed."""

    def call_ended(self, plan: RoutePlan) -> None:
        """There is room again, and something to settle."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What calls need."""

    caller: Caller
    clock: Clock
    board: Board
    lanes: Lanes
    tries: Tries
    chance: Callable[[], float]
    message_bytes: int


@dataclass(frozen=True, slots=True)
class _Call:
    """One batch on its way."""

    lane: Lane
    plan: RoutePlan
    deliveries: list[Claimed]
    size: int
    """Bytes of its messages."""
    probe: bool
    started_at: int


class Sender:
    """Sends claimed deliveries, each call a task of its own."""

    def __init__(self, sending: Sending, teller: Teller, loop: Loop) -> None:
        self._caller = sending.caller
        self._clock = sending.clock
        self._board = sending.board
        self._lanes = sending.lanes
        self._tries = sending.tries
        self._chance = sending.chance
        self._message_bytes = sending.message_bytes
        self._teller = teller
        self._loop = loop
        self._typer = Typer()
        self._tasks: set[asyncio.Task[None]] = set()
        self._claimed_at: dict[int, int] = {}
        self._abandoned = False
        self._bug: BaseException | None = None

    @property
    def calls(self) -> int:
        """Calls under way."""
        return len(self._tasks)

    def claimed(self, claimed: Claimed, now: int) -> None:
        """Its age is known as of *now*."""
        self._claimed_at[claimed.delivery_id] = now

    def send(self, lane: Lane, group: Sequence[Claimed], *, probe: bool) -> None:
        """Begin a call with *group*."""
        self._lanes.call_begins(lane)
        self._start(self._send(lane, lane.plan, group, probe=probe))

    def end(self, claimed: Claimed, settlement: Settlement, now: int) -> None:
        """End a delivery for which no call is made."""
        self._claimed_at.pop(claimed.delivery_id, None)
        self._tries.forget([claimed.delivery_id])
        self._loop.settle([settlement])
        self._teller.no_call(self._lanes.known(claimed.route).plan, claimed, settlement, now)

    def abandon(self) -> None:
        """Give up on calls under way; their deliveries are due again at once."""
        self._abandoned = True
        for task in self._tasks:
            task.cancel()

    def check(self) -> None:
        """Raise what went wrong in a call in a way that nobody foresaw: its deliveries are nobody's but the lease's."""
        if self._bug is not None:
            raise self._bug

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._bug = self._bug or task.exception()

    # --- message ------------------------------------------------------------------------------------------------

    async def _send(self, lane: Lane, plan: RoutePlan, group: Sequence[Claimed], *, probe: bool) -> None:
        """Build the messages and call with them: once, or more often where they don't fit into one request."""
        batches = pack(await self._built(lane, plan, group), self._message_bytes)
        for batch in batches[1:]:
            self._lanes.call_begins(lane)
            self._start(self._deliver(self._call(lane, plan, batch), request_of(batch)))
        if batches:
            call, request = self._call(lane, plan, batches[0], probe=probe), request_of(batches[0])
            del batches  # what is in the request is not kept twice while a handler takes its time
            await self._deliver(call, request)
            return
        self._lanes.call_ended(lane)
        if probe:
            self._board.probe_unsent(plan.handler, self._clock.now())
        self._loop.call_ended(plan)

    def _call(self, lane: Lane, plan: RoutePlan, batch: Sequence[Built], *, probe: bool = False) -> _Call:
        deliveries, size = [one.claimed for one in batch], sum(one.size for one in batch)
        return _Call(lane, plan, deliveries, size, probe, self._clock.now())

    async def _built(self, lane: Lane, plan: RoutePlan, group: Sequence[Claimed]) -> list[Built]:
        """*group* as messages; what fits into none, or can't be built, is taken out."""
        built: list[Built] = []
        for claimed in group:
            try:
                typed = NOT_WANTED if plan.raw_only else await self._typed(claimed.event)
                one = build(claimed, typed, self._message_bytes)
            except Exception:
                log.exception("a message can't be built, a bug", extra={"delivery": claimed.name})
                self._put_off(plan, claimed)
            else:
                if isinstance(one, Built):
                    self._lanes.built(lane, claimed, one.size)
                    built.append(one)
                    continue
                ended = too_large(claimed, one.size, self._message_bytes)
                self.end(claimed, ended, self._clock.now())
            self._lanes.let_go(lane, [claimed])
        return built

    async def _typed(self, event: Event) -> Typed:
        if not self._typer.slow(event):
            return self._typer.of(event)
        working = asyncio.ensure_future(asyncio.to_thread(self._typer.of, event))
        while not working.done():
            # Cancelled or not, it is waited for: the call after it is what may be given up.
            with suppress(asyncio.CancelledError):
                await asyncio.shield(working)
        return working.result()

    def _put_off(self, plan: RoutePlan, claimed: Claimed) -> None:
        """Try a delivery again later that we can't send, until its age ends it: a release that can may come."""
        failure = CallFailed("INTERNAL", "the gateway could not build the message", reached=True)
        now = self._clock.now()
        tried = self._tried(claimed, alone=True, started_at=now, endpoint="")
        self._tries.failed([claimed.delivery_id], split=False)
        self._loop.settle([decide(tried, failure, plan.retry, now, self._chance())])

    # --- call ---------------------------------------------------------------------------------------------------

    async def _deliver(self, call: _Call, request: bytes) -> None:
        reply = _GIVEN_UP
        if not self._abandoned:
            # Only `abandon` cancels: the task ends here, its deliveries go back.
            with suppress(asyncio.CancelledError):
                reply = await self._caller.call(call.plan.handler, request, call.plan.timeout / 1e9)
        self._lanes.call_ended(call.lane)
        self._conclude(call, reply)

    def _conclude(self, call: _Call, reply: Reply) -> None:
        now = self._clock.now()
        deliveries = call.deliveries
        names = [one.name for one in deliveries]
        answers = read_answers(reply, names)
        failure, outcomes = _outcomes(answers, names)
        if isinstance(answers, Answers) and answers.strangers:
            self._teller.strangers(call.plan.handler, reply.endpoint, answers.strangers)
        settlements = self._decide(call, reply.endpoint, outcomes, now)
        self._remember(deliveries, failure, outcomes)
        self._judge_handler(call, failure, now)
        self._lanes.let_go(call.lane, deliveries, call.size)
        self._loop.settle(settlements)
        self._loop.call_ended(call.plan)
        self._teller.call(CallStory(call.plan, reply.endpoint, call.started_at, now, deliveries, settlements))

    def _decide(self, call: _Call, endpoint: str, outcomes: Sequence[Answer], now: int) -> list[Settlement]:
        """Each delivery's end or next time; the halves of a batch that is split come due together."""
        alone = len(call.deliveries) == 1
        middle = (len(call.deliveries) + 1) // 2
        halves = [self._chance(), self._chance()]
        settlements = []
        for index, (one, answer) in enumerate(zip(call.deliveries, outcomes, strict=True)):
            tried = self._tried(one, alone=alone, started_at=call.started_at, endpoint=endpoint)
            chance = halves[index >= middle] if isinstance(answer, CallFailed) else self._chance()
            settlements.append(decide(tried, answer, call.plan.retry, now, chance))
        return settlements

    def _tried(self, claimed: Claimed, *, alone: bool, started_at: int, endpoint: str) -> Tried:
        return Tried(
            claimed,
            failures=self._tries.failures(claimed.delivery_id),
            alone=alone,
            claimed_at=self._claimed_at.pop(claimed.delivery_id, started_at),
            started_at=started_at,
            endpoint=endpoint,
        )

    def _remember(self, deliveries: Sequence[Claimed], failure: CallFailed | None, outcomes: Sequence[Answer]) -> None:
        ids = [one.delivery_id for one in deliveries]
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
            changed = self._board.succeeded(handler)
        else:
            fault = Failure(weight(failure), _reason(failure), call.probe)
            changed = self._board.failed(handler, fault, now)
        if changed:
            self._loop.breaker_changed(handler)


def _outcomes(answers: Answers | CallFailed, names: Sequence[str]) -> tuple[CallFailed | None, list[Answer]]:
    """How the call failed, if it did, and what that or the response means for each of *names*."""
    if isinstance(answers, CallFailed):
        return answers, [answers] * len(names)
    return None, [answers.of[name] for name in names]


def _reason(failure: CallFailed) -> str:
    return ": ".join(filter(None, (failure.code, for_logs(failure.code, failure.detail))))
