"""The event store's own thread: everything that touches the store runs there, one after another."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from hookline_receiver.store.port import EventStore

T = TypeVar("T")


class StoreRunner(Protocol):
    """Runs work on the store without blocking the caller's event loop."""

    async def run(self, work: Callable[[EventStore], T]) -> T:
        """Return what *work* returned, or raise what it raised."""


class StoreThread:
    """The store that *open_store* gives, made, used and closed in one thread."""

    def __init__(self, open_store: Callable[[], EventStore]) -> None:
        self._open = open_store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._store: EventStore | None = None

    async def start(self) -> None:
        """Open the store."""
        self._store = await self._submit(self._open)

    async def run(self, work: Callable[[EventStore], T]) -> T:
        """Return what *work* returned, or raise what it raised."""
        store = self._store
        if store is None:
            raise RuntimeError("the store is not open")
        return await self._submit(lambda: work(store))

    async def close(self) -> None:
        """Close the store once everything that was asked for is done."""
        if self._store is not None:
            await self.run(lambda store: store.close())
            self._store = None
        self._thread.shutdown(wait=False)

    async def _submit(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
