"""A route's match: the sets first, the expression last, the payload only for that."""

from dataclasses import dataclass

import pytest

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.match import MatchFailed, compile_match
from hookline_routes.payload import Payload


@dataclass(frozen=True)
class Facts:
    trigger: str = "message_sent"
    category: str = "message"
    receiver_type: str = "user"


class Untouched:
    """A payload that nobody may ask for."""

    def __call__(self) -> object:
        raise AssertionError("the payload was decoded")


def matches(facts: Facts = Facts(), body: bytes = b'{"a": 1}', **fields: object) -> bool | MatchFailed:
    return compile_match(routing.Match(**fields)).matches(facts, Payload(body))  # type: ignore[arg-type]


def test_an_empty_match_takes_every_event() -> None:
    """Even one whose body nobody can read."""
    assert compile_match(routing.Match()).matches(Facts(), Untouched()) is True


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"triggers": ["message_sent", "user_mentioned"]}, True),
        ({"triggers": ["user_mentioned"]}, False),
        ({"categories": ["message"]}, True),
        ({"categories": ["call", "user"]}, False),
        ({"receiver_types": ["user"]}, True),
        ({"receiver_types": ["group"]}, False),
        ({"triggers": ["message_sent"], "categories": ["message"], "receiver_types": ["user"]}, True),
        ({"triggers": ["message_sent"], "categories": ["message"], "receiver_types": ["group"]}, False),
    ],
    ids=lambda value: str(value),
)
def test_everything_given_must_hold(fields: dict[str, object], expected: bool) -> None:
    """Any of a list, all of the lists."""
    assert matches(**fields) is expected


def test_an_event_without_a_receiver_is_of_no_receiver_type() -> None:
    """ "" in the envelope is not a wildcard."""
    assert matches(Facts(receiver_type=""), receiver_types=["user", "group"]) is False


def test_the_payload_is_left_alone_where_the_sets_decide() -> None:
    """Decoding costs more than all the rest of routing."""
    match = compile_match(routing.Match(triggers=["user_blocked"], expression="event.a == 1"))

    assert match.matches(Facts(), Untouched()) is False


def test_the_expression_decides_where_the_sets_hold() -> None:
    """It narrows, and never widens."""
    assert matches(triggers=["message_sent"], expression="event.a == 1") is True
    assert matches(triggers=["message_sent"], expression="event.a == 2") is False


@pytest.mark.parametrize(
    ("body", "expression", "reason"),
    [
        (b"{}", "event.a == 1", 'the payload has no field "a"'),
        (b'{"a": 1}', "event.a", "the expression gives int, not true or false"),
        (b"{", "event.a == 1", "the payload is not JSON"),
        (b"{}", "event.a ==", "the expression is invalid: 1:11: Syntax error"),
        (b"{}", "event.a.contains(event.b)", "the expression is invalid: could take too long"),
    ],
    ids=["missing-field", "not-boolean", "not-json", "invalid", "costly"],
)
def test_a_match_that_has_no_answer_says_why_and_takes_nothing(body: bytes, expression: str, reason: str) -> None:
    """Whoever looks for the event finds the reason; the forwarder never meets an exception."""
    answer = matches(body=body, expression=expression)

    assert isinstance(answer, MatchFailed)
    assert answer.reason.startswith(reason)
    assert not answer
