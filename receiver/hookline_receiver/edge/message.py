"""
Reads requests off a connection's bytes: llhttp (by httptools) parses, the rules of `head` judge, and what was announced
is compared with what came.

llhttp can neither be stopped at a message's end nor say where it was. So it is fed no further than a message can reach:
a head alone, a body of known length by its length, a chunked one up to each blank line, the only place where it can end.
"""

import re

import httptools

from hookline_receiver.edge.head import Head, body_too_large, judge_fields, judge_request_line, malformed
from hookline_receiver.edge.refusal import Refusal
from hookline_receiver.edge.settings import EdgeSettings

_UPGRADE = re.compile(rb"^upgrade:[^\r\n]*\r\n", re.IGNORECASE | re.MULTILINE)
_LINE_END = b"\r\n"
_BLANK_LINE = b"\r\n\r\n"
_FRAMING_BYTES_PER_BODY_BYTE = 8
"""A chunk of one byte takes five more ("1", CR LF, CR LF); some senders pad the size with zeros."""


class MessageReader:
    """
    Reads one request after another: `head` once, then `feed` until `complete`; what came behind it is in `rest`.

    `complete` is true only when all that was announced has arrived; until then the body is cut off, however the
    connection ends. After a Refusal the reader must not be used again.
    """

    __slots__ = (
        "_chunked",
        "_fields",
        "_framing_bytes",
        "_head_read",
        "_missing",
        "_parser",
        "_pieces",
        "_received",
        "_settings",
        "_tail",
        "complete",
        "rest",
    )

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._parser = httptools.HttpRequestParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._head_read = False
        self._chunked = False
        self._missing = 0
        self._received = 0
        self._framing_bytes = 0
        self._tail = b""
        self.complete = False
        self.rest = b""

    # llhttp's calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field; behind the body it is a trailer, which is read over."""
        if not self._head_read:
            self._fields.append((name.lower(), value.strip(b" \t")))

    def on_body(self, piece: bytes) -> None:
        """A part of the body."""
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """All that was announced is here."""
        self.complete = True

    # The connection's calls.

    def head(self, block: bytes) -> Head | Refusal:
        """Understand *block*, a head up to and with its blank line, or say why not."""
        line = judge_request_line(block[: block.find(_LINE_END)])
        if isinstance(line, Refusal):
            return line
        self._fields, self._head_read, self.complete, self.rest = [], False, False, b""
        self._received = self._framing_bytes = 0
        self._tail = b""
        refusal = self._parse_head(block)
        if refusal is not None:
            return refusal
        self._head_read = True
        method = self._parser.get_method().decode("ascii")
        head = judge_fields(method, line, self._fields, self._settings)
        if isinstance(head, Head):
            self._chunked, self._missing = head.chunked, head.content_length or 0
            if self.complete != (not head.chunked and not head.content_length):
                return malformed("the head announces a body in a way that is not understood")
        return head

    def _parse_head(self, block: bytes) -> Refusal | None:
        try:
            return self._parse(block)
        except httptools.HttpParserUpgrade:
            # SECURITY: of a request that offers to change the protocol llhttp skips the body. The offer is not taken,
            # as every server may: a new parser reads the head without it.
            fields, self._fields, self.complete = self._fields, [], False
            self._parser = httptools.HttpRequestParser(self)
            try:
                refusal = self._parse(_UPGRADE.sub(b"", block))
            except httptools.HttpParserUpgrade:
                return malformed("only HTTP/1.1 is spoken here")
            self._fields = fields
            return refusal

    def feed(self, data: bytes) -> bytes | Refusal:
        """The part of the body that *data* brought, or why the body can't be read on."""
        if self.complete:
            self.rest += data
            return b""
        refusal = self._feed_chunked(data) if self._chunked else self._feed_length(data)
        if refusal is not None:
            return refusal
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _feed_length(self, data: bytes) -> Refusal | None:
        if len(data) > self._missing:
            data, self.rest = data[: self._missing], data[self._missing :]
        self._missing -= len(data)
        refusal = self._parse(data)
        if refusal is None and self.complete != (not self._missing):
            return malformed("the body is not as long as its Content-Length says")
        return refusal

    def _feed_chunked(self, data: bytes) -> Refusal | None:
        seen = self._tail + data
        start, end = len(self._tail), 0
        while not self.complete and start < len(seen):
            blank = seen.find(_BLANK_LINE, max(0, start - 3))
            end = len(seen) if blank < 0 else blank + len(_BLANK_LINE)
            refusal = self._parse(seen[start:end])
            if refusal is not None:
                return refusal
            start = end
        self._tail, self.rest = seen[-3:], seen[start:]
        return self._objection_to_size(len(data) - len(self.rest))

    def _objection_to_size(self, fed: int) -> Refusal | None:
        """Whether the body is within its limit, and its framing no larger than such a body needs."""
        body = sum(map(len, self._pieces))
        self._received += body
        self._framing_bytes += fed - body
        if self._received > self._settings.body_max_bytes:
            return body_too_large(self._settings)
        if self._framing_bytes > self._settings.header_max_bytes + _FRAMING_BYTES_PER_BODY_BYTE * self._received:
            return malformed("the chunks' framing is larger than what it frames")
        return None

    def _parse(self, data: bytes) -> Refusal | None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserInvalidMethodError:
            return Refusal(501, "unknown_method", "the request's method is not known here")
        except httptools.HttpParserError:
            return malformed("the request is not well-formed HTTP/1.1")
        return None
