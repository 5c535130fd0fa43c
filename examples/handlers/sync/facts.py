"""
An event → facts. Pure.

Aspects are cut so that one event tells a whole aspect or nothing of it:

messages   origin (who, where, when: never changes), content (text: the latest edit), removal (a tombstone)
users      profile, presence
groups     profile, existence
members    membership
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from hookline.cometchat.v1 import message_pb2, payload_pb2, shapes_pb2
from hookline_kit import Event

Value: TypeAlias = str | int | None

LATEST = "~"
"""A version above all that times make: what a tombstone says of the content holds for ever."""


class Aspect(StrEnum):
    """Columns that are told together; the name is that of the table and of the column with their version."""

    MESSAGE_ORIGIN = "messages.origin_version"
    MESSAGE_CONTENT = "messages.content_version"
    MESSAGE_REMOVAL = "messages.removal_version"
    USER_PROFILE = "users.profile_version"
    USER_PRESENCE = "users.presence_version"
    GROUP_PROFILE = "groups.profile_version"
    GROUP_EXISTENCE = "groups.existence_version"
    MEMBERSHIP = "members.membership_version"


@dataclass(frozen=True, slots=True)
class Fact:
    """What an event says about one aspect of one row."""

    aspect: Aspect
    key: tuple[str, ...]
    """App, then the row's own key."""
    version: str
    """Of two facts about one aspect of a row the one with the greater version holds."""
    values: Mapping[str, Value]


MEMBER_STATES = {
    "group_created": "member",
    "group_member_added": "member",
    "group_member_joined": "member",
    "group_member_left": "left",
    "group_member_kicked": "kicked",
    "group_member_banned": "banned",
    "group_member_unbanned": "unbanned",
    "group_member_scope_changed": "member",
}


def facts(event: Event) -> tuple[Fact, ...]:
    """Everything that *event* says; nothing if it is about none of the tables."""
    payload = event.payload
    if payload is None:
        return ()
    reader = _Reader(event, payload.app_id)
    kind = payload.WhichOneof("event") or ""
    found = {(fact.aspect, fact.key): fact for fact in reader.read(payload, kind)}
    return tuple(found.values())


def version(at: Timestamp | None, ingest_id: str) -> str:
    """
    Sorts as *at* does, then as acceptance by the gateway.

    CometChat's times are whole seconds, so two edits may share one: then the one that the gateway took later holds. It
    has to be the ingest id and not the arrival here, as that is another one at each try. Without a time of its own
    (None) an event sorts by acceptance alone: a UUIDv7 begins with its milliseconds.
    """
    if at is None or at.seconds <= 0:
        milliseconds = int(ingest_id.replace("-", "")[:12] or "0", 16)
    else:
        milliseconds = at.seconds * 1000 + at.nanos // 1_000_000
    return f"{milliseconds:015} {ingest_id}"


class _Reader:
    """Takes one event apart."""

    def __init__(self, event: Event, app: str) -> None:
        self._event = event
        self._app = app

    def read(self, payload: payload_pb2.Payload, kind: str) -> Iterator[Fact]:
        match kind:
            case "message_sent":
                yield from self._sent(payload.message_sent.message)
            case "message_edited":
                yield from self._edited(payload.message_edited)
            case "message_deleted":
                yield from self._deleted(payload.message_deleted)
            case "user_connection_status_changed":
                yield from self._connection(payload)
            case "group_created" | "group_updated" | "group_deleted" | "group_owner_transferred":
                yield from self._group(kind, getattr(payload, kind).group)
        if kind in MEMBER_STATES:
            changed = getattr(payload, kind)
            yield from self._members(changed.group, changed.members, MEMBER_STATES[kind])

    def _sent(self, message: shapes_pb2.Message) -> Iterator[Fact]:
        # Edits, deletes and calls make messages of their own, which nobody wrote.
        if not message.id or message.category in ("action", "call"):
            return
        yield from self._origin(message, whole="1")
        yield self._content(message, message.sent_at, edited_at=None)
        yield from self._people(message)

    def _edited(self, edited: message_pb2.MessageEdited) -> Iterator[Fact]:
        message = edited.message
        if message.id:
            yield from self._origin(message)
            yield self._content(message, edited.edited_at, edited_at=seconds(edited.edited_at))

    def _deleted(self, deleted: message_pb2.MessageDeleted) -> Iterator[Fact]:
        """The text goes with the message: whoever deletes it wants it gone here too, for good."""
        message = deleted.message
        if not message.id:
            return
        yield from self._origin(message)
        key = (self._app, message.id)
        gone = {"deleted_at": seconds(deleted.deleted_at), "deleted_by": deleted.deleted_by or None}
        yield self._fact(Aspect.MESSAGE_REMOVAL, key, deleted.deleted_at, gone)
        yield Fact(Aspect.MESSAGE_CONTENT, key, LATEST, {"text": None, "edited_at": None})

    def _origin(self, message: shapes_pb2.Message, whole: str = "0") -> Iterator[Fact]:
        """What never changes, from whichever event tells it; the message itself tells it best, a delete may not."""
        if not message.sender or not message.HasField("sent_at"):
            return
        values: dict[str, Value] = {
            "conversation": message.conversation_id or None,
            "sender": message.sender,
            "receiver_type": message.receiver_type or None,
            "receiver": message.receiver or None,
            "type": message.type or None,
            "sent_at": seconds(message.sent_at),
        }
        made = f"{whole} {version(message.sent_at, self._event.ingest_id)}"
        yield Fact(Aspect.MESSAGE_ORIGIN, (self._app, message.id), made, values)

    def _content(self, message: shapes_pb2.Message, at: Timestamp, *, edited_at: int | None) -> Fact:
        # An edit outdoes the message itself also within the second in which both were made.
        rank = "1" if edited_at is not None else "0"
        made = f"{rank} {version(at, self._event.ingest_id)}"
        text = message.text if message.HasField("text") else None
        return Fact(Aspect.MESSAGE_CONTENT, (self._app, message.id), made, {"text": text, "edited_at": edited_at})

    def _people(self, message: shapes_pb2.Message) -> Iterator[Fact]:
        """A message shows who wrote it and who gets it, as they are at that moment."""
        for user in (message.sender_user, message.receiver_user):
            yield from self._user(user)

    def _user(self, user: shapes_pb2.User) -> Iterator[Fact]:
        """Profiles have no time of their own: the one accepted last holds. Never mix two clocks in one version."""
        if user.uid and user.HasField("name"):
            values: dict[str, Value] = {"name": user.name, "avatar": user.avatar or None, "role": user.role or None}
            yield self._fact(Aspect.USER_PROFILE, (self._app, user.uid), None, values)

    def _connection(self, payload: payload_pb2.Payload) -> Iterator[Fact]:
        changed = payload.user_connection_status_changed
        yield from self._user(changed.user)
        if changed.user.uid:
            values: dict[str, Value] = {"status": changed.status or None, "status_at": seconds(changed.at)}
            yield self._fact(Aspect.USER_PRESENCE, (self._app, changed.user.uid), changed.at, values)

    def _group(self, kind: str, group: shapes_pb2.Group) -> Iterator[Fact]:
        if not group.guid:
            return
        key = (self._app, group.guid)
        at = group.updated_at if group.HasField("updated_at") else group.created_at
        profile: dict[str, Value] = {
            "name": group.name or None,
            "type": group.type or None,
            "owner": group.owner or None,
            "created_at": seconds(group.created_at),
        }
        yield self._fact(Aspect.GROUP_PROFILE, key, at, profile)
        # A group may be made anew under an old guid, so its existence goes by time and not for ever.
        if kind == "group_created":
            yield self._fact(Aspect.GROUP_EXISTENCE, key, group.created_at, {"deleted_at": None})
        elif kind == "group_deleted":
            yield self._fact(Aspect.GROUP_EXISTENCE, key, at, {"deleted_at": seconds(at)})

    def _members(self, group: shapes_pb2.Group, members: shapes_pb2.UserList, state: str) -> Iterator[Fact]:
        """Coming and going has no time of its own in the payloads, so the order of acceptance counts."""
        for user in members.users:
            if group.guid and user.uid:
                yield from self._user(user)
                values: dict[str, Value] = {"state": state, "scope": user.scope or None}
                yield self._fact(Aspect.MEMBERSHIP, (self._app, group.guid, user.uid), None, values)

    def _fact(self, aspect: Aspect, key: tuple[str, ...], at: Timestamp | None, values: Mapping[str, Value]) -> Fact:
        return Fact(aspect, key, version(at, self._event.ingest_id), values)


def seconds(at: Timestamp) -> int | None:
    """Seconds since the epoch; None if there is no time."""
    return at.seconds or None
