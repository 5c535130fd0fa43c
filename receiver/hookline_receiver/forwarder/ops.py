"""
The port for operations, of forwarder and agent; may be asked from the cluster, is not for the Internet.

`/livez` the loop turns · `/readyz` it can do its work now, else 503 and why · `/metrics` · `/status` what it serves (JSON).
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

log = logging.getLogger(__name__)

_TIMEOUT = 5.0
_HEAD_LIMIT = 8192
_PHRASES = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; version=0.0.4; charset=utf-8"


class OpsServer:
    """Answers `GET`, one request a connection."""

    def __init__(
        self, metrics: Callable[[], bytes], not_ready: Callable[[], str], status: Callable[[], Mapping[str, object]]
    ) -> None:
        """*not_ready* says why the work can't be done now, "" if it can."""
        self._metrics = metrics
        self._not_ready = not_ready
        self._status = status
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port; raises OSError if the address can't be had. "::" is every address, IPv4's too."""
        # asyncio makes a socket for "::" that takes IPv6 alone; the kubelet's probes come by either.
        self._server = await asyncio.start_server(self._serve, None if host == "::" else host, port, limit=_HEAD_LIMIT)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def stop(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.close()

    def page(self, method: str, path: str) -> Page:
        """What is answered to *method* on *path*."""
        if method not in ("GET", "HEAD"):
            return Page(405, b"GET only\n")
        match path.partition("?")[0]:
            case "/livez":
                return Page(200, b"ok\n")
            case "/readyz":
                reason = self._not_ready()
                return Page(503, f"{reason}\n".encode()) if reason else Page(200, b"ready\n")
            case "/metrics":
                return Page(200, self._metrics())
            case "/status":
                return Page(200, json.dumps(self._status()).encode(), "application/json")
            case _:
                return Page(404, b"not found\n")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, _ = head.decode("latin-1").split(" ", 2)
                page = self.page(method, path)
                writer.write(_head(page) + (b"" if method == "HEAD" else page.body))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            log.debug("ops port was asked something that is no request")
        finally:
            writer.close()


def _head(page: Page) -> bytes:
    return (
        f"HTTP/1.1 {page.status} {_PHRASES[page.status]}\r\nContent-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\nConnection: close\r\n\r\n"
    ).encode("latin-1")
