"""What a mail needs of an event."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from hookline_kit.messages import MessageSent, User, UserConnectionStatusChanged, UserMentioned

_ONLINE = {"available": True, "online": True, "offline": False}
_NOT_WRITTEN = ("action", "call")
"""Categories of messages that nobody wrote: "X was added", "missed call"."""
_MENTION = re.compile(r"<@uid:([^>]*)>")

MessageEvent: TypeAlias = MessageSent | UserMentioned


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


def read_message(app: str, told: MessageEvent) -> Message | None:
    """The message that was sent, or that mentions; None where CometChat made it itself ("X was added")."""
    message = told.message
    if message.category in _NOT_WRITTEN or not message.id:
        return None
    group = message.receiver_group.name or message.receiver if message.receiver_type == "group" else ""
    mentioned = tuple(_person(user, user.uid) for user in message.mentions.users)
    return Message(
        app=app,
        id=message.id,
        conversation=message.conversation_id,
        group=group,
        sender=_person(message.sender_user, message.sender),
        receiver=None if group else _person(message.receiver_user, message.receiver),
        mentioned=mentioned,
        text=_with_names(message.text, mentioned),
        sent_at=message.sent_at.ToDatetime(tzinfo=UTC),
    )


def read_presence(app: str, changed: UserConnectionStatusChanged) -> Presence | None:
    """Who came or went; None where one of several connections changed and the user's presence did not."""
    online = _ONLINE.get(changed.status)
    stays = changed.HasField("user_presence_changed") and not changed.user_presence_changed
    if online is None or stays or not changed.user.uid:
        return None
    return Presence(app, changed.user.uid, online, changed.at.ToDatetime(tzinfo=UTC))


def _person(user: User, uid: str) -> Person:
    return Person(uid, user.name or uid, _ONLINE.get(user.status))


def _with_names(text: str, mentioned: tuple[Person, ...]) -> str:
    """CometChat writes a mention as "<@uid:…>"."""
    names = {person.uid: person.name for person in mentioned}
    return _MENTION.sub(lambda found: "@" + names.get(found[1], found[1]), text)
