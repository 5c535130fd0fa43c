"""The payload as an expression sees it: decoded once for all routes of an event, and only if a route needs it."""

import json

MAX_DEPTH = 64
"""Levels of nesting that expressions are given; CometChat's payloads have about 12. Deeper ones are not evaluated:
the evaluator recurses in C++, where too deep is a crash and not an exception."""
MAX_BYTES = 512 * 1024
"""Bytes of a payload that expressions are given; CometChat's are 1 to 50 KB. An evaluation takes time in proportion."""

_INT64 = 1 << 63


class PayloadUnreadable(Exception):
    """The body is not JSON that an expression can be given; the message says why, and holds none of the body."""


class Payload:
    """A callable that gives the decoded payload, or raises PayloadUnreadable, each time the same."""

    __slots__ = ("_body", "_error", "_value")

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._value: object = None
        self._error: str | None = None

    def __call__(self) -> object:
        if self._body is not None:
            body, self._body = self._body, None
            try:
                self._value = decode_payload(body)
            except PayloadUnreadable as error:
                self._error = str(error)
        if self._error is not None:
            raise PayloadUnreadable(self._error)
        return self._value


def decode_payload(body: bytes) -> object:
    """
    *body* as CEL values: integers stay integers, those beyond 64 bits become doubles, as JSON has it in CEL.

    Lone surrogates (not text in UTF-8, which CEL strings are) become U+FFFD. Raises PayloadUnreadable.
    """
    if len(body) > MAX_BYTES:
        raise PayloadUnreadable(f"the payload is larger than expressions are given: {len(body)} of {MAX_BYTES} bytes")
    try:
        value = json.loads(body, parse_constant=_refuse_constant, parse_int=_integer)
    except RecursionError:
        raise PayloadUnreadable(f"the payload is nested deeper than {MAX_DEPTH} levels") from None
    except (ValueError, UnicodeDecodeError):
        raise PayloadUnreadable("the payload is not JSON") from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    if b"\\ud" in body or b"\\uD" in body:
        return _without_surrogates(value)
    return value


def _integer(digits: str) -> int | float:
    # Longer ones would meet Python's own limit of 4,300 digits, which raises.
    if len(digits) < 19:
        return int(digits)
    if len(digits) > 25:
        return float(digits)
    value = int(digits)
    return value if -_INT64 <= value < _INT64 else float(value)


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise PayloadUnreadable(f"the payload is nested deeper than {MAX_DEPTH} levels")


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(each) for each in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    return value
