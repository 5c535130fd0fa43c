"""
The receiver as an ASGI application: wiring, and the thin layer between Falcon and `accept`.

`make_app` makes one worker's application; everything it needs is opened in the lifespan's start and closed in its end.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from itertools import count
from typing import Any

import falcon.asgi

from hookline_receiver.accept import Acceptance, Answered, Clock
from hookline_receiver.auth.authenticate import Gate
from hookline_receiver.auth.last_used import LastUsed
from hookline_receiver.auth.slow_hash import SlowHashes
from hookline_receiver.edge.lifecycle import ASGIApp, Message, Receive, Send, WorkerContext
from hookline_receiver.ingest_id import IngestIds
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.limits.arriving import Arriving
from hookline_receiver.limits.buckets import Buckets
from hookline_receiver.limits.share import PendingFile, Shares
from hookline_receiver.ops.edge_metrics import EdgeMetrics
from hookline_receiver.ops.logs import Throttle
from hookline_receiver.ops.metrics import Metrics
from hookline_receiver.ops.server import OpsServer
from hookline_receiver.patience import Patience
from hookline_receiver.problem import problem
from hookline_receiver.request import head_of
from hookline_receiver.route_file import RouteFile
from hookline_receiver.settings import Settings, ops_address
from hookline_receiver.verdict import OURS, Reason, Refused
from hookline_receiver.workers.cells import Cells
from hookline_receiver.workers.slot import take_slot
from hookline_receiver.workers.status import StatusBoard, WorkerStatus

HEARTBEAT_SECONDS = 1.0
"""How often a worker tells the others of itself."""

PRUNE_BEATS = 60
"""Of so many heartbeats one forgets credentials that are gone: with 10,000 of them that takes 10 ms."""

MAX_LOGGED_PATH = 128

log = logging.getLogger(__name__)


def make_app(settings: Settings, context: WorkerContext) -> ASGIApp:
    """The application of one worker. It serves once its lifespan has started; until then there is no journal."""
    worker = Worker(settings, context)
    webhooks = Webhooks(worker)
    app = falcon.asgi.App(middleware=[worker])
    app.add_sink(webhooks.on_request, prefix=re.compile(""))  # type: ignore[arg-type]  # Falcon: response may be None
    app.add_error_handler(Exception, webhooks.on_error)

    async def serve(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Falcon would wait for the body before it routes, and take the end of a connection for the end of a body:
            # it is given an empty beginning, and `accept` reads the rest itself.
            scope["hookline.receive"] = receive
            scope["query_string"] = b""  # says nothing to us, and Falcon fails on one that is not UTF-8
            receive = _nothing_yet
        await app(scope, receive, send)  # type: ignore[arg-type]

    return serve


async def _nothing_yet() -> Message:
    return {"type": "http.request", "body": b"", "more_body": True}


class Webhooks:
    """Between Falcon and `accept`: a request's head out of the scope, an answer into the response."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._throttle = Throttle(time.monotonic)

    async def on_request(self, request: falcon.asgi.Request, response: falcon.asgi.Response, **_: Any) -> None:
        """Answer any request: which paths there are is the routes' to say, not the framework's."""
        began = time.perf_counter()
        scope = request.scope
        head = head_of(scope, dict(scope["headers"]))
        answered = await self._worker.acceptance.accept(head, scope["hookline.receive"])
        if isinstance(answered.verdict, Refused):
            self._refuse(answered, answered.verdict, head.path, response)
            return
        event = answered.verdict
        response.data = b"{}"
        self._worker.metrics.accepted(event.subscription, len(event.body), time.perf_counter() - began)

    async def on_error(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, error: Exception, params: Any, **_: Any
    ) -> None:
        """A bug of ours: say so to whoever reads the logs, and nothing to the sender but that it was not taken."""
        log.error("request failed", exc_info=error)
        refused = Refused(Reason.INTERNAL, "the event was not accepted, by a fault of the receiver")
        self._refuse(Answered(refused, None), refused, request.scope["raw_path"], response)

    def _refuse(self, answered: Answered, refused: Refused, path: bytes, response: falcon.asgi.Response) -> None:
        self._worker.metrics.refused(refused.reason, answered.subscription)
        if (held_back := self._throttle.admit(refused.reason)) is not None:
            log.log(
                logging.ERROR if refused.reason in OURS else logging.INFO,
                "request refused",
                extra={
                    "reason": refused.reason.value,
                    "status": refused.status,
                    "detail": refused.detail,
                    "cause": refused.cause,
                    "path": path[:MAX_LOGGED_PATH].decode("latin-1"),
                    "subscription": str(answered.subscription or ""),
                    "held_back": held_back,
                },
            )
        answer = problem(refused)
        response.status = answer.status
        response.set_headers(answer.headers)
        response.data = answer.body


class Worker:
    """What one worker holds open, from the start of its lifespan to its end."""

    acceptance: Acceptance
    metrics: Metrics

    def __init__(self, settings: Settings, context: WorkerContext) -> None:
        self._settings = settings
        self._context = context
        self._tasks: list[asyncio.Task[None]] = []
        self._close: list[Callable[[], Any]] = []

    async def process_startup(self, scope: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Open everything. What can't be opened ends the worker, with the reason in the log."""
        settings = self._settings
        self._workers = settings.run / "workers"
        slot = take_slot(self._workers)
        cells = Cells(slot.folder)
        buckets = Buckets(settings.run / "rates", time.monotonic_ns)
        self._board = StatusBoard(slot.folder)
        self._used = LastUsed(slot.folder)
        self._shares = Shares()
        self._routes = RouteFile(settings.routes)
        self._routes.poll()
        self._journal = SegmentJournal.open(settings.journals, settings.journal_limits)
        slow_hashes = SlowHashes(settings.slow_hashes_waiting, settings.slow_hashes_waiting_per_path)
        self.metrics = Metrics(cells, settings.metrics_subscriptions)
        self._edge_metrics = EdgeMetrics(self._context.counters, self.metrics)
        self.acceptance = Acceptance(
            routes=self._routes,
            gate=Gate(slow_hashes, remembered=settings.credentials_remembered),
            rates=buckets,
            shares=self._shares,
            arriving=Arriving(settings.arriving_bytes),
            journal=self._journal,
            ingest_ids=IngestIds(),
            clock=Clock(time.time_ns, time.monotonic),
            observer=self.metrics,
            used=self._used,
            patience=Patience(settings.append_timeout, time.monotonic),
        )
        self._close = [slow_hashes.close, cells.close, buckets.close, self._board.close, slot.release]
        self.publish()
        self._ops = OpsServer(self._workers, self.status, self.publish)
        await self._ops.start(*ops_address(settings.ops_bind))
        pending = PendingFile(settings.pending, self._shares)
        for work in (self._routes.follow(self.publish), pending.follow(), self._beat()):
            self._tasks.append(asyncio.create_task(self._watched(work)))
        log.info("worker ready", extra={"number": self._context.number, "not_ready": self.status().not_ready})

    async def process_shutdown(self, scope: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Close everything, the journal first: all requests have been answered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._journal.close()
        await self._ops.stop()
        self.publish()
        for close in self._close:
            close()

    def status(self) -> WorkerStatus:
        """What there is to say of this worker now."""
        routes = self._routes.current
        limits = routes.shares if routes is not None else {}
        above_half = self._shares.above(0.5, limits)
        return WorkerStatus(
            pid=os.getpid(),
            at=time.time(),
            not_ready=self._not_ready(),
            version=routes.version if routes is not None else "",
            routes_trouble=self._routes.trouble,
            above_half_share=dict(sorted(above_half.items(), key=lambda item: -item[1])[:100]),
            above_most_share=len(self._shares.above(0.8, limits)),
        )

    def publish(self) -> None:
        """Tell the other workers, and whoever asks one of them."""
        self._edge_metrics.sample()
        self._board.publish(self.status())
        with suppress(OSError):  # a full disk: tried again in a second
            self._used.write()

    def _not_ready(self) -> str:
        if self._context.draining.active:
            return "it has been told to stop"
        if self._routes.current is None:
            return f"it has no routes: {self._routes.trouble}"
        return self._journal.probe() or ""

    async def _beat(self) -> None:
        for beat in count(1):
            self.publish()
            if beat % PRUNE_BEATS == 0 and self._routes.current is not None:
                self._used.keep(self._routes.current.credentials())
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _watched(self, work: Awaitable[None]) -> None:
        """A task that fails must not fail in silence: the worker goes on, and somebody is told."""
        try:
            await work
        except Exception:
            log.exception("background task ended")
            raise
