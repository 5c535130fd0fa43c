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

VALUES_PER_OBJECT = 10
"""A user, a message, … takes as long as so many values, so there may be 10,000."""

MAX_STRUCT_DEPTH = 24
"""Levels of metadata. Each takes three levels of a message, and readers of protobuf give up at 100."""

MILLISECONDS_FROM = 100_000_000_000
"""A time from here on counts milliseconds (as seconds it would be the year 5138), one below it seconds."""

NANOS = 1_000_000_000


class Malformed(Exception):
    """A field does not have the documented shape. Holds no value of the payload."""

    def __init__(self, path: str, expected: str, value: object) -> None:
        super().__init__(f"{path}: expected {expected}, got {kind_of(value)}")


class TooMuch(Exception):
    """The payload holds more than a typed form may have."""


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


def text(value: Any, path: str) -> str:
    """Ids may come as numbers."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise Malformed(path, "a text", value)


BOOLEANS = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}


def boolean(value: Any, path: str) -> bool:
    """Booleans may come as text."""
    known = BOOLEANS.get(value.lower() if isinstance(value, str) else value) if _plain(value) else None
    if known is None:
        raise Malformed(path, "a boolean", value)
    return known


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | bool)


def number(value: Any, path: str, expected: str = "a number") -> Decimal:
    """Numbers may come as text."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            found = Decimal(str(value)) if not isinstance(value, str) or len(value) <= 40 else Decimal("nan")
        except InvalidOperation:
            found = Decimal("nan")
        # Decimals of the size of 1e999999 can be written, but not computed with.
        if found.is_finite() and abs(found.adjusted()) < 40:
            return found
    raise Malformed(path, expected, value)


def integer(value: Any, path: str, bits: int) -> int:
    """A whole number within the field's range."""
    found = number(value, path, "a whole number")
    limit = 1 << (bits - 1)
    if found != found.to_integral_value() or not -limit <= found < limit:
        raise Malformed(path, f"a whole number of {bits} bits", value)
    return int(found)


def decimal(value: Any, path: str) -> float:
    """A number."""
    return float(number(value, path))


def timestamp(value: Any, path: str) -> Timestamp:
    """A time in seconds or milliseconds since the epoch, told apart by their size."""
    found = number(value, path, "a time")
    nanos = int(found * (NANOS // 1000 if abs(found) >= MILLISECONDS_FROM else NANOS))
    seconds, rest = divmod(nanos, NANOS)
    if not -62_135_596_800 <= seconds <= 253_402_300_799:
        raise Malformed(path, "a time between the years 1 and 9999", value)
    return Timestamp(seconds=seconds, nanos=rest)


def duration(value: Any, path: str, units_a_second: int) -> Duration:
    """A length of time; fractions count."""
    found = number(value, path, "a duration")
    nanos = int(found * NANOS / units_a_second)
    if not 0 <= nanos <= 315_576_000_000 * NANOS:
        raise Malformed(path, "a duration of 0 to 10,000 years", value)
    return Duration(seconds=nanos // NANOS, nanos=nanos % NANOS)


def fill_struct(struct: Struct, value: Mapping[str, Any], path: str, budget: Budget, depth: int = 1) -> None:
    """Copy a JSON object."""
    if depth > MAX_STRUCT_DEPTH:
        raise TooMuch(f"{path}: nested deeper than {MAX_STRUCT_DEPTH} levels")
    budget.spend(len(value) + 1)
    struct.SetInParent()
    for name, inner in value.items():
        _fill_value(struct.fields[name], inner, path, budget, depth)


def _fill_list(values: ListValue, value: list[Any], path: str, budget: Budget, depth: int) -> None:
    if depth > MAX_STRUCT_DEPTH:
        raise TooMuch(f"{path}: nested deeper than {MAX_STRUCT_DEPTH} levels")
    budget.spend(len(value) + 1)
    values.SetInParent()
    for inner in value:
        _fill_value(values.values.add(), inner, path, budget, depth)


def _fill_value(into: Value, value: Any, path: str, budget: Budget, depth: int) -> None:
    if isinstance(value, dict):
        fill_struct(into.struct_value, value, path, budget, depth + 1)
    elif isinstance(value, list):
        _fill_list(into.list_value, value, path, budget, depth + 1)
    elif isinstance(value, str):
        into.string_value = value
    elif value is None:
        into.null_value = 0  # type: ignore[assignment]
    elif isinstance(value, bool):
        into.bool_value = value
    else:
        into.number_value = _double(value, path)


def _double(value: float, path: str) -> float:
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise Malformed(path, "numbers that a double can hold", value)
    return found
