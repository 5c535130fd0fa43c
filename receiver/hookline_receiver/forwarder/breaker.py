"""
A circuit breaker per handler, as values: pure.

    Closed --failures add up, or one that can't be the event's fault--> Open --its time is over--> HalfOpen (one probe)
    HalfOpen --the probe is answered--> Closed          HalfOpen --it fails--> Open, for twice as long

A failing event must not close the road for the others: failures that may be an event's own fault weigh least.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

_SECOND = 1_000_000_000
_FULL = 30
"""Weight of failures in a row at which the breaker opens."""


class BreakerState(StrEnum):
    """Whether a handler is called."""

    CLOSED = "Closed"
    OPEN = "Open"
    HALF_OPEN = "HalfOpen"


class Permission(StrEnum):
    """What may be sent to a handler now."""

    ALL = "All"
    PROBE = "Probe"
    """One call with one event."""
    NOTHING = "Nothing"


class Weight(StrEnum):
    """What a failed call says about the handler."""

    MISCONFIGURED = "Misconfigured"
    """It will fail for every event until a person acts: opens at once."""
    DOWN = "Down"
    """It was not reached or did not answer: opens at the third in a row."""
    EVENT = "Event"
    """The handler failed while it handled; it may be the event's fault: opens at the tenth in a row."""


_POINTS = {Weight.MISCONFIGURED: _FULL, Weight.DOWN: 10, Weight.EVENT: 3}


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """How long it stays open, in nanoseconds."""

    first_open: int = 1 * _SECOND
    longest_open: int = 30 * _SECOND
    """Bounds how long a handler that came back waits for its first event."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """Where one handler's breaker stands."""

    state: BreakerState = BreakerState.CLOSED
    points: int = 0
    openings: int = 0
    """Times in a row that it opened."""
    open_until: int = 0
    reason: str = ""
    """Why it opened, for people."""

    def permits(self, now: int) -> Permission:
        """What may be sent at *now*."""
        if self.state is BreakerState.CLOSED:
            return Permission.ALL
        if self.state is BreakerState.OPEN and now >= self.open_until:
            return Permission.PROBE
        return Permission.NOTHING


def probing(breaker: Breaker) -> Breaker:
    """The probe is on its way: nothing else goes until it is back."""
    return replace(breaker, state=BreakerState.HALF_OPEN)


def probe_unsent(breaker: Breaker, now: int) -> Breaker:
    """There was nothing to probe with: the next event is the probe."""
    return replace(breaker, state=BreakerState.OPEN, open_until=now)


def reachable(breaker: Breaker, now: int) -> Breaker:
    """The handler's endpoints changed for the better: probe at once instead of waiting the open time out."""
    return replace(breaker, open_until=now) if breaker.state is BreakerState.OPEN else breaker


def succeeded() -> Breaker:
    """The handler answered a call."""
    return Breaker()


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed call."""

    weight: Weight
    reason: str
    probe: bool


def failed(breaker: Breaker, failure: Failure, policy: BreakerPolicy, now: int, chance: float) -> Breaker:
    """
    Return the breaker after *failure*; *chance* in [0, 1) spreads the open times (half to the whole of them).

    Calls that were under way when it opened tell nothing new.
    """
    if breaker.state is not BreakerState.CLOSED and not failure.probe:
        return breaker
    points = breaker.points + _POINTS[failure.weight]
    if not failure.probe and points < _FULL:
        return replace(breaker, points=points, reason=failure.reason)
    longest = min(policy.longest_open, policy.first_open << min(breaker.openings, 32))
    open_until = now + longest // 2 + int(longest // 2 * chance)
    return Breaker(BreakerState.OPEN, points, breaker.openings + 1, open_until, failure.reason)
