"""
Reads a body off the bytes behind a head: of a known length, or chunked. Pure.

Both readers say `complete` only when all that was announced has arrived; until then the body is cut off, however the
connection ends. What comes behind the body is left in `rest`.
"""

import re
from typing import TYPE_CHECKING, Protocol

from hookline_receiver.edge.head import Head, body_too_large, malformed
from hookline_receiver.edge.refusal import Refusal
from hookline_receiver.edge.settings import EdgeSettings

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+")
_CR = ord("\r")
_FRAMING_BYTES_PER_BODY_BYTE = 8
"""A chunk of one byte takes five more ("1", CR LF, CR LF); some senders pad the size with zeros."""


class BodyReader(Protocol):
    """Takes bytes as they come and gives the body's."""

    complete: bool
    """Whether everything announced has arrived."""
    rest: bytes
    """What arrived behind the end of the body: the next request's beginning."""

    def feed(self, data: bytes) -> bytes | Refusal:
        """The part of the body that *data* brought, or why the body can't be read on."""


class LengthReader:
    """A body of `Content-Length` bytes."""

    __slots__ = ("_missing", "complete", "rest")

    def __init__(self, length: int) -> None:
        self._missing = length
        self.complete = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes | Refusal:
        """The part of the body that *data* brought."""
        if len(data) > self._missing:
            data, self.rest = data[: self._missing], data[self._missing :]
        self._missing -= len(data)
        self.complete = not self._missing
        return data


class ChunkedReader:
    """
    A chunked body.

    Extensions and trailers are read over; they and the chunks' framing are bounded, so that a body can't be a stream of
    extensions that never ends.
    """

    __slots__ = (
        "_at",
        "_framing_bytes",
        "_missing",
        "_pending",
        "_received",
        "_settings",
        "_step",
        "complete",
        "rest",
    )

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._pending = b""
        self._at = 0
        self._step: Callable[[], bytes | Refusal | None] = self._size
        self._missing = 0
        self._received = 0
        self._framing_bytes = 0
        self.complete = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes | Refusal:
        """The part of the body that *data* brought, or why the body can't be read on."""
        # PERF: read by position and cut once: cutting at each of 40,000 one-byte chunks would copy gigabytes.
        self._pending += data
        pieces: list[bytes] = []
        while not self.complete:
            piece = self._step()
            if isinstance(piece, Refusal):
                return piece
            if piece is None:
                break
            if piece:
                pieces.append(piece)
        self._pending, self._at = self._pending[self._at :], 0
        if self.complete:
            self.rest, self._pending = self._pending, b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _line(self) -> bytes | Refusal | None:
        """The next line, None if it is not there yet."""
        start, end = self._at, self._pending.find(b"\n", self._at)
        taken = (len(self._pending) if end < 0 else end + 1) - start
        allowance = self._settings.header_max_bytes + _FRAMING_BYTES_PER_BODY_BYTE * self._received
        if taken > self._settings.header_max_bytes or self._framing_bytes + taken > allowance:
            return malformed("the chunks' framing is larger than what it frames")
        if end < 0:
            return None
        if end == start or self._pending[end - 1] != _CR:
            return malformed("a line of the chunked body does not end in CR LF")
        self._at = end + 1
        self._framing_bytes += taken
        return self._pending[start : end - 1]

    def _size(self) -> bytes | Refusal | None:
        line = self._line()
        if line is None or isinstance(line, Refusal):
            return line
        matched = _SIZE_LINE.fullmatch(line)
        if matched is None:
            return malformed("a chunk's size is not a hexadecimal number")
        size = int(matched[1], 16)
        if self._received + size > self._settings.body_max_bytes:
            return body_too_large(self._settings)
        self._missing = size
        self._step = self._data if size else self._trailer
        return b""

    def _data(self) -> bytes | Refusal | None:
        piece = self._pending[self._at : self._at + self._missing]
        if not piece:
            return None
        self._at += len(piece)
        self._missing -= len(piece)
        self._received += len(piece)
        if not self._missing:
            self._step = self._data_end
        return piece

    def _data_end(self) -> bytes | Refusal | None:
        end = self._pending[self._at : self._at + 2]
        if end == b"\r\n":
            self._at += 2
            self._framing_bytes += 2
            self._step = self._size
            return b""
        if end in (b"", b"\r"):
            return None
        return malformed("a chunk is longer than its size says")

    def _trailer(self) -> bytes | Refusal | None:
        line = self._line()
        if line is None or isinstance(line, Refusal):
            return line
        if not line:
            self.complete = True
        elif _TRAILER.fullmatch(line) is None:
            return malformed("a trailer line is not NAME: VALUE")
        return b""


def reader_for(head: Head, settings: EdgeSettings) -> BodyReader:
    """The reader for the body that *head* announces; one that is complete at once where it announces none."""
    if head.chunked:
        return ChunkedReader(settings)
    return LengthReader(head.content_length or 0)
