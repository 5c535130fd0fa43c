"""One call of a handler: a batch out, an answer for each delivery back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import DecodeError

from hookline.handler.v1 import handler_pb2 as pb
from hookline_receiver.carrying.routebook import Handler
from hookline_receiver.forwarder.decide import Accepted, Answer, CallFailed, NoOutcome, Postponed, Rejected

METHOD = "/hookline.handler.v1.EventHandlerService/Deliver"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back from a handler."""

    endpoint: str
    """ "host:port" that was called; "" if none could be."""
    result: bytes | CallFailed
    """The response's bytes, or how the call failed."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a response says."""

    of: Mapping[str, Answer]
    """By name of the delivery; each that was sent has one."""
    strangers: int
    """Outcomes for deliveries that were not sent: a mistake of the handler's."""


class Caller(Protocol):
    """Calls handlers."""

    async def call(self, handler: Handler, request: bytes, timeout: float) -> Reply:
        """Send *request* to one of *handler*'s endpoints; ends after *timeout* seconds at the latest, never raises."""


def read_answers(reply: Reply, names: Sequence[str]) -> Answers | CallFailed:
    """Return what *reply* says of the deliveries *names*; whoever is not mentioned got no outcome. Pure."""
    if isinstance(reply.result, CallFailed):
        return reply.result
    try:
        response = pb.DeliverResponse.FromString(reply.result)
    except DecodeError:
        size = len(reply.result)
        return CallFailed("INTERNAL", f"the response of {size} bytes is not a DeliverResponse", reached=True)
    answers: dict[str, Answer] = dict.fromkeys(names, NoOutcome())
    strangers = 0
    for outcome in response.outcomes:
        if outcome.delivery_id not in answers:
            strangers += 1
            continue
        answers[outcome.delivery_id] = _answer(outcome)
    return Answers(answers, strangers)


def _answer(outcome: pb.Outcome) -> Answer:
    match outcome.WhichOneof("result"):
        case "accepted":
            return Accepted()
        case "rejected":
            return Rejected(outcome.rejected.reason)
        case "retry_after":
            said = outcome.retry_after
            delay = said.delay.seconds * 1_000_000_000 + said.delay.nanos if said.HasField("delay") else None
            return Postponed(delay, said.reason)
        case _:
            return NoOutcome("the outcome has no result")
