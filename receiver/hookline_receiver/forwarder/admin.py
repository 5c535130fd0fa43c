"""
What people ask: the admin service (`proto/hookline/admin/v1`), over a store that somebody else owns.

`Desk` answers from an EventStore, plain and blocking. The forwarder serves it on its Unix socket (`AdminServer`); where
none runs, `offline` serves the same over a store it opens itself.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from hookline.admin.v1 import admin_pb2 as pb
from hookline.admin.v1 import admin_pb2_grpc as rpc
from hookline_receiver.event import RouteRef
from hookline_receiver.forwarder.store_thread import StoreRunner
from hookline_receiver.store.port import (
    Attempt,
    DeadLetter,
    DeliveryStory,
    EventStore,
    EventStory,
    Filter,
    RouteBacklog,
    StoreUnavailable,
    delivery_name,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
_Context = Any

PAGE = 500
"""Dead letters read, or redriven, at once: claims wait for the same thread."""
DEFAULT_LIMIT = 1000
LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel takes 107."""


class AdminRefused(Exception):
    """The question can't be answered; the message says why."""

    def __init__(self, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Desk:
    """Answers what people ask, from a store."""

    def __init__(self, routes: Callable[[], Collection[RouteRef] | None], clock: Callable[[], int]) -> None:
        """*routes* that there are now, None if that is not known; *clock* in nanoseconds since the epoch."""
        self._routes = routes
        self._clock = clock

    def dead_letters(self, store: EventStore, which: pb.Selection, limit: int, after: int) -> list[DeadLetter]:
        """At most *limit* dead letters above the delivery id *after*."""
        return list(store.dead_letters(filter_of(which), limit, after))

    def redrive(self, store: EventStore, request: pb.RedriveRequest, limit: int) -> tuple[int, int]:
        """Make at most *limit* dead letters pending; how many were, and how many have no route."""
        keep = self._routes()
        if keep is None:
            raise AdminRefused(grpc.StatusCode.FAILED_PRECONDITION, "there is no route table yet")
        which = filter_of(request.selection)
        return store.redrive(which, limit, self._clock(), dry_run=request.dry_run, keep=keep)

    def show(self, store: EventStore, request: pb.ShowEventRequest) -> pb.ShowEventResponse:
        """The events that the id names."""
        return pb.ShowEventResponse(events=[_event(one) for one in store.story(request.id)])

    def backlog(self, store: EventStore, request: pb.GetBacklogRequest) -> pb.GetBacklogResponse:
        """How much waits."""
        return pb.GetBacklogResponse(routes=[_backlog(one) for one in store.backlog(filter_of(request.selection))])


def check(request: pb.RedriveRequest) -> None:
    """Raise AdminRefused if *request* selects nothing in particular without saying `all`."""
    if request.selection == pb.Selection() and not request.all:
        raise AdminRefused(grpc.StatusCode.INVALID_ARGUMENT, "select which dead letters to redrive, or set all")


def filter_of(which: pb.Selection) -> Filter:
    """Return *which* as the store takes it; raises AdminRefused for an ingest id that is none."""
    try:
        ingest_ids = tuple(UUID(text).bytes for text in which.ingest_ids)
    except ValueError:
        raise AdminRefused(grpc.StatusCode.INVALID_ARGUMENT, "an ingest id must be a UUID") from None
    return Filter(which.namespace, which.subscription, which.route, which.trigger, which.reason, ingest_ids)


class EventAdminServicer(rpc.EventAdminServiceServicer):
    """The service over a store that is used through *store*; *redriven* is called when deliveries became pending."""

    def __init__(
        self,
        store: StoreRunner,
        routes: Callable[[], Collection[RouteRef] | None],
        clock: Callable[[], int],
        redriven: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._desk = Desk(routes, clock)
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
                yield pb.ListDeadLettersResponse(dead_letter=_dead_letter(letter))
            if len(page) < size:
                return
            left, after = left - len(page), page[-1].delivery_id

    async def Redrive(self, request: pb.RedriveRequest, context: _Context) -> pb.RedriveResponse:
        """Send dead letters again; durable when it is answered."""
        await self._ask(context, lambda store: check(request))
        limit = request.limit or _NO_LIMIT
        answer = pb.RedriveResponse()
        while True:
            size = limit if request.dry_run else min(PAGE, limit - answer.redriven)
            redriven, without = await self._ask(context, partial(self._redrive, request, size))
            answer.redriven += redriven
            answer.without_route = without
            if redriven < size or answer.redriven >= limit or request.dry_run:
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

    def _page(self, which: pb.Selection, size: int, after: int, store: EventStore) -> list[DeadLetter]:
        return self._desk.dead_letters(store, which, size, after)

    def _redrive(self, request: pb.RedriveRequest, size: int, store: EventStore) -> tuple[int, int]:
        return self._desk.redrive(store, request, size)

    async def _ask(self, context: _Context, question: Callable[[EventStore], T]) -> T:
        try:
            return await self._store.run(question)
        except AdminRefused as refused:
            code, detail = refused.code, refused.detail
        except StoreUnavailable as error:
            code, detail = grpc.StatusCode.UNAVAILABLE, str(error)
        await context.abort(code, detail)
        raise AssertionError("abort raises")


_NO_LIMIT = 1 << 62


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


def _time(nanoseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(nanoseconds)
    return stamp


def _dead_letter(letter: DeadLetter) -> pb.DeadLetter:
    subscription = letter.route.subscription
    return pb.DeadLetter(
        delivery_id=delivery_name(letter.ingest_id, letter.route.name),
        ingest_id=str(UUID(bytes=letter.ingest_id)),
        event_id=letter.event_id,
        namespace=subscription.namespace,
        subscription=subscription.name,
        route=letter.route.name,
        trigger=letter.trigger,
        reason=letter.reason,
        detail=letter.detail,
        attempts=letter.attempts,
        received_at=_time(letter.received_at),
        died_at=_time(letter.died_at),
    )


def _event(story: EventStory) -> pb.EventStory:
    event = story.event
    return pb.EventStory(
        ingest_id=str(UUID(bytes=event.ingest_id)),
        event_id=story.event_id,
        namespace=event.subscription.namespace,
        subscription=event.subscription.name,
        trigger=event.envelope.trigger,
        received_at=_time(event.received_at_ns),
        stored_at=_time(story.stored_at),
        size=len(event.body),
        duplicates=story.duplicates,
        unrouted=story.unrouted,
        deliveries=[_delivery(event.ingest_id, one) for one in story.deliveries],
    )


def _delivery(ingest_id: bytes, story: DeliveryStory) -> pb.DeliveryStory:
    return pb.DeliveryStory(
        delivery_id=delivery_name(ingest_id, story.route.name),
        route=story.route.name,
        state=story.state.value,
        reason=story.reason,
        due_at=_time(story.due_at) if story.due_at else None,
        attempts=list(_attempts(story.attempts)),
    )


def _attempts(attempts: Collection[Attempt]) -> Iterator[pb.Attempt]:
    for number, one in enumerate(attempts, start=1):
        yield pb.Attempt(
            number=number,
            started_at=_time(one.started_at),
            ended_at=_time(one.ended_at),
            code=one.code,
            detail=one.detail,
            endpoint=one.endpoint,
        )


def _backlog(one: RouteBacklog) -> pb.RouteBacklog:
    subscription = one.route.subscription
    return pb.RouteBacklog(
        namespace=subscription.namespace,
        subscription=subscription.name,
        route=one.route.name,
        pending=one.pending,
        dead=one.dead,
        oldest_pending=_time(one.oldest_pending) if one.oldest_pending is not None else None,
    )
