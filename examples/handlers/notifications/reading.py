"""What a mail needs of an event."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from hookline.cometchat.v1 import message_pb2, shapes_pb2, user_pb2
from hookline_kit import Event

_ONLINE = {"available": True, "online": True, "offline": False}
_NOT_WRITTEN = ("action", "call")
"""Categories of messages that nobody wrote: "X was added", "missed call"."""
_MENTION = re.compile(r"<@uid:([^>]*)>")

MessageEvent: TypeAlias = message_pb2.MessageSent | message_pb2.UserMentioned


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, as a payload shows them."""

    uid: str
    name: str
    online: bool | None = None
    """None: the payload does not say."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that somebody wrote."""

    app: str
    id: str
    conversation: str
    group: str
    """Name of the group it was sent to; "" between two people."""
    sender: Person
    receiver: Person | None
    """None in a group."""
    mentioned: tuple[Person, ...]
    text: str
    """With names where mentions were; "" of a picture and the like."""
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Presence:
    """That somebody came or went."""

    app: str
    uid: str
    online: bool
    at: datetime


def read_message(event: Event) -> Message | None:
    """The message of a `message_sent` or `user_mentioned`; None where CometChat made it itself ("X was added")."""
    payload = event.payload
    if payload is None:
        return None
    sent: MessageEvent = payload.message_sent if payload.HasField("message_sent") else payload.user_mentioned
    message = sent.message
    if message.category in _NOT_WRITTEN or not message.id:
        return None
    group = message.receiver_group.name or message.receiver if message.receiver_type == "group" else ""
    mentioned = tuple(_person(user, user.uid) for user in message.mentions.users)
    return Message(
        app=payload.app_id,
        id=message.id,
        conversation=message.conversation_id,
        group=group,
        sender=_person(message.sender_user, message.sender),
        receiver=None if group else _person(message.receiver_user, message.receiver),
        mentioned=mentioned,
        text=_with_names(message.text, mentioned),
        sent_at=message.sent_at.ToDatetime(tzinfo=UTC),
    )


def read_presence(event: Event) -> Presence | None:
    """Who came or went; None where one of several connections changed and the user's presence did not."""
    payload = event.payload
    if payload is None:
        return None
    changed: user_pb2.UserConnectionStatusChanged = payload.user_connection_status_changed
    online = _ONLINE.get(changed.status)
    stays = changed.HasField("user_presence_changed") and not changed.user_presence_changed
    if online is None or stays or not changed.user.uid:
        return None
    return Presence(payload.app_id, changed.user.uid, online, changed.at.ToDatetime(tzinfo=UTC))


def _person(user: shapes_pb2.User, uid: str) -> Person:
    return Person(uid, user.name or uid, _ONLINE.get(user.status))


def _with_names(text: str, mentioned: tuple[Person, ...]) -> str:
    """CometChat writes a mention as "<@uid:…>"."""
    names = {person.uid: person.name for person in mentioned}
    return _MENTION.sub(lambda found: "@" + names.get(found[1], found[1]), text)
