"""
The tables that others write for the forwarder, swapped in while it runs.

A table is a file of one message, replaced whole, or an index that names parts, of which only new ones are read. One that
is missing, can't be read or is of a newer format leaves the last good one in force; `healthy` says whether the one in
force is what the file says.
"""

import logging
import threading
from collections import ChainMap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError

from hookline.routing.v1 import snapshot_pb2 as pb
from hookline_receiver.carrying.routebook import (
    EMPTY_BOOK,
    FORMAT,
    BookPart,
    Handler,
    RouteBook,
    TableRefused,
    compile_part,
    refuse_newer,
)
from hookline_receiver.parts import Parts, PartUnreadable, read_part
from hookline_routes.match import CompiledMatch, compile_match

log = logging.getLogger(__name__)

T = TypeVar("T")

_MISSING = (0, 0, 0)


class TableFile(Generic[T]):
    """The last good table of *path*, as *parse* reads it. Safe to use from several threads."""

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        self._path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._signature: tuple[int, int, int] | None = None
        self._told: tuple[tuple[int, int, int], str] | None = None
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

    def changed(self) -> bool:
        """Whether `refresh` may find something: the file is not the one that was read last. Costs 3 µs."""
        return self._looked_at() != self._signature

    def refresh(self) -> bool:
        """Swap in what is newer; whether something was."""
        with self._lock:
            return self._refresh()

    def _looked_at(self) -> tuple[int, int, int]:
        try:
            stat = self._path.stat()
        except OSError:
            return _MISSING
        return (stat.st_mtime_ns, stat.st_ino, stat.st_size)

    def _refresh(self) -> bool:
        try:
            stat = self._path.stat()
        except OSError as error:
            return self._fail(_MISSING, str(error), missing=isinstance(error, FileNotFoundError))
        signature = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if signature == self._signature:
            return False
        try:
            table = self._parse(self._path.read_bytes())
        except PartUnreadable as error:
            return self._fail(signature, str(error), missing=False, again=True)
        except (OSError, DecodeError, TableRefused, ValueError) as error:
            return self._fail(signature, str(error), missing=False)
        self._table, self._signature, self._healthy = table, signature, True
        log.info("a table was read", extra={"file": str(self._path), "size": stat.st_size})
        return True

    def _fail(self, signature: tuple[int, int, int], reason: str, *, missing: bool, again: bool = False) -> bool:
        """Keep the last good one; say so once for each file that is no good. *again*: the same file may do next time."""
        self._healthy = False
        if (signature, reason) != self._told:
            level = logging.WARNING if missing else logging.ERROR
            log.log(
                level,
                "a table can't be read, the last good one stays in force",
                extra={"file": str(self._path), "reason": reason, "in_force": self._table is not None},
            )
        self._told = (signature, reason)
        self._signature = None if again else signature
        return False


class Routes(TableFile[RouteBook]):
    """`routes/forwarder.binpb`: where events go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, self._read)
        self._matchers: dict[bytes, CompiledMatch] = {}
        self._parts: dict[str, BookPart] = {}

    def book(self) -> RouteBook | None:
        """The routes in force; None: none was ever read."""
        return self.current

    def _read(self, content: bytes) -> RouteBook:
        """The next book: parts and subscriptions that the last one had are taken over as they are."""
        index = pb.ForwarderSnapshot.FromString(content)
        refuse_newer("route table", index.format)
        names = dict.fromkeys(part.name for part in index.parts)
        stay = {name: part for name, part in self._parts.items() if name in names}
        gone = [part for name, part in self._parts.items() if name not in names]
        plans = ChainMap(*(dict(part.plans) for part in gone))
        come = {
            name: compile_part(self._subscriptions(name), self._matcher, plans) for name in names if name not in stay
        }
        if index.subscriptions:
            come[_ITSELF] = compile_part(index.subscriptions, self._matcher, plans)
        book = (self.current or EMPTY_BOOK).next(index.version, gone, come.values())
        self._parts = stay | come
        if len(self._matchers) > 2 * len(book.routes) + _MATCHERS_SPARED:
            self._matchers.clear()  # routes keep theirs; what comes next is compiled once more
        return book

    def _subscriptions(self, name: str) -> Iterable[pb.Subscription]:
        part = pb.ForwarderSnapshot.FromString(read_part(self._path, name))
        if part.format != FORMAT:
            raise TableRefused(f"part {name} is of format {part.format}, this release reads {FORMAT}")
        return part.subscriptions

    def _matcher(self, match: pb.Match) -> CompiledMatch:
        """Expressions that were compiled before are taken over."""
        key = match.SerializeToString(deterministic=True)
        if key not in self._matchers:
            self._matchers[key] = compile_match(match)
        return self._matchers[key]


_ITSELF = ""
"""Stands for the part that an index is itself, where it holds entries."""

_MATCHERS_SPARED = 1000


_Services = dict[tuple[str, str, int], pb.ServiceEndpoints]


class Addresses:
    """The ready endpoints of each Service's port."""

    def __init__(self, table: pb.EndpointTable, parts: Iterable[_Services] = ()) -> None:
        self._services = _services(table)
        for part in parts:
            self._services.update(part)

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
        super().__init__(path, self._read)
        self._parts = Parts(path, _read_services)

    def _read(self, content: bytes) -> Addresses:
        index = pb.EndpointTable.FromString(content)
        refuse_newer("endpoint table", index.format)
        return Addresses(index, self._parts.load(part.name for part in index.parts).values())


def _read_services(content: bytes) -> _Services:
    part = pb.EndpointTable.FromString(content)
    if part.format != FORMAT:
        raise TableRefused(f"a part of the endpoint table is of format {part.format}, this release reads {FORMAT}")
    return _services(part)


def _services(table: pb.EndpointTable) -> _Services:
    return {(one.namespace, one.service, one.port): one for one in table.services}
