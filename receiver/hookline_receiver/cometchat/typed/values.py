"""Times, booleans, numbers and texts, whatever unit and JSON type they come in."""

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

MAX_VALUES = 100_000
"""List elements and values of metadata in one payload. More would hold up other deliveries (for about 0.3 s)."""

MAX_ELEMENTS = 100_000
"""
Values and members of the JSON, about. More are not even decoded: that is done in one piece, which nothing can interrupt,
and 700,000 empty lists in 2 MiB took a second.
"""

VALUES_PER_OBJECT = 10
"""A user, a message, … takes as long as so many values, so there may be 10,000."""

MAX_STRUCT_DEPTH = 24
"""Levels of metadata. Each takes three levels of a message, and readers of protobuf give up at 100."""

MILLISECONDS_FROM = 100_000_000_000
"""A time from here on counts milliseconds (as seconds it would be the year 5138), one below it seconds."""

NANOS = 1_000_000_000


class Malformed(Exception):
    """A field does not have the documented shape. Holds no value of the payload."""

    def __init__(self, expected: str, value: object) -> None:
        super().__init__(expected)
        self._steps: list[str] = []
        self._what = f"expected {expected}, got {kind_of(value)}"

    def within(self, step: str) -> "Malformed":
        """PERF: whoever passes it on adds the step that led here; paths are made of failures only."""
        self._steps.append(step)
        return self

    def __str__(self) -> str:
        path = "".join(step if step.startswith("[") else f".{step}" for step in reversed(self._steps))
        return f"{path.removeprefix('.')}: {self._what}"


class TooMuch(Exception):
    """The payload holds more than a typed form may have."""


def elements(body: bytes) -> int:
    """About how many values and members the JSON *body* has: what its bytes cost next to nothing beside."""
    return body.count(b",") + body.count(b"{") + body.count(b"[")


def kind_of(value: object) -> str:
    """What *value* is, in JSON's words."""
    if isinstance(value, bool):
        return "a boolean"
    names: Mapping[type, str] = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), "null")


class Budget:
    """Counts values, so that one huge payload can't hold up the others."""

    def __init__(self, values: int = MAX_VALUES) -> None:
        self._allowed = self._left = values

    def spend(self, values: int = 1) -> None:
        """Take account of *values* more; raises TooMuch."""
        self._left -= values
        if self._left < 0:
            raise TooMuch(f"the payload holds more than {self._allowed} values")


def text(value: Any) -> str:
    """Ids may come as numbers."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise Malformed("a text", value)


BOOLEANS = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}


def boolean(value: Any) -> bool:
    """Booleans may come as text."""
    known = BOOLEANS.get(value.lower() if isinstance(value, str) else value) if _plain(value) else None
    if known is None:
        raise Malformed("a boolean", value)
    return known


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | bool)


def number(value: Any, expected: str = "a number") -> Decimal:
    """Numbers may come as text."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            found = Decimal(str(value)) if not isinstance(value, str) or len(value) <= 40 else Decimal("nan")
        except InvalidOperation:
            found = Decimal("nan")
        # Decimals of the size of 1e999999 can be written, but not computed with.
        if found.is_finite() and abs(found.adjusted()) < 40:
            return found
    raise Malformed(expected, value)


def integer(value: Any, bits: int) -> int:
    """A whole number within the field's range."""
    found = number(value, "a whole number")
    limit = 1 << (bits - 1)
    if found != found.to_integral_value() or not -limit <= found < limit:
        raise Malformed(f"a whole number of {bits} bits", value)
    return int(found)


def decimal(value: Any) -> float:
    """A number."""
    return float(number(value))


def fill_time(time: Timestamp, value: Any) -> None:
    """A time in seconds or milliseconds since the epoch, told apart by their size."""
    if type(value) is int and 0 <= value < MILLISECONDS_FROM:  # PERF: nearly always
        time.seconds = value
        time.SetInParent()
        return
    if isinstance(value, str) and _written_out(time, value):
        return
    found = number(value, "a time")
    nanos = int(found * (NANOS // 1000 if abs(found) >= MILLISECONDS_FROM else NANOS))
    seconds, rest = divmod(nanos, NANOS)
    if not -62_135_596_800 <= seconds <= 253_402_300_799:
        raise Malformed("a time between the years 1 and 9999", value)
    time.seconds, time.nanos = seconds, rest
    time.SetInParent()


def _written_out(time: Timestamp, value: str) -> bool:
    """Fill in a time as RFC 3339 writes it ("2023-10-10T10:49:45Z"); False if *value* is none."""
    if value[4:5] != "-" or len(value) > 40:
        return False
    try:
        time.FromJsonString(value)
    except ValueError:
        return False
    return True


def fill_duration(length: Duration, value: Any, units_a_second: int) -> None:
    """A length of time; fractions count."""
    nanos = int(number(value, "a duration") * NANOS / units_a_second)
    if not 0 <= nanos <= 315_576_000_000 * NANOS:
        raise Malformed("a duration of 0 to 10,000 years", value)
    length.seconds, length.nanos = divmod(nanos, NANOS)
    length.SetInParent()


def fill_struct(struct: Struct, value: Mapping[str, Any], budget: Budget, depth: int = 1) -> None:
    """Copy a JSON object."""
    if depth > MAX_STRUCT_DEPTH:
        raise TooMuch(f"metadata nested deeper than {MAX_STRUCT_DEPTH} levels")
    budget.spend(len(value) + 1)
    struct.SetInParent()
    for name, inner in value.items():
        _fill_value(struct.fields[name], inner, budget, depth)


def _fill_list(values: ListValue, value: list[Any], budget: Budget, depth: int) -> None:
    if depth > MAX_STRUCT_DEPTH:
        raise TooMuch(f"metadata nested deeper than {MAX_STRUCT_DEPTH} levels")
    budget.spend(len(value) + 1)
    values.SetInParent()
    for inner in value:
        _fill_value(values.values.add(), inner, budget, depth)


def _fill_value(into: Value, value: Any, budget: Budget, depth: int) -> None:
    if isinstance(value, dict):
        fill_struct(into.struct_value, value, budget, depth + 1)
    elif isinstance(value, list):
        _fill_list(into.list_value, value, budget, depth + 1)
    elif isinstance(value, str):
        into.string_value = value
    elif value is None:
        into.null_value = 0  # type: ignore[assignment]
    elif isinstance(value, bool):
        into.bool_value = value
    else:
        into.number_value = _double(value)


def _double(value: float) -> float:
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise Malformed("numbers that a double can hold", value)
    return found
