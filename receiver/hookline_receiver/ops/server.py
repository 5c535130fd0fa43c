"""
The port for operations, apart from the webhooks: may be asked, is not for the Internet.

`/livez` this worker's loop turns · `/readyz` this pod could make an event durable now, else 503 and why · `/metrics` of all
workers · `/status` what each worker says of itself (JSON) · `/credentials` when each credential was last used (JSON).

Every worker listens on the same port (SO_REUSEPORT) and answers for all of them, from what they share in the run folder.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

from hookline_receiver.auth.last_used import last_used
from hookline_receiver.ops.exposition import exposition
from hookline_receiver.workers.status import WorkerStatus, living, not_ready

HEAD_TIMEOUT = 5.0
"""Seconds that a head may take."""

MAX_HEAD_BYTES = 8192

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer of the ops port."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class OpsServer:
    """Answers `GET` on the ops port, one request a connection."""

    def __init__(self, workers: Path, own: Callable[[], WorkerStatus], publish: Callable[[], None]) -> None:
        self._workers = workers
        self._own = own
        self._publish = publish
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen; OSError if the address can't be had. "::" is every address, IPv4's too."""
        # asyncio makes a socket for "::" that takes IPv6 alone; the kubelet's probes come by either.
        everywhere = host in ("", "::")
        self._server = await asyncio.start_server(
            self._serve,
            None if everywhere else host,
            port,
            reuse_port=True,
            limit=MAX_HEAD_BYTES,
            family=socket.AF_UNSPEC,
        )

    async def stop(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.close()

    async def page(self, method: str, path: str, accept: str) -> Page:
        """What is answered to *method* on *path*."""
        if method not in ("GET", "HEAD"):
            return Page(405, b"GET only\n")
        match path:
            case "/livez":
                return Page(200, b"ok\n")
            case "/readyz":
                return self._readiness()
            case "/metrics":
                self._publish()
                body, content_type = await asyncio.to_thread(exposition, self._workers, accept)
                return Page(200, body, content_type)
            case "/status":
                self._publish()
                return _json([asdict(status) for status in living(self._workers)])
            case "/credentials":
                self._publish()
                return _json(await asyncio.to_thread(last_used, self._workers))
            case _:
                return Page(404, b"not found\n")

    def _readiness(self) -> Page:
        own = self._own()
        others = [status for status in living(self._workers) if status.pid != own.pid]
        reason = not_ready([own, *others], own.at)
        return Page(503, f"{reason}\n".encode()) if reason else Page(200, b"ready\n")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                method, path, accept = _parsed(await reader.readuntil(b"\r\n\r\n"))
            page = await self.page(method, path.partition("?")[0], accept)
            writer.write(_head(page) + (b"" if method == "HEAD" else page.body))
            await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # whoever asked is gone, or never asked
        except Exception:
            log.exception("ops port failed")
        finally:
            writer.close()


def _json(document: object) -> Page:
    return Page(200, json.dumps(document).encode(), "application/json")


def _parsed(head: bytes) -> tuple[str, str, str]:
    """Method, target and the Accept header; ValueError if it is no head."""
    request_line, *fields = head.decode("latin-1").split("\r\n")
    method, target, _ = request_line.split(" ", 2)
    accept = next((field[7:].strip() for field in fields if field.lower().startswith("accept:")), "")
    return method, target, accept


def _head(page: Page) -> bytes:
    return (
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}\r\nContent-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\nConnection: close\r\n\r\n"
    ).encode("latin-1")
