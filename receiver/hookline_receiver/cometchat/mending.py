"""
Text that is almost JSON, made readable for ourselves; the event's body stays as it came.

Senders in JavaScript cut texts in the middle of an emoji and write the half that is left as an escape ("\\ud83d");
a byte order mark or a byte that is not UTF-8 may have slipped in. Refusing such an event would lose it.
"""

import re

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"

_HALF = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"

_UP_TO_HALF = re.compile(rb"((?:[^\\]++|%b|(?!%b)\\.?)*+)(%b|\Z)" % (_PAIR, _HALF, _HALF), re.DOTALL)
"""Whole text and (group 2) half a pair, or the end. PERF: possessive, and matches wherever it starts: linear."""

REPLACEMENT = "\ufffd"
"""Stands where a character could not be read."""


def mended(body: bytes) -> bytes | None:
    """*body* without byte order mark, lone surrogates and bytes that are not UTF-8; None if it had none of them."""
    text = body.removeprefix(_BYTE_ORDER_MARK)
    text = text.decode("utf-8", "replace").encode()
    if rb"\u" in text:
        text = _UP_TO_HALF.sub(_whole, text)
    return text if text != body else None


def _whole(match: re.Match[bytes]) -> bytes:
    return match[1] + rb"\ufffd" if match[2] else match[1]
