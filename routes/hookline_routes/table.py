"""The messages of the two tables: from typed values to bytes that are the same for the same values."""

import hashlib
from collections.abc import Iterable
from uuid import UUID, uuid5

from google.protobuf.duration_pb2 import Duration

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.inputs import Tables
from hookline_routes.resource import (
    DeliverySpec,
    GatewayLimits,
    HandlerSpec,
    MatchSpec,
    Metadata,
    Ordering,
    PayloadForm,
    RateLimitSpec,
    RouteSpec,
    WebhookSubscription,
)
from hookline_routes.units import SECOND

FORMAT = 1

_UIDS = UUID("6f0f1a66-54d3-5a5c-9d3c-0f6f2f1f5a10")
"""Namespace of the uids of subscriptions that come from a manifest."""

_ORDERINGS = {
    Ordering.NONE: routing.DeliveryPolicy.ORDERING_NONE,
    Ordering.CONVERSATION: routing.DeliveryPolicy.ORDERING_CONVERSATION,
    Ordering.SUBSCRIPTION: routing.DeliveryPolicy.ORDERING_SUBSCRIPTION,
}


def subscription_uid(metadata: Metadata) -> str:
    """metadata.uid; for a manifest, which has none, one made of namespace and name, the same each time."""
    return metadata.uid or str(uuid5(_UIDS, str(metadata.key)))


def subscription_ref(metadata: Metadata) -> routing.SubscriptionRef:
    """Names the subscription."""
    return routing.SubscriptionRef(uid=subscription_uid(metadata), namespace=metadata.namespace, name=metadata.name)


def endpoint(
    subscription: WebhookSubscription,
    limits: GatewayLimits,
    verifiers: Iterable[routing.Verifier],
    without_credentials: str,
) -> routing.Endpoint:
    """What the receiver knows of a subscription."""
    message = routing.Endpoint(
        path=subscription.path,
        subscription=subscription_ref(subscription.metadata),
        app_ids=sorted(subscription.app_ids),
        verifiers=verifiers,
        max_body_bytes=limits.max_body_bytes,
        max_pending_bytes=limits.max_pending_bytes,
        suspended=subscription.suspend,
        without_credentials=without_credentials,
    )
    rate = _lower(subscription.rate_limit, limits.rate_limit)
    if rate:
        message.rate_limit.requests_per_second = rate.requests_per_second
        message.rate_limit.burst = rate.burst
        message.rate_limit.scope = routing.RateLimit.SCOPE_POD
    return message


def subscription(
    spec: WebhookSubscription, limits: GatewayLimits, routes: Iterable[routing.Route]
) -> routing.Subscription:
    """What the forwarder knows of a subscription."""
    return routing.Subscription(
        ref=subscription_ref(spec.metadata),
        deduplication_window=duration(spec.deduplication_window),
        retain_delivered=duration(spec.retain_delivered),
        retain_dead=duration(spec.retain_dead),
        routes=routes,
        max_pending_bytes=limits.max_pending_bytes,
    )


def route(spec: RouteSpec, ca_pem: bytes, *, tls: bool, held: bool) -> routing.Route:
    """A route; *held*: it can't be delivered as it is, and keeps its events as if paused."""
    return routing.Route(
        name=spec.name,
        match=_match(spec.match),
        handler=_handler(spec.handler, ca_pem, tls),
        delivery=_delivery(spec.delivery),
        paused=spec.paused or held,
    )


def tables(
    endpoints: Iterable[routing.Endpoint],
    subscriptions: Iterable[routing.Subscription],
    hostnames: Iterable[str],
    tag_key: bytes,
) -> Tables:
    """Both tables, sorted, with the version that is the hash of their content (the key left out)."""
    receiver = routing.ReceiverSnapshot(
        format=FORMAT,
        endpoints=sorted(endpoints, key=lambda each: each.path),
        hostnames=sorted(set(hostnames)),
    )
    forwarder = routing.ForwarderSnapshot(
        format=FORMAT,
        subscriptions=sorted(subscriptions, key=lambda each: (each.ref.namespace, each.ref.name)),
    )
    digest = hashlib.sha256()
    for part in (receiver.SerializeToString(deterministic=True), forwarder.SerializeToString(deterministic=True)):
        digest.update(len(part).to_bytes(8, "big") + part)
    receiver.version = forwarder.version = digest.hexdigest()[:32]
    receiver.tag_key = tag_key
    return Tables(receiver, forwarder)


def duration(nanoseconds: int) -> Duration:
    """Nanoseconds as a message."""
    seconds, nanos = divmod(nanoseconds, SECOND)
    return Duration(seconds=seconds, nanos=nanos)


def _lower(own: RateLimitSpec | None, gateways: RateLimitSpec | None) -> RateLimitSpec | None:
    if own is None or gateways is None:
        return own or gateways
    return RateLimitSpec(min(own.requests_per_second, gateways.requests_per_second), min(own.burst, gateways.burst))


def _match(spec: MatchSpec) -> routing.Match:
    return routing.Match(
        triggers=sorted(spec.triggers),
        categories=sorted(spec.categories),
        receiver_types=sorted(spec.receiver_types),
        expression=spec.expression,
    )


def _handler(spec: HandlerSpec, ca_pem: bytes, tls: bool) -> routing.Handler:
    message = routing.Handler(
        namespace=spec.service.namespace,
        service=spec.service.name,
        port=spec.service.port,
        timeout=duration(spec.timeout),
    )
    if spec.payload is PayloadForm.RAW:
        message.payload = routing.Handler.PAYLOAD_FORM_RAW
    if spec.tls and tls:
        message.tls.ca_pem = ca_pem
        message.tls.server_name = spec.tls.server_name
    return message


def _delivery(spec: DeliverySpec) -> routing.DeliveryPolicy:
    return routing.DeliveryPolicy(
        ordering=_ORDERINGS[spec.ordering],
        max_in_flight=spec.max_in_flight,
        batch_max_events=spec.batch_max_events,
        batch_max_wait=duration(spec.batch_max_wait),
        initial_backoff=duration(spec.initial_backoff),
        max_backoff=duration(spec.max_backoff),
        max_age=duration(spec.max_age),
        max_attempts=spec.max_attempts,
    )
