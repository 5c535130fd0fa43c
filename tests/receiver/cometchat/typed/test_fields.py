"""
Every field of every documented payload, and of payloads derived for triggers without a sample, is found in the typed form.

The tables say where each field of the JSON goes and what it means there. They are written from the facts known of the
payloads. A test fails if a field of the JSON is in no table, if its value differs, or if the typed form holds more.
"""

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from hookline.cometchat.v1.payload_pb2 import Payload
from hookline_receiver.cometchat.typed import to_payload
from hookline_routes.triggers import CATEGORIES, NAMES_ONLY
from support.cometchat import Payload as Json
from support.cometchat import body_of, every_payload

USER = "uid name avatar role status lastActiveAt:s createdAt:s conversationId scope"
GROUP = (
    "guid name description icon type scope membersCount:n onlineMembersCount:n joinedAt:s hasJoined:b conversationId "
    "createdAt:s updatedAt:s updatedBy owner"
)
MESSAGE = (
    "id muid conversationId sender receiverType receiver category type sentAt:s updatedAt:s editedAt:s editedBy "
    "deletedAt:s deletedBy data.text>text data.resource>resource data.metadata:o>metadata "
    "data.moderation.status>moderation_status"
)
OCCUPANT = "name joined_at:s left_at:s audio_call:t"
CAMPAIGN = (
    "campaignId appId name status templateId templateVersion:n totalTargets:n sentCount:n failedCount:n tag scheduledAt:s "
    "sentAt:s completedAt:s createdAt:s updatedAt:s"
)
ITEM = (
    "id appId notificationId campaignId receiver templateId templateVersion:n channelType channelId templateCategory "
    "categoryId label tags[*]>tags.values[*] alternativeText dataType variables:o status sentAt:s deliveredAt:s readAt:s "
    "engagedAt:s metadata:o realtimeFanout[*]>realtime_fanout.values[*] content:o"
)
PUSH = (
    "pushNotificationId appId notificationId campaignId receiver templateId templateVersion:n channelType channelId "
    "category label tags[*]>tags.values[*] alternativeText dataType variables:o status sentAt:s deliveredAt:s clickedAt:s "
    "engagedAt:s failedAt:s errorMessage tag metadata:o"
)
NOTIFICATION = (
    "notificationId appId campaignId templateId templateVersion:n category label tags[*]>tags.values[*] sendMode priority "
    "channels[*]>channels.values[*] dataType status totalTargets:n sentCount:n failedCount:n createdAt:s"
)
CONDITION = (
    "id entity operand category operator message listId similarityValue:n value[*]>value.values[*] "
    "threshold.comparison threshold.percent:n"
)
RULE = "id name revisionId action[*]>action.values[*] blockedAt:s"
RECEIPT = "receiver receiverType sender messageSender body.action>action body.messageId>message_id body.timestamp:s>at"
LEGACY_RECEIPT = (
    "messageId receiptType deliveredAt:s>at readAt:s>at messageSender receiptSender receiptReceiver receiverType"
)

Row = tuple[str, str, str]
"""Path in the JSON, path in the typed form, meaning of the value."""


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def rows(json: str, typed: str, fields: str) -> Iterator[Row]:
    """*fields* is "name[:meaning][>name there] …"."""
    for field in fields.split():
        source, _, target = field.partition(">")
        name, _, meaning = source.partition(":")
        yield f"{json}.{name}", f"{typed}.{target or snake(name)}", meaning or "text"


def message(json: str, typed: str) -> Iterator[Row]:
    yield from rows(json, typed, MESSAGE)
    yield from rows(f"{json}.data.entities.sender.entity", f"{typed}.sender_user", USER)
    yield from rows(f"{json}.data.entities.receiver.entity", f"{typed}.receiver_user", USER)
    yield from rows(f"{json}.data.entities.receiver.entity", f"{typed}.receiver_group", GROUP)
    yield from rows(f"{json}.data.mentions.*", f"{typed}.mentions.users[*]", USER)


def change(verb: str, person: str, trigger: str) -> Iterator[Row]:
    """The documented shape: an action message, its subject inside."""
    on = "data.message.data.entities.on.entity"
    yield "data.message.id", f"{trigger}.action_message_id", "text"
    yield from message(on, f"{trigger}.message")
    yield from rows("data.message.data.entities.by.entity", f"{trigger}.{person}", USER)
    yield f"{on}.{verb}At", f"{trigger}.{verb}_at", "s"
    yield f"{on}.{verb}By", f"{trigger}.{verb}_by", "text"


def group(trigger: str) -> Iterator[Row]:
    yield from rows("data.group", f"{trigger}.group", GROUP)
    yield from rows("data.members.*", f"{trigger}.members.users[*]", USER)
    yield from rows("data.by", f"{trigger}.by", USER)
    yield from rows("data.oldOwner", f"{trigger}.old_owner", USER)


def call(trigger: str) -> Iterator[Row]:
    yield from rows(
        "data.call", f"{trigger}.call", "id conversationId sender>actor receiverType type sentAt:s updatedAt:s"
    )
    yield "data.call.data.action", f"{trigger}.call.action", "text"
    on = "data.call.data.entities.on.entity"
    yield from rows(on, f"{trigger}.call", "sessionid>session_id status initiatedAt:s")
    yield from rows("data.call.data.entities.by.entity", f"{trigger}.call.by", USER)
    callee_acted = trigger in ("call_busy", "call_rejected")
    yield "data.call.sender", f"{trigger}.call.{'callee' if callee_acted else 'caller'}", "text"
    yield "data.call.receiver", f"{trigger}.call.{'caller' if callee_acted else 'callee'}", "text"


def session(trigger: str) -> Iterator[Row]:
    yield from rows("data", trigger, "sessionId created_at:s>started_at destroyed_at:s>ended_at")
    yield from rows("data.occupant", f"{trigger}.occupant", OCCUPANT)
    yield from rows("data.all_occupants[*]", f"{trigger}.all_occupants.occupants[*]", OCCUPANT)
    config = "is_video_muted:t start_recording_on_call_start:t call_version is_audio_muted:t sdk mode platform is_audio_only:t"
    yield from rows("data.initial_config", f"{trigger}.initial_config", config)


def moderation(trigger: str) -> Iterator[Row]:
    yield from message("data.message", f"{trigger}.message")
    yield from rows("data.moderation[*].condition", f"{trigger}.moderation.matches[*].condition", CONDITION)
    yield from rows("data.moderation[*].rule", f"{trigger}.moderation.matches[*].rule", RULE)
    yield "data.reviewed", f"{trigger}.reviewed", "b"


def failed_moderation(trigger: str) -> Iterator[Row]:
    yield from message("data.resource", f"{trigger}.message")
    yield from rows("data", trigger, "contentType outcome completedAt:s")
    failure, typed = "data.failures[*]", f"{trigger}.failures.failures[*]"
    yield from rows(
        failure,
        typed,
        "timeoutMs:dms>timeout failedAt:s category httpStatus:n errorMessage responseBody responseBodyTruncated:b "
        "context.engine context.setting context.request.url context.request.method context.request.bodyBytes:n>"
        "context.request.body_bytes context.request.basicAuthSent:b>context.request.basic_auth_sent",
    )
    yield from rows(f"{failure}.context.rule", f"{typed}.context.rule", RULE)
    yield from rows(f"{failure}.context.condition", f"{typed}.context.condition", CONDITION)


def provider(trigger: str) -> Iterator[Row]:
    yield from rows("data.to", f"{trigger}.to", "uid name email phno>phone_number")
    yield from rows("data", trigger, "subject smsContent")
    yield from rows("data.messages[*].sender", f"{trigger}.messages.messages[*].sender", USER)
    yield "data.messages[*].message", f"{trigger}.messages.messages[*].text", "text"
    yield from rows("data.groupDetails", f"{trigger}.group_details", GROUP)
    yield from rows("data.senderDetails", f"{trigger}.sender_details", USER)
    details = (
        "title body sender senderName senderAvatar receiver receiverName receiverAvatar receiverType tag conversationId "
        "type callAction sessionId callType sentAt:ms unreadMessageCount:n"
    )
    yield from rows("data.notificationDetails", f"{trigger}.details", details)


def presence(trigger: str) -> Iterator[Row]:
    yield from rows("data", trigger, "timestamp:ms>at status userPresenceChanged:b")
    yield from rows("data.user", f"{trigger}.user", USER)
    yield from rows("data.currentConnection", f"{trigger}.current_connection", "action platform connectedAt:ms")


def legacy_presence(trigger: str) -> Iterator[Row]:
    yield from rows("data.user", f"{trigger}.user", "uid status")
    yield "data.user.status_updated", f"{trigger}.status_updated", "b"
    yield "data.event.type", f"{trigger}.event", "text"
    connection = "cometchat_device_id>device_id session_id platform"
    yield from rows("data.event.event_for", f"{trigger}.event_for", connection)
    yield from rows("data.connections[*]", f"{trigger}.connections.connections[*]", connection)


def table_for(name: str, trigger: str) -> list[Row]:
    """Where the fields of an event of *trigger* go."""
    return [*HEAD, *_event(name, trigger.replace("-", "_"))]


HEAD: list[Row] = [
    ("appId", "app_id", "text"),
    ("region", "region", "text"),
    ("webhook", "webhook", "text"),
    ("type", "session_type", "text"),
    ("origin.platform", "origin_platform", "text"),
]


def _event(name: str, trigger: str) -> Iterator[Row]:
    if name.startswith("legacy.message_"):
        return rows("data", f"legacy_{trigger}.receipt", LEGACY_RECEIPT)
    if trigger in ("message_sent", "user_mentioned"):
        return message("data.message", f"{trigger}.message")
    if trigger in ("before_message", "after_message"):
        return message("data", f"{trigger}.message")
    if trigger == "message_edited":
        return change("edited", "editor", trigger)
    if trigger == "message_deleted":
        return change("deleted", "deleter", trigger)
    if trigger.startswith("message_reaction"):
        fields = "id messageId reaction uid reactedAt:s reactedBy.uid>reacted_by.uid reactedBy.name>reacted_by.name"
        return rows("data.reaction", f"{trigger}.reaction", fields)
    if trigger.startswith("message_"):
        user = " ".join(f"body.user.{field}>user.{snake(field)}" for field in ("uid", "name", "status"))
        return rows("data", f"{trigger}.receipt", f"{RECEIPT} {user}")
    return _other_event(trigger)


def _other_event(trigger: str) -> Iterator[Row]:
    if trigger in ("user_blocked", "user_unblocked"):
        blocked = rows("data.users.*", f"{trigger}.users.users[*]", USER)
        return iter([*blocked, *rows("data.by", f"{trigger}.by", USER)])
    if trigger == "user_connection_status_changed":
        return presence(trigger)
    if trigger == "after_connection_status_changed":
        return legacy_presence(trigger)
    if trigger.startswith("group_"):
        return group(trigger)
    if trigger.removeprefix("call_") in ("initiated", "busy", "cancelled", "rejected", "unanswered"):
        return call(trigger)
    if trigger.startswith(("call_", "meeting_")):
        return session(trigger)
    if trigger == "recording_generated":
        return rows("data", trigger, "sessionId startTime:s>started_at duration:d recordingDate recording_url")
    if trigger == "transcription_generated":
        return rows("data", trigger, "sessionId startTime:s>started_at endTime:s>ended_at")
    if trigger == "moderation_engine_failed":
        return failed_moderation(trigger)
    if trigger.startswith("moderation_"):
        return moderation(trigger)
    if trigger.startswith("after_campaign_"):
        return rows("data", f"{trigger}.campaign", CAMPAIGN)
    if trigger == "after_notification_created":
        return rows("data", f"{trigger}.notification", NOTIFICATION)
    if trigger.startswith("after_feed_item_"):
        return rows("data", f"{trigger}.item", ITEM)
    if trigger.startswith("after_push_notification_"):
        return rows("data", f"{trigger}.push_notification", PUSH)
    return provider(trigger)


NOT_MODELLED = re.compile(
    r"trigger|.*\.entityType"  # they choose the message
    r"|.*\?"  # the documentation's mark for "optional", in place of the field's name
    r"|data\.type|data\.call\.category"  # always "receipts", always "call"
    r"|data\.call\.data\.entities\.on\.entity\.type"  # repeats the call's
    r"|.*\.(messageObject|custom|notificationDetails\.message)"  # a placeholder for JSON in the samples
    r"|data\.(user\.status_updated_at|event\.at|.*\.connected_at)"  # words in place of times in the legacy sample
    r"|.*\.condition\.(isKeywordsReferencePresent|isMediaPresent|_id|disallowedSentences.*|basicAuthEnabled|weight)"
    r"|data\.message\.(conversationId|sender|receiverType|receiver|category|type|data\.action|sentAt|updatedAt)"
    # ^ of an action message: it repeats its subject's; only looked at where no table has it
)


def json_leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no container, and its path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from json_leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from json_leaves(inner, f"{path}[{place}]")
    else:
        yield path, value


def typed_leaves(value: Message, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that is set, and its path."""
    for field, inner in value.ListFields():
        inner_path = f"{path}.{field.name}" if path else field.name
        if field.message_type is None:
            values = enumerate(inner) if field.is_repeated else []
            yield from ((f"{inner_path}[{place}]", element) for place, element in values)
            if not field.is_repeated:
                yield inner_path, inner
        elif field.is_repeated:
            for place, element in enumerate(inner):
                yield from typed_leaves(element, f"{inner_path}[{place}]")
        elif isinstance(inner, Timestamp | Duration | Struct):
            yield inner_path, inner
        else:
            yield from typed_leaves(inner, inner_path)


def meant(value: Any, meaning: str) -> Any:
    """What the facts say that *value* means."""
    match meaning:
        case "s":
            return Timestamp(seconds=int(value))
        case "ms":
            return Timestamp(seconds=int(value) // 1000, nanos=int(value) % 1000 * 1_000_000)
        case "d":
            return Duration(seconds=math.floor(float(value)), nanos=int(Decimal(value) % 1 * 10**9))
        case "dms":
            return Duration(seconds=value // 1000, nanos=value % 1000 * 1_000_000)
        case "t":
            return {"true": True, "false": False}[value]
        case "text":
            return str(value)
    return value


def expected_leaves(name: str, payload: Json) -> dict[str, Any]:
    """The typed form as the tables have it."""
    table = table_for(name, payload["trigger"])
    objects = {row[0]: row for row in table if row[2] == "o"}
    found: dict[str, Any] = {}
    for path, value in flattened(payload, set(objects)):
        if value is None:
            continue
        goes_to = [there for there in (_there(row, path) for row in table) if there]
        goes_to = [there for there in goes_to if _fits(there[0], payload)]
        assert goes_to or NOT_MODELLED.fullmatch(path), f"no table has {path}"
        found |= {typed: meant(value, meaning) for typed, meaning in goes_to}
    return found


def flattened(payload: Json, objects: set[str]) -> Iterator[tuple[str, Any]]:
    """Leaves, those of metadata and its like as one."""
    seen = set()
    for path, value in json_leaves(payload):
        whole = next((name for name in objects if path.startswith(f"{name}.") or path == name), None)
        if whole is None:
            yield path, value
        elif whole not in seen:
            seen.add(whole)
            yield whole, _at(payload, whole)
    for name in objects - seen:
        if (value := _at(payload, name)) is not None:
            yield name, value


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _there(row: Row, path: str) -> tuple[str, str] | None:
    """Where *path* goes by *row*: places of lists and uids of maps become places."""
    json, typed, meaning = row
    pattern = re.escape(json).replace(r"\[\*\]", r"\[(\d+)\]").replace(r"\.\*", r"\.([^.]+)")
    if not (matched := re.fullmatch(pattern, path)):
        return None
    for place in matched.groups():
        # No sample has more than one user in a map.
        typed = typed.replace("[*]", f"[{place if place.isdecimal() else 0}]", 1)
    return typed, meaning


def _fits(typed: str, payload: Json) -> bool:
    """Of the two entities that a message can be for, the one that it is for."""
    message = payload["data"].get("message") or payload["data"]
    for_group = isinstance(message, dict) and message.get("receiverType") == "group"
    return not (".receiver_user." in typed and for_group) and not (".receiver_group." in typed and not for_group)


@pytest.mark.parametrize("name", every_payload())
def test_every_field_arrives_with_its_meaning_and_nothing_is_invented(name: str) -> None:
    """The typed form is what handlers trust instead of reading the JSON."""
    json = every_payload()[name]

    payload = to_payload(body_of(json))

    assert isinstance(payload, Payload), payload
    found = {
        path: MessageToDict(value) if isinstance(value, Struct) else value for path, value in typed_leaves(payload)
    }
    assert found == expected_leaves(name, json)


def test_every_documented_trigger_has_been_seen_here() -> None:
    """A trigger without a payload in the tests is a trigger that was never typed."""
    seen = {payload["trigger"] for payload in every_payload().values()}

    assert seen == set(CATEGORIES) - set(NAMES_ONLY)


def test_every_message_of_the_contract_is_used_by_some_payload() -> None:
    """A member of the oneof that no payload becomes would be a promise that is not kept."""
    typed = [to_payload(body_of(payload)) for payload in every_payload().values()]
    members = {field.name for field in Payload.DESCRIPTOR.oneofs_by_name["event"].fields}

    assert {payload.WhichOneof("event") for payload in typed if isinstance(payload, Payload)} == members
