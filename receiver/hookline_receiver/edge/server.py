"""Accepts connections, keeps their deadlines, and ends without failing a request. Runs in one worker's event loop."""

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any

from hookline_receiver.edge.admission import Admission, source_of
from hookline_receiver.edge.connection import Connection
from hookline_receiver.edge.exchange import Exchange
from hookline_receiver.edge.forwarded import TrustedProxies
from hookline_receiver.edge.lifecycle import ASGIApp, Draining, EdgeCounters
from hookline_receiver.edge.listener import accept_waiting, turn_newcomers_away
from hookline_receiver.edge.refusal import Refusal
from hookline_receiver.edge.settings import EdgeSettings

log = logging.getLogger(__name__)

_ACCEPTED_AT_ONCE = 8
"""Per turn of the event loop, so that the other workers get their share."""
_SPARE_FILES = 200
"""Open files left to the application: journal, metrics, logs."""
_REFUSED_THAT_LINGER = 200
"""Connections beyond the limit that are given time to read why; more are cut."""
_KEEPS_ITS_PLACE = 1.0
"""Seconds that a connection without a request keeps its place when others wait for one."""
_HANDSHAKES_END = 0.25
"""Seconds in which connections whose handshake has begun arrive, before listening ends."""
_ACCEPT_PAUSE = 0.1
"""Seconds before accepting again after the system had no file or memory left for a connection."""


class Server:
    """One worker's server for *app*, on *listeners* that it shares with the other workers."""

    def __init__(
        self,
        settings: EdgeSettings,
        app: ASGIApp,
        listeners: Sequence[socket.socket],
        *,
        draining: Draining,
        counters: EdgeCounters,
        state: dict[str, Any],
    ) -> None:
        self.settings = settings
        self.draining = draining
        self.counters = counters
        self.state = state
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self.admission = Admission(_total(settings), settings.max_connections_per_address)
        self.retiring = False
        """Whether this worker alone ends, and another takes its place."""
        self.date_line = b""
        self.address = _address(listeners)
        self._app = app
        self._listeners = list(listeners)
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._drained = asyncio.Event()
        self._exhausted: Callable[[], None] = lambda: None
        self._sweep_interval = _sweep_interval(settings)

    def start(self, on_exhausted: Callable[[], None] | None = None) -> None:
        """Accept from now on; *on_exhausted* is called once `max_requests` have been answered."""
        if on_exhausted is not None:
            self._exhausted = on_exhausted
        self._sweep()
        for listener in self._listeners:
            listener.setblocking(False)
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    # Accepting.

    def _accept(self, listener: socket.socket) -> None:
        try:
            accept_waiting(listener, self._take, _ACCEPTED_AT_ONCE)
        except OSError as error:
            log.error("connections can't be accepted", extra={"error": error.strerror})
            self._loop.remove_reader(listener.fileno())
            self._loop.call_later(_ACCEPT_PAUSE, self._resume_accepting, listener)

    def _resume_accepting(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _take(self, accepted: socket.socket) -> None:
        self.counters.accepted += 1
        task = self._loop.create_task(self._connect(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Connection(self), accepted)
        except OSError:
            accepted.close()

    # What connections call.

    def admit(self, connection: Connection) -> Refusal | None:
        """Let *connection* in, or say why not."""
        self._connections.add(connection)
        refusal = self.admission.enter()
        if refusal is not None and self._make_room():
            refusal = self.admission.enter()
        if refusal is not None:
            return refusal
        peer = connection.peer
        counted = None if not peer or self.proxies.trusts(peer) else source_of(peer)
        refusal = self.admission.claim(counted) if counted is not None else None
        if refusal is not None:
            self.admission.leave()
            return refusal
        connection.admitted(counted)
        self.counters.connections = self.admission.open
        return None

    def _make_room(self) -> bool:
        """
        End the connection that has kept a place longest without a request, if there is one.

        Those that never sent one go first: whoever only holds connections open must not shut out who sends events.
        """
        patience = self._loop.time() - _KEEPS_ITS_PLACE
        idle = [one for one in self._connections if one.idle_before(patience)]
        if not idle:
            return False
        self.counters.refused["evicted"] += 1
        return min(idle, key=lambda one: (one.served, one.last_active)).leave_place()

    def gone(self, connection: Connection, *, admitted: bool) -> None:
        """*connection* has ended."""
        if admitted:
            self.left()
        self._connections.discard(connection)

    def left(self) -> None:
        """An admitted connection gives its place back."""
        self.admission.leave()
        self.counters.connections = self.admission.open

    def may_linger(self, *, admitted: bool) -> bool:
        """Whether a connection may stay to read its last answer; of those that were never let in only some."""
        return admitted or len(self._connections) - self.admission.open <= _REFUSED_THAT_LINGER

    def serve(self, exchange: Exchange) -> None:
        """Let the application answer."""
        self.counters.requests += 1
        task = self._loop.create_task(exchange.run(self._app))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def answered(self) -> None:
        """A request has its answer."""
        if 0 < self.settings.max_requests <= self.counters.requests:
            self._exhausted()

    # Deadlines.

    def _sweep(self) -> None:
        self.date_line = f"date: {formatdate(usegmt=True)}\r\n".encode("ascii")
        now = self._loop.time()
        for connection in list(self._connections):
            connection.expire(now)
        self._loop.call_later(self._sweep_interval, self._sweep)

    # Ending.

    async def stop(self, *, whole: bool) -> None:
        """
        End: serve what is under way, then let go. *whole*: the other workers end too, so drain first.

        Answers say `Connection: close` from now on. Listening ends after `drain_seconds`; idle connections get
        `idle_grace` for a last request, requests under way `graceful_timeout`.
        """
        began = self._loop.time()
        if whole:
            self.draining.begin()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), self.settings.drain_seconds)
        self.retiring = True
        await self._stop_listening(whole=whole)
        await self._finish(began)

    def end_drain(self) -> None:
        """Whoever measures the drain (the master) says that it is over."""
        self._drained.set()

    async def _stop_listening(self, *, whole: bool) -> None:
        if whole:
            for listener in self._listeners:
                turn_newcomers_away(listener)
            await asyncio.sleep(_HANDSHAKES_END)
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            if whole:
                accept_waiting(listener, self._take, self.settings.backlog)
            listener.close()
        self._listeners.clear()

    async def _finish(self, began: float) -> None:
        deadline = self._loop.time() + self.settings.graceful_timeout
        while self._connections or self._tasks:
            now = self._loop.time()
            if now > deadline:
                log.warning("requests were cut off at the end", extra={"connections": len(self._connections)})
                break
            for connection in list(self._connections):
                if now >= began + self.settings.idle_grace:
                    connection.close_if_idle(now - self.settings.idle_grace)
            await asyncio.sleep(0.02)
        await self.cut_off()

    async def cut_off(self) -> None:
        """End every connection and request now."""
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()
        for connection in list(self._connections):
            connection.drop()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=1)


def _total(settings: EdgeSettings) -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return settings.max_connections
    return min(settings.max_connections, max(1, files - _SPARE_FILES - _REFUSED_THAT_LINGER))


def _address(listeners: Sequence[socket.socket]) -> tuple[str, int | None]:
    name = listeners[0].getsockname()
    return (name, None) if isinstance(name, str) else (name[0], name[1])


def _sweep_interval(settings: EdgeSettings) -> float:
    shortest = min(
        settings.header_timeout,
        settings.body_timeout,
        settings.body_progress_seconds,
        settings.keep_alive_timeout,
        settings.send_timeout,
        settings.linger_timeout,
    )
    return min(0.5, shortest / 8)
