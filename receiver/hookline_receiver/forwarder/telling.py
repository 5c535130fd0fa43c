"""What is counted and said of calls: one line a call, the worst of its deliveries standing for the others."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hookline_receiver.carrying.routebook import Handler, RoutePlan
from hookline_receiver.forwarder.decide import for_logs
from hookline_receiver.ops.logs import Throttle
from hookline_receiver.store.port import Claimed, Dead, Delivered, RetryAt, Settlement

log = logging.getLogger(__name__)


class SendingMeter(Protocol):
    """What is counted of calls."""

    def attempt(self, code: str) -> None: ...
    def ended(self, result: str, since_received: int) -> None: ...
    def call(self, seconds: float, events: int) -> None: ...


@dataclass(frozen=True, slots=True)
class CallStory:
    """A call that has ended, its deliveries and what became of them in the same order."""

    plan: RoutePlan
    endpoint: str
    started_at: int
    ended_at: int
    deliveries: Sequence[Claimed]
    settlements: Sequence[Settlement]


class Teller:
    """Counts and logs; floods of the same kind are held back by route, what a handler does wrong each time by handler."""

    def __init__(self, meter: SendingMeter, throttle: Throttle) -> None:
        self._meter = meter
        self._throttle = throttle
        self._rarely = throttle.rarely()

    def call(self, story: CallStory) -> None:
        """A call has ended: DEBUG if all is well, WARNING if something comes again, ERROR if something is dead."""
        for claimed, settlement in zip(story.deliveries, story.settlements, strict=True):
            if settlement.attempt:
                self._meter.attempt(settlement.attempt.code)
            self._count(settlement, story.ended_at - claimed.event.received_at_ns)
        self._meter.call((story.ended_at - story.started_at) / 1e9, len(story.settlements))
        level = max(_level(one) for one in story.settlements)
        if log.isEnabledFor(level):
            self._say(level, story.plan, "a call ended", lambda: _fields(story))

    def no_call(self, plan: RoutePlan, claimed: Claimed, settlement: Settlement, now: int) -> None:
        """A delivery ended without a call."""
        self._count(settlement, now - claimed.event.received_at_ns)
        if isinstance(settlement.result, Dead):
            reason, detail = settlement.result.reason.value, settlement.result.detail
            fields: dict[str, object] = {
                "route": str(plan.ref),
                "delivery": claimed.name,
                "reason": reason,
                "detail": detail,
            }
            self._say(logging.ERROR, plan, "a delivery is dead", lambda: fields)

    def strangers(self, handler: Handler, endpoint: str, outcomes: int) -> None:
        """*handler* answered for deliveries that it was not sent: its author's mistake, said once a minute."""
        held_back = self._rarely.admit(str(handler))
        if held_back is not None:
            fields = {"handler": str(handler), "endpoint": endpoint, "outcomes": outcomes, "held_back": held_back}
            log.warning("a handler answered for deliveries it was not sent", extra=fields)

    def _count(self, settlement: Settlement, age: int) -> None:
        match settlement.result:
            case Delivered():
                self._meter.ended("Delivered", age)
            case Dead(reason, _):
                self._meter.ended(reason.value, age)

    def _say(self, level: int, plan: RoutePlan, sentence: str, fields: Callable[[], dict[str, object]]) -> None:
        held_back = 0 if level == logging.DEBUG else self._throttle.admit(f"{level} {plan.ref}")
        if held_back is not None:
            log.log(level, sentence, extra=fields() | {"held_back": held_back})


def _level(settlement: Settlement) -> int:
    match settlement.result:
        case Dead():
            return logging.ERROR
        case RetryAt():
            return logging.WARNING
        case _:
            return logging.DEBUG


def _fields(story: CallStory) -> dict[str, object]:
    index = max(range(len(story.settlements)), key=lambda each: _level(story.settlements[each]))
    worst = story.settlements[index]
    results = [type(one.result).__name__ for one in story.settlements]
    return {
        "route": str(story.plan.ref),
        "endpoint": story.endpoint,
        "events": len(results),
        "delivered": results.count("Delivered"),
        "retried": results.count("RetryAt"),
        "dead": results.count("Dead"),
        "delivery": story.deliveries[index].name,
        "code": worst.attempt.code if worst.attempt else "",
        "detail": for_logs(worst.attempt.code, worst.attempt.detail) if worst.attempt else "",
        "milliseconds": round((story.ended_at - story.started_at) / 1e6, 1),
    }
