"""Waiting for a condition, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(holds: Callable[[], bool | Awaitable[bool]], within: float = 20.0, what: str = "") -> None:
    """Return as soon as *holds*; fail after *within* seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < deadline, f"not within {within:g} s: {what or holds}"
        await asyncio.sleep(0.01)


def until_sync(holds: Callable[[], bool], within: float = 20.0, what: str = "") -> None:
    """The same where no event loop runs."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what or holds}"
        time.sleep(0.01)
