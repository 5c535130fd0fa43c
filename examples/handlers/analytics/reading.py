"""What an event adds to the tables. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from hookline.cometchat.v1 import call_pb2, meeting_pb2, payload_pb2
from hookline_kit import Event

Ended: TypeAlias = call_pb2.CallEnded | meeting_pb2.MeetingEnded


class Table(StrEnum):
    """Where something is added."""

    EVENTS = "events"
    MESSAGES = "messages"
    USERS = "users"
    SESSIONS = "sessions"


@dataclass(frozen=True, slots=True)
class Increment:
    """One row to add to: the key that finds it, and how much."""

    table: Table
    key: tuple[str, ...]
    amounts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """An event, reduced to what it adds."""

    source: str
    id: str
    increments: tuple[Increment, ...]


def count(event: Event, now: datetime) -> Counted:
    """What *event* adds; *now* stands in for its time if it has none."""
    at = event.time or now
    tenant = event.namespace
    increments = [Increment(Table.EVENTS, (tenant, hour(at), event.trigger), (1,))]
    if event.payload is not None:
        increments.extend(_of_message(tenant, event.payload, at))
        increments.extend(_of_session(tenant, event.payload))
        increments.extend(Increment(Table.USERS, (tenant, day(at), uid)) for uid in _active(event.payload) if uid)
    return Counted(event.source, event.id, tuple(increments))


def hour(at: datetime) -> str:
    """The hour that *at* lies in, UTC; texts sort as times do."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:00Z}"


def day(at: datetime) -> str:
    """The day that *at* lies in, UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def _of_message(tenant: str, payload: payload_pb2.Payload, at: datetime) -> Iterator[Increment]:
    if not payload.HasField("message_sent"):
        return
    message = payload.message_sent.message
    # Edits, deletes and calls make messages too, which nobody wrote.
    if message.category not in ("action", "call"):
        yield Increment(Table.MESSAGES, (tenant, message.conversation_id, hour(at)), (1,))


def _active(payload: payload_pb2.Payload) -> tuple[str, ...]:
    """Who did something."""
    match payload.WhichOneof("event"):
        case "message_sent":
            return (payload.message_sent.message.sender,)
        case "message_edited":
            return (payload.message_edited.edited_by,)
        case "message_deleted":
            return (payload.message_deleted.deleted_by,)
        case "message_reaction_added":
            return (payload.message_reaction_added.reaction.uid,)
        case "message_read_receipt":
            return (payload.message_read_receipt.receipt.user.uid,)
        case "call_initiated":
            return (payload.call_initiated.call.actor,)
        case _:
            return ()


def _of_session(tenant: str, payload: payload_pb2.Payload) -> Iterator[Increment]:
    if payload.HasField("call_ended"):
        yield _session(tenant, "call", payload.call_ended)
    elif payload.HasField("meeting_ended"):
        yield _session(tenant, "meeting", payload.meeting_ended)


def _session(tenant: str, kind: str, ended: Ended) -> Increment:
    """How long it was, and how long everybody together was in it."""
    occupants = ended.all_occupants.occupants
    presence = sum(_between(each.joined_at, each.left_at, ended.ended_at) for each in occupants)
    length = _between(ended.started_at, ended.ended_at, ended.ended_at)
    key = (tenant, day(ended.ended_at.ToDatetime(tzinfo=UTC)), kind)
    return Increment(Table.SESSIONS, key, (1, length, len(occupants), presence))


def _between(begin: Timestamp, end: Timestamp, otherwise: Timestamp) -> int:
    """Seconds; who is not said to have left was there until the end. Never negative, whatever the payload says."""
    return max(0, (end.seconds or otherwise.seconds) - begin.seconds) if begin.seconds else 0
