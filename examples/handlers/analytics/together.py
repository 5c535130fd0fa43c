"""
Many events, one transaction.

A transaction that survives a power failure costs a flush of the disk, whether it holds one event or a hundred. What
arrives while one is under way therefore waits and goes together into the next.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Together(Generic[T]):
    """Calls a function with all that was given to it while it was at work."""

    def __init__(self, work: Callable[[Sequence[T]], None], limit: int = 500) -> None:
        """*work* runs in a thread, one call at a time, with *limit* items at most; all of a call succeed or none."""
        self._work = work
        self._limit = limit
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def give(self, item: T) -> None:
        """Return once *item* was worked on; raises what it raised."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await future

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            if not await self._succeeds(batch, alone=len(batch) == 1):
                # One of them is at fault: the others must not suffer for it.
                for single in batch:
                    await self._succeeds([single], alone=True)
        self._running = None

    async def _succeeds(self, batch: Sequence[tuple[T, asyncio.Future[None]]], *, alone: bool) -> bool:
        error: Exception | None = None
        try:
            await asyncio.to_thread(self._work, [item for item, _ in batch])
        except Exception as raised:  # noqa: BLE001  whatever it is, it belongs to whoever gave the item
            if not alone:
                return False
            error = raised
        for _, future in batch:
            if future.done():  # nobody waits any more
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        return True
