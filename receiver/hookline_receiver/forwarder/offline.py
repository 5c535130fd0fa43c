"""The admin service over a store that no forwarder runs on."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hookline_receiver.carrying.routebook import RouteBook
from hookline_receiver.forwarder.admin import AdminServer, EventAdminServicer
from hookline_receiver.forwarder.process import open_sqlite
from hookline_receiver.forwarder.settings import Settings
from hookline_receiver.forwarder.store_thread import StoreThread
from hookline_receiver.forwarder.tables import Routes


@contextmanager
def serving_offline(data: Path) -> Iterator[Path]:
    """
    Serve the store in *data* on a socket of its own, as long as the block lasts; yields the socket's path.

    The store is locked meanwhile. Raises FileNotFoundError where there is no store, StoreRefused where a forwarder uses
    it or it can't be read. What is redriven waits for the next forwarder.
    """
    settings = Settings(data_dir=data)
    if not settings.store.exists():
        raise FileNotFoundError(f"there is no event store at {settings.store}")
    routes = Routes(settings.routes)
    routes.refresh()
    with tempfile.TemporaryDirectory(prefix="hookline-") as folder:
        serving = _Serving(settings, Path(folder) / "admin.sock", routes.book)
        serving.start()
        try:
            yield serving.path
        finally:
            serving.stop()


class _Serving:
    """An event loop in a thread that serves until it is stopped."""

    def __init__(self, settings: Settings, path: Path, book: Callable[[], RouteBook | None]) -> None:
        self.path = path
        self._settings = settings
        self._book = book
        self._started = threading.Event()
        self._failure: Exception | None = None
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="admin", daemon=True)

    def start(self) -> None:
        """Serve, or raise why not."""
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Close the store and the socket."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001 - raised again where `start` was called
            self._failure = error
        finally:
            self._loop.close()
            self._started.set()

    async def _serve(self) -> None:
        store = StoreThread(lambda: open_sqlite(self._settings))
        try:
            await store.start()
            server = AdminServer(EventAdminServicer(store, self._book, time.time_ns), self.path)
            await server.start()
            self._started.set()
            await self._end.wait()
            await server.stop()
        finally:
            await store.close()
