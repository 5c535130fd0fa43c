"""
What people ask: the admin service (`proto/hookline/admin/v1`), over a store that somebody else owns.

`desk` answers from an EventStore in bounded steps, `answers` says it in messages. The forwarder serves them on its Unix
socket (`AdminServer`); where none runs, `offline` serves the same over a store it opens itself.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import grpc

from hookline.admin.v1 import admin_pb2 as pb
from hookline.admin.v1 import admin_pb2_grpc as rpc
from hookline_receiver.carrying.routebook import RouteBook
from hookline_receiver.forwarder import answers
from hookline_receiver.forwarder.desk import AdminRefused, Desk
from hookline_receiver.forwarder.store_thread import StoreRunner
from hookline_receiver.store.port import DeadLetter, Erased, EventStore, Found, Redriven, Replayed, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
_Context = Any

PAGE = 500
"""Dead letters read, or redriven, at once: claims wait for the same thread."""
DEFAULT_LIMIT = 1000
STEP = 1_000_000_000
"""Nanoseconds that one call of Replay or Erase works before it answers how far it has come."""
LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel takes 107."""
_NO_LIMIT = 1 << 62


class EventAdminServicer(rpc.EventAdminServiceServicer):
    """The service over a store that is used through *store*; *redriven* is called when deliveries became pending."""

    def __init__(
        self,
        store: StoreRunner,
        book: Callable[[], RouteBook | None],
        clock: Callable[[], int],
        redriven: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._desk = Desk(book, clock)
        self._clock = clock
        self._redriven = redriven

    async def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: _Context
    ) -> AsyncIterator[pb.ListDeadLettersResponse]:
        """Dead letters, oldest first, read a page at a time."""
        left, after = request.limit or DEFAULT_LIMIT, 0
        while left > 0:
            size = min(left, PAGE)
            page = await self._ask(context, partial(self._page, request.selection, size, after))
            for letter in page:
                yield pb.ListDeadLettersResponse(dead_letter=answers.dead_letter(letter))
            if len(page) < size:
                return
            left, after = left - len(page), page[-1].delivery_id

    async def Redrive(self, request: pb.RedriveRequest, context: _Context) -> pb.RedriveResponse:
        """Send dead letters again; durable when it is answered."""
        limit = request.limit or _NO_LIMIT
        answer = pb.RedriveResponse(next=request.after)
        while True:
            size = min(PAGE, limit - answer.redriven)
            step = await self._ask(context, partial(self._redrive, request, size, answer.next))
            answer.redriven += step.redriven
            answer.without_route += step.without_route
            answer.next = step.next
            if not step.next or answer.redriven >= limit:
                break
        if answer.redriven and not request.dry_run:
            log.info("dead letters were redriven", extra={"deliveries": answer.redriven})
            self._redriven()
        return answer

    async def ShowEvent(self, request: pb.ShowEventRequest, context: _Context) -> pb.ShowEventResponse:
        """One event's story."""
        return await self._ask(context, lambda store: self._desk.show(store, request))

    async def GetBacklog(self, request: pb.GetBacklogRequest, context: _Context) -> pb.GetBacklogResponse:
        """How much waits."""
        return await self._ask(context, lambda store: self._desk.backlog(store, request))

    async def ListEvents(
        self, request: pb.ListEventsRequest, context: _Context
    ) -> AsyncIterator[pb.ListEventsResponse]:
        """Kept events, read a step at a time."""
        left, after = request.limit or DEFAULT_LIMIT, 0
        while left > 0:
            step = await self._ask(context, partial(self._found, request, left, after))
            for found in step.events:
                yield pb.ListEventsResponse(event=answers.summary(found))
            if not step.next:
                return
            left, after = left - len(step.events), step.next

    async def Replay(self, request: pb.ReplayRequest, context: _Context) -> pb.ReplayResponse:
        """Send events again, for a second or up to the limit; durable when it is answered."""
        limit, until = request.limit or _NO_LIMIT, self._clock() + STEP
        answer, selected = pb.ReplayResponse(next=request.after), 0
        while True:
            step = await self._ask(context, partial(self._replay, request, limit - selected, answer.next))
            selected += step.selected
            answer.events += step.events
            answer.deliveries += step.deliveries
            answer.under_way += step.under_way
            answer.without_route += step.without_route
            answer.next = step.next
            if not step.next or selected >= limit or self._clock() >= until:
                break
        if answer.deliveries and not request.dry_run:
            log.info("events were replayed", extra={"events": answer.events, "deliveries": answer.deliveries})
            self._redriven()
        return answer

    async def Erase(self, request: pb.EraseRequest, context: _Context) -> pb.EraseResponse:
        """Remove events, for a second; durable when it is answered. What is logged names nobody."""
        until = self._clock() + STEP
        answer = pb.EraseResponse(next=request.after)
        while True:
            step = await self._ask(context, partial(self._erase, request, answer.next))
            answer.events += step.events
            answer.unended += step.unended
            answer.next = step.next
            if not step.next or self._clock() >= until:
                break
        if answer.events and not request.dry_run:
            log.warning("events were erased", extra={"events": answer.events, "unended": answer.unended})
            self._redriven()
        return answer

    async def ListErasures(self, request: pb.ListErasuresRequest, context: _Context) -> pb.ListErasuresResponse:
        """Counts of what was erased."""
        return await self._ask(context, self._desk.erasures)

    def _page(self, which: pb.Selection, size: int, after: int, store: EventStore) -> list[DeadLetter]:
        return self._desk.dead_letters(store, which, size, after)

    def _redrive(self, request: pb.RedriveRequest, size: int, after: int, store: EventStore) -> Redriven:
        return self._desk.redrive(store, request, size, after)

    def _found(self, request: pb.ListEventsRequest, size: int, after: int, store: EventStore) -> Found:
        return self._desk.events(store, request, size, after)

    def _replay(self, request: pb.ReplayRequest, size: int, after: int, store: EventStore) -> Replayed:
        return self._desk.replay(store, request, size, after)

    def _erase(self, request: pb.EraseRequest, after: int, store: EventStore) -> Erased:
        return self._desk.erase(store, request, after)

    async def _ask(self, context: _Context, question: Callable[[EventStore], T]) -> T:
        try:
            return await self._store.run(question)
        except AdminRefused as refused:
            code, detail = refused.code, refused.detail
        except answers.Misasked as misasked:
            code, detail = grpc.StatusCode.INVALID_ARGUMENT, str(misasked)
        except StoreUnavailable as error:
            code, detail = grpc.StatusCode.UNAVAILABLE, str(error)
        await context.abort(code, detail)
        raise AssertionError("abort raises")


class AdminServer:
    """Serves on a Unix socket that only its owner may use."""

    def __init__(self, servicer: EventAdminServicer, path: Path) -> None:
        self._servicer = servicer
        self._path = path
        self._server: grpc.aio.Server | None = None
        self._folder: int | None = None

    async def start(self) -> None:
        """Listen; raises OSError. A socket that a killed forwarder left behind is replaced."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._server = grpc.aio.server()
        rpc.add_EventAdminServiceServicer_to_server(self._servicer, self._server)
        # SECURITY: the socket is made with these permissions, not given them later.
        before = os.umask(0o177)
        try:
            self._server.add_insecure_port(f"unix:{self._short_path()}")
        except RuntimeError as error:
            raise OSError(f"admin socket {self._path}: {error}") from error
        finally:
            os.umask(before)
        await self._server.start()

    async def stop(self) -> None:
        """Finish what was asked, within a second."""
        if self._server is not None:
            await self._server.stop(1.0)
        if self._folder is not None:
            os.close(self._folder)
        self._path.unlink(missing_ok=True)

    def _short_path(self) -> str:
        """The socket's path, or one through its folder's descriptor where it is too long for the kernel."""
        path = str(self._path.absolute())
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        self._folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._folder}/{self._path.name}"
