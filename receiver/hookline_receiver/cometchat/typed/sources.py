"""
Where a field of a message is found in the JSON.

By default under its own name, in lower camel case as most payloads write it or in snake case as calls do. `SOURCES` has
the others.
"""

from dataclasses import dataclass
from enum import Enum


class As(Enum):
    """How a value is to be understood, where the type of the field does not say."""

    PLAIN = "as the field's type says"
    PLACEHOLDER = "a time, or words that stand in its place in the documentation and are left out"
    JSON = "an object, or a text that holds one as JSON; other texts are left out"
    MILLISECONDS = "a duration in milliseconds"
    SUBJECT = "what an action was done to, without what that may have been done to in turn"


@dataclass(frozen=True, slots=True)
class Source:
    """Paths lead from the object that the message is made of; "" is that object itself."""

    paths: tuple[str, ...]
    """The first that leads to something counts."""
    entity: str = ""
    """The path leads to {entity, entityType}: taken if it is an entity of this type."""
    read: As = As.PLAIN


def at(*paths: str, read: As = As.PLAIN) -> Source:
    """The value at the first of *paths* that leads to one."""
    return Source(paths, read=read)


def entity(path: str, kind: str, read: As = As.PLAIN) -> Source:
    """The entity at *path*, if it is of that *kind*."""
    return Source((path,), entity=kind, read=read)


ITSELF = at("")

ELSEWHERE = Source(())
"""Not read from one place: `events` puts it together."""

SOURCES: dict[str, dict[str, Source]] = {
    "Payload": {
        "session_type": at("type"),
        "origin_platform": at("origin.platform"),
        "chat_api_version": at("chatAPIVersion"),
    },
    "User": {"phone_number": at("phno")},
    "Message": {
        "text": at("data.text"),
        "metadata": at("data.metadata", "metadata"),
        "mentions": at("data.mentions"),
        "moderation_status": at("data.moderation.status"),
        "resource": at("data.resource"),
        "sender_user": entity("data.entities.sender", "user"),
        "receiver_user": entity("data.entities.receiver", "user"),
        "receiver_group": entity("data.entities.receiver", "group"),
        "action": ELSEWHERE,
    },
    "Action": {
        "name": at("action"),
        "by": entity("entities.by", "user"),
        "message": entity("entities.on", "message", read=As.SUBJECT),
        "user": entity("entities.on", "user"),
        "group": entity("entities.on", "group"),
    },
    "MessageEdited": dict.fromkeys(("message", "edited_at", "edited_by", "editor", "action_message_id"), ELSEWHERE),
    "MessageDeleted": dict.fromkeys(("message", "deleted_at", "deleted_by", "deleter", "action_message_id"), ELSEWHERE),
    "Receipt": {
        "message_id": at("body.messageId"),
        "action": at("body.action"),
        "user": at("body.user"),
        "at": at("body.timestamp"),
    },
    "MessageDeliveryReceipt": {"receipt": ITSELF},
    "MessageReadReceipt": {"receipt": ITSELF},
    "MessageDeliveredToAll": {"receipt": ITSELF},
    "MessageReadByAll": {"receipt": ITSELF},
    "UserConnectionStatusChanged": {"at": at("timestamp")},
    "Connection": {
        "connected_at": at("connectedAt", "connected_at", read=As.PLACEHOLDER),
        "device_id": at("cometchat_device_id"),
    },
    "CallSignal": {
        "actor": at("sender"),
        "caller": ELSEWHERE,
        "callee": ELSEWHERE,
        "action": at("data.action"),
        "session_id": at("data.entities.on.entity.sessionid", "data.entities.on.entity.sessionId"),
        "status": at("data.entities.on.entity.status"),
        "initiated_at": at("data.entities.on.entity.initiatedAt"),
        "by": entity("data.entities.by", "user"),
    },
    "CallStarted": {"started_at": at("created_at")},
    "CallEnded": {"started_at": at("created_at"), "ended_at": at("destroyed_at")},
    "MeetingStarted": {"started_at": at("created_at")},
    "MeetingEnded": {"started_at": at("created_at"), "ended_at": at("destroyed_at")},
    "RecordingGenerated": {"started_at": at("startTime")},
    "TranscriptionGenerated": {"started_at": at("startTime"), "ended_at": at("endTime")},
    "ModerationEngineFailed": {"message": at("resource")},
    "ModerationFailure": {"timeout": at("timeoutMs", read=As.MILLISECONDS)},
    "AfterCampaignCompleted": {"campaign": ITSELF},
    "AfterCampaignFailed": {"campaign": ITSELF},
    "AfterNotificationCreated": {"notification": ITSELF},
    "AfterFeedItemSent": {"item": ITSELF},
    "AfterFeedItemDelivered": {"item": ITSELF},
    "AfterFeedItemRead": {"item": ITSELF},
    "AfterFeedItemInteracted": {"item": ITSELF},
    "AfterPushNotificationSent": {"push_notification": ITSELF},
    "AfterPushNotificationDelivered": {"push_notification": ITSELF},
    "AfterPushNotificationClicked": {"push_notification": ITSELF},
    "PushNotificationPayloadGenerated": {"details": at("notificationDetails")},
    "PushDetails": {"message": at("message", read=As.JSON), "custom": at("custom", read=As.JSON)},
    "SummarizedMessage": {"text": at("message"), "message": at("messageObject", read=As.JSON)},
    "BeforeMessage": {"message": ITSELF},
    "AfterMessage": {"message": ITSELF},
    "AfterConnectionStatusChanged": {
        "status_updated": at("user.status_updated"),
        "status_updated_at": at("user.status_updated_at", read=As.PLACEHOLDER),
        "event": at("event.type"),
        "at": at("event.at", read=As.PLACEHOLDER),
        "event_for": at("event.event_for"),
    },
    "LegacyMessageDeliveryReceipt": {"receipt": ITSELF},
    "LegacyMessageReadReceipt": {"receipt": ITSELF},
    "LegacyReceipt": {"at": at("deliveredAt", "readAt")},
}
"""By message and field."""
