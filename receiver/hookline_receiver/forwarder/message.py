"""Builds what goes over the wire: claimed deliveries as `DeliverRequest`s that fit, exactly as the contract says."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from hookline.cloudevents.v1.cloudevents_pb2 import CloudEvent
from hookline.handler.v1 import handler_pb2 as pb
from hookline_receiver.event import Event
from hookline_receiver.store.port import Claimed

SOURCE = "/cometchat/{app}/{namespace}/{subscription}"
TYPE = "com.cometchat.{trigger}"
DEFAULT_LIMIT = 3_670_016
"""Bytes of one message: 3.5 MiB, below the 4 MiB that gRPC servers accept by default."""
_FRAMING = 16
"""Bytes that a delivery adds to the request beyond its own: tag and length."""

_LAST_MOMENT = 253_402_300_799_000
"""Milliseconds since the epoch that a Timestamp can hold at most: the end of the year 9999."""


def untyped(event: Event) -> pb.Untyped:
    """There is no typed form of any trigger yet."""
    return pb.Untyped(
        reason=pb.Untyped.REASON_UNKNOWN_TRIGGER,
        detail=f"this version has no message for the trigger {event.envelope.trigger[:100]!r}",
    )


@dataclass(frozen=True, slots=True)
class Built:
    """A delivery ready for the wire."""

    claimed: Claimed
    message: pb.Delivery
    size: int


@dataclass(frozen=True, slots=True)
class Oversize:
    """A delivery that fits into no message."""

    claimed: Claimed
    size: int


def build(claimed: Claimed, limit: int = DEFAULT_LIMIT) -> Built | Oversize:
    """Return the delivery; without its typed form where that would not fit into *limit* bytes."""
    message = pb.Delivery(delivery_id=claimed.name, event=envelope(claimed), untyped=untyped(claimed.event))
    size = message.ByteSize() + _FRAMING
    return Built(claimed, message, size) if size <= limit else Oversize(claimed, size)


def pack(built: Sequence[Built], limit: int = DEFAULT_LIMIT) -> list[list[Built]]:
    """Split *built* into requests of at most *limit* bytes, in order."""
    requests: list[list[Built]] = []
    room = 0
    for one in built:
        if one.size > room or not requests:
            requests.append([])
            room = limit
        requests[-1].append(one)
        room -= one.size
    return requests


def envelope(claimed: Claimed) -> CloudEvent:
    """Return the event as handlers see it; see the comments of `handler.proto`."""
    event = claimed.event
    subscription, read, identity = event.subscription, event.envelope, event.identity
    cloud = CloudEvent(
        id=claimed.event_id,
        source=SOURCE.format(app=read.app_id, namespace=subscription.namespace, subscription=subscription.name),
        spec_version="1.0",
        type=TYPE.format(trigger=read.trigger),
        binary_data=event.body,
    )
    attributes = cloud.attributes
    attributes["time"].ce_timestamp.FromNanoseconds(_moment(event))
    for name, value in (
        ("datacontenttype", "application/json"),
        ("subject", identity.subject),
        ("partitionkey", identity.partition_key),
        ("traceparent", event.traceparent),
        ("hooklinenamespace", subscription.namespace),
        ("hooklinesubscription", subscription.name),
        ("hooklineroute", claimed.route.name),
        ("hooklinecategory", read.category),
        ("hooklineingestid", str(UUID(bytes=event.ingest_id))),
    ):
        if value:
            attributes[name].ce_string = value
    attributes["hooklineattempt"].ce_integer = claimed.attempts + 1
    if claimed.replay:
        attributes["hooklinereplay"].ce_boolean = True
    return cloud


def _moment(event: Event) -> int:
    """When it happened, in nanoseconds; when it was accepted, where the payload has no time that can be one."""
    said = event.identity.time_ms
    return said * 1_000_000 if 0 < said <= _LAST_MOMENT else event.received_at_ns
