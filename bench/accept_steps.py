"""
The receiver stopped after each of its steps, as servers to be measured: `python -m bench.accept_steps STEP PORT FOLDER`.

All of them are Falcon on the receiver's own gunicorn worker. `bare` reads the body and answers 200; each further one does
what the one before does and one step more; `metrics` is the receiver as it ships.
"""

import logging
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import falcon.asgi

from hookline_receiver.accept import Acceptance, Answered, Clock
from hookline_receiver.app import make_app
from hookline_receiver.auth.authenticate import Gate, Way
from hookline_receiver.auth.slow_hash import SlowHashes
from hookline_receiver.edge.gunicorn import run
from hookline_receiver.edge.lifecycle import ASGIApp, WorkerContext
from hookline_receiver.edge.settings import EdgeSettings
from hookline_receiver.encoding import ContentEncoding
from hookline_receiver.ingest_id import IngestIds
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.judge import admit, judge, measure
from hookline_receiver.limits.arriving import Arriving
from hookline_receiver.limits.buckets import Buckets
from hookline_receiver.limits.share import Shares
from hookline_receiver.patience import Patience
from hookline_receiver.request import RequestHead, Room, head_of, read_body
from hookline_receiver.route_file import RouteFile
from hookline_receiver.settings import Settings

STEPS = ("bare", "authentication", "envelope, identity", "journal", "metrics")

Path_ = Callable[[RequestHead, Any], Any]


class NoJournal:
    """Answers at once and keeps nothing."""

    async def append(self, payload: bytes) -> None:
        """Nothing."""

    def probe(self) -> str | None:
        """Fine."""
        return None

    async def close(self) -> None:
        """Nothing."""


class NoObserver:
    """Is told and does nothing."""

    def authenticated(self, way: Way, seconds: float) -> None:
        """Nothing."""

    def appended(self, seconds: float) -> None:
        """Nothing."""

    def mark(self, credential: str, now_ns: int) -> None:
        """Nothing."""


def an_acceptance(folder: Path, journal: Any) -> Acceptance:
    """The receiver's path, with nobody to tell."""
    routes = RouteFile(folder / "routes" / "receiver.binpb")
    routes.poll()
    (folder / "run").mkdir(exist_ok=True)
    return Acceptance(
        routes=routes,
        gate=Gate(SlowHashes(8, 8), remembered=100),
        rates=Buckets(folder / "run" / "rates", time.monotonic_ns),
        shares=Shares(),
        arriving=Arriving(1 << 30),
        journal=journal,
        ingest_ids=IngestIds(),
        clock=Clock(time.time_ns, time.monotonic),
        observer=NoObserver(),
        used=NoObserver(),
        patience=Patience(1.5, time.monotonic),
    )


def up_to(step: str, acceptance: Acceptance) -> Path_:
    """The path as `Acceptance.accept` goes it, ended after *step*."""

    async def bare(head: RequestHead, receive: Any) -> None:
        await read_body(receive, head, ContentEncoding.IDENTITY, Room(1 << 20, "", acceptance.arriving))

    async def authenticated(head: RequestHead, receive: Any) -> None:
        routes = acceptance.routes.current
        assert routes is not None
        endpoint = routes.find(head.host, head.path)
        assert endpoint is not None
        assert measure(head, endpoint.max_body_bytes) is None
        assert await acceptance._authenticate(head, endpoint, routes) is None
        encoding = admit(head, endpoint, 0)
        assert isinstance(encoding, ContentEncoding)
        body = await read_body(receive, head, encoding, Room(endpoint.max_body_bytes, "", acceptance.arriving))
        assert isinstance(body, bytes)
        if step == "envelope, identity":
            now_ns = acceptance.clock.wall_ns()
            judge(body, head, endpoint, ingest_id=acceptance.ingest_ids.new(now_ns), now_ns=now_ns)

    async def whole(head: RequestHead, receive: Any) -> Answered:
        return await acceptance.accept(head, receive)

    return {"bare": bare, "authentication": authenticated, "envelope, identity": authenticated, "journal": whole}[step]


def an_app(step: str, folder: Path) -> Callable[[WorkerContext], ASGIApp]:
    """The factory of the server that stops after *step*."""
    if step == "metrics":
        return lambda context: make_app(Settings(data_dir=folder, ops_bind="127.0.0.1:0", log_level="ERROR"), context)
    return lambda context: _stepping(step, folder)


def _stepping(step: str, folder: Path) -> ASGIApp:
    lifespan = _Lifespan(step, folder)

    async def answer(req: falcon.asgi.Request, resp: falcon.asgi.Response, **_: Any) -> None:
        head = head_of(req.scope, dict(req.scope["headers"]))
        await lifespan.path(head, req.scope["bench.receive"])
        resp.data = b"{}"

    app = falcon.asgi.App(middleware=[lifespan])
    app.add_sink(answer, prefix=re.compile(""))  # type: ignore[arg-type]

    async def first() -> Any:
        return {"type": "http.request", "body": b"", "more_body": True}

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["bench.receive"], receive = receive, first
        await app(scope, receive, send)

    return serve


class _Lifespan:
    """Opens the journal where there is one."""

    def __init__(self, step: str, folder: Path) -> None:
        self._step, self._folder = step, folder
        self.path: Path_

    async def process_startup(self, scope: Any, event: Any) -> None:
        """Open."""
        journal = SegmentJournal.open(self._folder / "journal") if self._step == "journal" else NoJournal()
        self.path = up_to(self._step, an_acceptance(self._folder, journal))


def main() -> None:
    """Serve one step until told to stop."""
    step, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    logging.basicConfig(level=logging.WARNING)
    run(EdgeSettings(bind=f"127.0.0.1:{port}"), an_app(step, folder))


if __name__ == "__main__":
    main()
