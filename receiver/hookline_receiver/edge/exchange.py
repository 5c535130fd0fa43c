"""One request and its answer, as the ASGI application sees them."""

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any, Protocol

from hookline_receiver.edge.head import Head
from hookline_receiver.edge.lifecycle import ASGIApp, Message
from hookline_receiver.edge.refusal import STATUS_LINES, Refusal, render

log = logging.getLogger(__name__)

FAILED = Refusal(500, "internal_error", "the receiver failed to answer")
_BODILESS = frozenset([204, 304])


class BodyTruncated(ConnectionError):
    """
    Less of the body arrived than its sender announced.

    Raised from `receive()` instead of giving `http.disconnect`, which many readers, Falcon's among them, take for the
    end of the body: a cut-off event would look whole. Whatever is sent after it is dropped; the edge has answered.
    """

    def __init__(self) -> None:
        super().__init__("the connection ended, or broke the protocol, before the whole body had arrived")


class Wire(Protocol):
    """What an exchange needs of its connection."""

    def write(self, data: bytes) -> None:
        """Send *data*; nothing happens once the client is gone."""

    def date(self) -> bytes:
        """The Date header's line."""

    def must_close(self) -> bool:
        """Whether this connection ends with the answer that is about to begin."""

    def resume_reading(self) -> None:
        """The application wants more of the body."""

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written."""

    def answered(self, *, close: bool) -> None:
        """The whole answer has been written."""

    def abort(self) -> None:
        """The answer can't be finished: let the client see that."""


class Exchange:
    """
    Between the connection, which brings the body and carries off the answer, and the application.

    The first `receive()` gives at once what has arrived, be it nothing, so that an application (Falcon reads the first
    event before it looks for a route) can refuse before the body is waited for, and before 100 Continue asks for it.
    """

    __slots__ = (
        "_asked",
        "_chunked",
        "_close",
        "_consumed",
        "_continue",
        "_head",
        "_missing",
        "_pending_start",
        "_scope",
        "_started",
        "_waiter",
        "_wire",
        "body",
        "body_complete",
        "disconnected",
        "finished",
        "truncated",
    )

    def __init__(self, wire: Wire, head: Head, scope: MutableMapping[str, Any]) -> None:
        self._wire = wire
        self._head = head
        self._scope = scope
        self._waiter: asyncio.Future[None] | None = None
        self._continue = head.expects_continue
        self._asked = False
        self._consumed = False
        self._pending_start: Message | None = None
        self._started = False
        self._close = False
        self._chunked = False
        self._missing: int | None = None
        self.body: list[bytes] = []
        """Arrived and not yet asked for."""
        self.body_complete = False
        self.truncated = False
        self.disconnected = False
        self.finished = False

    @property
    def started(self) -> bool:
        """Whether any byte of the answer has been written."""
        return self._started

    async def run(self, app: ASGIApp) -> None:
        """Let *app* answer; what it leaves unanswered is answered here."""
        try:
            await app(self._scope, self.receive, self.send)
        except BodyTruncated:
            pass
        except Exception:
            log.exception("the application failed on a request")
            self._give_up()
        except BaseException:
            self._give_up()
            raise
        else:
            if not self.finished and not self.disconnected and not self.truncated:
                log.error("the application left a request unanswered")
                self._give_up()

    def _give_up(self) -> None:
        if self.finished or self.disconnected:
            return
        if self._started:
            self._wire.abort()
            return
        self._started = self.finished = True
        self._wire.write(render(FAILED, head_only=self._head.method == "HEAD"))
        self._wire.answered(close=True)

    # What the connection tells.

    def wake(self) -> None:
        """Something changed: body arrived, or ended, or the client left."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def cut_off(self) -> None:
        """The rest of the body will not come."""
        self.truncated = not self.body_complete
        self.disconnected = True
        self.body.clear()
        self.wake()

    # What the application calls.

    async def receive(self) -> Message:
        """The next piece of the body; once it has been given whole, `http.disconnect` when the client left."""
        if self._consumed:
            while not (self.disconnected or self.finished):
                await self._wait()
            return {"type": "http.disconnect"}
        if self._asked:
            await self._body_arrives()
        self._asked = True
        if self.truncated:
            raise BodyTruncated
        if self.disconnected or self.finished:
            return {"type": "http.disconnect"}
        body = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        self.body.clear()
        self._consumed = self.body_complete
        return {"type": "http.request", "body": body, "more_body": not self.body_complete}

    async def _body_arrives(self) -> None:
        while not (self.body or self.body_complete or self.disconnected or self.finished):
            if self._continue:
                self._continue = False
                self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._wire.resume_reading()
            await self._wait()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def send(self, message: Message) -> None:
        """Take a part of the answer. Nothing happens once the client has left."""
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and self._pending_start is None:
            self._pending_start = message
        elif kind == "http.response.body" and self._pending_start is not None and not self.finished:
            await self._wire.drained()
            if not self.disconnected:
                self._write(message.get("body", b""), last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"the application sent {kind} out of turn")

    def _write(self, body: bytes, *, last: bool) -> None:
        # PERF: head and body leave together, in one system call and one packet.
        head = b"" if self._started else self._begin(len(body) if last else None)
        self._continue = False
        if self._head.method == "HEAD" or self._status in _BODILESS:
            body = b""
        elif self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if last else b"")
        elif self._missing is not None:
            self._missing -= len(body)
            if self._missing < 0 or (last and self._missing):
                raise RuntimeError("the application's answer is not as long as its Content-Length says")
        self._started = True
        self._wire.write(head + body)
        if last:
            self.finished = True
            self.body.clear()
            self.wake()
            self._wire.answered(close=self._close)

    @property
    def _status(self) -> int:
        assert self._pending_start is not None
        return int(self._pending_start["status"])

    def _begin(self, whole_length: int | None) -> bytes:
        """The answer's head; *whole_length* if the body is known already."""
        assert self._pending_start is not None
        lines = [STATUS_LINES[self._status]]
        self._close = self._wire.must_close() or not self.body_complete
        for name, value in self._pending_start.get("headers", ()):
            match name.lower():
                case b"content-length":
                    self._missing = int(value)
                case b"connection":
                    self._close = self._close or b"close" in value.lower()
                    continue
                case b"date" | b"server" | b"transfer-encoding":
                    continue
            lines.append(b"%b: %b\r\n" % (name, value))
        if b"".join(lines).count(b"\n") != len(lines):
            raise RuntimeError("a header of the application's answer holds a line break")
        lines.append(self._wire.date())
        lines.extend(self._length(whole_length))
        if self._close:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _length(self, whole_length: int | None) -> list[bytes]:
        if self._missing is not None or self._status in _BODILESS:
            return []
        if whole_length is not None and self._head.method != "HEAD":
            self._missing = whole_length
            return [b"content-length: %d\r\n" % whole_length]
        if self._head.version == "1.0":
            self._close = True
            return []
        self._chunked = True
        return [b"transfer-encoding: chunked\r\n"]
