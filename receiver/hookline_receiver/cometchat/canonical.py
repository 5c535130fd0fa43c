"""JSON in one form for all that differ in white space and order of keys only."""

import msgspec

MAX_BYTES = 16 * 1024
"""Larger bodies are their own canonical form: sorting one of 200 KB would hold up other requests for 4 ms."""


def _verbatim(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


decode = msgspec.json.Decoder(float_hook=_verbatim).decode
"""JSON to objects, fractions kept as they are written: a double would make one of two that differ."""

encode = msgspec.json.Encoder(order="sorted").encode
"""Objects to JSON, keys sorted at every level."""


def canonical(body: bytes) -> bytes:
    """*body* with keys sorted and white space gone; *body* itself if it is too large, too deep or not JSON."""
    if len(body) > MAX_BYTES:
        return body
    try:
        return encode(decode(body))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return body
