"""
A proxy before the API server that lets a test make things go wrong (`support.kubernetes.faults`) and says what it saw.

    proxy = fault_proxy                                  # or: with FaultProxy(plane, network) as proxy
    kubeconfig = plane.kubeconfig(token, server=proxy.url)
    mark = proxy.mark()
    ...
    assert [seen.request for seen in proxy.calls(mark, writing)] == []

It speaks HTTP/1.1 over TLS with the API server's own certificate, passes every header on, and streams. It runs on a thread
of its own; its methods may be called from anywhere. An `exec` or `port-forward` does not pass.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import h11

from support.kubernetes.background import Background
from support.kubernetes.call import Match, Request, anything, read
from support.kubernetes.faults import Fault, Rule, StreamFault, watch_error
from support.kubernetes.network import LOCALHOST, Network, at_once

CHUNK = 1 << 16
LARGEST_HEAD = 1 << 20
BROKEN = (OSError, h11.ProtocolError, asyncio.IncompleteReadError)


class Upstream(Protocol):
    """The API server behind it."""

    @property
    def port(self) -> int:
        """Of 127.0.0.1; asked for each connection."""

    @property
    def tls(self) -> ssl.SSLContext:
        """To call it."""

    @property
    def server_tls(self) -> ssl.SSLContext:
        """To stand in for it."""


@dataclass
class Seen:
    """A request and what became of it."""

    request: Request
    status: int = 0
    """0 as long as there is no answer, and if there never was one."""
    sent: int = 0
    """Bytes of the answer's content that were passed on."""
    ended: bool = False
    """Whether it is over, however it ended."""


class FaultProxy:
    """One proxy; without rules it only passes on."""

    def __init__(self, upstream: Upstream, network: Network | None = None) -> None:
        self.upstream = upstream
        self.seen: list[Seen] = []
        """In the order they came."""
        self.rules: list[Rule] = []
        self.open: set[Connection] = set()
        self._network = network
        self._background = Background("fault proxy")
        self._servers: list[asyncio.Server] = []
        self.port = 0
        self.back()

    @property
    def url(self) -> str:
        """Where the API server seems to be; outside and, given a network, inside."""
        return f"https://{LOCALHOST}:{self.port}"

    def inject(self, fault: Fault | StreamFault, match: Match = anything, times: int | None = None) -> Rule:
        """Put a fault in force, before those that are; until lifted, or (not for a StreamFault) met so many *times*."""
        return self._background.run(self._inject(fault, match, times))

    def lift_all(self) -> None:
        """Nothing goes wrong from now on."""
        for rule in list(self.rules):
            rule.lift()

    def reset(self, match: Match = anything) -> int:
        """Reset the connections on which such a request is open now; how many there were."""
        return self._background.run(self._reset(match))

    def end_watches(self, match: Match = anything, status: int = 410) -> int:
        """End the watches that are open now with an ERROR event; how many there were."""
        return self._background.run(self._end_watches(match, status))

    def away(self) -> None:
        """Be gone: connections are reset, new ones are refused."""
        self._background.run(self._away())

    def back(self) -> None:
        """Listen again, where it did before."""
        if not self._servers:
            self._background.run(self._listen())

    def mark(self) -> int:
        """For `calls`: now."""
        return len(self.seen)

    def calls(self, since: int = 0, match: Match = anything) -> list[Seen]:
        """What came since that mark."""
        return [seen for seen in self.seen[since:] if match(seen.request)]

    def close(self) -> None:
        """End."""
        self.away()
        self._background.close()

    def __enter__(self) -> Self:
        """Listening."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ended."""
        self.close()

    def rule_for(self, request: Request) -> Rule | None:
        """The fault that a request meets, counted."""
        found = next(
            (rule for rule in self.rules if not isinstance(rule.fault, StreamFault) and rule.match(request)), None
        )
        if found is not None:
            found.hits += 1
            if found.times is not None and found.hits >= found.times:
                self.rules.remove(found)
        return found

    def holding(self, request: Request) -> Iterator[tuple[StreamFault, Rule]]:
        """What keeps the content of its answer back."""
        for rule in list(self.rules):
            if isinstance(rule.fault, StreamFault) and rule.match(request):
                yield rule.fault, rule

    async def _inject(self, fault: Fault | StreamFault, match: Match, times: int | None) -> Rule:
        rule = Rule(fault, match, times, lambda rule: self._background.run(self._lift(rule)))
        self.rules.insert(0, rule)
        return rule

    async def _lift(self, rule: Rule) -> None:
        if rule in self.rules:
            self.rules.remove(rule)
        rule.lifted.set()

    async def _reset(self, match: Match) -> int:
        hit = [one for one in self.open if one.current is not None and match(one.current.seen.request)]
        for connection in hit:
            connection.reset()
        return len(hit)

    async def _end_watches(self, match: Match, status: int) -> int:
        current = [one.current for one in self.open if one.current is not None]
        hit = [one for one in current if one.streaming and one.seen.request.verb == "watch" and match(one.seen.request)]
        for exchange in hit:
            exchange.arrived.put_nowait((0.0, watch_error(status), True))
        return len(hit)

    async def _away(self) -> None:
        for server in self._servers:
            server.close()
        self._servers = []
        for connection in list(self.open):
            connection.reset()
        await asyncio.gather(*(connection.task for connection in self.open), return_exceptions=True)

    async def _listen(self) -> None:
        outside = at_once(socket.create_server((LOCALHOST, self.port), backlog=512))
        self.port = int(outside.getsockname()[1])
        listeners = [outside]
        if self._network is not None:
            listeners.append(self._network.listen(LOCALHOST, self.port))
        self._servers = [
            await asyncio.start_server(self._serve, sock=listener, ssl=self.upstream.server_tls, backlog=512)
            for listener in listeners
        ]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(self, reader, writer, task)
        self.open.add(connection)
        try:
            await connection.serve()
        finally:
            self.open.discard(connection)


class Connection:
    """One client's, and the one to the API server that goes with it."""

    def __init__(
        self,
        proxy: FaultProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: "asyncio.Task[None]",
    ) -> None:
        self.proxy = proxy
        self.task = task
        self.writer = writer
        self.http = h11.Connection(h11.SERVER, LARGEST_HEAD)
        self.far = Far(proxy.upstream)
        self.current: Exchange | None = None
        self._reader = reader
        self._received: asyncio.Queue[bytes] = asyncio.Queue()
        self._gone = False

    async def serve(self) -> None:
        """One request after another, until either side has enough."""
        receiving = asyncio.ensure_future(self._receive())
        try:
            while (exchange := await self._next()) is not None:
                self.current = exchange
                await exchange.serve()
                self.current = None
                if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
                    break
                self.http.start_next_cycle()
        except (*BROKEN, asyncio.CancelledError):
            self.reset()
        finally:
            if self.current is not None:
                self.current.seen.ended = True
            receiving.cancel()
            self.far.close()
            self.writer.close()

    def reset(self) -> None:
        """RST, and no more of it."""
        if not self._gone:
            self._gone = True
            reset(self.writer)
            if asyncio.current_task() is not self.task:  # which ends by itself: nothing more can be sent
                self.task.cancel()

    async def send(self, event: h11.Event) -> None:
        """To the client."""
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    async def _receive(self) -> None:
        """Keep reading, so that a client that goes away is noticed whatever is going on."""
        with suppress(OSError):
            while data := await self._reader.read(CHUNK):
                self._received.put_nowait(data)
        self._received.put_nowait(b"")
        if self.current is not None:
            self.reset()

    async def _next(self) -> "Exchange | None":
        """The next request, whole."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                if self.http.they_are_waiting_for_100_continue:
                    await self.send(h11.InformationalResponse(status_code=100, headers=[]))
                self.http.receive_data(await self._received.get())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Exchange(self, head, body)
            else:
                return None


class Far:
    """The connection to the API server: kept from one request to the next."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._http = h11.Connection(h11.CLIENT, LARGEST_HEAD)

    async def ask(self, head: h11.Request, body: bytes) -> None:
        """Send a request."""
        writer = (await self._connected())[1]
        writer.write((self._http.send(head) or b"") + (self._http.send(h11.Data(data=body)) or b""))
        writer.write(self._http.send(h11.EndOfMessage()) or b"")
        await writer.drain()

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        """What comes next of the answer."""
        assert self._streams is not None
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._streams[0].read(CHUNK))
        assert event is not h11.NEED_DATA
        return event  # type: ignore[return-value]

    def close(self) -> None:
        """If it is open."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reusable = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        if self._streams is not None and reusable and not self._streams[0].at_eof():
            self._http.start_next_cycle()
            return self._streams
        self.close()
        self._http = h11.Connection(h11.CLIENT, LARGEST_HEAD)
        self._streams = await asyncio.open_connection(
            LOCALHOST, self._upstream.port, ssl=self._upstream.tls, limit=4 * CHUNK
        )
        return self._streams


class Exchange:
    """A request and its answer."""

    def __init__(self, connection: Connection, head: h11.Request, body: bytes) -> None:
        self._connection = connection
        self._head = head
        self._body = body
        headers = {name.decode(): value.decode() for name, value in head.headers}
        self.request = read(head.method.decode(), head.target.decode(), headers, len(body))
        self.seen = Seen(self.request)
        self.streaming = False
        self.arrived: asyncio.Queue[tuple[float, bytes, bool]] = asyncio.Queue()
        """When, what, and whether it is the last."""

    async def serve(self) -> None:
        """As the rules have it."""
        proxy = self._connection.proxy
        proxy.seen.append(self.seen)
        rule = proxy.rule_for(self.request)
        try:
            if rule is None:
                await self.forward()
            else:
                await rule.fault.play(self, rule.lifted)  # type: ignore[union-attr]
        finally:
            self.seen.ended = True

    async def forward(self, *, at_most: int | None = None) -> None:
        """Ask the API server and pass its answer on as it comes; after *at_most* bytes reset."""
        far = self._connection.far
        await far.ask(self._head, self._body)
        event = await far.next_event()
        while isinstance(event, h11.InformationalResponse):
            event = await far.next_event()
        assert isinstance(event, h11.Response), event
        if at_most == 0:
            await self._drain()
            return self.reset()
        await self._begin(event.status_code, [(name, value) for name, value in event.headers])
        arriving = asyncio.ensure_future(self._arrive())
        try:
            await self._pass_on(at_most)
        finally:
            self.streaming = False
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)
        return None

    async def answer(self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer without the API server."""
        given = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers]
        await self._begin(status, [(name.encode(), value.encode()) for name, value in given])
        await self._send(body)
        await self._connection.send(h11.EndOfMessage())

    def reset(self) -> None:
        """Reset the client's connection."""
        self._connection.reset()

    async def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.seen.status = status
        await self._connection.send(h11.Response(status_code=status, headers=headers))

    async def _drain(self) -> None:
        """Until the answer is complete: then what was asked for is done."""
        while isinstance(await self._connection.far.next_event(), h11.Data):
            pass

    async def _arrive(self) -> None:
        """Take what the API server says, at its pace: it would give up a watch that is not read."""
        loop = asyncio.get_running_loop()
        self.streaming = True
        try:
            while isinstance(event := await self._connection.far.next_event(), h11.Data):
                self.arrived.put_nowait((loop.time(), bytes(event.data), False))
            self.arrived.put_nowait((loop.time(), b"", True))
        except BROKEN:
            self.reset()

    async def _pass_on(self, at_most: int | None) -> None:
        """Give it to the client, at the pace that the rules allow."""
        last = False
        while not last:
            came, data, last = await self.arrived.get()
            for fault, rule in self._connection.proxy.holding(self.request):
                rule.hits += 1
                await fault.wait(came, rule.lifted)
            if at_most is not None and self.seen.sent + len(data) > at_most:
                await self._send(data[: at_most - self.seen.sent])
                return self.reset()
            await self._send(data)
        await self._connection.send(h11.EndOfMessage())
        return None

    async def _send(self, data: bytes) -> None:
        if data:
            await self._connection.send(h11.Data(data=data))
            self.seen.sent += len(data)


def reset(writer: asyncio.StreamWriter) -> None:
    """
    Close with RST, as a machine does that knows nothing of the connection.

    A blocking ssl.SSLSocket of Python's says of it that the connection has ended; most others say "reset by peer".
    """
    known = writer.get_extra_info("socket")  # none where the other side was quicker
    with suppress(OSError):
        if known is not None:
            known.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
