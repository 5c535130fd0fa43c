"""
Which events a route takes: the sets first, the expression last, and the payload decoded only for that.

    compiled = compile_match(route.match)            once per table
    affordable([...])                                those of one subscription, once per table
    payload = Payload(body)                          once per event
    compiled.matches(envelope, payload)              True, False or MatchFailed
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.cost import excesses
from hookline_routes.expression import EvaluationFailed, Expression, InvalidExpression, compile_expression
from hookline_routes.payload import PayloadUnreadable


class Facts(Protocol):
    """What is known of an event without decoding its payload."""

    @property
    def trigger(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def receiver_type(self) -> str: ...


@dataclass(frozen=True, slots=True)
class MatchFailed:
    """
    The expression has no answer for this event: a field that it reads is missing, or it is not true or false.

    Falsy, as such an event is not one that the route asked for; the reason is for the person who looks for it.
    """

    reason: str
    """Holds names of fields, and nothing of the payload."""

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class CompiledMatch:
    """A route's match, ready to be asked of any number of events, from any thread."""

    triggers: frozenset[str]
    categories: frozenset[str]
    receiver_types: frozenset[str]
    expression: Expression | MatchFailed | None

    @property
    def passes(self) -> float:
        """What asking its expression may cost, in passes over the payload (`cost`)."""
        return self.expression.passes if isinstance(self.expression, Expression) else 0

    def matches(self, facts: Facts, payload: Callable[[], object]) -> bool | MatchFailed:
        """Whether the route takes the event; *payload* is called only if the sets hold and there is an expression."""
        if (
            (self.triggers and facts.trigger not in self.triggers)
            or (self.categories and facts.category not in self.categories)
            or (self.receiver_types and facts.receiver_type not in self.receiver_types)
        ):
            return False
        if self.expression is None:
            return True
        if isinstance(self.expression, MatchFailed):
            return self.expression
        try:
            return self.expression.holds(payload())
        except (EvaluationFailed, PayloadUnreadable) as error:
            return MatchFailed(str(error))


def compile_match(match: routing.Match) -> CompiledMatch:
    """The match of *match*; one whose expression does not compile fails for each event, with that reason."""
    return CompiledMatch(
        triggers=frozenset(match.triggers),
        categories=frozenset(match.categories),
        receiver_types=frozenset(match.receiver_types),
        expression=_expression(match.expression),
    )


def affordable(matches: Sequence[CompiledMatch]) -> list[CompiledMatch]:
    """
    Return the *matches* of one subscription's routes, in order; those beyond what it may cost fail for each event.

    So does whoever compiled the table refuse them (`compile`), and this holds the limit whoever wrote it.
    """
    found = excesses(match.passes for match in matches)
    return [
        replace(match, expression=MatchFailed(f"the expression is not evaluated: {excess}")) if excess else match
        for match, excess in zip(matches, found, strict=True)
    ]


def _expression(text: str) -> Expression | MatchFailed | None:
    if not text:
        return None
    try:
        return compile_expression(text)
    except InvalidExpression as error:
        return MatchFailed(f"the expression is invalid: {error}")
