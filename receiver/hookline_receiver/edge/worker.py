"""A worker process as gunicorn sees it: signals, heartbeat, the application's start and end around the server."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import uvloop
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from hookline_receiver.edge.lifecycle import ASGIApp, Draining, EdgeCounters, WorkerContext
from hookline_receiver.edge.lifespan import EndFailed, Lifespan, StartFailed
from hookline_receiver.edge.server import Server

if TYPE_CHECKING:
    from hookline_receiver.edge.gunicorn import EdgeApplication

_HEARTBEAT = 1.0
_LIFESPAN_END = 10.0
"""Seconds in which the application closes what it opened."""
_MASTER_SPEAKS = 0.2
"""Seconds for the master to say that all workers end."""
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
        self._hurried = asyncio.Event()
        self._quick = False
        self._server: Server | None = None
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
        if self._told.is_set() and self._server is not None:
            # Said again: by the master, when the drain is over.
            self._server.end_drain()
        self._told.set()
        if self._quick:
            self._hurried.set()

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
            if not await self._or_told(lifespan.start()):
                lifespan.abandon()
                return 0
        except Exception as error:  # whatever it is, the worker can't start
            expected = isinstance(error, StartFailed)
            self.log.error("the application can't start: %s", error, exc_info=None if expected else error)
            return await self._start_failed()
        self.app.flags.set_booted()
        try:
            await self._serve_requests(app, state)
        finally:
            await self._end_application(lifespan)
        return 0

    async def _serve_requests(self, app: ASGIApp, state: dict[str, Any]) -> None:
        listeners = [listener.sock for listener in self.sockets]
        server = self._server = Server(
            self.app.settings, app, listeners, draining=self._draining, counters=self._counters, state=state
        )
        server.start(on_exhausted=self._retire)
        self._watch_master()
        await self._told.wait()
        stopping = self._loop.create_task(server.stop(whole=await self._all_end()))
        hurried = self._loop.create_task(self._hurried.wait())
        await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if stopping.done():
            stopping.result()
        else:
            stopping.cancel()
            await server.cut_off()

    async def _all_end(self) -> bool:
        """
        Whether the other workers end too.

        Who signals a whole group of processes may reach the worker before the master has said so: wait a moment.
        """
        deadline = self._loop.time() + _MASTER_SPEAKS
        while not self.app.flags.stopping and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        return self.app.flags.stopping

    async def _or_told(self, starting: Coroutine[Any, Any, None]) -> bool:
        """Whether *starting* came to its end before this worker was told to end."""
        task, told = self._loop.create_task(starting), self._loop.create_task(self._told.wait())
        await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        return False

    async def _end_application(self, lifespan: Lifespan) -> None:
        try:
            await lifespan.end(_LIFESPAN_END)
        except EndFailed as error:
            self.log.error("the application did not end in order: %s", error)

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
        if self._server is not None:
            self._server.end_drain()
        self._end(False)

    def _retire(self) -> None:
        self._told.set()
