"""Which typed message is which event of `Payload`: what registering by class goes by."""

from collections.abc import Mapping

from google.protobuf.message import Message

from hookline.cometchat.v1.payload_pb2 import Payload

_EVENT = "event"
_LEGACY = "legacy_"

FIELDS: Mapping[type[Message], str] = {
    type(getattr(Payload(), member.name)): member.name for member in Payload.DESCRIPTOR.oneofs_by_name[_EVENT].fields
}
"""The field of `Payload` that holds each event's message."""


def message_in(payload: Payload) -> Message | None:
    """The event's message; None if *payload* holds one that this version of the kit does not know."""
    name = payload.WhichOneof("event")
    message: Message | None = getattr(payload, name) if name else None
    return message


def payload_with(message: Payload | Message) -> Payload:
    """A payload that holds *message*; a payload itself is returned as it is."""
    if isinstance(message, Payload):
        return message
    if type(message) not in FIELDS:
        raise ValueError(f"{type(message).__name__} is no event of a payload")
    payload = Payload()
    getattr(payload, FIELDS[type(message)]).CopyFrom(message)
    getattr(payload, FIELDS[type(message)]).SetInParent()
    return payload


def fields_of_trigger(trigger: str) -> tuple[str, str]:
    """The fields of `Payload` that *trigger*'s events can stand in: two for receipts, which the legacy system has too."""
    field = trigger.replace("-", "_")
    return field, f"{_LEGACY}{field}"
