"""Reading `Authorization: Basic …` (RFC 7617): strict in what it means, liberal where senders are known to differ."""

import binascii

MAX_HEADER_BYTES = 4096
"""Longest header that is looked at: far above CometChat's 50 + 100 characters, and below what costs anything to hash."""


def credential(header: bytes | None) -> bytes | None:
    """
    The "username:password" that *header* shows, in UTF-8, or None where it shows none.

    The scheme's case, spaces around the token and a missing padding are not insisted on. Bytes that are not UTF-8 are
    read as Latin-1, the encoding of clients from before RFC 7617. A token with characters outside the Base64 alphabet,
    or without a colon in it, is no credential.
    """
    if header is None or len(header) > MAX_HEADER_BYTES:
        return None
    scheme, _, token = header.strip(b" \t").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    shown = _decoded(token.strip(b" \t"))
    if shown is None or b":" not in shown:
        return None
    return _as_utf8(shown)


def _decoded(token: bytes) -> bytes | None:
    bare = token.rstrip(b"=")
    if len(token) - len(bare) > 2:
        return None
    try:
        return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except binascii.Error:
        return None


def _as_utf8(shown: bytes) -> bytes:
    try:
        shown.decode("utf-8")
    except UnicodeDecodeError:
        return shown.decode("latin-1").encode("utf-8")
    return shown
