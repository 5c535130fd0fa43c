"""The circuit breakers of all handlers, and from when on each route may be claimed again."""

import logging
from collections.abc import Callable, Collection

from hookline_receiver.carrying.routebook import Handler
from hookline_receiver.forwarder.breaker import (
    Breaker,
    BreakerPolicy,
    BreakerState,
    Failure,
    Permission,
    failed,
    probe_unsent,
    probing,
    reachable,
    succeeded,
)

log = logging.getLogger(__name__)


class Board:
    """Breakers by handler; a handler that never failed has none."""

    def __init__(self, policy: BreakerPolicy, chance: Callable[[], float]) -> None:
        self._policy = policy
        self._chance = chance
        self._breakers: dict[Handler, Breaker] = {}

    def permits(self, handler: Handler, now: int) -> Permission:
        """What may be sent to *handler* now."""
        breaker = self._breakers.get(handler)
        return breaker.permits(now) if breaker else Permission.ALL

    def suspects(self, handler: Handler) -> bool:
        """Whether a call of *handler* failed since it last answered one."""
        return handler in self._breakers

    def open_until(self, handler: Handler) -> int:
        """When the next probe is due; 0 where nothing is held back."""
        breaker = self._breakers.get(handler)
        return breaker.open_until if breaker and breaker.state is BreakerState.OPEN else 0

    def probe(self, handler: Handler) -> None:
        """The probe is on its way."""
        self._breakers[handler] = probing(self._breakers[handler])

    def probe_unsent(self, handler: Handler, now: int) -> None:
        """There was nothing to probe with."""
        if breaker := self._breakers.get(handler):
            self._breakers[handler] = probe_unsent(breaker, now)

    def succeeded(self, handler: Handler) -> bool:
        """It answered; whether that closed the breaker."""
        before = self._breakers.pop(handler, None)
        closed = before is not None and succeeded().state is not before.state
        if closed:
            log.info("a handler answers again", extra={"handler": str(handler)})
        return closed

    def failed(self, handler: Handler, failure: Failure, now: int) -> bool:
        """A call failed; whether that opened the breaker (again)."""
        before = self._breakers.get(handler, Breaker())
        after = failed(before, failure, self._policy, now, self._chance())
        self._breakers[handler] = after
        opened = after.state is BreakerState.OPEN and after != before
        if opened:
            log.warning(
                "a handler is left alone for a while",
                extra={
                    "handler": str(handler),
                    "kind": failure.weight.value,
                    "reason": failure.reason,
                    "seconds": round((after.open_until - now) / 1e9, 3),
                    "times": after.openings,
                },
            )
        return opened

    def reachable(self, handler: Handler, now: int) -> bool:
        """An endpoint came up; whether a probe is due for that."""
        breaker = self._breakers.get(handler)
        if breaker is None or breaker.state is not BreakerState.OPEN or breaker.open_until <= now:
            return False
        self._breakers[handler] = reachable(breaker, now)
        return True

    def states(self) -> dict[BreakerState, int]:
        """How many handlers' breakers are open or half open."""
        counts = {BreakerState.OPEN: 0, BreakerState.HALF_OPEN: 0}
        for breaker in self._breakers.values():
            if breaker.state in counts:
                counts[breaker.state] += 1
        return counts

    def keep_only(self, handlers: Collection[Handler]) -> None:
        """Forget handlers that no route names any more."""
        self._breakers = {handler: one for handler, one in self._breakers.items() if handler in handlers}
