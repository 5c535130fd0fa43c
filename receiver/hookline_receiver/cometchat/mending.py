"""
Text that is almost JSON, made readable for ourselves; the event's body stays as it came.

Senders in JavaScript cut texts in the middle of an emoji and write the half that is left as an escape ("\\ud83d");
a byte order mark or a byte that is not UTF-8 may have slipped in. Refusing such an event would lose it.
"""

import re

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""An escape of a JSON string: a pair of surrogates, or (group 1) half a pair, or any other."""

REPLACEMENT = "\ufffd"
"""Stands where a character could not be read."""


def mended(body: bytes) -> bytes | None:
    """*body* without byte order mark, lone surrogates and bytes that are not UTF-8; None if it had none of them."""
    text = body.removeprefix(_BYTE_ORDER_MARK)
    text = text.decode("utf-8", "replace").encode()
    if rb"\u" in text:
        text = _ESCAPE.sub(_whole, text)
    return text if text != body else None


def _whole(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]
