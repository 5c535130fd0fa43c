"""
Reads the fields of one object, and says of each that is wrong: which, the limit, the value.

Nothing raises: what is wrong is reported and its default (or an empty value) taken, so that all that is wrong is said
at once. Whoever reads asks the report at the end whether the values may be used.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from hookline_routes.problem import Problem, Reason, Severity, shortened
from hookline_routes.resource import Origin
from hookline_routes.units import (
    format_cpu,
    format_duration,
    format_quantity,
    parse_cpu,
    parse_duration,
    parse_quantity,
)

Path = tuple[str | int, ...]
E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")

_SHOWN = 80
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a text must look like, for the machine and in words."""

    regex: re.Pattern[str]
    words: str
    max_length: int


LABEL = Pattern(
    re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"),
    "a DNS label (lower-case letters, digits and '-', at most 63 characters)",
    63,
)
NAME = Pattern(
    re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"),
    "a DNS name (lower-case letters, digits, '-' and '.', at most 253 characters)",
    253,
)
SERVICE = Pattern(
    re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?"),
    "a Service's name (a lower-case letter, then letters, digits and '-', at most 63 characters)",
    63,
)
LABEL_KEY = Pattern(
    re.compile(rf"({NAME.regex.pattern}/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"),
    "a label's key (such as example.com/team, at most 317 characters)",
    317,
)
LABEL_VALUE = Pattern(
    re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"),
    "a label's value (letters, digits, '-', '_' and '.', at most 63 characters)",
    63,
)
KEY = Pattern(re.compile(r"[-._a-zA-Z0-9]+"), "a key (letters, digits, '-', '_' and '.')", 253)
ANY_TEXT = Pattern(re.compile(r"(?s).*"), "a text", 1 << 20)


@dataclass(slots=True)
class Report:
    """What was found wrong with one object."""

    subject: str = ""
    origin: Origin | None = None
    strict: bool = False
    """Whether unknown fields are errors (manifests) or nobody's business (what an API server has accepted)."""
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, path: Path, message: str, reason: Reason = Reason.INVALID_FIELD) -> None:
        """Note that the field at *path* is wrong."""
        place = self.origin.place(path) if self.origin else None
        self.problems.append(Problem(Severity.ERROR, reason, message, self.subject, dotted(path), place))

    def must(self, path: Path, limit: str, got: object) -> None:
        """Note that the field at *path* must be *limit*, and what it is."""
        self.wrong(path, f"must be {limit}, got {shown(got)}")


def dotted(path: Path) -> str:
    """ "spec.routes[0].handler"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown(value: object) -> str:
    """*value* as JSON, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=lambda other: type(other).__name__)
    except (ValueError, RecursionError, TypeError):
        text = type(value).__name__
    return shortened(text.encode("utf-8", "replace").decode(), _SHOWN)


def _is_utf8(text: str) -> bool:
    # JSON can write half of a surrogate pair, which no message can hold.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Fields:
    """One mapping of an object, read field by field; `close` reports the fields that nobody read."""

    def __init__(self, value: object, path: Path, report: Report, *, absent: bool = False) -> None:
        self.path = path
        self._absent = absent
        self._report = report
        self._known: list[str] = []
        self._values: Mapping[str, object] = {}
        if isinstance(value, Mapping):
            self._values = value
        elif value is not None:
            report.must(path, "an object", value)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._values.get(name) is not None

    def raw(self, name: str) -> object:
        """The field as it is; None where it is missing."""
        self._known.append(name)
        return self._values.get(name)

    def section(self, name: str, *, required: bool = False) -> "Fields":
        """The object below; an empty one where it is missing."""
        value = self.raw(name)
        if required and value is None:
            self._require(name)
        return Fields(value, (*self.path, name), self._report, absent=required and value is None)

    def text(self, name: str, pattern: Pattern, default: str | None = None) -> str:
        """A string; required where there is no *default*. "" is as good as nothing where that is the default."""
        value = self.raw(name)
        if value is None or (value == "" and default == ""):
            if default is None:
                self._require(name)
            return default or ""
        return self._text((*self.path, name), value, pattern) or default or ""

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """An integer from *low* to *high*; required where there is no *default*."""
        value = self.raw(name)
        if value is None:
            if default is None:
                self._require(name)
            return low if default is None else default
        # The API server turns 10.0 into an integer too.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self._report.must((*self.path, name), f"an integer from {low} to {high}", value)
            return low if default is None else default
        return value

    def boolean(self, name: str, default: bool) -> bool:
        """true or false."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self._report.must((*self.path, name), "true or false", value)
            return default
        return value

    def one_of(self, name: str, kind: type[E], default: E) -> E:
        """A word of the enumeration."""
        value = self.raw(name)
        if value is None:
            return default
        for each in kind:
            if value == each.value:
                return each
        self._report.must((*self.path, name), " or ".join(each.value for each in kind), value)
        return default

    def duration(self, name: str, low: int, high: int, default: int) -> int:
        """Nanoseconds, from *low* to *high*."""
        value = self.raw(name)
        if value is None:
            return default
        read = parse_duration(value) if isinstance(value, str) else None
        if read is None or not low <= read <= high:
            limits = f"from {format_duration(low)} to {format_duration(high)}"
            self._report.must((*self.path, name), f'a duration such as "10s" or "1h30m" {limits}', value)
            return default
        return read

    def quantity(self, name: str, low: int, high: int, default: int) -> int:
        """Bytes, from *low* to *high*."""
        value = self.raw(name)
        if value is None:
            return default
        whole = isinstance(value, int) and not isinstance(value, bool)
        read = parse_quantity(str(value)) if whole or isinstance(value, str) else None
        if read is None or not low <= read <= high:
            limits = f"from {format_quantity(low)} to {format_quantity(high)}"
            self._report.must((*self.path, name), f'a quantity such as "2Mi" {limits}', value)
            return default
        return read

    def cpu(self, name: str, low: int, high: int) -> int:
        """Thousandths of a CPU, from *low* to *high*; *low* where it is wrong."""
        value = self.raw(name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        read = parse_cpu(str(value)) if whole or isinstance(value, str) else None
        if read is None or not low <= read <= high:
            limits = f"from {format_cpu(low)} to {format_cpu(high)}"
            self._report.must((*self.path, name), f'an amount of CPU such as "500m" {limits}', value)
            return low
        return read

    def texts(self, name: str, pattern: Pattern, high: int) -> tuple[str, ...]:
        """Different strings, at most *high*; their order is kept."""
        found: dict[str, None] = {}
        for path, value in self._items(name, 0, high):
            text = self._text(path, value, pattern)
            if text in found:
                self._report.wrong(path, f"must not be repeated, got {shown(text)}")
            elif text:
                found[text] = None
        return tuple(found)

    def objects(self, name: str, low: int, high: int, read: Callable[["Fields"], T]) -> tuple[T, ...]:
        """A list of *low* to *high* objects, each read by *read*."""
        found = []
        for path, value in self._items(name, low, high):
            inner = Fields(value, path, self._report)
            if value is None:
                self._report.must(path, "an object", value)
            found.append(read(inner))
            inner.close()
        return tuple(found)

    def pairs(self, name: str, high: int, keys: Pattern, values: Pattern) -> dict[str, str]:
        """A map of strings, at most *high* of them, of which the values may be empty; null ones are as good as absent."""
        value = self._values.get(name)
        if isinstance(value, Mapping):
            given = {key: each for key, each in value.items() if each is not None}
            self._values = {**self._values, name: given}
        found = self.strings(name, high)
        for key, each in found.items():
            self._text((*self.path, name, "a key"), key, keys)
            if each:
                self._text((*self.path, name, key), each, values)
        return found

    def strings(self, name: str, high: int) -> dict[str, str]:
        """A map of strings, at most *high* of them."""
        value = self.raw(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or len(value) > high:
            self._report.must((*self.path, name), f"an object of at most {high} strings", value)
            return {}
        for key, each in value.items():
            if not isinstance(each, str):
                self._report.must((*self.path, name, str(key)), "a string", each)
        return {str(key): each for key, each in value.items() if isinstance(each, str)}

    def wrong(self, name: str | Path, message: str, reason: Reason = Reason.INVALID_FIELD) -> None:
        """Note that a field, or one further below, is wrong."""
        self._report.wrong((*self.path, *((name,) if isinstance(name, str) else name)), message, reason)

    def ignore(self, *names: str) -> None:
        """Fields that are known and mean nothing here."""
        self._known.extend(names)

    def close(self) -> None:
        """Report the fields that nobody read, each with the nearest known name."""
        if not self._report.strict:
            return
        for name in self._values:
            if name in self._known:
                continue
            near = difflib.get_close_matches(str(name), self._known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(sorted(set(self._known)))}"
            self._report.wrong((*self.path, str(name)), f"is unknown; {hint}", Reason.UNKNOWN_FIELD)

    def _require(self, name: str) -> None:
        # Of an object that is missing as a whole, that has been said.
        if not self._absent:
            self.wrong(name, "is required")

    def _text(self, path: Path, value: object, pattern: Pattern) -> str:
        if (
            not isinstance(value, str)
            or not value
            or len(value) > pattern.max_length
            or not pattern.regex.fullmatch(value)
            or not _is_utf8(value)
        ):
            self._report.must(path, pattern.words, value)
            return ""
        return value

    def _items(self, name: str, low: int, high: int) -> list[tuple[Path, object]]:
        value = self.raw(name)
        path = (*self.path, name)
        if value is None:
            if low:
                self._require(name)
            return []
        if not isinstance(value, list | tuple) or not low <= len(value) <= high:
            got = len(value) if isinstance(value, list | tuple) else value
            limit = f"a list of {low} to {high}" if low else f"a list of at most {high}"
            self._report.must(path, limit, got)
            return []
        return [((*path, index), each) for index, each in enumerate(value)]
