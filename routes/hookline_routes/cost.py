"""
Bounds what an expression may cost, before it is ever evaluated: routes of all tenants are matched by one process.

The unit is a pass: going once over the whole payload. Loops over the payload count as one pass of their own elements,
as those together are the payload; what costs a pass in each round of such a loop is refused, and so is what costs the
square of the payload at once (`map` and `filter` copy their list in each round; `contains` with a needle from the
payload took 30 s on 2 MiB). So the worst case stays linear in the payload, whose size is bounded too. What is done in
each round of a loop counts as well, since the library allows 10,000 rounds: as much as a pass for each operation.

One expression is bounded by itself, and those of a subscription's routes together: they are all asked of its events.

Reads the checked syntax tree (cel.expr.CheckedExpr, macros expanded) from its wire format: the few fields that it needs.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_PASSES = 2000
"""A pass takes about 0.5 ms over the largest payload that is evaluated: at most a second in all, for a hostile one."""
MAX_PASSES_TOGETHER = 4000
"""Passes of all expressions of one subscription: two seconds for a hostile one, about 0.05 s for 32 with a loop each."""
MAX_ROUNDS = 10_000
"""Rounds of all loops of an evaluation, which the library ends there. Measured: as many rounds of one operation (a field, a
constant, a comparison, an "and") take 0.2 to 0.5 ms, a pass."""
MAX_FIXED = 100_000
"""Characters and elements that constants may grow to by `+` and by loops over literals."""
MAX_PATTERN = 256
"""Characters of a regular expression, what counted repetitions repeat counted each time."""
PASSES_PER_STATE = 4
"""RE2 falls back from its automaton to stepping through states where that would grow too large: 15 ms per state and MB
at worst, and a tenth of the states alive on average. Measured on patterns like (a|b)*a(a|b){50}c."""

WEIGHT_OF_VALUES = 20
"""Passes that comparing, searching or joining lists and maps of the payload counts: measured 7 to 10 ms over the largest
payload, where text takes 0.1 ms."""


class TooCostly(Exception):
    """The expression could take too long; the message says what of it, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What an expression may cost."""

    passes: float
    patterns: tuple[str, ...]
    """The regular expressions in it, which nothing has looked at yet."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a value may be."""

    fixed: int = 0
    """Characters or elements that stand in the expression itself."""
    whole: float = 0
    """Payloads."""
    share: float = 0
    """Payloads, all rounds of the loop around it taken together."""

    def __add__(self, other: "Size") -> "Size":
        return Size(self.fixed + other.fixed, self.whole + other.whole, self.share + other.share)

    @property
    def constant(self) -> bool:
        """Whether nothing of the payload is in it."""
        return not self.whole and not self.share


NOTHING = Size()


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the names around a node mean, and how often it is evaluated."""

    names: Mapping[str, Size]
    times: int = 1
    """Rounds of loops over literals."""
    looped: bool = False
    """Within a loop over the payload."""

    @property
    def rounds(self) -> float:
        """How often it is evaluated at most, of the rounds that there may be; 0: it stands in no loop."""
        if self.looped:
            return 1
        return min(1, self.times / MAX_ROUNDS) if self.times > 1 else 0

    def binding(self, name: str, size: Size, *, times: int = 1, looped: bool = False) -> "_Scope":
        names = dict(self.names)
        if looped and self.looped:
            # The outer loop's share comes again in each round of the inner one.
            names = {each: Size(had.fixed, had.whole + had.share) for each, had in names.items()}
        names[name] = size
        return _Scope(names, self.times * times, self.looped or looped)


def check_cost(checked: bytes) -> Cost:
    """What *checked* (a serialized Any of a CheckedExpr) may cost; raises TooCostly where that is above the limits."""
    estimate = _Estimate()
    estimate.visit(_field(_field(checked, 2), 4), _Scope({"event": Size(whole=1)}))
    return Cost(estimate.passes, tuple(estimate.patterns))


def excesses(passes: Iterable[float]) -> list[str]:
    """
    For each expression of a subscription, in order, why it is too much beside those before it; "" where it is not.

    One that is too much does not count against those after it: they are not asked in its place.
    """
    found: list[str] = []
    spent = 0.0
    for each in passes:
        fits = spent + each <= MAX_PASSES_TOGETHER
        found.append(
            ""
            if fits
            else f"the expressions of one subscription may go over the payload {MAX_PASSES_TOGETHER} times together, "
            f"those of the routes before this one do so {math.ceil(spent)} times and this one {math.ceil(each)} times"
        )
        spent += each if fits else 0
    return found


class _Estimate:
    """Walks the tree and adds up."""

    def __init__(self) -> None:
        self.passes = 0.0
        self.patterns: list[str] = []

    def visit(self, node: bytes, scope: _Scope) -> Size:
        """How large the node's value may be; its cost is added up on the way."""
        self._spend(scope.rounds)
        for number, content in _fields(node):
            if isinstance(content, int):
                continue
            match number:
                case 3:
                    return Size(fixed=len(content))
                case 4:
                    return scope.names.get(_text(content, 1), NOTHING)
                case 5:
                    operand = self.visit(_field(content, 1), scope)
                    return NOTHING if _integer(content, 3) else operand
                case 6:
                    return self._call(content, scope)
                case 7:
                    return self._sum([self.visit(each, scope) for each in _all(content, 1)])
                case 8:
                    return self._struct(content, scope)
                case 9:
                    return self._loop(content, scope)
        return NOTHING

    def _sum(self, sizes: list[Size]) -> Size:
        total = Size(fixed=len(sizes))
        for each in sizes:
            total += each
        return self._bounded(total)

    def _bounded(self, size: Size) -> Size:
        if size.fixed > MAX_FIXED:
            raise TooCostly(f"its constants grow to more than {MAX_FIXED} characters and elements")
        return size

    def _struct(self, content: bytes, scope: _Scope) -> Size:
        sizes = []
        for entry in _all(content, 2):
            sizes += [self.visit(each, scope) for number in (3, 4) for each in _all(entry, number)]
        return self._sum(sizes)

    def _charge(self, what: str, size: Size, scope: _Scope, weight: float = 1) -> None:
        if scope.looped and size.whole:
            raise TooCostly(
                f"{what} in a loop over the payload must be of the loop's own element, "
                "or it costs the square of the payload's size"
            )
        self._spend(scope.times * weight * (size.whole + size.share))

    def _spend(self, passes: float) -> None:
        self.passes += passes
        if self.passes > MAX_PASSES:
            raise TooCostly(
                f"it goes over the payload more than {MAX_PASSES} times (regular expressions and loops count by length)"
            )

    def _call(self, content: bytes, scope: _Scope) -> Size:
        function = _text(content, 2)
        nodes = _all(content, 1) + _all(content, 3)
        sizes = [self.visit(each, scope) for each in nodes]
        match function:
            case "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "startsWith" | "endsWith" if len(sizes) == 2:
                self._charge("a comparison", _smaller(*sizes), scope, WEIGHT_OF_VALUES)
                return NOTHING
            case "_&&_" | "_||_" | "!_" | "@not_strictly_false" | "-_" | "_-_" | "_*_" | "_/_" | "_%_" | "type":
                return NOTHING
            case "_?_:_" if len(sizes) == 3:
                return _larger(sizes[1], sizes[2])
            case "_[_]" | "dyn" if sizes:
                return sizes[0]
            case "int" | "uint" | "double" | "bool" | "timestamp" | "duration" | "size":
                self._charge(f"{function}()", self._sum(sizes), scope)
                return NOTHING
            case "@in" if len(sizes) == 2:
                self._charge("`in`", sizes[1], scope, WEIGHT_OF_VALUES)
                return NOTHING
            case "contains" if len(sizes) == 2:
                if not sizes[1].constant:
                    raise TooCostly(
                        "contains() needs a constant text: with one of the payload it costs the square of its size"
                    )
                self._charge("contains()", sizes[0], scope, weight=1 + sizes[1].fixed / 32)
                return NOTHING
            case "matches" if len(sizes) == 2:
                self.patterns.append(_constant_text(nodes[1]))
                self._charge("matches()", sizes[0], scope, weight=_pattern_weight(self.patterns[-1]))
                return NOTHING
        if not function.startswith("get"):
            plus = function == "_+_"
            self._charge("`+`" if plus else f"{function}()", self._sum(sizes), scope, WEIGHT_OF_VALUES if plus else 1)
        return self._sum(sizes)

    def _loop(self, content: bytes, scope: _Scope) -> Size:
        source = _field(content, 2)
        size = self.visit(source, scope)
        start, accumulator = _field(content, 4), _text(content, 3)
        gathers = bool(_all(start, 7))
        if size.constant:
            rounds = max(1, len(_all(_field(source, 7), 1)) or size.fixed)
            inner = scope.binding(_text(content, 1), size, times=rounds)
        elif gathers:
            raise TooCostly(
                "map and filter over the payload cost the square of its size; use exists, all or exists_one"
            )
        elif scope.looped and size.whole:
            raise TooCostly(
                "a loop within a loop must go over the outer loop's element, or it costs the square of the payload's size"
            )
        else:
            rounds = 1
            share = Size(fixed=size.fixed, share=size.whole + size.share)
            inner = scope.binding(_text(content, 1), share, looped=True)
        inner = inner.binding(_text(content, 8), NOTHING) if _text(content, 8) else inner
        inner = inner.binding(accumulator, NOTHING)
        self.visit(_field(content, 5), inner)
        step = self.visit(_field(content, 6), inner)
        if not gathers:
            return NOTHING
        return self._bounded(Size((step.fixed + 1) * rounds, step.whole * rounds, step.share * rounds))


_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}")


def _constant_text(node: bytes) -> str:
    constant = _field(node, 3)
    if not _all(constant, 6):
        raise TooCostly("matches() needs a constant pattern")
    return _text(constant, 6)


def _pattern_weight(pattern: str) -> float:
    length = len(pattern)
    for low, high in _COUNT.findall(pattern):
        length *= max(1, int(high or low))
        if length > MAX_PATTERN:
            break
    if length > MAX_PATTERN:
        raise TooCostly(
            f"a pattern must be at most {MAX_PATTERN} characters, its length times its counted repetitions, got {length}"
        )
    return PASSES_PER_STATE * length


def _smaller(left: Size, right: Size) -> Size:
    if left.constant or right.constant:
        return NOTHING
    if not left.whole:
        return left
    if not right.whole:
        return right
    return Size(whole=min(left.whole, right.whole))


def _larger(left: Size, right: Size) -> Size:
    return Size(max(left.fixed, right.fixed), max(left.whole, right.whole), max(left.share, right.share))


def _fields(message: bytes) -> list[tuple[int, int | bytes]]:
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            found.append((number, value))
        elif kind == 2:
            length, at = _varint(message, at)
            found.append((number, message[at : at + length]))
            at += length
        else:
            # Fixed-width numbers: constants, of which only the presence matters.
            width = 8 if kind == 1 else 4
            found.append((number, message[at : at + width]))
            at += width
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _all(message: bytes, number: int) -> list[bytes]:
    return [content for each, content in _fields(message) if each == number and isinstance(content, bytes)]


def _field(message: bytes, number: int) -> bytes:
    found = _all(message, number)
    return found[0] if found else b""


def _text(message: bytes, number: int) -> str:
    return _field(message, number).decode("utf-8", "replace")


def _integer(message: bytes, number: int) -> int:
    return next((content for each, content in _fields(message) if each == number and isinstance(content, int)), 0)
