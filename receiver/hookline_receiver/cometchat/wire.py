"""
The fields of payloads that envelope and identity are made of, under the names that they have in JSON.

One set of shapes serves all triggers, since a body is decoded in one pass before its trigger is known. What is not
named here is skipped unread. An object that is missing reads as one without fields, so that a path such as
`message.data.entities.on.entity.id` always leads to a value or to None.
"""

from typing import Any, TypeAlias, TypeVar

import msgspec

Scalar: TypeAlias = str | int | float | bool | None


class _Shape(msgspec.Struct, frozen=True, gc=False):
    """Immutable and without cycles: one empty instance stands for all that are missing."""


class Entity(_Shape, frozen=True, gc=False):
    """What an action was done to: a message, a call, …"""

    id: Scalar = None
    conversationId: Scalar = None
    sessionid: Scalar = None
    deletedAt: Scalar = None
    editedAt: Scalar = None


class Side(_Shape, frozen=True, gc=False):
    """An entity in its wrapping."""

    entity: Entity = Entity()


class Entities(_Shape, frozen=True, gc=False):
    """Who and what an action concerns; only what it was done to is needed."""

    on: Side = Side()


class Content(_Shape, frozen=True, gc=False):
    """`data` of a message."""

    entities: Entities = Entities()


class Message(_Shape, frozen=True, gc=False):
    """A message, or a call's signal, which has the form of one."""

    id: Scalar = None
    conversationId: Scalar = None
    sender: Scalar = None
    receiverType: Scalar = None
    receiver: Scalar = None
    category: Scalar = None
    data: Content = Content()
    sentAt: Scalar = None
    editedAt: Scalar = None
    deletedAt: Scalar = None
    updatedAt: Scalar = None


class Reaction(_Shape, frozen=True, gc=False):
    """A reaction to a message."""

    id: Scalar = None
    messageId: Scalar = None
    conversationId: Scalar = None
    reactedAt: Scalar = None


class Person(_Shape, frozen=True, gc=False):
    """A user, by id."""

    uid: Scalar = None


class ReceiptBody(_Shape, frozen=True, gc=False):
    """`body` of a receipt."""

    action: Scalar = None
    messageId: Scalar = None
    user: Person = Person()
    timestamp: Scalar = None


class Group(_Shape, frozen=True, gc=False):
    """A group."""

    guid: Scalar = None
    owner: Scalar = None
    createdAt: Scalar = None
    updatedAt: Scalar = None


class Occupant(_Shape, frozen=True, gc=False):
    """Somebody in a call or meeting."""

    joined_at: Scalar = None
    left_at: Scalar = None
    name: Scalar = None
    uid: Scalar = None
    id: Scalar = None


class Device(_Shape, frozen=True, gc=False):
    """A connection of a user, as the legacy system tells it."""

    session_id: Scalar = None
    cometchat_device_id: Scalar = None


class ConnectionEvent(_Shape, frozen=True, gc=False):
    """What happened to a connection, as the legacy system tells it."""

    type: Scalar = None
    at: Scalar = None
    event_for: Device = Device()


class Notification(_Shape, frozen=True, gc=False):
    """What a push provider is asked to send."""

    sender: Scalar = None
    receiverType: Scalar = None
    receiver: Scalar = None
    tag: Scalar = None
    conversationId: Scalar = None
    type: Scalar = None
    callAction: Scalar = None
    sessionId: Scalar = None
    sentAt: Scalar = None


class Data(_Shape, frozen=True, gc=False):
    """`data` of a payload: the fields of all triggers together."""

    message: Message = Message()
    call: Message = Message()
    resource: Message = Message()
    reaction: Reaction = Reaction()
    body: ReceiptBody = ReceiptBody()
    group: Group = Group()
    members: dict[str, msgspec.Raw] = {}
    users: dict[str, msgspec.Raw] = {}
    by: Person = Person()
    user: Person = Person()
    timestamp: Scalar = None
    status: Scalar = None
    event: ConnectionEvent = ConnectionEvent()
    occupant: Occupant = Occupant()
    sessionId: Scalar = None
    created_at: Scalar = None
    destroyed_at: Scalar = None
    startTime: Scalar = None
    endTime: Scalar = None
    contentType: Scalar = None
    completedAt: Scalar = None
    to: Person = Person()
    notificationDetails: Notification = Notification()
    groupDetails: Group = Group()
    id: Scalar = None
    conversationId: Scalar = None
    sender: Scalar = None
    receiverType: Scalar = None
    receiver: Scalar = None
    sentAt: Scalar = None
    messageId: Scalar = None
    receiptType: Scalar = None
    receiptSender: Scalar = None
    receiptReceiver: Scalar = None
    campaignId: Scalar = None
    notificationId: Scalar = None
    pushNotificationId: Scalar = None
    createdAt: Scalar = None
    updatedAt: Scalar = None
    deliveredAt: Scalar = None
    readAt: Scalar = None
    clickedAt: Scalar = None
    engagedAt: Scalar = None


class Payload(_Shape, frozen=True, gc=False):
    """A payload that keeps to the shapes."""

    trigger: str
    appId: Scalar = None
    webhook: Scalar = None
    data: Data = Data()


class OddPayload(_Shape, frozen=True, gc=False):
    """A payload that is an event and may keep to no shape but that."""

    trigger: str
    appId: msgspec.Raw = msgspec.Raw(b"null")
    webhook: msgspec.Raw = msgspec.Raw(b"null")
    data: msgspec.Raw = msgspec.Raw(b"null")


S = TypeVar("S", bound=msgspec.Struct)


def salvaged(shape: type[S], value: Any) -> S:
    """The fields of *value* that have the shape they should have; the others are as if they were missing."""
    if not isinstance(value, dict):
        return shape()
    fields = {}
    for field in msgspec.structs.fields(shape):
        if field.name in value:
            fields[field.name] = _salvaged_field(field.type, value[field.name], field.default)
    return shape(**fields)


def _salvaged_field(shape: Any, value: Any, default: Any) -> Any:
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return salvaged(shape, value)
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return default if default is not msgspec.NODEFAULT else {}
