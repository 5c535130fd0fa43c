"""Content encodings: what is unpacked, and never beyond a limit."""

import zlib
from enum import Enum

_GZIP_ONLY = 16 + zlib.MAX_WBITS
_MAX_MEMBERS = 64  # SECURITY: an empty member is 20 bytes that cost us a fresh window of 32 KiB


class ContentEncoding(Enum):
    """How the sender packed the body."""

    IDENTITY = "identity"
    GZIP = "gzip"


def content_encoding(header: bytes | None) -> ContentEncoding | None:
    """What a `Content-Encoding` *header* says; None: something that is not unpacked here."""
    match (header or b"").strip().lower():
        case b"" | b"identity":
            return ContentEncoding.IDENTITY
        case b"gzip" | b"x-gzip":
            return ContentEncoding.GZIP
        case _:
            return None


class BadGzip(Exception):
    """The bytes are not gzip, or not all of it."""


def gunzip(packed: bytes, limit: int) -> bytes | None:
    """
    What *packed* unpacks to (several members one after another, RFC 1952), or None if that is more than *limit* bytes.

    Unpacking stops one byte above the limit, whatever more there is: a bomb costs what an honest body costs. Raises
    BadGzip where it is not gzip, or not all of it.
    """
    pieces: list[bytes] = []
    room = limit + 1
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP_ONLY)
        try:
            pieces.append(member.decompress(packed, room))
        except zlib.error as exc:
            raise BadGzip(str(exc)) from exc
        room -= len(pieces[-1])
        if room <= 0:
            return None
        if not member.eof:
            raise BadGzip("it ends in the middle")
        packed = member.unused_data
        if not packed:
            return b"".join(pieces)
    raise BadGzip(f"more than {_MAX_MEMBERS} members")
