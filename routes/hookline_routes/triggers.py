"""Every trigger that CometChat is known to send, and the category that the contract puts it in."""

import difflib
from enum import StrEnum


class Category(StrEnum):
    """The contract's words for kinds of events (CloudEvents attribute `hooklinecategory`)."""

    MESSAGE = "message"
    USER = "user"
    GROUP = "group"
    CALL = "call"
    MEETING = "meeting"
    MEDIA = "media"
    MODERATION = "moderation"
    CAMPAIGN = "campaign"
    NOTIFICATION = "notification"
    LEGACY = "legacy"
    UNKNOWN = "unknown"


MESSAGE = (
    "message_sent",
    "message_edited",
    "message_deleted",
    "message_reaction_added",
    "message_reaction_removed",
    "message_delivery_receipt",
    "message_read_receipt",
    "user_mentioned",
    # Observed, not documented; groups only.
    "message_delivered_to_all",
    "message_read_by_all",
)

NAMES_ONLY = ("message_pinned", "message_unpinned", "conversation_pinned", "conversation_unpinned")
"""Triggers of category message that the dashboard offers and nothing describes: their payload is not known."""

USER = ("user_blocked", "user_unblocked", "user_connection_status_changed")

GROUP = (
    "group_created",
    "group_updated",
    "group_deleted",
    "group_owner_transferred",
    "group_member_added",
    "group_member_joined",
    "group_member_left",
    "group_member_kicked",
    "group_member_banned",
    "group_member_unbanned",
    "group_member_scope_changed",
)

SIGNALLING = ("call_initiated", "call_busy", "call_cancelled", "call_rejected", "call_unanswered")
"""Triggers of category call whose payload is a message about the call."""

CALL_SESSION = ("call_started", "call_participant_joined", "call_participant_left", "call_ended")
"""Triggers of category call whose payload is about the media session."""

MEETING = ("meeting_started", "meeting_participant_joined", "meeting_participant_left", "meeting_ended")

MEDIA = ("recording_generated", "transcription_generated")

MODERATION = (
    "moderation_engine_approved",
    "moderation_engine_blocked",
    "moderation_engine_failed",
    "moderation_manual_approved",
)

CAMPAIGN = (
    "after_campaign_completed",
    "after_campaign_failed",
    "after_notification_created",
    "after_feed_item_sent",
    "after_feed_item_delivered",
    "after_feed_item_read",
    "after_feed_item_interacted",
    "after_push_notification_sent",
    "after_push_notification_delivered",
    "after_push_notification_clicked",
)

NOTIFICATION = (
    "push-notification-payload-generated",
    "email-notification-payload-generated",
    "sms-notification-payload-generated",
)

LEGACY = ("before_message", "after_message", "after_connection_status_changed")

RECEIPTS = ("message_delivery_receipt", "message_read_receipt")
"""Triggers that the legacy system uses as well, with a payload of another shape: their category is seen in the shape."""

CATEGORIES: dict[str, str] = {
    trigger: category.value
    for category, triggers in {
        Category.MESSAGE: MESSAGE + NAMES_ONLY,
        Category.USER: USER,
        Category.GROUP: GROUP,
        Category.CALL: SIGNALLING + CALL_SESSION,
        Category.MEETING: MEETING,
        Category.MEDIA: MEDIA,
        Category.MODERATION: MODERATION,
        Category.CAMPAIGN: CAMPAIGN,
        Category.NOTIFICATION: NOTIFICATION,
        Category.LEGACY: LEGACY,
    }.items()
    for trigger in triggers
}
"""Every known trigger and its category."""

FAMILIES: tuple[tuple[str, Category], ...] = (
    ("message_", Category.MESSAGE),
    ("conversation_", Category.MESSAGE),
    ("user_", Category.USER),
    ("group_", Category.GROUP),
    ("call_", Category.CALL),
    ("meeting_", Category.MEETING),
    ("recording_", Category.MEDIA),
    ("transcription_", Category.MEDIA),
    ("moderation_", Category.MODERATION),
    ("after_campaign_", Category.CAMPAIGN),
    ("after_feed_item_", Category.CAMPAIGN),
    ("after_push_notification_", Category.CAMPAIGN),
)
"""How names begin whose family has been of one category so far."""


def category_of(trigger: str, *, legacy_shape: bool = False) -> str:
    """
    The category of *trigger*; of one that is not known, what its name tells, else "unknown".

    *legacy_shape* says that the payload of a receipt has the legacy system's shape.
    """
    if legacy_shape and trigger in RECEIPTS:
        return Category.LEGACY.value
    return CATEGORIES.get(trigger) or _guess(trigger)


def nearest(trigger: str) -> str:
    """The known trigger that was probably meant by one that is not known; "" if none is like it."""
    near = difflib.get_close_matches(trigger, CATEGORIES, 1, cutoff=0.75)
    return near[0] if near else ""


def _guess(trigger: str) -> str:
    if trigger.endswith("-notification-payload-generated"):
        return Category.NOTIFICATION.value
    family = (category.value for prefix, category in FAMILIES if trigger.startswith(prefix))
    return next(family, Category.UNKNOWN.value)
