"""
CEL over `event`, the payload as JSON: compiled once, evaluated for each event that the sets of a match let through.

Runtime is bounded when it compiles (`cost`): the tree's depth by the library (32), its loops by the library (10,000
rounds an evaluation), what each and all of a subscription may cost by us, and the payload by `payload`.

The evaluator is cel-cpp by way of cel-expr-python. Errors are values there: `has(event.a) && event.a.b == 1` is false,
not an error, where `a` is missing, and a missing field alone is an error.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache

from cel_expr_python import cel  # type: ignore[import-untyped]

from hookline_routes.cost import TooCostly, check_cost, excesses

MAX_LENGTH = 2048
"""Characters of an expression."""

_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_PLAINER = {
    "Applying SELECT to non-message type": "a field is read of a value that is not an object",
    "No matching overloads found : <jump_condition>": "a condition is not true or false",
}
_STATUS = re.compile(r"^[A-Z_]+: | ?\[[A-Z_]+\]$")


class InvalidExpression(Exception):
    """The expression is refused; the message gives line and column, and is for its author."""


class EvaluationFailed(Exception):
    """The expression has no answer for this payload; the message names fields, and holds nothing of the payload."""


class Expression:
    """An expression that compiled."""

    __slots__ = ("_program", "_text", "passes")

    def __init__(self, text: str, program: cel.Expression, passes: float) -> None:
        self._text = text
        self._program = program
        self.passes = passes
        """What it may cost: how often it may go over the payload, or do what takes as long."""

    def holds(self, payload: object) -> bool:
        """Whether it is true of *payload*; raises EvaluationFailed where it is neither true nor false."""
        try:
            result = self._program.eval(data={"event": payload})
        except (RuntimeError, TypeError, ValueError) as error:
            raise EvaluationFailed(self._reason(str(error))) from None
        kind = result.type()
        if kind == cel.Type.BOOL:
            return bool(result.value())
        if kind == cel.Type.ERROR:
            raise EvaluationFailed(self._reason(str(result.value())))
        raise EvaluationFailed(f"the expression gives {kind.name().lower()}, not true or false")

    def _reason(self, status: str) -> str:
        text = _STATUS.sub("", status.partition("\n")[0])
        if text.startswith("Key not found"):
            # SECURITY: the key may be a value of the payload; only one that stands in the expression is named.
            name = text.partition('"')[2].removesuffix('"')
            return (
                f'the payload has no field "{name}"' if name and name in self._text else "the payload has no such field"
            )
        if text.startswith("Index error: index="):
            return "a list of the payload has no such element"
        return _PLAINER.get(text, text)


def compile_expression(text: str) -> Expression:
    """*text* compiled; raises InvalidExpression with line and column, the limit and the value."""
    if len(text) > MAX_LENGTH:
        raise InvalidExpression(f"must be at most {MAX_LENGTH} characters, got {len(text)}")
    try:
        program = _environment().compile(text.encode())
    except UnicodeEncodeError:
        raise InvalidExpression("must be text that UTF-8 can hold") from None
    except RuntimeError as error:
        raise InvalidExpression(_complaint(str(error))) from None
    kind = program.return_type()
    if kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise InvalidExpression(f"must be true or false, but is of type {kind.name().lower()}")
    try:
        cost = check_cost(program.serialize())
    except TooCostly as error:
        raise InvalidExpression(f"could take too long: {error}") from None
    _check_patterns(cost.patterns)
    return Expression(text, program, cost.passes)


def complaints_about(texts: Sequence[str]) -> list[str]:
    """What is wrong with each of the expressions of one subscription's routes; "" where nothing is, or there is none."""
    judged = [_judged(text) if text else ("", 0.0) for text in texts]
    passes = [cost for _, cost in judged]
    return [complaint or excess for (complaint, _), excess in zip(judged, excesses(passes), strict=True)]


@lru_cache(maxsize=65_536)
def _judged(text: str) -> tuple[str, float]:
    """What is wrong with the expression, and its passes."""
    # PERF: half a millisecond each, and an operator compiles a subscription again for every change of what it names.
    try:
        return "", compile_expression(text).passes
    except InvalidExpression as error:
        return str(error), 0.0


def _check_patterns(patterns: tuple[str, ...]) -> None:
    # A pattern that is no regular expression is found only by evaluating it.
    for literal in patterns:
        probe = _environment().compile(f"''.matches({_quoted(literal)})").eval(data={})
        if probe.type() == cel.Type.ERROR:
            raise InvalidExpression(_STATUS.sub("", str(probe.value())))


def _quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(each):08x}" for each in text) + '"'


@cache
def _environment() -> cel.Env:
    return cel.NewEnv(variables={"event": cel.Type.DYN})


def _complaint(text: str) -> str:
    found = _ERROR.search(text)
    if not found:
        return _STATUS.sub("", text.partition("\n")[0])
    line, column, message = found.groups()
    message = message.replace(" (in container '')", "")
    return message if int(line) < 1 else f"{line}:{column}: {message}"
