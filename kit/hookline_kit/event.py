"""An event as a handler sees it."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from google.protobuf.message import Message

from hookline.cloudevents.v1 import cloudevents_pb2
from hookline.cometchat.v1 import payload_pb2
from hookline.handler.v1 import handler_pb2
from hookline_kit.typed import message_in

TYPE_PREFIX = "com.cometchat."


@dataclass(frozen=True)
class Event:
    """
    One CometChat event on its way to one route.

    Delivery is at least once: (source, id) tells a repetition. The body is not shown by `repr`, so that logging an
    event by accident does not log what people wrote.
    """

    id: str
    """CloudEvents `id`: the same for the same event; with `source` it is the key to find repetitions by."""
    source: str
    """"/cometchat/{appId}/{namespace}/{subscription}"."""
    type: str
    """"com.cometchat.{trigger}"."""
    trigger: str
    """CometChat's own name of the event: "message_sent", or one that nobody has heard of yet."""
    category: str
    """message, user, group, call, meeting, media, moderation, campaign, notification, legacy or unknown."""
    time: datetime | None
    """When it happened, by the payload (UTC); when it was accepted, where the payload does not say."""
    subject: str
    """What it is about ("message/{id}", "group/{guid}", ...); "" where the payload does not say."""
    namespace: str
    """Namespace of the subscription that accepted it."""
    subscription: str
    """Name of the subscription that accepted it."""
    route: str
    """The route that it came by."""
    partition_key: str
    """Conversation, group or session; "" if it belongs to none."""
    ingest_id: str
    """The gateway's own id of this acceptance, a UUIDv7."""
    delivery_id: str
    """"{ingest id}/{route}": what logs and dead letters call it."""
    attempt: int
    """1 at the first attempt."""
    replay: bool
    """Whether a person had it sent again."""
    body: bytes = field(repr=False)
    """Exactly what CometChat sent."""
    payload: payload_pb2.Payload | None = field(repr=False)
    """The typed form of the body, or None: see `untyped`."""
    untyped: str
    """Why there is no typed form ("MALFORMED: data.message.sentAt: expected a time, ..."); "" where there is one."""
    traceparent: str
    """W3C trace context of the request; "" if it had none."""

    @property
    def message(self) -> Message | None:
        """The typed message in `payload`, for `match event.message: case MessageSent(): ...`; None if there is none."""
        return message_in(self.payload) if self.payload is not None else None

    def json(self) -> Any:
        """The body decoded, once; raises ValueError if it is not JSON (the gateway accepts only JSON objects)."""
        return self._decoded

    @cached_property
    def _decoded(self) -> Any:
        return json.loads(self.body)


def event_of(delivery: handler_pb2.Delivery) -> Event:
    """*delivery* as a handler sees it; what is missing in it is empty."""
    cloud = delivery.event
    attributes = cloud.attributes
    return Event(
        id=cloud.id,
        source=cloud.source,
        type=cloud.type,
        trigger=cloud.type.removeprefix(TYPE_PREFIX),
        category=_text(cloud, "hooklinecategory") or "unknown",
        time=_time(cloud),
        subject=_text(cloud, "subject"),
        namespace=_text(cloud, "hooklinenamespace"),
        subscription=_text(cloud, "hooklinesubscription"),
        route=_text(cloud, "hooklineroute"),
        partition_key=_text(cloud, "partitionkey"),
        ingest_id=_text(cloud, "hooklineingestid"),
        delivery_id=delivery.delivery_id,
        attempt=attributes["hooklineattempt"].ce_integer if "hooklineattempt" in attributes else 1,
        replay="hooklinereplay" in attributes and attributes["hooklinereplay"].ce_boolean,
        body=cloud.binary_data,
        payload=delivery.payload if delivery.WhichOneof("typed") == "payload" else None,
        untyped=_untyped(delivery),
        traceparent=_text(cloud, "traceparent"),
    )


def _text(cloud: cloudevents_pb2.CloudEvent, name: str) -> str:
    """The attribute's text, whichever of the text types carries it."""
    if name not in cloud.attributes:
        return ""
    value = cloud.attributes[name]
    return value.ce_string or value.ce_uri or value.ce_uri_ref


def _time(cloud: cloudevents_pb2.CloudEvent) -> datetime | None:
    if "time" not in cloud.attributes:
        return None
    return cloud.attributes["time"].ce_timestamp.ToDatetime(tzinfo=UTC)


def _untyped(delivery: handler_pb2.Delivery) -> str:
    if delivery.WhichOneof("typed") == "payload":
        return ""
    reason = handler_pb2.Untyped.Reason.Name(delivery.untyped.reason).removeprefix("REASON_")
    return f"{reason}: {delivery.untyped.detail}" if delivery.untyped.detail else reason
