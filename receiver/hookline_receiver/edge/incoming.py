"""Gathers the bytes of a head until it is whole, within its limits. Pure."""

import re

from hookline_receiver.edge.head import head_too_large, malformed, request_line_too_long
from hookline_receiver.edge.refusal import Refusal
from hookline_receiver.edge.settings import EdgeSettings

_LINE_END = b"\r\n"
_BLANK_LINE = b"\r\n\r\n"
_FIRST_BYTE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]")
_BARE_LF = re.compile(rb"(?<!\r)\n")


class Incoming:
    """
    What has arrived and was not read yet: a head, or a part of one, and what came behind it.

    What can't become a head (TLS, garbage, lines that end in LF) is refused before it is whole: nobody need wait for it.
    """

    __slots__ = ("_line_limit", "_scanned", "_settings", "_skipped", "buffer", "to_head")

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._line_limit = settings.request_line_max_bytes
        self._scanned = 0
        self._skipped = False
        self.buffer = b""
        self.to_head = False
        """Whether the method is HEAD, as far as can be seen: its answer has no body, a refusal neither."""

    def begin(self, rest: bytes) -> None:
        """A request has been read, and *rest* came behind it: the beginning of the next."""
        self.buffer = rest
        self._scanned = 0
        self._skipped = False

    def take(self) -> bytes | Refusal | None:
        """The head with its blank line, which is taken off; None if it is not whole yet, or why it can't be one."""
        if not self._skipped and self.buffer.startswith(_LINE_END):
            # One empty line before a request, which some senders put behind a body, is read over.
            self.buffer, self._skipped = self.buffer[2:], True
        self.to_head = self.buffer.startswith(b"HEAD ")
        end = self.buffer.find(_BLANK_LINE, max(0, self._scanned - 3))
        objection = self._objection_to_size(len(self.buffer) if end < 0 else end + 4)
        if objection is not None:
            return objection
        if end < 0:
            objection = self._objection_to_start()
            self._scanned = len(self.buffer)
            return objection
        head, self.buffer = self.buffer[: end + 4], self.buffer[end + 4 :]
        return head

    def _objection_to_size(self, length: int) -> Refusal | None:
        if length > self._settings.header_max_bytes:
            return head_too_large(self._settings)
        if length > self._line_limit + 2 and self.buffer.find(_LINE_END, 0, self._line_limit + 2) < 0:
            return request_line_too_long(self._settings)
        return None

    def _objection_to_start(self) -> Refusal | None:
        if self.buffer not in (b"", b"\r") and _FIRST_BYTE.match(self.buffer) is None:
            return malformed("this is not HTTP/1.1")
        if _BARE_LF.search(self.buffer, max(0, self._scanned - 1)):
            return malformed("a line of the head does not end in CR LF")
        return None
