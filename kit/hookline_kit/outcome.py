"""What a handler can say of an event, and how it is said to the gateway."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from hookline.handler.v1 import handler_pb2


@dataclass(frozen=True, slots=True)
class Accepted:
    """Done; returning None says the same."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Not now; the event comes again."""

    seconds: float | timedelta | None = None
    """Not before this long from now: 0.1 s at least, the route's `maxBackoff` at most; None: its own backoff decides."""
    reason: str = ""
    """For the person who reads the event's story; no private data. At most 1,024 characters are kept."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Never; the event becomes a dead letter at once."""

    reason: str
    """For the person who reads the dead letter; no private data. At most 1,024 characters are kept."""


Outcome: TypeAlias = Accepted | RetryAfter | Reject


def message_of(delivery_id: str, outcome: Outcome) -> handler_pb2.Outcome:
    """*outcome* of the delivery as the contract has it."""
    match outcome:
        case Accepted():
            return handler_pb2.Outcome(delivery_id=delivery_id, accepted=handler_pb2.Accepted())
        case RetryAfter():
            return handler_pb2.Outcome(delivery_id=delivery_id, retry_after=_retry_after(outcome))
        case Reject():
            return handler_pb2.Outcome(delivery_id=delivery_id, rejected=handler_pb2.Rejected(reason=outcome.reason))


def outcome_of(message: handler_pb2.Outcome) -> Outcome | None:
    """The outcome that *message* carries, or None if it says nothing."""
    match message.WhichOneof("result"):
        case "accepted":
            return Accepted()
        case "retry_after":
            answer = message.retry_after
            seconds = answer.delay.ToTimedelta().total_seconds() if answer.HasField("delay") else None
            return RetryAfter(seconds, answer.reason)
        case "rejected":
            return Reject(message.rejected.reason)
        case _:
            return None


def _retry_after(outcome: RetryAfter) -> handler_pb2.RetryAfter:
    message = handler_pb2.RetryAfter(reason=outcome.reason)
    if outcome.seconds is not None:
        delay = outcome.seconds if isinstance(outcome.seconds, timedelta) else timedelta(seconds=outcome.seconds)
        message.delay.FromTimedelta(max(delay, timedelta(0)))
    return message
