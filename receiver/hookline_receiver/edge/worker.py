"""A worker process as gunicorn sees it: signals, heartbeat, the application's start and end around the server."""

import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Any

import uvloop
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from hookline_receiver.edge.lifecycle import Draining, EdgeCounters, WorkerContext
from hookline_receiver.edge.lifespan import EndFailed, Lifespan
from hookline_receiver.edge.server import Server

if TYPE_CHECKING:
    from hookline_receiver.edge.gunicorn import EdgeApplication

_HEARTBEAT = 1.0
_LIFESPAN_END = 10.0
"""Seconds in which the application closes what it opened."""
_PAUSE_BEFORE_RETRY = 1.0
"""Seconds between attempts of a worker to start where earlier ones could."""


class EdgeWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """Serves the application until it is told to end, or until the master is gone."""

    app: "EdgeApplication"

    def init_process(self) -> None:
        """Become a worker: called once, after the fork; returns when the worker has ended."""
        self._loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._told = asyncio.Event()
        self._quick = False
        self._draining = Draining()
        self._counters = EdgeCounters()
        super().init_process()

    def load_wsgi(self) -> None:
        """Nothing yet: the application is made in `run`, where a failure has a defined end."""

    def init_signals(self) -> None:
        """SIGTERM: end in order. SIGINT, SIGQUIT: end now."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self._loop.add_signal_handler(signal.SIGTERM, self._end, False)
        self._loop.add_signal_handler(signal.SIGINT, self._end, True)
        self._loop.add_signal_handler(signal.SIGQUIT, self._end, True)
        self._loop.add_signal_handler(signal.SIGUSR1, self.log.reopen_files)
        # Not in the loop: it is how the master ends a worker whose loop stands still.
        signal.signal(signal.SIGABRT, self.handle_abort)
        for number in (signal.SIGHUP, signal.SIGWINCH):
            signal.signal(number, signal.SIG_IGN)

    def _end(self, quick: bool) -> None:
        self.alive = False
        self._quick = self._quick or quick
        self._told.set()

    def run(self) -> None:
        """Serve until told to end."""
        try:
            status = self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()
        if status:
            sys.exit(status)

    async def _serve(self) -> int:
        self._beat()
        state: dict[str, Any] = {}
        try:
            app = self.app.factory(WorkerContext(self.age, self._draining, self._counters))
            lifespan = Lifespan(app, state)
            await lifespan.start()
        except Exception as error:
            self.log.error("the application can't start: %s", error, exc_info=_unexpected(error))
            return await self._start_failed()
        self.app.flags.set_booted()
        server = Server(
            self.app.settings,
            app,
            [listener.sock for listener in self.sockets],
            draining=self._draining,
            counters=self._counters,
            state=state,
        )
        server.start(on_exhausted=lambda: self._end(False))
        self._watch_master()
        await self._told.wait()
        await self._stop(server)
        try:
            await lifespan.end(_LIFESPAN_END)
        except EndFailed as error:
            self.log.error("the application did not end in order: %s", error)
        return 0

    async def _start_failed(self) -> int:
        """
        The exit status: one that ends the master too if no worker ever started, else one that makes it try again.

        A worker that can't come back (a full disk, say) must not take down those that still serve.
        """
        if not self.app.flags.booted:
            return int(Arbiter.WORKER_BOOT_ERROR)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), _PAUSE_BEFORE_RETRY)
        return 1

    async def _stop(self, server: Server) -> None:
        self._told.clear()
        stopping = self._loop.create_task(server.stop(whole=self.app.flags.stopping))
        while not self._quick and not stopping.done():
            told = self._loop.create_task(self._told.wait())
            await asyncio.wait({stopping, told}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            self._told.clear()
        if self._quick:
            stopping.cancel()
            await server.cut_off()

    def _beat(self) -> None:
        self.notify()
        self._loop.call_later(_HEARTBEAT, self._beat)

    def _watch_master(self) -> None:
        """End when the master does: the pipe's other end is the master's alone."""
        self._loop.add_reader(self.app.master_pipe.in_worker(), self._master_gone)

    def _master_gone(self) -> None:
        self._loop.remove_reader(self.app.master_pipe.in_worker())
        self.log.error("the master is gone, the worker ends")
        self.app.flags.set_stopping()
        self._end(False)


def _unexpected(error: Exception) -> bool:
    from hookline_receiver.edge.lifespan import StartFailed

    return not isinstance(error, StartFailed)
