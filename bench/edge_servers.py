"""
The same small application under each worker that gunicorn could have: `python -m bench.edge_servers KIND PORT CORE`.

It reads the whole body and answers 200 with `{}`, by Falcon; nothing else is done.
"""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import falcon
import falcon.asgi

KINDS = {
    "hookline": "this project's worker (llhttp, uvloop)",
    "asgi": "gunicorn's own `asgi` worker",
    "uvicorn-httptools": "uvicorn-worker, httptools, uvloop",
    "uvicorn-h11": "uvicorn-worker, h11",
    "gthread": "gunicorn's `gthread`, 16 threads, WSGI",
}


class _Body:
    async def on_post(self, req: Any, resp: Any) -> None:
        await req.stream.read()
        resp.data = b"{}"


class _WsgiBody:
    def on_post(self, req: Any, resp: Any) -> None:
        req.bounded_stream.read()
        resp.data = b"{}"


class _Lifespan:
    async def process_startup(self, scope: Any, event: Any) -> None:
        """Nothing to open."""


def asgi() -> Any:
    """The application."""
    app = falcon.asgi.App(middleware=[_Lifespan()])
    app.add_route("/acme/chat", _Body())
    return app


def wsgi() -> Any:
    """The application, for threads."""
    app = falcon.App()
    app.add_route("/acme/chat", _WsgiBody())
    return app


def serve(kind: str, port: int) -> None:
    """Serve under *kind*'s worker until told to end."""
    if kind == "hookline":
        from hookline_receiver.edge.gunicorn import run
        from hookline_receiver.edge.settings import EdgeSettings

        run(EdgeSettings(bind=f"127.0.0.1:{port}"), lambda _: asgi())
    from gunicorn.app.base import BaseApplication

    workers = {
        "asgi": "asgi",
        "gthread": "gthread",
        "uvicorn-httptools": "uvicorn_worker.UvicornWorker",
        "uvicorn-h11": "uvicorn_worker.UvicornH11Worker",
    }
    chosen = {"bind": f"127.0.0.1:{port}", "worker_class": workers[kind], "threads": 16 if kind == "gthread" else 1}

    class Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
        def load_config(self) -> None:
            for name, value in {**chosen, "keepalive": 75, "control_socket_disable": True}.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return wsgi() if kind == "gthread" else asgi()

    Application().run()


@dataclass(frozen=True)
class Server:
    """A running server of one worker process."""

    kind: str
    port: int
    worker: int

    def cpu(self) -> float:
        """Seconds of processor time that the worker has used."""
        with open(f"/proc/{self.worker}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """MiB that are the worker's own (not shared with the master)."""
        with open(f"/proc/{self.worker}/smaps_rollup") as file:
            own = [int(line.split()[1]) for line in file if line.startswith(("Private_Clean", "Private_Dirty"))]
        return sum(own) / 1024


@contextmanager
def serving(kind: str, core: int | None = None) -> Iterator[Server]:
    """A server of *kind*, pinned to *core*."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.edge_servers", kind, str(port), "" if core is None else str(core)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait(port, process)
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            yield Server(kind, port, int(file.read().split()[0]))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.settimeout(5)
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if connection.recv(100):
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"no answer on port {port}")


if __name__ == "__main__":
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if sys.argv[3]:
        os.sched_setaffinity(0, {int(sys.argv[3])})
    serve(sys.argv[1], int(sys.argv[2]))
