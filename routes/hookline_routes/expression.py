"""
CEL over `event`, the payload as JSON: compiled once, evaluated for each event that the sets of a match let through.

The evaluator is cel-cpp by way of cel-expr-python. Errors are values there: `has(event.a) && event.a.b == 1` is false,
not an error, where `a` is missing, and a missing field alone is an error.
"""

import re
from functools import cache

from cel_expr_python import cel  # type: ignore[import-untyped]

MAX_LENGTH = 2048
"""Characters of an expression."""

_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_STATUS = re.compile(r"^[A-Z_]+: | ?\[[A-Z_]+\]$")


class InvalidExpression(Exception):
    """The expression is refused; the message gives line and column, and is for its author."""


class EvaluationFailed(Exception):
    """The expression has no answer for this payload; the message names fields, and holds nothing of the payload."""


class Expression:
    """An expression that compiled."""

    __slots__ = ("_program",)

    def __init__(self, program: cel.Expression) -> None:
        self._program = program

    def holds(self, payload: object) -> bool:
        """Whether it is true of *payload*; raises EvaluationFailed where it is neither true nor false."""
        try:
            result = self._program.eval(data={"event": payload})
        except (RuntimeError, TypeError, ValueError) as error:
            raise EvaluationFailed(_STATUS.sub("", str(error).partition("\n")[0])) from None
        kind = result.type()
        if kind == cel.Type.BOOL:
            return bool(result.value())
        if kind == cel.Type.ERROR:
            raise EvaluationFailed(_STATUS.sub("", str(result.value())))
        raise EvaluationFailed(f"the expression gives {kind.name().lower()}, not true or false")


def compile_expression(text: str) -> Expression:
    """*text* compiled; raises InvalidExpression with line and column, the limit and the value."""
    if len(text) > MAX_LENGTH:
        raise InvalidExpression(f"must be at most {MAX_LENGTH} characters, got {len(text)}")
    try:
        program = _environment().compile(text)
    except (RuntimeError, UnicodeError) as error:
        raise InvalidExpression(_complaint(str(error))) from None
    kind = program.return_type()
    if kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise InvalidExpression(f"must be true or false, but is of type {kind.name().lower()}")
    return Expression(program)


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
