"""Time as the forwarder's loops see it, so that a test's clock can rule."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now(self) -> int:
        """Nanoseconds since the Unix epoch."""

    async def wait(self, event: asyncio.Event, until: int) -> None:
        """Return when *event* is set or *until* has come."""


class SystemClock:
    """
    The machine's.

    Within a process it never goes back: the wall clock is read once and moved on by the monotonic one, corrected
    forward only, so that a step of the wall clock can't make leases or ages jump back.
    """

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        """Nanoseconds since the Unix epoch."""
        self._last = max(self._last, time.time_ns())
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
