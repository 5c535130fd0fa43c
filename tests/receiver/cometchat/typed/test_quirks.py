"""What the payloads make hard is easy in the typed form, and what is broken is said."""

import copy
import json
import random
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from hookline.cometchat.v1.payload_pb2 import Payload
from hookline.handler.v1.handler_pb2 import DeliverRequest, Delivery, Untyped
from hookline_receiver.cometchat.typed import to_payload
from hookline_receiver.cometchat.typed.values import MAX_ELEMENTS, MAX_STRUCT_DEPTH, MAX_VALUES, VALUES_PER_OBJECT
from hookline_routes.triggers import NAMES_ONLY
from support.cometchat import Payload as Json
from support.cometchat import a_payload, body_of, changed, every_payload, sample, without

MAX_BODY = 2 * 1024 * 1024
"""The largest body that a gateway accepts by default."""


def typed(payload: Json) -> Payload:
    found = to_payload(body_of(payload))
    assert isinstance(found, Payload), found
    return found


def untyped(body: bytes) -> Untyped:
    found = to_payload(body)
    assert isinstance(found, Untyped), found
    return found


def utc(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)  # type: ignore[misc,arg-type]


FLAT_EDIT = a_payload(
    "message_edited",
    {
        "message": {
            "id": "1",
            "sender": "anna",
            "receiverType": "user",
            "receiver": "ben",
            "category": "message",
            "type": "text",
            "data": {"text": "hello, edited"},
            "sentAt": 1696934912,
            "editedAt": 1696934985,
            "editedBy": "anna",
        }
    },
)


def test_an_edit_tells_the_edited_message_in_whichever_shape_it_came() -> None:
    """Documented: an action message, the original three levels down. Observed: the original itself."""
    nested, flat = typed(sample("message_edited")).message_edited, typed(FLAT_EDIT).message_edited

    assert (nested.message.id, nested.action_message_id, nested.editor.name) == ("1", "2", "Andrew Joseph")
    assert (flat.message.id, flat.message.text) == ("1", "hello, edited")
    assert nested.edited_at.ToDatetime(UTC) == flat.edited_at.ToDatetime(UTC) == utc(2023, 10, 10, 10, 49, 45)
    assert (nested.edited_by, flat.edited_by) == ("cometchat-uid-1", "anna")
    assert not flat.HasField("action_message_id")
    assert not nested.message.HasField("action")


def test_a_change_that_does_not_say_when_takes_the_time_of_what_tells_it() -> None:
    """The action message is made by the edit; the original is updated by it."""
    on = "data.message.data.entities.on.entity.deletedAt"
    nested = typed(without(sample("message_deleted"), on)).message_deleted
    flat = typed(changed(without(FLAT_EDIT, "data.message.editedAt"), "data.message.updatedAt", 1696934999))

    assert nested.deleted_at.seconds == 1696935005
    assert flat.message_edited.edited_at.seconds == 1696934999


def test_an_action_message_tells_who_did_what_to_what() -> None:
    """CometChat sends them as message_sent, by itself."""
    payload = typed(changed(sample("message_edited"), "trigger", "message_sent"))
    action = payload.message_sent.message.action

    assert (payload.message_sent.message.category, action.name, action.by.uid) == (
        "action",
        "edited",
        "cometchat-uid-1",
    )
    assert (action.WhichOneof("on"), action.message.id, action.message.text) == ("message", "1", "hello")


@pytest.mark.parametrize(("kind", "ident"), [("user", {"uid": "ben"}), ("group", {"guid": "hikers"})])
def test_an_action_can_be_done_to_a_user_or_a_group(kind: str, ident: Json) -> None:
    """Somebody was added, a group was renamed."""
    entities = {"by": {"entity": {"uid": "anna"}, "entityType": "user"}, "on": {"entity": ident, "entityType": kind}}
    data = {"message": {"id": "9", "category": "action", "data": {"action": "joined", "entities": entities}}}
    action = typed(a_payload("message_sent", data)).message_sent.message.action

    assert action.WhichOneof("on") == kind
    assert MessageToDict(getattr(action, kind)) == ident


def a_call(trigger: str, sender: str, receiver: str, on: Json | None = None, receiver_type: str = "user") -> Any:
    call: Json = {"id": "5", "sender": sender, "receiver": receiver, "receiverType": receiver_type, "data": {}}
    if on:
        call["data"]["entities"] = {"on": {"entity": on, "entityType": "call"}}
    payload = typed(a_payload(trigger, {"call": call}))
    return getattr(payload, trigger).call


@pytest.mark.parametrize("shape", ["text", "entity", "wrapped"])
def test_caller_and_callee_are_the_same_in_every_step_of_a_call(shape: str) -> None:
    """On reject and busy the payload's sender is the callee."""
    shaped = {
        "text": lambda uid: uid,
        "entity": lambda uid: {"uid": uid},
        "wrapped": lambda uid: {"entity": {"uid": uid}, "entityType": "user"},
    }[shape]
    on = {"sessionid": "s", "sender": shaped("anna"), "receiver": shaped("ben")}
    steps = [
        a_call("call_initiated", "anna", "ben", on),
        a_call("call_rejected", "ben", "anna", on),
        a_call("call_busy", "ben", "anna"),
        a_call("call_cancelled", "anna", "ben"),
        a_call("call_unanswered", "anna", "ben"),
    ]

    assert {(call.caller, call.callee) for call in steps} == {("anna", "ben")}
    assert [call.actor for call in steps] == ["anna", "ben", "ben", "anna", "anna"]
    assert steps[0].session_id == "s"


def test_who_called_a_group_is_not_guessed_from_who_declined() -> None:
    """Absent is better than wrong."""
    initiated = a_call("call_initiated", "anna", "hikers", receiver_type="group")
    rejected = a_call("call_rejected", "ben", "hikers", receiver_type="group")

    assert (initiated.caller, initiated.callee) == ("anna", "hikers")
    assert (rejected.HasField("caller"), rejected.HasField("callee"), rejected.actor) == (False, False, "ben")


@pytest.mark.parametrize(
    "value",
    [1696935103114, "1696935103114", 1696935103.114, "1696935103.114"],
    ids=["milliseconds", "milliseconds as text", "seconds", "seconds as text"],
)
@pytest.mark.parametrize(
    ("name", "path", "field"),
    [
        ("user_connection_status_changed", "data.timestamp", "user_connection_status_changed.at"),
        ("message_sent", "data.message.sentAt", "message_sent.message.sent_at"),
        ("recording_generated", "data.startTime", "recording_generated.started_at"),
        ("call_participant_left", "data.occupant.left_at", "call_participant_left.occupant.left_at"),
    ],
    ids=["presence", "message", "recording", "occupant"],
)
def test_a_time_is_a_time_whatever_its_unit_and_type(name: str, path: str, field: str, value: Any) -> None:
    """Handlers shall never again find out that a time is in milliseconds as a text."""
    found: Any = typed(changed(sample(name), path, value))
    for step in field.split("."):
        found = getattr(found, step)

    assert found.ToDatetime(UTC) == datetime(2023, 10, 10, 10, 51, 43, 114_000, tzinfo=UTC)


@pytest.mark.parametrize("value", [True, "true", "True", "1", 1])
@pytest.mark.parametrize("opposite", [False, "false", "FALSE", "0", 0])
def test_a_boolean_is_a_boolean_whatever_it_comes_as(value: Any, opposite: Any) -> None:
    """The text "false" is true to many languages."""
    joined = changed(sample("call_participant_joined"), "data.initial_config.is_video_muted", value)
    config = typed(
        changed(joined, "data.initial_config.is_audio_muted", opposite)
    ).call_participant_joined.initial_config

    assert (config.is_video_muted, config.is_audio_muted) == (True, False)
    assert not config.HasField("is_audio_only") or config.is_audio_only is True


def test_a_recordings_duration_keeps_its_fractions() -> None:
    """The payload has "21.433000"."""
    duration = typed(sample("recording_generated")).recording_generated.duration

    assert (duration.seconds, duration.nanos) == (21, 433_000_000)


def test_members_are_a_list_with_their_uids() -> None:
    """The payload has a map, several at once, and may leave the uid to the key."""
    members = {"anna": {"uid": "anna", "scope": "admin"}, "ben": {"name": "Ben"}, "cleo": []}
    payload = typed(changed(sample("group_member_joined"), "data.members", members)).group_member_joined

    assert [user.uid for user in payload.members.users] == ["anna", "ben", "cleo"]
    assert (payload.members.users[0].scope, payload.members.users[1].name) == ("admin", "Ben")


def test_people_may_stand_as_objects_or_as_ids() -> None:
    """The shape of `oldOwner` is not documented."""
    as_id = typed(changed(every_payload()["group_owner_transferred"], "data.oldOwner", "anna"))

    assert as_id.group_owner_transferred.old_owner.uid == "anna"


def test_legacy_and_modern_receipts_are_different_messages() -> None:
    """They come under one trigger."""
    modern, legacy = typed(sample("message_delivery_receipt")), typed(sample("legacy.message_delivery_receipt"))

    assert modern.WhichOneof("event") == "message_delivery_receipt"
    assert legacy.WhichOneof("event") == "legacy_message_delivery_receipt"


def test_absent_null_and_empty_are_told_apart() -> None:
    """Absent and null are absent; empty is empty."""
    payload = sample("message_sent")
    del payload["data"]["message"]["type"]
    payload["data"]["message"] |= {"muid": "", "category": None}
    payload["data"]["message"]["data"] |= {"metadata": {}, "mentions": {}}
    message = typed(payload).message_sent.message

    assert not message.HasField("type")
    assert not message.HasField("category")
    assert message.HasField("muid")
    assert message.HasField("metadata")
    assert message.HasField("mentions")
    assert not typed(sample("message_sent")).message_sent.message.HasField("metadata")


def test_an_empty_list_in_place_of_an_object_is_an_empty_object() -> None:
    """PHP writes empty maps so."""
    payload = changed(sample("message_sent"), "data.message.data.metadata", [])
    message = typed(changed(payload, "data.message.data.mentions", [])).message_sent.message

    assert message.HasField("metadata")
    assert len(message.metadata.fields) == len(message.mentions.users) == 0


def test_metadata_arrives_as_it_is() -> None:
    """Whatever JSON the app keeps there."""
    metadata = {"a": [1, 2.5, None, True, {"b": "c"}, []], "@private": {"email": "a@example.com"}, "": ""}
    payload = typed(changed(sample("message_sent"), "data.message.data.metadata", metadata))

    assert MessageToDict(payload.message_sent.message.metadata) == metadata


def test_messages_and_custom_json_inside_notifications_are_read_as_objects_and_as_text() -> None:
    """The documentation shows placeholders there."""
    push = sample("custom-provider.push-notification-payload-generated.chat")
    inside = {"id": "7", "data": {"text": "hi"}}
    for value in (inside, body_of(inside).decode()):
        payload = changed(push, "data.notificationDetails.message", value)
        details = typed(
            changed(payload, "data.notificationDetails.custom", '{"k": 1}')
        ).push_notification_payload_generated.details

        assert (details.message.id, details.message.text, MessageToDict(details.custom)) == ("7", "hi", {"k": 1})


def test_ids_that_come_as_numbers_are_texts() -> None:
    """Most of them are texts already."""
    assert typed(changed(sample("message_sent"), "data.message.id", 57)).message_sent.message.id == "57"


PEOPLE = {"anna": {"name": "Anna"}, "ben": None}


@pytest.mark.parametrize(
    ("name", "path", "value", "field", "expected"),
    [
        ("message_sent", "data.message.sender", {"uid": "anna", "name": "Anna"}, "message.sender", "anna"),
        ("message_sent", "data.message.receiver", {"guid": "hikers"}, "message.receiver", "hikers"),
        ("message_sent", "data.message.sender", {"uid": 7}, "message.sender", "7"),
        ("message_sent", "data.message.sentAt", "2023-10-10T10:49:45.500Z", "message.sent_at.nanos", 500_000_000),
        ("message_sent", "data.message.sentAt", "2023-10-10T12:49:45+02:00", "message.sent_at.seconds", 1696934985),
        ("after_feed_item_sent", "data.sentAt", "1696934985", "item.sent_at.seconds", 1696934985),
        ("after_feed_item_sent", "data.tags", "vip", "item.tags.values", ["vip"]),
        ("after_feed_item_sent", "data.tags", {"0": "a", "2": "b"}, "item.tags.values", ["a", "b"]),
        ("after_feed_item_sent", "data.tags", {}, "item.tags.values", []),
        ("after_feed_item_sent", "data.metadata", '{"a": 1}', "item.metadata.fields", {"a"}),
        ("moderation_engine_failed", "data.failures", {"category": "timeout"}, "failures.failures", 1),
        ("moderation_engine_failed", "data.failures", {"0": {}, "7": {}}, "failures.failures", 2),
        ("message_sent", "data.message.data.entities.sender.entityType", "User", "message.sender_user.name", None),
        ("group_created", "data.members", PEOPLE, "members.users", 2),
    ],
)
def test_shapes_that_mean_the_same_are_typed_the_same(
    name: str, path: str, value: Any, field: str, expected: Any
) -> None:
    """Live payloads are not the documentation's; what is clear must not cost a handler its typed form."""
    payload = changed(sample(name), path, value)
    event = typed(payload)
    found: Any = getattr(event, str(event.WhichOneof("event")))
    for step in field.split("."):
        found = getattr(found, step)

    match expected:
        case list():
            assert list(found) == expected
        case set():
            assert set(found) == expected
        case int() if hasattr(found, "__len__"):
            assert len(found) == expected
        case None:
            assert found
        case _:
            assert found == expected


def test_a_failed_moderation_may_omit_the_message() -> None:
    """Documented: what is absent is omitted."""
    failed = typed(without(sample("moderation_engine_failed"), "data.resource")).moderation_engine_failed

    assert not failed.HasField("message")
    assert len(failed.failures.failures) == 1
    assert untyped(body_of(a_payload("moderation_engine_failed", {}))).detail.startswith("data.resource: expected")


def test_fields_that_nobody_knows_hinder_nothing() -> None:
    """Live payloads carry more than the documentation shows."""
    payload = sample("message_sent")
    payload |= {"brandNew": {"a": [1]}, "x" * 1000: None}
    payload["data"] |= {"type": {"a": 1}, "group": 5}
    payload["data"]["message"]["data"] |= {"attachments": [{"url": "u"}], "interactiveData": {"a": {}}}

    assert typed(payload) == typed(sample("message_sent"))


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf", b" \n"], ids=["byte order mark", "white space"])
def test_what_the_receiver_lets_through_is_typed(body: bytes) -> None:
    """Both read the same."""
    assert to_payload(body + body_of(sample("message_sent"))) == typed(sample("message_sent"))


@pytest.mark.parametrize("broken", [b"\\ud83d", b"\xff"], ids=["half a pair", "not UTF-8"])
def test_a_character_that_can_not_be_read_is_replaced(broken: bytes) -> None:
    """The rest of the event is still worth having."""
    body = body_of(sample("message_sent")).replace(b'"text":"hi"', b'"text":"hi ' + broken + b'"')
    found = to_payload(body)

    assert isinstance(found, Payload)
    assert found.message_sent.message.text == "hi \ufffd"


@pytest.mark.parametrize("trigger", [*NAMES_ONLY, "brand_new", ""])
def test_triggers_without_a_known_shape_have_no_typed_form(trigger: str) -> None:
    """They travel raw."""
    assert untyped(body_of(a_payload(trigger))).reason == Untyped.REASON_UNKNOWN_TRIGGER


@pytest.mark.parametrize(
    ("name", "path", "value", "named"),
    [
        ("message_sent", "data", None, "data: expected an object, got null"),
        ("message_sent", "data", [1], "data: expected an object, got a list"),
        ("message_sent", "data.message", None, "data.message: expected an object, got null"),
        ("message_sent", "data.message", "text", "data.message: expected an object, got a text"),
        ("message_sent", "data.message.id", {"a": 1}, "data.message.id: expected a text, got an object"),
        ("message_sent", "data.message.sentAt", "soon", "data.message.sentAt: expected a time, got a text"),
        ("message_sent", "data.message.sentAt", 10**30, "data.message.sentAt: expected a time between"),
        ("message_sent", "data.message.data.text", True, "data.message.data.text: expected a text, got a boolean"),
        ("message_sent", "data.message.data.metadata", "x", "data.message.data.metadata: expected an object"),
        (
            "message_edited",
            "data.message.data.entities.on",
            {},
            "data.message.data.entities.on.entity: expected an object",
        ),
        ("call_busy", "data.call", 7, "data.call: expected an object, got a number"),
        (
            "call_participant_joined",
            "data.occupant.audio_call",
            "maybe",
            "data.occupant.audio_call: expected a boolean",
        ),
        ("group_created", "data.members", "anna", "data.members: expected a list, got a text"),
        ("group_created", "data.members", {"anna": 7.5}, "data.members[0]: expected an object, got a number"),
        ("group_created", "data.group.membersCount", 1.5, "data.group.membersCount: expected a whole number"),
        ("group_created", "data.group.membersCount", 2**63, "data.group.membersCount: expected a whole number"),
        ("recording_generated", "data.duration", "long", "data.duration: expected a duration"),
        ("recording_generated", "data.duration", -1, "data.duration: expected a duration"),
        ("moderation_engine_failed", "data.failures", "none", "data.failures: expected a list, got a text"),
        ("moderation_engine_failed", "data.failures", {"0": 1}, "data.failures[0]: expected an object, got a number"),
        ("moderation_engine_failed", "data.failures", [{}, []], None),
        ("after_feed_item_sent", "data.tags", [1, [2]], "data.tags[1]: expected a text, got a list"),
        ("message_read_receipt", "data.body", None, "data.body: expected an object, got null"),
        ("message_sent", "appId", {}, "appId: expected a text, got an object"),
    ],
)
def test_a_broken_payload_names_the_field_and_what_came(name: str, path: str, value: Any, named: str | None) -> None:
    """The event is delivered raw, and its handler's author can see why."""
    found = to_payload(body_of(changed(sample(name), path, value)))

    if named is None:
        assert isinstance(found, Payload)
    else:
        assert isinstance(found, Untyped)
        assert found.reason == Untyped.REASON_MALFORMED
        assert found.detail.startswith(named)


def test_a_reason_never_shows_what_the_payload_says() -> None:
    """Reasons go into logs and to people; names of members are private."""
    payload = changed(sample("group_created"), "data.members", {"secret": {"lastActiveAt": "secret"}})

    assert "secret" not in untyped(body_of(payload)).detail


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b'{"trigger":7}', b"[" * 100_000, b"\xff", b'{"trigger":"message_sent"']
)
def test_what_is_no_event_has_no_typed_form(body: bytes) -> None:
    """It can't come here, and does no harm if it does."""
    assert untyped(body).reason == Untyped.REASON_MALFORMED


@pytest.mark.parametrize("depth", [MAX_STRUCT_DEPTH - 1, MAX_STRUCT_DEPTH, 200, 900])
@pytest.mark.parametrize("kind", ["objects", "lists"])
def test_metadata_is_never_nested_deeper_than_handlers_can_read(depth: int, kind: str) -> None:
    """Readers of protobuf give up at 100 levels, and with them the whole batch would fail."""
    metadata: Any = 1
    for _ in range(depth):
        metadata = {"a": metadata} if kind == "objects" else [metadata]
    push = sample("custom-provider.push-notification-payload-generated.chat")
    payload = changed(push, "data.notificationDetails.message", {"data": {"metadata": {"m": metadata}}})

    found = to_payload(body_of(payload))

    assert isinstance(found, Payload) == (depth < MAX_STRUCT_DEPTH)
    if isinstance(found, Payload):
        sent = DeliverRequest(deliveries=[Delivery(payload=found)])
        assert DeliverRequest.FromString(sent.SerializeToString()) == sent


def test_a_message_within_a_message_ends() -> None:
    """Action messages about action messages would go on as deep as the JSON."""
    inner: Any = {"id": "0"}
    for number in range(1, 200):
        on = {"entity": inner, "entityType": "message"}
        inner = {"id": str(number), "category": "action", "data": {"action": "edited", "entities": {"on": on}}}
    action = typed(a_payload("message_sent", {"message": inner})).message_sent.message.action

    assert (action.message.id, action.message.category) == ("198", "action")
    assert not action.message.HasField("action")


def test_too_many_values_make_no_typed_form() -> None:
    """Typing one event must not hold up the others."""
    users = [{"uid": "a"}] * (MAX_VALUES // VALUES_PER_OBJECT + 1)

    found = untyped(body_of(a_payload("user_blocked", {"users": users})))

    assert (found.reason, found.detail) == (Untyped.REASON_TOO_LARGE, "the payload holds more than 100000 values")


def test_too_many_elements_are_not_even_decoded() -> None:
    """Nothing can interrupt that: 700,000 empty lists held up everything for a second, whether a field takes them or not."""
    most = body_of(changed(sample("message_sent"), "data.unknown", [0] * (MAX_ELEMENTS - 100)))
    more = body_of(changed(sample("message_sent"), "data.unknown", [0] * MAX_ELEMENTS))

    assert isinstance(to_payload(most), Payload)
    assert untyped(more).reason == Untyped.REASON_TOO_LARGE
    assert "elements, the limit is 100000" in untyped(more).detail


def filled(piece: bytes, before: bytes, after: bytes, between: bytes = b"") -> bytes:
    count = (MAX_BODY - len(before) - len(after)) // (len(piece) + len(between))
    return before + between.join([piece] * count) + after


MESSAGE = b'{"trigger":"message_sent","data":{"message":{"data":{'

HEAVY = {
    "half pairs": filled(b"\\ud83d", MESSAGE + b'"text":"', b'"}}}}'),
    "escapes": filled(b"\\u0000", MESSAGE + b'"text":"\\ud83d', b'"}}}}'),
    "not UTF-8": filled(b"\xff", MESSAGE + b'"text":"', b'"}}}}'),
    "empty lists": filled(b"[]", MESSAGE + b'"metadata":{"a":[', b"]}}}}}", b","),
    "objects": filled(b'{"a":1}', MESSAGE + b'"metadata":{"a":[', b"]}}}}}", b","),
    "unknown lists": filled(b"[]", MESSAGE + b'"unknown":{"a":[', b"]}}}}}", b","),
    "users": filled(b"{}", b'{"trigger":"user_blocked","data":{"users":[', b"]}}", b","),
    "tags": filled(b'""', b'{"trigger":"after_feed_item_sent","data":{"tags":[', b"]}}", b","),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_the_heaviest_bodies_take_bounded_time_and_memory(kind: str) -> None:
    """2 MiB each; about 0.4 s and 60 MiB for the worst on the machine where this was written."""
    body = HEAVY[kind]

    started = time.process_time()
    to_payload(body)
    seconds = time.process_time() - started

    tracemalloc.start()
    to_payload(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 3
    assert peak < 160 * 1024 * 1024


ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**63, 10**40, "", "x", "true", "1696934912", "NaN", "Infinity", "1e999999", "9" * 100,
    [], {}, [[]], {"a": {}}, [None], {"uid": None}, {"entity": None}, {"entity": {"uid": []}, "entityType": []},
    {"id": {"id": 1}}, "\x00", "\U0001f600", [{"uid": 1}], {"entities": {"on": 1}},
]  # fmt: skip


def places(value: Any, found: list[tuple[Any, str | int]], depth: int = 0) -> list[tuple[Any, str | int]]:
    """Every value within *value*, as what holds it and where."""
    if depth > 12 or not isinstance(value, dict | list):
        return found
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((value, key))
        places(inner, found, depth + 1)
    return found


def mutate(payload: Any, chance: random.Random) -> None:
    """Replace, drop, move or nest one value."""
    target, last = chance.choice(places(payload, []))
    match chance.randrange(5):
        case 0:
            del target[last]
        case 1:
            deep: Any = copy.deepcopy(chance.choice(ODD))
            for _ in range(chance.choice((1, 30, 400))):
                deep = {"a": deep} if chance.random() < 0.5 else [deep]
            target[last] = deep
        case 2 if chance.random() < 0.1 and "data" in payload:
            target[last] = copy.deepcopy(payload["data"])
        case _:
            target[last] = copy.deepcopy(chance.choice(ODD))


MUTATIONS = 100_000


def test_whatever_a_payload_looks_like_typing_ends_in_a_message_or_a_reason() -> None:
    """Mutations of every payload, seed printed: nothing escapes, and what is typed can be sent."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    payloads = [json.dumps(payload) for payload in every_payload().values()]
    outcomes = {Payload: 0, Untyped: 0}

    for _ in range(MUTATIONS):
        payload = json.loads(chance.choice(payloads))
        for _ in range(chance.randint(1, 3)):
            if "data" in payload:
                mutate(payload, chance)
        found = to_payload(json.dumps(payload).encode())
        outcomes[type(found)] += 1
        if isinstance(found, Payload):
            assert Payload.FromString(found.SerializeToString()) == found
        else:
            assert found.detail

    assert min(outcomes.values()) > MUTATIONS // 10
