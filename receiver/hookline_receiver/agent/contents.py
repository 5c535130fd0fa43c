"""What is in a published shard, apart: what the receiver may know, and what the forwarder needs. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from hookline.routing.v1.snapshot_pb2 import Endpoint, EndpointTable, ForwarderSnapshot, ReceiverSnapshot, Subscription
from hookline.routing.v1.table_pb2 import RouteShard

SHARD_FORMAT = 1
"""The newest that this release reads."""

PART_FORMAT = 1


class ContentUnreadable(Exception):
    """A shard is whole, but not of a form that this release knows."""


@dataclass(frozen=True, slots=True)
class RouteContents:
    """One shard of routes, as parts."""

    receiver: bytes
    forwarder: bytes
    hostnames: tuple[str, ...]
    tag_key_id: bytes
    """Names the key of its verifiers' tags; b"" where it doesn't say."""


def route_contents(content: bytes) -> RouteContents:
    """The parts of the RouteShard *content*; raises ContentUnreadable."""
    try:
        shard = RouteShard.FromString(content)
    except DecodeError as error:
        raise ContentUnreadable(f"it is no RouteShard: {error}") from error
    _refuse_newer(shard.format)
    return RouteContents(
        receiver=receiver_part(each.endpoint for each in shard.entries if each.HasField("endpoint")),
        forwarder=forwarder_part(each.subscription for each in shard.entries if each.HasField("subscription")),
        hostnames=tuple(shard.hostnames),
        tag_key_id=shard.tag_key_id,
    )


def endpoint_content(content: bytes) -> bytes:
    """The part of the EndpointTable *content*; raises ContentUnreadable."""
    try:
        table = EndpointTable.FromString(content)
    except DecodeError as error:
        raise ContentUnreadable(f"it is no EndpointTable: {error}") from error
    _refuse_newer(table.format)
    return EndpointTable(format=PART_FORMAT, services=table.services).SerializeToString(deterministic=True)


def receiver_part(endpoints: Iterable[Endpoint]) -> bytes:
    """A part of the receiver's snapshot."""
    ordered = sorted(endpoints, key=lambda each: (each.path, each.subscription.uid))
    return ReceiverSnapshot(format=PART_FORMAT, endpoints=ordered).SerializeToString(deterministic=True)


def forwarder_part(subscriptions: Iterable[Subscription]) -> bytes:
    """A part of the forwarder's snapshot."""
    ordered = sorted(subscriptions, key=lambda each: (each.ref.namespace, each.ref.name, each.ref.uid))
    return ForwarderSnapshot(format=PART_FORMAT, subscriptions=ordered).SerializeToString(deterministic=True)


def endpoint_uids(part: bytes) -> frozenset[str]:
    """Subscriptions that have an endpoint in a part of the receiver's."""
    return frozenset(each.subscription.uid for each in ReceiverSnapshot.FromString(part).endpoints)


def subscription_uids(part: bytes) -> frozenset[str]:
    """Subscriptions in a part of the forwarder's."""
    return frozenset(each.ref.uid for each in ForwarderSnapshot.FromString(part).subscriptions)


def credentials_of(part: bytes) -> Mapping[str, tuple[str, ...]]:
    """Names of the credentials in a part of the receiver's, each with the subscriptions that it opens."""
    found: dict[str, tuple[str, ...]] = {}
    for endpoint in ReceiverSnapshot.FromString(part).endpoints:
        for verifier in endpoint.verifiers:
            found[verifier.credential] = (*found.get(verifier.credential, ()), endpoint.subscription.uid)
    return found


def without_endpoints(part: bytes, uids: Collection[str]) -> bytes:
    """A part of the receiver's, but for the endpoints of *uids*."""
    kept = (each for each in ReceiverSnapshot.FromString(part).endpoints if each.subscription.uid not in uids)
    return receiver_part(kept)


def with_subscriptions(part: bytes, before: bytes, uids: Collection[str]) -> bytes:
    """A part of the forwarder's, and of *before* the subscriptions *uids*."""
    leaving = (each for each in ForwarderSnapshot.FromString(before).subscriptions if each.ref.uid in uids)
    return forwarder_part((*ForwarderSnapshot.FromString(part).subscriptions, *leaving))


def _refuse_newer(format: int) -> None:
    if not 1 <= format <= SHARD_FORMAT:
        raise ContentUnreadable(f"its format is {format}, this release reads 1 to {SHARD_FORMAT}")
