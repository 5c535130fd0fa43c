"""
What an answer, or the lack of one, means for a delivery: pure.

Only the handler's own outcome for the event, its number of answers or its age end a delivery. A status of the whole
call never does: it says that the call failed, not the event.
"""

from dataclasses import dataclass

from hookline_receiver.carrying.routebook import RetryPolicy
from hookline_receiver.forwarder.breaker import Weight
from hookline_receiver.store.port import (
    Attempt,
    Claimed,
    Dead,
    DeadReason,
    Delivered,
    RetryAt,
    Settlement,
)

DETAIL_LIMIT = 1024
"""Characters kept of what a handler said."""
HANDLER_BACKOFF_LIMIT = 30 * 1_000_000_000
"""
Longest delay of a delivery whose handler could not be reached, in nanoseconds.

The breaker paces such a handler; a delivery's own delay would only add to the wait once it is back.
"""
SHORTEST_DELAY = 100 * 1_000_000
"""
Shortest delay that a handler can ask for, in nanoseconds: 0 or less would have it asked again without pause.

Measured: 300 such events took a third of a core. It holds where a route's maxBackoff is shorter, too.
"""
_SHORTEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """The handler has taken the event."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """The handler wants it later."""

    delay: int | None
    """Nanoseconds from now; None: the route's backoff decides."""
    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The handler will never take it."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoOutcome:
    """The handler answered the call, but said nothing of this event."""

    detail: str = "the response has no outcome for this delivery"


@dataclass(frozen=True, slots=True)
class CallFailed:
    """The call ended with a status other than OK."""

    code: str
    """Name of the gRPC status code."""
    detail: str
    reached: bool
    """Whether it was sent on a connection that was up: what went wrong may then be an event's fault."""


Answer = Accepted | Postponed | Rejected | NoOutcome | CallFailed


@dataclass(frozen=True, slots=True)
class Tried:
    """One delivery in a call that has ended."""

    claimed: Claimed
    failures: int
    """Tries in a row before this one that ended without an answer for it."""
    alone: bool
    """Whether it was the only event of the call."""
    claimed_at: int
    started_at: int
    endpoint: str


_MISCONFIGURED = frozenset(
    {"UNIMPLEMENTED", "PERMISSION_DENIED", "UNAUTHENTICATED", "NOT_FOUND", "FAILED_PRECONDITION"}
)
_DOWN = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


def for_logs(code: str, detail: str) -> str:
    """
    What may be logged of how a call went.

    Of a connection that is down gRPC itself tells. All other words are the handler's, an exception's text as a rule,
    which may quote the event: they are in the event's story only.
    """
    return detail if code in _DOWN else ""


def weight(failure: CallFailed) -> Weight:
    """What *failure* says about the handler."""
    if failure.code in _MISCONFIGURED:
        return Weight.MISCONFIGURED
    return Weight.DOWN if failure.code in _DOWN or not failure.reached else Weight.EVENT


def may_be_an_events_fault(failure: CallFailed) -> bool:
    """Whether one event of the batch may have made the call fail, so that it pays to try them apart."""
    return failure.reached and failure.code not in _MISCONFIGURED


def decide(tried: Tried, answer: Answer, policy: RetryPolicy, now: int, chance: float) -> Settlement:
    """
    Return what becomes of the delivery, with the attempt for its story.

    *chance* in [0, 1) is the jitter: a delay is drawn from the whole of the current backoff.
    """
    match answer:
        case Accepted():
            result: Delivered | RetryAt | Dead = Delivered()
        case Rejected(reason):
            result = Dead(DeadReason.REJECTED, reason[:DETAIL_LIMIT])
        case _:
            result = _again(tried, answer, policy, now, chance)
    return Settlement(tried.claimed.delivery_id, tried.claimed.fence, result, _attempt(tried, answer, now))


def expired(claimed: Claimed, policy: RetryPolicy) -> Settlement | None:
    """End *claimed* before a call is made if it is older than the route's maxAge, else None."""
    if claimed.age < policy.max_age:
        return None
    detail = f"age {claimed.age / 1e9:.0f} s is above the route's maxAge of {policy.max_age / 1e9:.0f} s"
    return Settlement(claimed.delivery_id, claimed.fence, Dead(DeadReason.EXPIRED, detail), None)


def too_large(claimed: Claimed, size: int, limit: int) -> Settlement:
    """End *claimed*: it would not fit into one message."""
    detail = f"the event needs a message of {size} bytes, the limit is {limit} bytes"
    return Settlement(claimed.delivery_id, claimed.fence, Dead(DeadReason.TOO_LARGE, detail), None)


def backoff(first: int, longest: int, tries: int, chance: float) -> int:
    """Full jitter: anything up to *first* doubled *tries* times, at most *longest*; nanoseconds, never 0."""
    return max(_SHORTEST, int(min(longest, first << min(tries, 40)) * chance))


def _again(
    tried: Tried, answer: Postponed | NoOutcome | CallFailed, policy: RetryPolicy, now: int, chance: float
) -> RetryAt | Dead:
    detail = answer.reason if isinstance(answer, Postponed) else answer.detail
    if isinstance(answer, Postponed) and 0 < policy.max_attempts <= tried.claimed.attempts + 1:
        return Dead(DeadReason.ATTEMPTS_EXHAUSTED, detail[:DETAIL_LIMIT])
    if tried.claimed.age + (now - tried.claimed_at) >= policy.max_age:
        return Dead(DeadReason.EXPIRED, detail[:DETAIL_LIMIT])
    return RetryAt(now + _delay(tried, answer, policy, chance))


def _delay(tried: Tried, answer: Postponed | NoOutcome | CallFailed, policy: RetryPolicy, chance: float) -> int:
    match answer:
        case Postponed(delay=int() as wanted):
            return max(SHORTEST_DELAY, min(wanted, policy.max_backoff))
        case CallFailed() if not may_be_an_events_fault(answer):
            longest = min(policy.max_backoff, max(HANDLER_BACKOFF_LIMIT, policy.initial_backoff))
            return backoff(policy.initial_backoff, longest, tried.failures, chance)
        case CallFailed() if not tried.alone:
            return backoff(policy.initial_backoff, policy.max_backoff, 0, chance)
        case _:
            return backoff(policy.initial_backoff, policy.max_backoff, tried.claimed.attempts + tried.failures, chance)


def _attempt(tried: Tried, answer: Answer, now: int) -> Attempt:
    match answer:
        case Accepted():
            code, detail, answered = "Accepted", "", True
        case Postponed(reason=reason):
            code, detail, answered = "RetryAfter", reason, True
        case Rejected(reason):
            code, detail, answered = "Rejected", reason, True
        case NoOutcome(reason):
            code, detail, answered = "NoOutcome", reason, False
        case CallFailed(code, detail, _):
            answered = False
    return Attempt(tried.started_at, now, code, detail[:DETAIL_LIMIT], tried.endpoint, answered)
