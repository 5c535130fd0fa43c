"""
The forwarder's routes as values: what a snapshot says, with units, defaults and matches worked out once.

`compile_book` reads a `ForwarderSnapshot` (file `routes/forwarder.binpb`); `fanout` asks it where an event goes, the
forwarder how a route is delivered.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from google.protobuf.message import Message

from hookline.routing.v1 import snapshot_pb2 as pb
from hookline_receiver.event import RouteRef, SubscriptionRef
from hookline_receiver.store.port import Retention
from hookline_routes.match import CompiledMatch, Facts, MatchFailed, affordable, compile_match

FORMAT = 1
"""The newest format of the tables that this release reads."""

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


MakeMatcher = Callable[[pb.Match], CompiledMatch]


def compile_book(snapshot: pb.ForwarderSnapshot, matcher: MakeMatcher = compile_match) -> RouteBook:
    """Return *snapshot* as values; raises TableRefused where this release can't read it."""
    if snapshot.format > FORMAT:
        raise TableRefused(f"route table is of format {snapshot.format}, this release reads up to {FORMAT}")
    plans = [_subscription(one, matcher) for one in snapshot.subscriptions]
    _refuse_doubles(plan.ref.uid for plan in plans)
    routes = {route.ref: route for plan in plans for route in plan.routes}
    handlers: dict[Handler, tuple[RoutePlan, ...]] = {}
    for route in routes.values():
        handlers[route.handler] = (*handlers.get(route.handler, ()), route)
    return RouteBook(snapshot.version, {plan.ref.uid: plan for plan in plans}, routes, handlers)


def _refuse_doubles(uids: Iterable[str]) -> None:
    seen: set[str] = set()
    for uid in uids:
        if uid in seen:
            raise TableRefused(f"route table names the subscription uid {uid!r} twice")
        seen.add(uid)


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
