"""What tells one event from another, from the facts known of the payloads."""

import copy
import json
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline_receiver.cometchat.envelope import Reading, read
from hookline_receiver.cometchat.identity import identify
from hookline_receiver.cometchat.rules import RULES
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.cometchat.wire import Data
from hookline_receiver.event import Identity
from hookline_routes.triggers import CATEGORIES, NAMES_ONLY
from support.cometchat import (
    Payload,
    a_payload,
    body_of,
    changed,
    every_payload,
    people_and_groups,
    reordered,
    sample,
    sample_names,
    without,
)

SECONDS = 1000


def identity_of(payload: Payload, subscription_uid: str = "sub-1") -> Identity:
    body = body_of(payload)
    reading = read(body)
    assert isinstance(reading, Reading), reading
    return identify(reading, body, subscription_uid)


def are_one_event(first: Payload, second: Payload) -> bool:
    """What the store concludes within the window."""
    return identity_of(first).key == identity_of(second).key and same_event(body_of(first), body_of(second))


STRONG = [
    "message_sent",
    "message_edited",
    "message_deleted",
    "message_reaction_added",
    "user_mentioned",
    "user_connection_status_changed",
    "call_initiated",
    "call_busy",
    "call_cancelled",
    "call_rejected",
    "call_unanswered",
    "after_notification_created",
    "after_feed_item_sent",
    "after_push_notification_sent",
    "custom-provider.push-notification-payload-generated.chat",
    "custom-provider.push-notification-payload-generated.call",
    "custom-provider.push-notification-payload-generated.group-action",
    "legacy.after_message",
]


@pytest.mark.parametrize("name", [name for name in sample_names() if "management-docs" not in name])
def test_a_key_is_strong_only_with_an_id_of_the_events_own_or_a_time_in_milliseconds(name: str) -> None:
    """A weak key that passed for strong would swallow true events for the whole window."""
    assert identity_of(sample(name)).strong == (name in STRONG)


CONVERSATION_12 = "cometchat-uid-1_user_cometchat-uid-2"
GROUP = "group_cometchat-guid-1"

FACTS = [
    # payload, CloudEvents subject, ordering key, time in ms
    ("message_sent", "message/1", CONVERSATION_12, 1696934912 * SECONDS),
    ("message_edited", "message/1", CONVERSATION_12, 1696934985 * SECONDS),
    ("message_deleted", "message/2", CONVERSATION_12, 1696935005 * SECONDS),
    ("message_reaction_added", "message/<messageId>", "message_<messageId>", 1700655536 * SECONDS),
    ("message_delivery_receipt", "message/57", CONVERSATION_12, 1696934912 * SECONDS),
    ("message_read_receipt", "message/57", CONVERSATION_12, 1696934950 * SECONDS),
    ("user_mentioned", "message/4", CONVERSATION_12, 1702028666 * SECONDS),
    ("user_blocked", "user/cometchat-uid-1", "", 0),
    ("user_unblocked", "user/cometchat-uid-1", "", 0),
    ("user_connection_status_changed", "user/cometchat-uid-1", "", 1696935103114),
    ("group_created", "group/cometchat-guid-1", GROUP, 1696932915 * SECONDS),
    ("group_updated", "group/cometchat-guid-1", GROUP, 1696934048 * SECONDS),
    ("group_deleted", "group/cometchat-guid-1", GROUP, 1695817083 * SECONDS),
    ("group_member_added", "group/cometchat-guid-1", GROUP, 0),
    ("group_member_joined", "group/cometchat-guid-1", GROUP, 1696933691 * SECONDS),
    ("group_member_banned", "group/cometchat-guid-1", GROUP, 1696933533 * SECONDS),
    ("call_initiated", "message/52", "cometchat-uid-1_user_cometchat-uid-5", 1696934199 * SECONDS),
    ("call_started", "session/<sessionId>", "<sessionId>", 1696934572 * SECONDS),
    ("call_participant_joined", "session/<sessionId>", "<sessionId>", 1696934573 * SECONDS),
    ("call_participant_left", "session/<sessionId>", "<sessionId>", 1696934553 * SECONDS),
    ("meeting_started", "session/<sessionId>", "<sessionId>", 1696934692 * SECONDS),
    ("meeting_ended", "session/<sessionId>", "<sessionId>", 1696934730 * SECONDS),
    ("recording_generated", "session/<sessionId>", "<sessionId>", 1696937627 * SECONDS),
    ("moderation_engine_approved", "message/13", CONVERSATION_12, 1791285309 * SECONDS),
    ("moderation_engine_failed", "message/11", CONVERSATION_12, 1791285190 * SECONDS),
    ("moderation_manual_approved", "message/6", GROUP, 1791272621 * SECONDS),
    ("after_campaign_completed", "campaign/<campaignId>", "", 1696932060 * SECONDS),
    ("after_notification_created", "notification/<notificationId>", "", 1696932000 * SECONDS),
    ("after_feed_item_read", "feed-item/<feedItemId>", "", 1696932120 * SECONDS),
    ("after_push_notification_clicked", "push-notification/<pushNotificationId>", "", 1696932060 * SECONDS),
    (
        "custom-provider.push-notification-payload-generated.chat",
        "user/cometchat-uid-2",
        CONVERSATION_12,
        1741847453000,
    ),
    ("custom-provider.email-notification-payload-generated.group", "user/cometchat-uid-1", GROUP, 0),
    ("custom-provider.sms-notification-payload-generated.user", "user/cometchat-uid-1", "", 0),
    ("legacy.before_message", "user/cometchat-uid-5", "cometchat-uid-4_user_cometchat-uid-5", 1586435925 * SECONDS),
    ("legacy.after_message", "message/1", "cometchat-uid-4_user_cometchat-uid-5", 1586435925 * SECONDS),
    ("legacy.after_connection_status_changed", "user/uid of the user", "", 0),
]


@pytest.mark.parametrize(("name", "subject", "partition_key", "time_ms"), FACTS, ids=[fact[0] for fact in FACTS])
def test_subject_ordering_key_and_time_are_those_of_the_payload(
    name: str, subject: str, partition_key: str, time_ms: int
) -> None:
    """Handlers see them as CloudEvents attributes; units differ from trigger to trigger."""
    identity = identity_of(changed(sample(name), "data.unheardOf", 5))

    assert (identity.subject, identity.partition_key, identity.time_ms) == (subject, partition_key, time_ms)


def test_every_documented_trigger_has_a_rule_and_those_without_a_known_shape_have_none() -> None:
    """A trigger added to the list without an identity would be identified by a digest, unnoticed."""
    assert set(RULES) == set(CATEGORIES) - set(NAMES_ONLY)


def test_every_path_of_every_rule_leads_to_a_field_that_is_decoded() -> None:
    """A misspelt path would raise on the first event."""
    for rule in (rule for rules in RULES.values() for rule in rules):
        for path in (*rule.key, *rule.also, *rule.time, rule.subject[1], *filter(None, [rule.people])):
            attrgetter(path)(Data())


RETRIED = [name for name in every_payload() if name != "legacy.after_connection_status_changed"]


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(RETRIED),
    status=st.sampled_from(["online", "offline", "available", None]),
    seen_at=st.integers(0, 2**40) | st.none(),
    reorder=st.booleans(),
    indent=st.sampled_from([None, 1, 4]),
)
def test_a_retry_that_shows_people_anew_is_the_same_event(
    name: str, status: str | None, seen_at: int | None, reorder: bool, indent: int | None
) -> None:
    """Whether a retry's body is rendered anew is not known; it must be recognised either way."""
    first = every_payload()[name]
    second = copy.deepcopy(first)
    for shown in people_and_groups(second):
        shown |= {"status": status, "lastActiveAt": seen_at} if "uid" in shown else {}
        shown |= {"onlineMembersCount": seen_at} if "guid" in shown else {}
    body = json.dumps(reordered(second) if reorder else second, indent=indent).encode()
    reading = read(body)

    assert isinstance(reading, Reading)
    if name.startswith("custom-provider.") and "push" not in name:
        assert second == first, "e-mails and SMS show nobody's status"
    assert identify(reading, body, "sub-1") == identity_of(first)
    assert same_event(body_of(first), body)
    assert same_event(body, body_of(first))


TWO_EVENTS = [
    ("message_sent", {"data.message.id": "2"}),
    ("message_edited", {"data.message.data.entities.on.entity.editedAt": 1696934986}),
    ("message_edited", {"data.message.data.entities.on.entity.data.text": "hello again"}),
    ("message_edited", {"data.message.data.entities.on.entity.id": "9"}),
    ("message_deleted", {"data.message.data.entities.on.entity.id": "9"}),
    ("message_reaction_added", {"data.reaction.id": "other"}),
    ("message_read_receipt", {"data.body.user.uid": "cometchat-uid-3"}),
    ("message_read_receipt", {"data.body.messageId": "58"}),
    ("message_read_receipt", {"data.body.timestamp": 1696934951}),
    ("legacy.message_delivery_receipt", {"data.receiptSender": "another"}),
    ("user_blocked", {"data.by.uid": "cometchat-uid-9"}),
    ("user_blocked", {"data.users.cometchat-uid-3": {"uid": "cometchat-uid-3"}}),
    ("user_connection_status_changed", {"data.timestamp": 1696935103115}),
    ("user_connection_status_changed", {"data.user.uid": "cometchat-uid-2"}),
    ("user_connection_status_changed", {"data.status": "online"}),
    ("legacy.after_connection_status_changed", {"data.user.status": "online"}),
    ("group_member_joined", {"data.members.cometchat-uid-3": {"uid": "cometchat-uid-3"}}),
    ("group_member_joined", {"data.group.updatedAt": 1696933692}),
    ("group_member_added", {"data.group.membersCount": 3}),
    ("group_updated", {"data.group.name": "Climbing Group"}),
    ("call_initiated", {"data.call.id": "53"}),
    ("call_started", {"data.created_at": 1696934573}),
    ("call_participant_joined", {"data.occupant.name": "George Alan"}),
    ("call_participant_joined", {"data.occupant.joined_at": 1696934574}),
    ("meeting_participant_joined", {"data.occupant.uid": "cometchat-uid-7"}),
    ("call_participant_left", {"data.occupant.left_at": 1696934554}),
    ("recording_generated", {"data.startTime": "1696937628"}),
    ("moderation_engine_failed", {"data.contentType": "image"}),
    ("moderation_engine_blocked", {"data.message.updatedAt": 1791285310}),
    ("moderation_engine_approved", {"data.contentType": "image"}),
    ("after_feed_item_read", {"data.readAt": 1696932121}),
    ("after_push_notification_clicked", {"data.clickedAt": 1696932061}),
    ("custom-provider.push-notification-payload-generated.chat", {"data.to.uid": "cometchat-uid-3"}),
    ("custom-provider.push-notification-payload-generated.chat", {"data.notificationDetails.sentAt": "1741847453001"}),
    ("custom-provider.push-notification-payload-generated.call", {"data.notificationDetails.callAction": "cancelled"}),
    ("custom-provider.email-notification-payload-generated.user", {"data.to.uid": "cometchat-uid-8"}),
    ("custom-provider.sms-notification-payload-generated.user", {"data.smsContent": "something else"}),
    ("legacy.before_message", {"data.data.text": "another text"}),
]


@pytest.mark.parametrize(("name", "changes"), TWO_EVENTS, ids=[f"{name} {next(iter(c))}" for name, c in TWO_EVENTS])
def test_two_true_events_are_two(name: str, changes: dict[str, Any]) -> None:
    """Taking one for a retry of the other would lose it in silence."""
    first = second = sample(name)
    for path, value in changes.items():
        second = changed(second, path, value)

    assert not are_one_event(first, second)


DISTINCT_KEYS = [
    ("call_participant_joined", "data.occupant.name", "George Alan"),
    ("message_read_receipt", "data.body.user.uid", "cometchat-uid-3"),
    ("message_reaction_added", "data.reaction.id", "other"),
    ("moderation_engine_failed", "data.contentType", "image"),
    ("user_connection_status_changed", "data.timestamp", 1696935103115),
    ("custom-provider.push-notification-payload-generated.chat", "data.to.uid", "cometchat-uid-3"),
]


@pytest.mark.parametrize(("name", "path", "value"), DISTINCT_KEYS, ids=[row[0] for row in DISTINCT_KEYS])
def test_events_that_often_come_together_differ_in_their_keys_already(name: str, path: str, value: object) -> None:
    """Comparing bodies is the second line: two occupants in one second, two readers, text and image, each recipient."""
    assert identity_of(sample(name)).key != identity_of(changed(sample(name), path, value)).key


@pytest.mark.parametrize("name", sample_names())
@pytest.mark.parametrize("path", ["appId", "webhook", "trigger"])
def test_another_app_webhook_or_trigger_makes_another_event(name: str, path: str) -> None:
    """One payload can come through several webhooks of several apps, as different events."""
    assert identity_of(sample(name)).key != identity_of(changed(sample(name), path, "another")).key


@pytest.mark.parametrize("name", sample_names())
def test_another_subscription_makes_another_event(name: str) -> None:
    """Tenants share a store, never events."""
    assert identity_of(sample(name), "sub-1").key != identity_of(sample(name), "sub-2").key


def test_a_mention_and_the_message_that_mentions_are_two_events() -> None:
    """Both bear the message's id."""
    mention = sample("user_mentioned")

    assert identity_of(mention).key != identity_of(changed(mention, "trigger", "message_sent")).key


def test_no_two_samples_have_one_identity() -> None:
    """Except the shorter variants of the same payload."""
    names = [name for name in sample_names() if "management-docs" not in name]

    assert len({identity_of(sample(name)).key for name in names}) == len(names)


FLAT_EDIT = changed(
    changed(changed(sample("message_sent"), "trigger", "message_edited"), "data.message.editedAt", 1696934985),
    "data.message.data.text",
    "hello, edited",
)


def test_an_edit_in_the_flat_shape_is_about_the_message_itself() -> None:
    """Live payloads were seen to bear the original's id where the documentation shows an action message."""
    identity = identity_of(FLAT_EDIT)

    assert (identity.subject, identity.strong, identity.time_ms) == ("message/1", False, 1696934985 * SECONDS)


def test_two_edits_in_one_second_with_different_texts_are_two_events() -> None:
    """The time has whole seconds only; the texts tell them apart."""
    assert not are_one_event(FLAT_EDIT, changed(FLAT_EDIT, "data.message.data.text", "hello, edited twice"))


def test_an_action_message_that_bears_the_originals_id_makes_no_strong_key() -> None:
    """Then the id is not the edit's own, and the next edit of the message would have it too."""
    payload = changed(sample("message_edited"), "data.message.id", "1")

    assert not identity_of(payload).strong


COLLISIONS = ["user_blocked", "user_unblocked", "group_member_added", "call_participant_joined"]


@pytest.mark.parametrize("name", COLLISIONS)
def test_events_that_nothing_tells_apart_have_a_weak_key(name: str) -> None:
    """Block, unblock, block again an hour later are three events: only the retry horizon may join the first and third."""
    assert are_one_event(sample(name), sample(name))
    assert not identity_of(sample(name)).strong


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("message_sent", "data.message.id"),
        ("message_sent", "data.message"),
        ("message_sent", "data"),
        ("call_started", "data.created_at"),
        ("user_connection_status_changed", "data.user"),
        ("user_connection_status_changed", "data.timestamp"),
        ("group_created", "data.group.guid"),
        ("after_feed_item_sent", "data.id"),
    ],
)
@pytest.mark.parametrize("odd", [None, "", [], {"a": 1}, "missing"])
def test_without_a_field_of_its_key_an_event_is_identified_by_a_weak_digest(name: str, path: str, odd: Any) -> None:
    """Equal keys for all events that lack an id would make one of all of them."""
    first = without(sample(name), path) if odd == "missing" else changed(sample(name), path, odd)
    if path == "data" and not isinstance(odd, dict):
        second = {**first, "origin": "another"}
    else:
        second = {**first, "data": {**(first.get("data") or {}), "extra": 1}}

    assert not identity_of(first).strong
    assert identity_of(first).key == identity_of(reordered(first)).key
    assert identity_of(first).key != identity_of(second).key


@pytest.mark.parametrize("trigger", [*NAMES_ONLY, "brand_new_trigger"])
def test_an_unknown_payload_is_identified_by_its_content_whatever_the_order_of_keys(trigger: str) -> None:
    """Nothing is known of what may differ in its retry."""
    payload = a_payload(trigger, {"b": [1, {"y": 1.50, "x": None}], "a": "text"})

    assert are_one_event(payload, reordered(payload))
    assert not are_one_event(payload, changed(payload, "data.a", "other"))
    assert identity_of(payload) == Identity(identity_of(payload).key, False, "", "", 0)


@pytest.mark.parametrize(
    ("timestamp", "strong", "time_ms"),
    [
        (1696935103114, True, 1696935103114),
        ("1696935103114", True, 1696935103114),
        (1696935103114.0, True, 1696935103114),
        (1696935103, False, 1696935103),
        ("soon", False, 0),
        (True, False, 0),
        (-5, False, 0),
        (10**30, False, 0),
        ("9" * 5000, False, 0),
        ("NaN", False, 0),
        ("inf", False, 0),
    ],
)
def test_a_time_counts_whatever_its_type_and_only_one_in_milliseconds_makes_a_strong_key(
    timestamp: object, strong: bool, time_ms: int
) -> None:
    """Payloads write times as numbers and as text; what is no time must be no reason to trust."""
    identity = identity_of(changed(sample("user_connection_status_changed"), "data.timestamp", timestamp))

    assert (identity.strong, identity.time_ms) == (strong, time_ms)


@pytest.mark.parametrize("name", ["user_blocked", "custom-provider.sms-notification-payload-generated.user"])
def test_no_field_is_taken_for_the_time_of_an_event_that_has_none(name: str) -> None:
    """Handlers then get the time of acceptance."""
    payload = sample(name)
    payload["data"] |= {"id": 1696934912, "sentAt": 1696934912, "timestamp": 1696934912}

    assert identity_of(payload).time_ms == 0


def test_group_receipts_are_ordered_with_the_groups_messages() -> None:
    """A receipt does not tell its conversation."""
    receipt = changed(sample("message_read_receipt"), "data.receiverType", "group")

    assert identity_of(changed(receipt, "data.receiver", "cometchat-guid-1")).partition_key == GROUP


def test_a_receipt_read_by_all_is_identified_without_a_reader() -> None:
    """Group-wide receipts name nobody."""
    everybody = without(changed(sample("message_read_receipt"), "trigger", "message_read_by_all"), "data.body.user")
    payload = changed(everybody, "data.body.action", "readByAll")

    assert identity_of(payload).subject == "message/57"
    assert are_one_event(payload, reordered(payload))


def test_ids_of_absurd_length_make_no_absurd_attributes() -> None:
    """They become columns, index keys and attributes of every delivery."""
    payload = changed(sample("message_sent"), "data.message.id", "1" * 100_000)
    identity = identity_of(changed(payload, "data.message.conversationId", "c" * 100_000))

    assert identity.subject == ""
    assert 0 < len(identity.partition_key) <= 512


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if path else []
    for key, inner in value.items() if isinstance(value, dict) else ():
        found += leaves(inner, (*path, key))
    return found


@settings(max_examples=500, deadline=None)
@given(data=st.data(), name=st.sampled_from(sample_names()), value=JSON)
def test_any_field_may_hold_anything(data: st.DataObject, name: str, value: Any) -> None:
    """Identifying never raises, and what it says is of the right types and within bounds."""
    payload = sample(name)
    path = data.draw(st.sampled_from(leaves(payload["data"])))

    identity = identity_of(changed(payload, ".".join(("data", *path)), value))

    assert len(identity.key) == 16
    assert isinstance(identity.subject, str)
    assert isinstance(identity.partition_key, str)
    assert 0 <= identity.time_ms <= 253_402_300_799_999
