"""
Plays the gateway against a handler, over real gRPC.

    async with HandlerClient(handler) as client:
        outcome, = await client.deliver(a_delivery(Path("message_sent.json")))
        assert outcome == Accepted()
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from google.protobuf.message import Message
from grpc import aio

from hookline.cloudevents.v1 import cloudevents_pb2
from hookline.cometchat.v1 import payload_pb2
from hookline.handler.v1 import handler_pb2, handler_pb2_grpc
from hookline_kit.event import TYPE_PREFIX
from hookline_kit.handler import Handler
from hookline_kit.outcome import Outcome, outcome_of
from hookline_kit.typed import payload_with

CATEGORIES = ("message", "user", "group", "call", "meeting", "moderation", "campaign")
CATEGORY_OF = {
    "user_mentioned": "message",
    "recording_generated": "media",
    "transcription_generated": "media",
    "before_message": "legacy",
    "after_message": "legacy",
    "after_connection_status_changed": "legacy",
}


def a_delivery(
    body: bytes | Path | Mapping[str, Any],
    *,
    trigger: str = "",
    category: str = "",
    partition_key: str = "",
    event_id: str = "",
    namespace: str = "acme",
    subscription: str = "chat",
    route: str = "main",
    attempt: int = 1,
    replay: bool = False,
    payload: payload_pb2.Payload | Message | None = None,
    untyped: str = "UNKNOWN_TRIGGER",
    attributes: Mapping[str, str] | None = None,
) -> handler_pb2.Delivery:
    """
    A delivery as the gateway makes it of *body*: bytes, a sample file, or something to encode as JSON.

    What is not given is read from the body (trigger), guessed from the trigger (category) or made up (ids). *payload*
    is the typed form, or the event's message alone (`MessageSent(...)`); without one, *untyped* says why it is missing:
    UNKNOWN_TRIGGER, MALFORMED, TOO_LARGE or NOT_WANTED.
    """
    raw = _bytes(body)
    trigger = trigger or _read(raw, "trigger")
    ingest_id = str(uuid4())
    delivery = handler_pb2.Delivery(delivery_id=f"{ingest_id}/{route}", event=_cloud_event(raw, trigger))
    delivery.event.id = event_id or ingest_id
    delivery.event.source = f"/cometchat/{_read(raw, 'appId')}/{namespace}/{subscription}"
    texts = {
        "partitionkey": partition_key,
        "hooklinenamespace": namespace,
        "hooklinesubscription": subscription,
        "hooklineroute": route,
        "hooklinecategory": category or category_of(trigger),
        "hooklineingestid": ingest_id,
        **(attributes or {}),
    }
    for name, text in texts.items():
        if text:
            delivery.event.attributes[name].ce_string = text
    delivery.event.attributes["hooklineattempt"].ce_integer = attempt
    if replay:
        delivery.event.attributes["hooklinereplay"].ce_boolean = True
    if payload is None:
        delivery.untyped.reason = handler_pb2.Untyped.Reason.Value(f"REASON_{untyped}")
    else:
        delivery.payload.CopyFrom(payload_with(payload))
    return delivery


def _bytes(body: bytes | Path | Mapping[str, Any]) -> bytes:
    if isinstance(body, Path):
        return body.read_bytes()
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def _cloud_event(body: bytes, trigger: str) -> cloudevents_pb2.CloudEvent:
    """What all events of *trigger* with this body have in common."""
    cloud = cloudevents_pb2.CloudEvent(spec_version="1.0", type=TYPE_PREFIX + trigger, binary_data=body)
    cloud.attributes["datacontenttype"].ce_string = "application/json"
    cloud.attributes["time"].ce_timestamp.FromDatetime(datetime.now(UTC))
    return cloud


def category_of(trigger: str) -> str:
    """The category that *trigger*'s name tells, else "unknown"; the gateway's own judgement travels with the event."""
    if trigger.endswith("-notification-payload-generated"):
        return "notification"
    prefix = trigger.partition("_")[0]
    return CATEGORY_OF.get(trigger) or (prefix if prefix in CATEGORIES else "unknown")


class HandlerClient:
    """Delivers to a handler served on a port of its own, or to one that is served elsewhere."""

    def __init__(self, handler: Handler | str) -> None:
        """Deliver to *handler*, or to the one at this "host:port"."""
        self._handler = handler
        self._address = handler if isinstance(handler, str) else ""

    async def __aenter__(self) -> Self:
        if isinstance(self._handler, Handler):
            self._serving = self._handler.serving(port=0)
            self._address = (await self._serving.__aenter__()).address
        self._channel = aio.insecure_channel(self._address, options=[("grpc.use_local_subchannel_pool", 1)])
        self._stub = handler_pb2_grpc.EventHandlerServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()
        if isinstance(self._handler, Handler):
            await self._serving.__aexit__(kind, error, trace)

    async def deliver(self, *deliveries: handler_pb2.Delivery, timeout: float = 10.0) -> Sequence[Outcome | None]:
        """The outcomes of one batch in the order of *deliveries*; None where the handler left one out."""
        request = handler_pb2.DeliverRequest(deliveries=deliveries)
        response = await self._stub.Deliver(request, timeout=timeout)
        outcomes = {outcome.delivery_id: outcome_of(outcome) for outcome in response.outcomes}
        return [outcomes.get(delivery.delivery_id) for delivery in deliveries]


def _read(raw: bytes, name: str) -> str:
    """A string member of the body, "" if the body is not as it should be: broken bodies are worth delivering too."""
    try:
        value = json.loads(raw)[name]
    except (ValueError, KeyError, TypeError):
        return ""
    return value if isinstance(value, str) else ""
