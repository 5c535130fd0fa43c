"""
The forwarder's routes as values: what a snapshot says, with units, defaults and matches worked out once.

`compile_book` reads a `ForwarderSnapshot` (file `routes/forwarder.binpb`); `fanout` asks it where an event goes, the
forwarder how a route is delivered. Where a snapshot names parts, `compile_part` compiles each once, and `RouteBook.next`
makes a book of the one before and the parts that came and went.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from google.protobuf.message import Message

from hookline.routing.v1 import snapshot_pb2 as pb
from hookline_receiver.event import RouteRef, SubscriptionRef
from hookline_receiver.store.port import Retention
from hookline_routes.match import CompiledMatch, Facts, MatchFailed, affordable, compile_match

FORMAT = 1
"""Of tables that hold everything themselves, and of parts."""

NEWEST_FORMAT = 2
"""The newest format of the tables that this release reads: from 2 on they may have parts."""

_SECOND = 1_000_000_000
_DEFAULT_TIMEOUT = 10 * _SECOND
_DEFAULT_MAX_IN_FLIGHT = 64
_DEFAULT_BATCH = 1
_DEFAULT_INITIAL_BACKOFF = 1 * _SECOND
_DEFAULT_MAX_BACKOFF = 600 * _SECOND
_DEFAULT_MAX_AGE = 72 * 3600 * _SECOND
_DEFAULT_RETAIN_DELIVERED = 24 * 3600 * _SECOND
_DEFAULT_RETAIN_DEAD = 168 * 3600 * _SECOND


class TableRefused(Exception):
    """The table is of a format newer than this release knows, or names something twice: the last good one stays."""


class Matcher(Protocol):
    """Whether a route takes an event; `hookline_routes.match.CompiledMatch` is one."""

    def matches(self, facts: Facts, payload: Callable[[], object]) -> bool | MatchFailed:
        """Whether the route takes the event, or why that can't be told; *payload* decodes the body when called."""


class Ordering(StrEnum):
    """What waits for what within a route."""

    NONE = "None"
    CONVERSATION = "Conversation"
    SUBSCRIPTION = "Subscription"


@dataclass(frozen=True, slots=True)
class Tls:
    """How a handler's certificate is verified."""

    ca_pem: bytes
    server_name: str
    """Name that the certificate must bear."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A gRPC service that handles events; equal handlers share channels and a circuit breaker."""

    namespace: str
    service: str
    port: int
    tls: Tls | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}:{self.port}"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Pace and end of a delivery's tries; times in nanoseconds."""

    initial_backoff: int = _DEFAULT_INITIAL_BACKOFF
    max_backoff: int = _DEFAULT_MAX_BACKOFF
    max_age: int = _DEFAULT_MAX_AGE
    max_attempts: int = 0
    """Handler's answers after which it ends dead; 0: no limit."""


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """One route: which events, where to, and how; times in nanoseconds."""

    ref: RouteRef
    handler: Handler
    match: Matcher
    ordering: Ordering = Ordering.NONE
    timeout: int = _DEFAULT_TIMEOUT
    max_in_flight: int = _DEFAULT_MAX_IN_FLIGHT
    batch_max_events: int = _DEFAULT_BATCH
    batch_max_wait: int = 0
    retry: RetryPolicy = RetryPolicy()
    paused: bool = False
    raw_only: bool = False
    """The handler wants no typed payload."""


@dataclass(frozen=True, slots=True)
class SubscriptionPlan:
    """One subscription: where its events go and how long they are known and kept."""

    ref: SubscriptionRef
    window: int
    """How long equal strong identities mean one event, in nanoseconds."""
    retention: Retention
    routes: tuple[RoutePlan, ...]


@dataclass(frozen=True, slots=True)
class RouteBook:
    """Everything of one snapshot."""

    version: str
    subscriptions: Mapping[str, SubscriptionPlan]
    """By uid."""
    routes: Mapping[RouteRef, RoutePlan]
    handlers: Mapping[Handler, tuple[RoutePlan, ...]]
    """Routes by the handler they go to."""

    def of_handler(self, handler: Handler) -> tuple[RoutePlan, ...]:
        """Routes that go to *handler*."""
        return self.handlers.get(handler, ())

    @property
    def paused(self) -> frozenset[RouteRef]:
        """Routes that keep and deliver nothing."""
        return frozenset(ref for ref, plan in self.routes.items() if plan.paused)

    @property
    def retention(self) -> Mapping[SubscriptionRef, Retention]:
        """How long each subscription's events are kept."""
        return {plan.ref: plan.retention for plan in self.subscriptions.values()}

    def next(self, version: str, gone: Collection["BookPart"], come: Collection["BookPart"]) -> "RouteBook":
        """
        The book of *version*: this one without the parts *gone*, with those that have *come*.

        Raises TableRefused where a subscription would be there twice. PERF: what stays is copied, never looked at: of
        10,000 subscriptions in 64 parts a change of one costs a few milliseconds instead of hundreds.
        """
        subscriptions, routes, handlers = dict(self.subscriptions), dict(self.routes), dict(self.handlers)
        for part in gone:
            for uid in part.book.subscriptions:
                del subscriptions[uid]
            for ref in part.book.routes:
                del routes[ref]
            for handler, theirs in part.book.handlers.items():
                _take_out(handlers, handler, theirs)
        for part in come:
            if twice := subscriptions.keys() & part.book.subscriptions.keys():
                raise _named_twice(min(twice))
            subscriptions.update(part.book.subscriptions)
            routes.update(part.book.routes)
            for handler, theirs in part.book.handlers.items():
                handlers[handler] = (*handlers.get(handler, ()), *theirs)
        return RouteBook(version, subscriptions, routes, handlers)


EMPTY_BOOK = RouteBook("", {}, {}, {})


@dataclass(frozen=True, slots=True)
class BookPart:
    """Some of a snapshot's subscriptions: what goes from one book to the next as it is."""

    book: RouteBook
    plans: Mapping[bytes, SubscriptionPlan]
    """By the hash of the message that each was compiled from."""


MakeMatcher = Callable[[pb.Match], CompiledMatch]


def compile_book(snapshot: pb.ForwarderSnapshot, matcher: MakeMatcher = compile_match) -> RouteBook:
    """Return *snapshot* as values; raises TableRefused where this release can't read it."""
    refuse_newer("route table", snapshot.format)
    return _book(snapshot.version, [_subscription(one, matcher) for one in snapshot.subscriptions])


def compile_part(
    subscriptions: Iterable[pb.Subscription],
    matcher: MakeMatcher = compile_match,
    known: Mapping[bytes, SubscriptionPlan] | None = None,
) -> BookPart:
    """Return *subscriptions* as values; those that are among the *known* ones, unchanged, are not compiled again."""
    plans: dict[bytes, SubscriptionPlan] = {}
    for one in subscriptions:
        key = hashlib.blake2b(one.SerializeToString(deterministic=True), digest_size=16).digest()
        if key in plans:
            raise _named_twice(one.ref.uid)
        plan = known.get(key) if known else None
        plans[key] = plan or _subscription(one, matcher)
    return BookPart(_book("", plans.values()), plans)


def refuse_newer(what: str, format: int) -> None:
    """Raise TableRefused for a *format* that this release does not know."""
    if format > NEWEST_FORMAT:
        raise TableRefused(f"{what} is of format {format}, this release reads up to {NEWEST_FORMAT}")


def _book(version: str, plans: Collection[SubscriptionPlan]) -> RouteBook:
    _refuse_doubles(plan.ref.uid for plan in plans)
    routes = {route.ref: route for plan in plans for route in plan.routes}
    handlers: dict[Handler, tuple[RoutePlan, ...]] = {}
    for route in routes.values():
        handlers[route.handler] = (*handlers.get(route.handler, ()), route)
    return RouteBook(version, {plan.ref.uid: plan for plan in plans}, routes, handlers)


def _take_out(handlers: dict[Handler, tuple[RoutePlan, ...]], handler: Handler, leaving: Iterable[RoutePlan]) -> None:
    gone = {plan.ref for plan in leaving}
    if rest := tuple(plan for plan in handlers[handler] if plan.ref not in gone):
        handlers[handler] = rest
    else:
        del handlers[handler]


def _refuse_doubles(uids: Iterable[str]) -> None:
    seen: set[str] = set()
    for uid in uids:
        if uid in seen:
            raise _named_twice(uid)
        seen.add(uid)


def _named_twice(uid: str) -> TableRefused:
    return TableRefused(f"route table names the subscription uid {uid!r} twice")


def _subscription(one: pb.Subscription, matcher: MakeMatcher) -> SubscriptionPlan:
    ref = SubscriptionRef(one.ref.uid, one.ref.namespace, one.ref.name)
    retention = Retention(
        delivered=_duration(one, "retain_delivered", _DEFAULT_RETAIN_DELIVERED),
        dead=_duration(one, "retain_dead", _DEFAULT_RETAIN_DEAD),
    )
    matches = affordable([matcher(route.match) for route in one.routes])
    routes = tuple(_route(ref, route, match) for route, match in zip(one.routes, matches, strict=True))
    return SubscriptionPlan(ref, _duration(one, "deduplication_window", 0), retention, routes)


def _route(subscription: SubscriptionRef, route: pb.Route, match: Matcher) -> RoutePlan:
    policy = route.delivery
    return RoutePlan(
        ref=RouteRef(subscription, route.name),
        handler=_handler(route.handler),
        match=match,
        ordering=_ORDERINGS.get(policy.ordering, Ordering.NONE),
        timeout=_duration(route.handler, "timeout", _DEFAULT_TIMEOUT) or _DEFAULT_TIMEOUT,
        max_in_flight=policy.max_in_flight or _DEFAULT_MAX_IN_FLIGHT,
        batch_max_events=policy.batch_max_events or _DEFAULT_BATCH,
        batch_max_wait=_duration(policy, "batch_max_wait", 0),
        retry=_retry(policy),
        paused=route.paused,
        raw_only=route.handler.payload == pb.Handler.PAYLOAD_FORM_RAW,
    )


def _handler(handler: pb.Handler) -> Handler:
    tls = None
    if handler.HasField("tls"):
        tls = Tls(handler.tls.ca_pem, handler.tls.server_name or f"{handler.service}.{handler.namespace}.svc")
    return Handler(handler.namespace, handler.service, handler.port, tls)


def _retry(policy: pb.DeliveryPolicy) -> RetryPolicy:
    initial = _duration(policy, "initial_backoff", _DEFAULT_INITIAL_BACKOFF) or _DEFAULT_INITIAL_BACKOFF
    return RetryPolicy(
        initial_backoff=initial,
        max_backoff=max(initial, _duration(policy, "max_backoff", _DEFAULT_MAX_BACKOFF)),
        max_age=_duration(policy, "max_age", _DEFAULT_MAX_AGE) or _DEFAULT_MAX_AGE,
        max_attempts=policy.max_attempts,
    )


def _duration(message: Message, name: str, default: int) -> int:
    """Nanoseconds of the field *name*, *default* where it is not set; never below 0."""
    if not message.HasField(name):
        return default
    value = getattr(message, name)
    return max(0, int(value.seconds) * _SECOND + int(value.nanos))


_ORDERINGS = {
    pb.DeliveryPolicy.ORDERING_CONVERSATION: Ordering.CONVERSATION,
    pb.DeliveryPolicy.ORDERING_SUBSCRIPTION: Ordering.SUBSCRIPTION,
}
