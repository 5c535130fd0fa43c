"""Time as the forwarder's loops see it, so that a test's clock can rule."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now(self) -> int:
        """Nanoseconds since the Unix epoch."""

    async def wait(self, event: asyncio.Event, until: int) -> None:
        """Return when *event* is set or *until* has come."""


class SystemClock:
    """
    The machine's wall clock, but never backwards.

    Steps forward are followed at once; after a step back it goes at half speed until the wall clock has caught up, so
    that neither leases nor ages jump and nothing due waits for as long as the step was.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._wall = wall
        self._steady = steady
        self._lock = threading.Lock()
        self._last = wall()
        self._read_at = steady()

    def now(self) -> int:
        """Nanoseconds since the Unix epoch."""
        with self._lock:
            steady = self._steady()
            self._last = max(self._wall(), self._last + (steady - self._read_at) // 2)
            self._read_at = steady
            return self._last

    async def wait(self, event: asyncio.Event, until: int) -> None:
        """Return when *event* is set or *until* has come."""
        if event.is_set():
            return
        remaining = (until - self.now()) / 1e9
        if remaining <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(remaining, event.set)
        try:
            await event.wait()
        finally:
            timer.cancel()
