"""Builds what goes over the wire: claimed deliveries as `DeliverRequest`s that fit, exactly as the contract says."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from hookline.cloudevents.v1.cloudevents_pb2 import CloudEvent
from hookline.cometchat.v1.payload_pb2 import Payload
from hookline.handler.v1 import handler_pb2 as pb
from hookline_receiver.cometchat.typed import elements, to_payload
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


LARGE = 64 << 10
"""Bytes of a body from which its typed form is worked out off the event loop: a hostile one takes 0.4 s."""
MANY = 1_000
"""Elements of a body from which that is done, too: 64 KiB of nothing but elements held up the loop for 30 to 120 ms.
CometChat's payloads have 20 to 200."""

REMEMBERED = 2 << 20
"""Bytes of bodies whose typed forms are remembered: those of hostile ones take 44 times as much memory."""


Typed = Payload | pb.Untyped
"""The typed form of an event, or why there is none."""


NOT_WANTED = pb.Untyped(reason=pb.Untyped.REASON_NOT_WANTED, detail="the route asks for the raw event only")


class Typer:
    """
    The typed form of events, remembered for the routes and tries that follow.

    Bodies up to *LARGE* only are remembered, *limit* of them and *size* bytes: an event's routes come due together.
    """

    def __init__(self, limit: int = 512, size: int = REMEMBERED) -> None:
        self._limit = limit
        self._room = size
        self._known: OrderedDict[bytes, tuple[Typed, int]] = OrderedDict()

    def known(self, event: Event) -> bool:
        """Whether it is there at no cost."""
        return event.ingest_id in self._known

    def slow(self, event: Event) -> bool:
        """Whether `of` may take more than some milliseconds, so that it should not hold up an event loop."""
        return not self.known(event) and (len(event.body) > LARGE or elements(event.body) > MANY)

    def of(self, event: Event) -> Typed:
        """The typed form of *event*, or why there is none. Safe to call from another thread."""
        known = self._known.get(event.ingest_id)
        if known is not None:
            return known[0]
        found, size = to_payload(event.body), len(event.body)
        if size <= LARGE:
            self._known[event.ingest_id] = (found, size)
            self._room -= size
            while len(self._known) > self._limit or self._room < 0:
                self._room += self._known.popitem(last=False)[1][1]
        return found


@dataclass(frozen=True, slots=True)
class Built:
    """
    A delivery ready for the wire.

    Kept as bytes: a typed payload of many small values takes ten times as much memory as a message.
    """

    claimed: Claimed
    wire: bytes
    """A `DeliverRequest` of this delivery alone; several of them joined are the request of all."""
    size: int

    @property
    def message(self) -> pb.Delivery:
        """What the handler will read."""
        return pb.DeliverRequest.FromString(self.wire).deliveries[0]


@dataclass(frozen=True, slots=True)
class Oversize:
    """A delivery that fits into no message."""

    claimed: Claimed
    size: int


def build(claimed: Claimed, typed: Typed, limit: int = DEFAULT_LIMIT) -> Built | Oversize:
    """Return the delivery; without its *typed* form where that would not fit into *limit* bytes."""
    request = pb.DeliverRequest()
    message = request.deliveries.add(delivery_id=claimed.name)
    fill_envelope(message.event, claimed, ingest_id=message.delivery_id[:36])
    if isinstance(typed, pb.Untyped):
        message.untyped.CopyFrom(typed)
    else:
        message.payload.CopyFrom(typed)
    size = message.ByteSize() + _FRAMING
    if size > limit and message.HasField("payload"):
        detail = f"the event needs {size} bytes with it, the limit is {limit} bytes"
        message.untyped.CopyFrom(pb.Untyped(reason=pb.Untyped.REASON_TOO_LARGE, detail=detail))
        size = message.ByteSize() + _FRAMING
    return Built(claimed, request.SerializeToString(), size) if size <= limit else Oversize(claimed, size)


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


def request_of(batch: Sequence[Built]) -> bytes:
    """The `DeliverRequest` with *batch*, serialized."""
    return b"".join([one.wire for one in batch])


def fill_envelope(cloud: CloudEvent, claimed: Claimed, ingest_id: str) -> None:
    """Make *cloud* the event as handlers see it, as the comments of `handler.proto` say."""
    event = claimed.event
    subscription, read, identity = event.subscription, event.envelope, event.identity
    cloud.id = claimed.event_id
    cloud.source = SOURCE.format(app=read.app_id, namespace=subscription.namespace, subscription=subscription.name)
    cloud.spec_version = "1.0"
    cloud.type = TYPE.format(trigger=read.trigger)
    cloud.binary_data = event.body
    attributes = cloud.attributes
    moment = attributes["time"].ce_timestamp
    moment.seconds, moment.nanos = divmod(_moment(event), 1_000_000_000)
    for name, value in (
        ("datacontenttype", "application/json"),
        ("subject", identity.subject),
        ("partitionkey", identity.partition_key),
        ("traceparent", event.traceparent),
        ("hooklinenamespace", subscription.namespace),
        ("hooklinesubscription", subscription.name),
        ("hooklineroute", claimed.route.name),
        ("hooklinecategory", read.category),
        ("hooklineingestid", ingest_id),
    ):
        if value:
            attributes[name].ce_string = value
    attributes["hooklineattempt"].ce_integer = claimed.attempts + 1
    if claimed.replay:
        attributes["hooklinereplay"].ce_boolean = True


def _moment(event: Event) -> int:
    """When it happened, in nanoseconds; when it was accepted, where the payload has no time that can be one."""
    said = event.identity.time_ms
    return said * 1_000_000 if 0 < said <= _LAST_MOMENT else event.received_at_ns
