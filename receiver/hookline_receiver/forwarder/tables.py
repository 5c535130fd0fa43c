"""
The tables that others write for the forwarder, swapped in while it runs.

A table is a file of one message, replaced whole. One that is missing, can't be read or is of a newer format leaves the
last good one in force; `healthy` says whether the one in force is what the file says.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError

from hookline.routing.v1 import snapshot_pb2 as pb
from hookline_receiver.carrying.routebook import FORMAT, Handler, RouteBook, TableRefused, compile_book
from hookline_routes.match import CompiledMatch, compile_match

log = logging.getLogger(__name__)

T = TypeVar("T")


class TableFile(Generic[T]):
    """The last good table of *path*, as *parse* reads it. Safe to use from several threads."""

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        self._path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._signature: tuple[int, int, int] | None = None
        self._table: T | None = None
        self._healthy = False

    @property
    def current(self) -> T | None:
        """The table in force; None: there never was one."""
        return self._table

    @property
    def healthy(self) -> bool:
        """Whether the table in force is what the file says now."""
        return self._healthy

    def refresh(self) -> bool:
        """Swap in what is newer; whether something was."""
        with self._lock:
            return self._refresh()

    def _refresh(self) -> bool:
        try:
            stat = self._path.stat()
        except OSError as error:
            return self._fail((0, 0, 0), str(error), missing=isinstance(error, FileNotFoundError))
        signature = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if signature == self._signature:
            return False
        try:
            table = self._parse(self._path.read_bytes())
        except (OSError, DecodeError, TableRefused, ValueError) as error:
            return self._fail(signature, str(error), missing=False)
        self._table, self._signature, self._healthy = table, signature, True
        log.info("a table was read", extra={"file": str(self._path), "size": stat.st_size})
        return True

    def _fail(self, signature: tuple[int, int, int], reason: str, *, missing: bool) -> bool:
        """Keep the last good one; say so once for each file that is no good."""
        self._healthy = False
        if signature != self._signature:
            level = logging.WARNING if missing else logging.ERROR
            log.log(
                level,
                "a table can't be read, the last good one stays in force",
                extra={"file": str(self._path), "reason": reason, "in_force": self._table is not None},
            )
        self._signature = signature
        return False


class Routes(TableFile[RouteBook]):
    """`routes/forwarder.binpb`: where events go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, self._read)
        self._matchers: dict[bytes, CompiledMatch] = {}

    def book(self) -> RouteBook | None:
        """The routes in force; None: none was ever read."""
        return self.current

    def _read(self, content: bytes) -> RouteBook:
        """Compile the table; expressions that were compiled for the last one are taken over."""
        before, self._matchers = self._matchers, {}

        def matcher(match: pb.Match) -> CompiledMatch:
            key = match.SerializeToString(deterministic=True)
            if key not in self._matchers:
                self._matchers[key] = before.get(key) or compile_match(match)
            return self._matchers[key]

        return compile_book(pb.ForwarderSnapshot.FromString(content), matcher)


class Addresses:
    """The ready endpoints of each Service's port."""

    def __init__(self, table: pb.EndpointTable) -> None:
        self._services = {(one.namespace, one.service, one.port): one for one in table.services}

    def of(self, handler: Handler) -> tuple[str, ...]:
        """ "host:port" of each ready endpoint."""
        found = self._services.get((handler.namespace, handler.service, handler.port))
        return tuple(found.addresses) if found else ()

    def reason(self, handler: Handler) -> str:
        """Why there is none, for people."""
        found = self._services.get((handler.namespace, handler.service, handler.port))
        if found is None:
            return f"the endpoint table does not know {handler}"
        return found.reason or f"{handler} has no ready endpoint"


class EndpointFile(TableFile[Addresses]):
    """`routes/endpoints.binpb`: where handlers are."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _read_endpoints)


def _read_endpoints(content: bytes) -> Addresses:
    table = pb.EndpointTable.FromString(content)
    if table.format > FORMAT:
        raise TableRefused(f"endpoint table is of format {table.format}, this release reads up to {FORMAT}")
    return Addresses(table)
