"""What an event says about a message's moderation. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hookline.cometchat.v1 import moderation_pb2, payload_pb2, shapes_pb2
from hookline_kit import Event

BLOCKED, FAILED = "blocked", "failed"
REASON = 300
"""Characters of a reason that are kept."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The message that it is about."""

    app: str
    region: str
    tenant: str
    message: str
    conversation: str
    sender: str
    receiver: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason to have somebody look at a message."""

    subject: Subject
    kind: str
    """BLOCKED: nobody sees the message. FAILED: the engine could not judge it."""
    content_type: str
    """What was judged: a picture with a caption is judged twice."""
    at: int
    """Seconds since the epoch: of the message as it was judged."""
    withheld: bool
    """Whether people can't see the message now."""
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovedElsewhere:
    """Somebody approved the message in CometChat's dashboard, or through its API."""

    subject: Subject
    until: int
    """Findings up to this moment are settled by it."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The message was deleted: there is nothing left to review."""

    app: str
    message: str


Said: TypeAlias = Finding | ApprovedElsewhere | Gone


def read(event: Event) -> Said | None:
    """What *event* says; None if it has no typed payload or names no message."""
    payload = event.payload
    if payload is None:
        return None
    match payload.WhichOneof("event"):
        case "moderation_engine_blocked":
            said: Said = _blocked(event, payload, payload.moderation_engine_blocked)
        case "moderation_engine_failed":
            said = _failed(event, payload, payload.moderation_engine_failed)
        case "moderation_manual_approved":
            approved = payload.moderation_manual_approved.message
            said = ApprovedElsewhere(_subject(event, payload, approved), _moment(approved))
        case "message_deleted":
            said = Gone(payload.app_id, payload.message_deleted.message.id)
        case _:
            return None
    named = said.message if isinstance(said, Gone) else said.subject.message
    return said if named else None


def _blocked(event: Event, payload: payload_pb2.Payload, blocked: moderation_pb2.ModerationEngineBlocked) -> Finding:
    rules = [match.rule.name or match.rule.id for match in blocked.moderation.matches]
    message = blocked.message
    return Finding(
        subject=_subject(event, payload, message),
        kind=BLOCKED,
        content_type=blocked.content_type or message.type,
        at=_moment(message),
        withheld=True,
        reason=_joined(rules) or "blocked by the engine",
    )


def _failed(event: Event, payload: payload_pb2.Payload, failed: moderation_pb2.ModerationEngineFailed) -> Finding:
    causes = [failure.error_message or failure.category for failure in failed.failures.failures]
    return Finding(
        subject=_subject(event, payload, failed.message),
        kind=FAILED,
        content_type=failed.content_type or failed.message.type,
        at=failed.completed_at.seconds or _moment(failed.message),
        withheld=failed.outcome != "approved",
        reason=_joined(causes) or "the engine failed",
    )


def _subject(event: Event, payload: payload_pb2.Payload, message: shapes_pb2.Message) -> Subject:
    return Subject(
        app=payload.app_id,
        region=payload.region,
        tenant=event.namespace,
        message=message.id,
        conversation=message.conversation_id,
        sender=message.sender,
        receiver=message.receiver,
        text=message.text if message.HasField("text") else None,
    )


def _moment(message: shapes_pb2.Message) -> int:
    """An edited message is another one to judge, so it is when it last changed."""
    return max(message.updated_at.seconds, message.edited_at.seconds, message.sent_at.seconds)


def _joined(parts: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(part for part in parts if part))[:REASON]
