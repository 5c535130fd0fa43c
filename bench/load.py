"""
A load of equal HTTP requests over kept-alive connections, cheap enough to fill a server from one core.

`full` sends as fast as answers come; `paced` sends at a fixed rate whatever the answers do, and counts the time of each
from the moment it was due, so that a server that falls behind can't hide it.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Load:
    """What came back."""

    answers: int = 0
    others: int = 0
    """Answers that were not 200."""
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    def percentile(self, part: float) -> float:
        """Seconds within which this part of the answers came."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


class Connection(asyncio.Protocol):
    """One connection, one request at a time; answers are small and come in one piece or two."""

    def __init__(self, request: bytes, load: Load, idle: "deque[Connection] | None") -> None:
        self._request = request
        self._load = load
        self._idle = idle
        self._came = b""
        self._due = 0.0
        self.running = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        if self._idle is None:
            self.send(time.perf_counter())
        else:
            self._idle.append(self)

    def send(self, due: float) -> None:
        """Send the request that was due at *due*."""
        self._due = due
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count the answer and go on."""
        self._came += data
        if not self._came.endswith((b"}", b"\n\n{}")):
            return
        load, now = self._load, time.perf_counter()
        load.answers += 1
        load.others += not self._came.startswith(b"HTTP/1.1 200")
        load.times.append(now - self._due)
        self._came = b""
        if self._idle is not None:
            self._idle.append(self)
        elif self.running:
            self.send(now)

    def stop(self) -> None:
        """Send no more."""
        self.running = False

    def close(self) -> None:
        """Let go."""
        self._transport.close()


async def full(port: int, request: bytes, seconds: float, connections: int) -> Load:
    """As fast as it goes over so many connections."""
    load = Load()
    opened = await _open(port, request, load, connections, None)
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    for connection in opened:
        connection.stop()
    load.seconds = time.perf_counter() - began
    await asyncio.sleep(0.2)
    for connection in opened:
        connection.close()
    return load


async def paced(port: int, request: bytes, seconds: float, rate: float, connections: int = 256) -> Load:
    """At *rate* requests a second."""
    load, idle = Load(), deque[Connection]()
    opened = await _open(port, request, load, connections, idle)
    began = time.perf_counter()
    sent, late = 0, deque[float]()
    while (now := time.perf_counter()) - began < seconds:
        while (due := began + sent / rate) <= now:
            late.append(due)
            sent += 1
        while late and idle:
            idle.popleft().send(late.popleft())
        await asyncio.sleep(0.0005)
    load.seconds = time.perf_counter() - began
    await asyncio.sleep(0.3)
    for connection in opened:
        connection.close()
    return load


async def _open(port: int, request: bytes, load: Load, count: int, idle: deque[Connection] | None) -> list[Connection]:
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(request, load, idle), "127.0.0.1", port) for _ in range(count)
    ]
    return [connection for _, connection in made]
