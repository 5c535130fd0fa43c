"""
Answers what people ask, from a store: plain and blocking, one bounded step at a time.

Raises AdminRefused where a question can't be answered, and whatever the store raises.
"""

from collections.abc import Callable
from dataclasses import replace

import grpc

from hookline.admin.v1 import admin_pb2 as pb
from hookline_receiver.carrying.fanout import fan_out
from hookline_receiver.carrying.routebook import RouteBook
from hookline_receiver.cometchat.naming import names_user
from hookline_receiver.event import Event
from hookline_receiver.forwarder import answers
from hookline_receiver.store.port import (
    Arrival,
    DeadLetter,
    Erased,
    EventStore,
    Found,
    Redriven,
    Replayed,
    Walk,
)

EXAMINED = 1000
"""Events looked at in one step by what is kept beside their bodies: about 5 ms."""
READ = 50
"""Events sent again, or read with their bodies, in one step: about 8 ms."""
LISTED = 100
"""Events that one step lists with their deliveries: about 5 ms."""


class AdminRefused(Exception):
    """The question can't be answered; the message says why."""

    def __init__(self, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Desk:
    """Answers what people ask, from a store."""

    def __init__(self, book: Callable[[], RouteBook | None], clock: Callable[[], int]) -> None:
        """*book*: the routes that there are now, None if that is not known; *clock* in nanoseconds since the epoch."""
        self._book = book
        self._clock = clock

    def dead_letters(self, store: EventStore, which: pb.Selection, limit: int, after: int) -> list[DeadLetter]:
        """At most *limit* dead letters above the delivery id *after*."""
        return list(store.dead_letters(answers.filter_of(which), limit, after))

    def redrive(self, store: EventStore, request: pb.RedriveRequest, limit: int, after: int) -> Redriven:
        """Make at most *limit* dead letters pending."""
        if request.selection == pb.Selection() and not request.all:
            raise _unselected("which dead letters to redrive, or set all")
        which = answers.filter_of(request.selection)
        keep, now = self._routes().routes.keys(), self._clock()
        return store.redrive(which, limit, now, dry_run=request.dry_run, keep=keep, after=after)

    def show(self, store: EventStore, request: pb.ShowEventRequest) -> pb.ShowEventResponse:
        """The events that the id names."""
        return pb.ShowEventResponse(events=[answers.event(one) for one in store.story(request.id)])

    def backlog(self, store: EventStore, request: pb.GetBacklogRequest) -> pb.GetBacklogResponse:
        """How much waits."""
        routes = store.backlog(answers.filter_of(request.selection))
        return pb.GetBacklogResponse(routes=[answers.backlog(one) for one in routes])

    def events(self, store: EventStore, request: pb.ListEventsRequest, limit: int, after: int) -> Found:
        """At most *limit* events from the place *after* on."""
        walk = Walk(min(limit, LISTED), EXAMINED, after, request.newest_first)
        return store.find(answers.event_filter_of(request.selection), walk)

    def replay(self, store: EventStore, request: pb.ReplayRequest, limit: int, after: int) -> Replayed:
        """Send at most *limit* events again."""
        if request.selection == pb.EventSelection() and not request.all:
            raise _unselected("which events to replay, or set all")
        which, book = answers.event_filter_of(request.selection), self._routes()
        routes = frozenset(request.routes)

        def fan(event: Event) -> Arrival:
            arrival = fan_out(event, book.subscriptions.get(event.subscription.uid)).arrival
            targets = [one for one in arrival.targets if not routes or one.route.name in routes]
            return replace(arrival, targets=targets)

        walk = Walk(min(limit, READ), EXAMINED, after)
        return store.replay(which, walk, fan, self._clock(), dry_run=request.dry_run)

    def erase(self, store: EventStore, request: pb.EraseRequest, after: int) -> Erased:
        """Remove events: those that name the user, or all that are selected."""
        if request.selection == pb.EventSelection() and not request.user:
            raise _unselected("whose events to erase: a subscription, or a user")
        user = request.user
        walk = Walk(READ, READ if user else EXAMINED, after)
        return store.erase(
            answers.event_filter_of(request.selection),
            walk,
            (lambda event: names_user(event.body, user)) if user else None,
            self._clock(),
            dry_run=request.dry_run,
        )

    def erasures(self, store: EventStore) -> pb.ListErasuresResponse:
        """Counts of what was erased."""
        return pb.ListErasuresResponse(erasures=[answers.erasure(one) for one in store.erasures()])

    def _routes(self) -> RouteBook:
        book = self._book()
        if book is None:
            raise AdminRefused(grpc.StatusCode.FAILED_PRECONDITION, "there is no route table yet")
        return book


def _unselected(what: str) -> AdminRefused:
    return AdminRefused(grpc.StatusCode.INVALID_ARGUMENT, f"select {what}")
