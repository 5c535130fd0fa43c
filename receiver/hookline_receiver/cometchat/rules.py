"""The table: what identifies the events of each trigger. `identity` works it off, `sameness` takes `volatile` from it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from hookline_receiver.cometchat.wire import Data, Message


class Strength(Enum):
    """What a key rests on."""

    OWN_ID = "an id of this event's own: strong"
    MILLISECONDS = "a time in milliseconds: strong where it is there"
    WEAK = "a time in seconds, or none: weak"


class Unit(Enum):
    """How many milliseconds one of a time's unit has."""

    SECONDS = 1000
    MILLISECONDS = 1


def _always(data: Data) -> bool:
    return True


def _nowhere(data: Data) -> str:
    """None: it belongs to no conversation, group or session."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How the events of one trigger, or of one shape of its payloads, are identified. Paths lead from `data`."""

    key: tuple[str, ...]
    """Fields that must be there; where one is missing, or none is named, a digest of the body stands in (weak)."""
    also: tuple[str, ...] = ()
    """Fields that belong to the key where they are there."""
    people: str = ""
    """A map by uid whose keys, sorted, belong to the key."""
    strength: Strength = Strength.WEAK
    subject: tuple[str, str]
    """What kind of thing the event is about, and the path to its id."""
    partition: Callable[[Data], object] = _nowhere
    """Conversation, group or session."""
    time: tuple[str, ...] = ()
    """Paths to when it happened; the first that is there counts."""
    unit: Unit = Unit.SECONDS
    volatile: tuple[str, ...] = ()
    """Objects that a retry may show anew: of users `status` and `lastActiveAt`, of groups `onlineMembersCount`."""
    when: Callable[[Data], bool] = _always
    """Which payloads it is for, where a trigger comes in several shapes."""
    name: str = ""
    """Tells the shapes of one trigger apart."""


def _conversation(message: Message) -> object:
    """`conversationId`, which for groups can also be derived."""
    if message.conversationId is None and message.receiverType == "group":
        return f"group_{message.receiver}"
    return message.conversationId


def _of_message(data: Data) -> object:
    """`message.conversationId`; of a group's message without one, group_{`message.receiver`}."""
    return _conversation(data.message)


def _of_call(data: Data) -> object:
    """`call.conversationId`; of a group's call without one, group_{`call.receiver`}."""
    return _conversation(data.call)


def _of_resource(data: Data) -> object:
    """`resource.conversationId`; of a group's message without one, group_{`resource.receiver`}."""
    return _conversation(data.resource)


def _of_group(data: Data) -> object:
    """group_{`group.guid`}."""
    # Not `group.conversationId`: it was seen to differ from what messages of the group say.
    return data.group.guid and f"group_{data.group.guid}"


def _of_group_details(data: Data) -> object:
    """group_{`groupDetails.guid`}; none in a conversation of two."""
    return data.groupDetails.guid and f"group_{data.groupDetails.guid}"


def _of_notification(data: Data) -> object:
    """`notificationDetails.conversationId`."""
    return data.notificationDetails.conversationId


def _of_flat_message(data: Data) -> object:
    """`conversationId`."""
    return data.conversationId


def _of_session(data: Data) -> object:
    """`sessionId`."""
    return data.sessionId


def _of_reaction(data: Data) -> object:
    """`reaction.conversationId`, else message_{`reaction.messageId`}: reactions to one message stay in order."""
    return data.reaction.conversationId or (data.reaction.messageId and f"message_{data.reaction.messageId}")


def _between(data: Data, one: object, other: object) -> object:
    """The conversation of a receipt, which does not tell it: built as the ids of conversations are."""
    if data.receiverType == "group":
        return f"group_{other}"
    return "_user_".join(sorted((str(one), str(other)))) if one and other else ""


def _of_receipt(data: Data) -> object:
    """The conversation, built of `sender` and `receiver`: the payload does not tell it."""
    return _between(data, data.sender, data.receiver)


def _of_legacy_receipt(data: Data) -> object:
    """The conversation, built of `receiptSender` and `receiptReceiver`: the payload does not tell it."""
    return _between(data, data.receiptSender, data.receiptReceiver)


def _is_action(data: Data) -> bool:
    """An edit or a delete told by an action message with an id of its own, the original inside."""
    return data.message.category == "action" and data.message.id != data.message.data.entities.on.entity.id


def _is_legacy_receipt(data: Data) -> bool:
    return data.receiptType is not None


_ENTITIES = ("message.data.entities.*.entity", "message.data.entities.on.entity.data.entities.*.entity")
_GROUP_PEOPLE = ("group", "members.*", "by", "oldOwner")
_ON = "message.data.entities.on.entity"


def _message(*time: str, strength: Strength = Strength.WEAK, also: tuple[str, ...] = ()) -> Rule:
    """About `data.message`."""
    return Rule(
        key=("message.id",),
        also=also,
        strength=strength,
        subject=("message", "message.id"),
        partition=_of_message,
        time=time,
        volatile=(*_ENTITIES, "message.data.mentions.*"),
    )


def _change(time: str) -> tuple[Rule, ...]:
    """An edit or a delete: about the original, which comes in either of two places."""
    action = Rule(
        name="action",
        when=_is_action,
        key=("message.id", f"{_ON}.id"),
        also=(f"{_ON}.{time}",),
        strength=Strength.OWN_ID,
        subject=("message", f"{_ON}.id"),
        partition=_of_message,
        time=(f"{_ON}.{time}", "message.sentAt"),
        volatile=_ENTITIES,
    )
    flat = Rule(
        name="flat",
        key=("message.id",),
        also=(f"message.{time}", "message.updatedAt"),
        subject=("message", "message.id"),
        partition=_of_message,
        time=(f"message.{time}", "message.updatedAt"),
        volatile=(*_ENTITIES, "message.data.mentions.*"),
    )
    return action, flat


_RECEIPT = Rule(
    key=("body.messageId", "body.action"),
    also=("body.user.uid", "body.timestamp"),
    subject=("message", "body.messageId"),
    partition=_of_receipt,
    time=("body.timestamp",),
    volatile=("body.user",),
)

_LEGACY_RECEIPT = Rule(
    name="legacy",
    when=_is_legacy_receipt,
    key=("messageId", "receiptType"),
    also=("receiptSender", "receiptReceiver", "deliveredAt", "readAt"),
    subject=("message", "messageId"),
    partition=_of_legacy_receipt,
    time=("readAt", "deliveredAt"),
)


def _reaction(*time: str) -> Rule:
    """Reactions have ids; a removal bears the time of the reaction, not its own."""
    return Rule(
        key=("reaction.id",),
        also=("reaction.reactedAt",),
        strength=Strength.OWN_ID,
        subject=("message", "reaction.messageId"),
        partition=_of_reaction,
        time=time,
        volatile=("reaction.reactedBy",),
    )


_BLOCK = Rule(key=("by.uid",), people="users", subject=("user", "by.uid"), volatile=("users.*", "by"))


def _group(*time: str) -> Rule:
    """About `data.group`; of times there is at most that of the group's last change."""
    return Rule(
        key=("group.guid",),
        also=("group.updatedAt", "group.createdAt", "group.owner"),
        people="members",
        subject=("group", "group.guid"),
        partition=_of_group,
        time=time,
        volatile=_GROUP_PEOPLE,
    )


_SIGNAL = Rule(
    key=("call.id",),
    also=("call.sentAt",),
    strength=Strength.OWN_ID,
    subject=("message", "call.id"),
    partition=_of_call,
    time=("call.sentAt",),
    volatile=(
        "call.data.entities.*.entity",
        "call.data.entities.on.entity.sender",
        "call.data.entities.on.entity.receiver",
    ),
)


def _session(time: str, *also: str) -> Rule:
    """About a media session."""
    return Rule(
        key=("sessionId", time),
        also=also,
        subject=("session", "sessionId"),
        partition=_of_session,
        time=(time,),
    )


def _occupant(time: str) -> Rule:
    """Somebody comes or goes: the time alone is that of everybody who came in the same second."""
    return _session(f"occupant.{time}", "occupant.uid", "occupant.id", "occupant.name")


_FAILED_MODERATION = Rule(
    key=("resource.id",),
    also=("contentType", "completedAt"),
    subject=("message", "resource.id"),
    partition=_of_resource,
    time=("completedAt",),
    volatile=("resource.data.entities.*.entity",),
)

_MODERATION = _message("message.updatedAt", "message.sentAt", also=("contentType", "message.updatedAt"))


def _campaign(subject: str, path: str, *time: str, strength: Strength = Strength.WEAK) -> Rule:
    """About a campaign, a notification or an item of one; what happens to it once is told by its id alone."""
    return Rule(key=(path,), also=time, strength=strength, subject=(subject, path), time=time)


_PUSH = Rule(
    key=("to.uid", "notificationDetails.sentAt"),
    also=("notificationDetails.tag", "notificationDetails.type", "notificationDetails.callAction"),
    strength=Strength.MILLISECONDS,
    subject=("user", "to.uid"),
    partition=_of_notification,
    time=("notificationDetails.sentAt",),
    unit=Unit.MILLISECONDS,
)

_DIGEST_MAIL = Rule(key=(), subject=("user", "to.uid"), partition=_of_group_details)

RULES: dict[str, tuple[Rule, ...]] = {
    # trigger                      rules; of several the first whose `when` holds
    "message_sent": (_message("message.sentAt", strength=Strength.OWN_ID),),
    "message_edited": _change("editedAt"),
    "message_deleted": _change("deletedAt"),
    "message_reaction_added": (_reaction("reaction.reactedAt"),),
    "message_reaction_removed": (_reaction(),),
    "message_delivery_receipt": (_LEGACY_RECEIPT, _RECEIPT),
    "message_read_receipt": (_LEGACY_RECEIPT, _RECEIPT),
    "message_delivered_to_all": (_RECEIPT,),
    "message_read_by_all": (_RECEIPT,),
    "user_mentioned": (_message("message.sentAt", strength=Strength.OWN_ID),),
    "user_blocked": (_BLOCK,),
    "user_unblocked": (_BLOCK,),
    "user_connection_status_changed": (
        Rule(
            key=("user.uid", "timestamp"),
            also=("status",),
            strength=Strength.MILLISECONDS,
            subject=("user", "user.uid"),
            time=("timestamp",),
            unit=Unit.MILLISECONDS,
            volatile=("user",),
        ),
    ),
    "group_created": (_group("group.createdAt"),),
    "group_updated": (_group("group.updatedAt"),),
    "group_deleted": (_group("group.updatedAt"),),
    "group_owner_transferred": (_group("group.updatedAt"),),
    "group_member_added": (_group("group.updatedAt"),),
    "group_member_joined": (_group("group.updatedAt"),),
    "group_member_left": (_group("group.updatedAt"),),
    "group_member_kicked": (_group("group.updatedAt"),),
    "group_member_banned": (_group("group.updatedAt"),),
    "group_member_unbanned": (_group("group.updatedAt"),),
    "group_member_scope_changed": (_group("group.updatedAt"),),
    "call_initiated": (_SIGNAL,),
    "call_busy": (_SIGNAL,),
    "call_cancelled": (_SIGNAL,),
    "call_rejected": (_SIGNAL,),
    "call_unanswered": (_SIGNAL,),
    "call_started": (_session("created_at"),),
    "call_participant_joined": (_occupant("joined_at"),),
    "call_participant_left": (_occupant("left_at"),),
    "call_ended": (_session("destroyed_at"),),
    "meeting_started": (_session("created_at"),),
    "meeting_participant_joined": (_occupant("joined_at"),),
    "meeting_participant_left": (_occupant("left_at"),),
    "meeting_ended": (_session("destroyed_at"),),
    "recording_generated": (_session("startTime"),),
    "transcription_generated": (_session("startTime", "endTime"),),
    "moderation_engine_approved": (_MODERATION,),
    "moderation_engine_blocked": (_MODERATION,),
    "moderation_engine_failed": (_FAILED_MODERATION,),
    "moderation_manual_approved": (_MODERATION,),
    "after_campaign_completed": (_campaign("campaign", "campaignId", "completedAt"),),
    "after_campaign_failed": (_campaign("campaign", "campaignId", "completedAt"),),
    "after_notification_created": (_campaign("notification", "notificationId", "createdAt", strength=Strength.OWN_ID),),
    "after_feed_item_sent": (_campaign("feed-item", "id", "sentAt", strength=Strength.OWN_ID),),
    "after_feed_item_delivered": (_campaign("feed-item", "id", "deliveredAt"),),
    "after_feed_item_read": (_campaign("feed-item", "id", "readAt"),),
    "after_feed_item_interacted": (_campaign("feed-item", "id", "engagedAt"),),
    "after_push_notification_sent": (
        _campaign("push-notification", "pushNotificationId", "sentAt", strength=Strength.OWN_ID),
    ),
    "after_push_notification_delivered": (_campaign("push-notification", "pushNotificationId", "deliveredAt"),),
    "after_push_notification_clicked": (_campaign("push-notification", "pushNotificationId", "clickedAt"),),
    "push-notification-payload-generated": (_PUSH,),
    "email-notification-payload-generated": (_DIGEST_MAIL,),
    "sms-notification-payload-generated": (_DIGEST_MAIL,),
    "before_message": (
        Rule(
            key=("conversationId", "sender", "sentAt"),
            subject=("user", "sender"),
            partition=_of_flat_message,
            time=("sentAt",),
            volatile=("data.entities.*.entity",),
        ),
    ),
    "after_message": (
        Rule(
            key=("id",),
            strength=Strength.OWN_ID,
            subject=("message", "id"),
            partition=_of_flat_message,
            time=("sentAt",),
            volatile=("data.entities.*.entity",),
        ),
    ),
    "after_connection_status_changed": (
        Rule(
            key=("user.uid", "event.at"),
            also=("event.type", "event.event_for.session_id", "event.event_for.cometchat_device_id"),
            strength=Strength.MILLISECONDS,
            subject=("user", "user.uid"),
            time=("event.at",),
            unit=Unit.MILLISECONDS,
        ),
    ),
}
"""Triggers that are missing here are identified by a digest of the body."""
