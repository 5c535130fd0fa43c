"""
One connection: reads a head, then its body, hands the request on, waits for the answer, and begins again.

    HEAD ──► BODY ──► ANSWER ──► HEAD …          what breaks the rules: refusal ──► LINGER ──► closed

One request at a time: what a client sends before its answer stays unread in the kernel, so a pipeline can't fill memory.
The deadlines are looked at by the server's sweep (`expire`), not by a timer per request.
"""

import asyncio
import enum
import logging
import socket
import struct
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, cast

from hookline_receiver.edge.admission import source_of
from hookline_receiver.edge.exchange import Exchange
from hookline_receiver.edge.head import Head
from hookline_receiver.edge.incoming import Incoming
from hookline_receiver.edge.message import MessageReader
from hookline_receiver.edge.refusal import Refusal, render

if TYPE_CHECKING:
    from hookline_receiver.edge.server import Server

log = logging.getLogger(__name__)

HIGH_WATER = 64 * 1024
"""Bytes of body that wait for the application before reading pauses."""
INCOMPLETE = Refusal(400, "incomplete_request", "the connection ended before the request did")


class Phase(enum.Enum):
    """What the connection is waiting for."""

    HEAD = enum.auto()
    BODY = enum.auto()
    ANSWER = enum.auto()
    """The body is here; the application is at work."""
    LINGER = enum.auto()
    """The last answer is out; what still arrives is thrown away."""


class Connection(asyncio.Protocol):
    """A client's connection. Made by the server for each that it accepts."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._settings = server.settings
        self._loop = asyncio.get_running_loop()
        self._transport, self._phase = cast("asyncio.Transport", None), Phase.HEAD
        self._incoming = Incoming(server.settings)
        self._deadline = 0.0
        self._exchange: Exchange | None = None
        self._reader = MessageReader(server.settings)
        self._waiting_bytes = 0
        self._body_deadline = 0.0
        self._progress = self._lingered = 0
        self._reading = True
        self._ended = self._idle = self._keep_alive = False
        self._writable: asyncio.Future[None] | None = None
        self._write_deadline = 0.0
        self._peer, self._port = "", 0
        self._counted_address: str | None = None
        self._counted_request: str | None = None
        self._admitted = False
        self.last_active = 0.0
        """When the connection began or last got an answer."""
        self.served = False
        """Whether any request got an answer."""

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came: let it in, or refuse it."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._peer, self._port = peer[0].removeprefix("::ffff:"), peer[1]
        self.last_active = self._loop.time()
        self._deadline = self.last_active + self._settings.header_timeout
        refusal = self._server.admit(self)
        if refusal is not None:
            self._refuse(refusal)

    def admitted(self, counted_address: str | None) -> None:
        """The server lets this connection in; *counted_address* is to be given back when it ends."""
        self._admitted = True
        self._counted_address = counted_address

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._phase is Phase.LINGER:
            self._lingered += len(data)
            if self._lingered > self._settings.linger_max_bytes:
                self._transport.abort()
            return
        if self._phase is Phase.BODY:
            self._read_body(data)
            return
        if self._idle:
            # The next request has begun: from now on its head must hurry.
            self._idle = False
            self._deadline = self._loop.time() + self._settings.header_timeout
        self._incoming.buffer += data
        if self._phase is Phase.HEAD:
            self._read_head()
        else:
            self._pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more; it may still read."""
        self._ended = True
        if self._phase is Phase.ANSWER:
            return True
        if self._phase is Phase.BODY or (self._phase is Phase.HEAD and self._incoming.buffer):
            self._refuse(INCOMPLETE)
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        if self._exchange is not None:
            self._cut_off(self._exchange)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self._counted_address is not None:
            self._server.admission.release(self._counted_address)
        self._server.gone(self, admitted=self._admitted)

    def pause_writing(self) -> None:
        """The client reads its answer too slowly."""
        self._writable = self._loop.create_future()
        self._write_deadline = self._loop.time() + self._settings.send_timeout

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # Reading.

    def _read_head(self) -> None:
        block = self._incoming.take()
        if block is None:
            if self._ended and self._incoming.buffer:
                self._refuse(INCOMPLETE)
            else:
                self._go_on_reading()
            return
        head = block if isinstance(block, Refusal) else self._reader.head(block)
        if isinstance(head, Refusal):
            self._refuse(head)
        else:
            self._begin(head)

    def _begin(self, head: Head) -> None:
        """The head is whole: hand the request on."""
        client = self._server.proxies.client(self._peer, head.fields)
        if client and self._counted_address is None:
            source = source_of(client)
            refusal = self._server.admission.claim(source)
            if refusal is not None:
                self._refuse(refusal)
                return
            self._counted_request = source
        exchange = Exchange(self, head, self._scope(head, client))
        self._exchange = exchange
        self._phase = Phase.BODY
        self._waiting_bytes = self._progress = 0
        now = self._loop.time()
        self._body_deadline = now + self._settings.body_timeout
        self._deadline = now + self._settings.body_progress_seconds
        self._keep_alive = head.keep_alive
        data = self._incoming.buffer
        self._incoming.begin(b"")
        self._read_body(data)
        if self._exchange is exchange and not exchange.truncated:
            self._server.serve(exchange)

    def _scope(self, head: Head, client: str) -> MutableMapping[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": head.version,
            "method": head.method,
            "scheme": "http",
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.fields,
            "client": (client, self._port if client == self._peer else 0) if client else None,
            "server": self._server.address,
            "state": self._server.state.copy(),
        }

    def _read_body(self, data: bytes) -> None:
        assert self._exchange is not None
        piece = self._reader.feed(data)
        if isinstance(piece, Refusal):
            self._refuse(piece)
            return
        if piece:
            self._exchange.body.append(piece)
            self._waiting_bytes += len(piece)
            self._progress += len(piece)
        if self._reader.complete:
            self._exchange.body_complete = True
            self._incoming.begin(self._reader.rest)
            self._phase = Phase.ANSWER
            if self._incoming.buffer:
                self._pause_reading()
        elif self._waiting_bytes > HIGH_WATER:
            self._pause_reading()
        if piece or self._reader.complete:
            self._exchange.wake()

    def _pause_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _go_on_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    # What the exchange calls.

    def resume_reading(self) -> None:
        """The application has taken what there was of the body."""
        self._waiting_bytes = 0
        if not self._reading:
            # The client was made to wait by us: its time begins anew.
            self._deadline = self._loop.time() + self._settings.body_progress_seconds
            self._go_on_reading()

    def write(self, data: bytes) -> None:
        """Send *data*; nothing happens once the client is gone."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def date(self) -> bytes:
        """The Date header's line."""
        return self._server.date_line

    def must_close(self) -> bool:
        """Whether this connection ends with the answer that is about to begin."""
        last = self._ended and not self._incoming.buffer
        return last or not self._keep_alive or self._server.draining.active or self._server.retiring

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written."""
        if self._writable is not None:
            await self._writable

    def abort(self) -> None:
        """The answer can't be finished: a reset shows the client that, where a plain end could be the answer's."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None and not self._transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def answered(self, *, close: bool) -> None:
        """The whole answer has been written: wait for the next request, or end."""
        whole = self._phase is Phase.ANSWER
        self._exchange = None
        self._give_back_request()
        self._server.answered()
        self.last_active = self._loop.time()
        self.served = True
        if close:
            self._end(unread=not whole or bool(self._incoming.buffer))
            return
        self._phase = Phase.HEAD
        self._idle = not self._incoming.buffer
        self._deadline = self.last_active + self._settings.keep_alive_timeout
        if self._incoming.buffer:
            # What came behind the request is looked at before more is read; not now, the application is calling.
            self._deadline = self.last_active + self._settings.header_timeout
            self._loop.call_soon(self._read_pipelined)
        else:
            self._go_on_reading()

    def _read_pipelined(self) -> None:
        if self._phase is Phase.HEAD and not self._transport.is_closing():
            self._read_head()

    # Ending.

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in the application's place, unless it has begun to, and end the connection."""
        self._server.counters.refused[refusal.reason] += 1
        log.debug("request refused at the edge", extra={"reason": refusal.reason, "client": self._peer})
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._cut_off(exchange)
            self._give_back_request()
            if exchange.started:
                self.abort()
                return
        self.write(render(refusal, head_only=self._incoming.to_head))
        self._end(unread=True)

    def _cut_off(self, exchange: Exchange) -> None:
        if not exchange.body_complete:
            self._server.counters.truncated += 1
        exchange.cut_off()
        self._give_back_request()

    def _give_back_request(self) -> None:
        if self._counted_request is not None:
            self._server.admission.release(self._counted_request)
            self._counted_request = None

    def _end(self, *, unread: bool) -> None:
        """
        Close; if input is *unread*, only the sending side at first.

        Closing a socket with unread input makes the kernel send a reset, which can overtake the answer.
        """
        self._phase = Phase.LINGER
        self._incoming.buffer = b""
        if self._transport.is_closing():
            return
        if not unread or self._ended or not self._server.may_linger(admitted=self._admitted):
            self._transport.close()
            return
        self._deadline = self._loop.time() + self._settings.linger_timeout
        self._go_on_reading()
        self._transport.write_eof()

    # What the server's sweep calls.

    def expire(self, now: float) -> None:
        """Refuse, or close, if what was waited for has not come in time."""
        if self._writable is not None and now > self._write_deadline:
            self._transport.abort()
        elif self._phase is Phase.BODY:
            self._expire_body(now)
        elif self._phase is Phase.ANSWER or now < self._deadline:
            return
        elif self._phase is Phase.LINGER:
            self._transport.abort()
        elif self._incoming.buffer:
            self._refuse(Refusal(408, "headers_timeout", "the request's head did not arrive in time"))
        else:
            self._server.counters.refused["idle_timeout"] += 1
            self._transport.close()

    def _expire_body(self, now: float) -> None:
        if not self._reading:
            return
        if now > self._body_deadline:
            self._refuse(Refusal(408, "body_timeout", "the request's body did not arrive in time"))
        elif now > self._deadline:
            if self._progress < self._settings.body_progress_bytes:
                self._refuse(Refusal(408, "body_too_slow", "the request's body arrives too slowly"))
            self._deadline, self._progress = now + self._settings.body_progress_seconds, 0

    def idle_before(self, moment: float) -> bool:
        """Whether no request has been under way, nor a head been whole, since before *moment*."""
        return self._phase is Phase.HEAD and self.last_active < moment

    def close_if_idle(self, before: float) -> None:
        """Close if nothing has been under way since *before*, and nothing has come that was not looked at yet."""
        if self.idle_before(before) and not self._incoming.buffer and not self._has_unread():
            self._transport.close()

    def leave_place(self) -> bool:
        """End now, for another connection's sake; whether that gave a place back."""
        admitted, self._admitted = self._admitted, False
        if admitted:
            self._server.left()
        self._transport.close()
        return admitted

    def _has_unread(self) -> bool:
        sock = self._transport.get_extra_info("socket")
        try:
            # uvloop's socket object refuses recv(): look through a duplicate.
            with socket.socket(fileno=socket.dup(sock.fileno())) as duplicate:
                return bool(duplicate.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False
        except OSError:
            return False

    @property
    def peer(self) -> str:
        """The other end's address; "" for a Unix socket's."""
        return self._peer

    def drop(self) -> None:
        """End the connection now, whatever is under way."""
        self._transport.abort()
