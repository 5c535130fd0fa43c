"""An HTTP endpoint whose answers a test decides, byte by byte."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """What came."""

    head: str
    body: bytes
    connection: int
    at: float

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name."""
        lines = self.head.split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def user(self) -> str:
        """What the Basic credentials say, "name:password"."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return base64.b64decode(token).decode() if scheme == "Basic" and "!" not in token else ""


Answering = Callable[[Request], bytes | Awaitable[bytes | None] | None]
"""Makes the bytes to answer with; None: close the connection."""


@dataclass
class ScriptedEndpoint:
    """Where it listens and what it got."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        """A subscription's address there."""
        return f"http://127.0.0.1:{self.port}/acme/chat"

    def bodies(self) -> list[bytes]:
        """Of all requests, in the order in which they came."""
        return [request.body for request in self.requests]


def answer(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    """A plain answer."""
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


@asynccontextmanager
async def a_scripted_endpoint(answering: Answering) -> AsyncIterator[ScriptedEndpoint]:
    """An endpoint on a free port of the loopback."""
    endpoint = ScriptedEndpoint()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        endpoint.connections += 1
        number = endpoint.connections
        try:
            while await _one(reader, writer, endpoint, answering, number):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    endpoint.port = server.sockets[0].getsockname()[1]
    try:
        yield endpoint
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    endpoint: ScriptedEndpoint,
    answering: Answering,
    number: int,
) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().strip()
    length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
    body = await reader.readexactly(length)
    request = Request(head, body, number, asyncio.get_running_loop().time())
    endpoint.requests.append(request)
    given = answering(request)
    reply = given if isinstance(given, bytes) or given is None else await given
    if reply is None:
        return False
    writer.write(reply)
    await writer.drain()
    return b"Connection: close" not in reply
