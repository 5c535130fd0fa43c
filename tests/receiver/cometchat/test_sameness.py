"""When two bodies with one identity tell the same event: in doubt they do not."""

import json
import time

import pytest

from hookline_receiver.cometchat.sameness import same_event
from support.cometchat import a_payload, body_of, changed, reordered, sample, sample_names


@pytest.mark.parametrize("name", sample_names())
def test_white_space_and_order_of_keys_make_no_difference(name: str) -> None:
    """They are not content."""
    assert same_event(body_of(sample(name)), json.dumps(reordered(sample(name)), indent=3).encode())


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("message_sent", "data.message.data.entities.sender.entity.status"),
        ("message_sent", "data.message.data.entities.receiver.entity.lastActiveAt"),
        ("user_mentioned", "data.message.data.mentions.cometchat-uid-2.status"),
        ("message_edited", "data.message.data.entities.by.entity.lastActiveAt"),
        ("message_read_receipt", "data.body.user.status"),
        ("message_reaction_added", "data.reaction.reactedBy.status"),
        ("user_blocked", "data.users.cometchat-uid-2.status"),
        ("user_connection_status_changed", "data.user.status"),
        ("group_member_kicked", "data.members.cometchat-uid-2.lastActiveAt"),
        ("group_member_kicked", "data.by.status"),
        ("group_updated", "data.group.onlineMembersCount"),
        ("call_initiated", "data.call.data.entities.by.entity.status"),
        ("moderation_manual_approved", "data.message.data.entities.receiver.entity.onlineMembersCount"),
        ("legacy.after_message", "data.data.entities.sender.entity.status"),
    ],
)
def test_how_people_are_shown_makes_no_difference(name: str, path: str) -> None:
    """Who is online changes between an attempt and its retry."""
    assert same_event(body_of(sample(name)), body_of(changed(sample(name), path, "another")))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("message_sent", "data.message.data.text"),
        ("message_sent", "data.message.data.entities.sender.entity.name"),
        ("message_sent", "data.message.status"),
        ("message_sent", "data.message.data.metadata.status"),
        ("message_sent", "data.status"),
        ("message_sent", "unheard_of"),
        ("user_connection_status_changed", "data.status"),
        ("legacy.after_connection_status_changed", "data.user.status"),
        ("call_initiated", "data.call.data.entities.on.entity.status"),
        ("after_campaign_completed", "data.status"),
        ("group_updated", "data.group.membersCount"),
        ("group_updated", "data.group.status"),
        ("moderation_engine_approved", "data.message.data.moderation.status"),
    ],
)
def test_any_other_field_makes_a_difference(name: str, path: str) -> None:
    """A duplicate is allowed, a loss is not."""
    assert not same_event(body_of(sample(name)), body_of(changed(sample(name), path, "another")))


def test_what_a_tenants_own_metadata_calls_status_is_content() -> None:
    """A custom message about an order may well have a uid and a status."""
    order = changed(sample("message_sent"), "data.message.data.metadata", {"uid": "order-1", "status": "paid"})

    assert not same_event(body_of(order), body_of(changed(order, "data.message.data.metadata.status", "sent")))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "true"),
        ("1", "1.0"),
        ("0.1", "0.10000000000000001"),
        ("1.5", '"1.5"'),
        ("1e999", "1e998"),
        ("9007199254740992", "9007199254740993"),
        ("null", '""'),
        ("[]", "{}"),
        ("[1,2]", "[2,1]"),
        ('"\\ud83d"', '"\\ud83e"'),
        ('"a"', '"a\\u0000"'),
    ],
)
def test_values_that_merely_look_alike_differ(one: str, other: str) -> None:
    """Doubles, Python's True == 1 and half surrogates would make one of two."""
    body = '{"trigger":"x","data":%s}'

    assert not same_event((body % one).encode(), (body % other).encode())


def test_bodies_that_are_not_json_are_the_same_only_if_every_byte_is() -> None:
    """Nothing is known of what their differences mean."""
    assert same_event(b"{not json", b"{not json")
    assert not same_event(b"{not json", b"{not json ")
    assert not same_event(b"[1]", b"{}")


@pytest.mark.parametrize("payload", [None, 1, [], "x", {"trigger": ["a"]}, a_payload("message_sent", []), {"data": {}}])
def test_any_json_can_be_compared(payload: object) -> None:
    """The store compares whatever was accepted."""
    body = json.dumps(payload).encode()

    assert same_event(body, body + b" ")


@pytest.mark.parametrize("depth", [500, 5_000, 100_000])
def test_deep_nesting_is_compared_or_found_different_and_never_raises(depth: int) -> None:
    """The store's process must survive what the receiver took."""
    deep = b"[" * depth + b"]" * depth

    assert same_event(deep, deep)
    assert same_event(deep, deep + b" ") == (depth == 500)
    assert not same_event(deep, b"[" + deep + b"]")


def test_two_bodies_of_the_greatest_size_are_compared_in_bounded_time() -> None:
    """2 MiB of the smallest values there are; the forwarder compares between other work."""
    payload = changed(sample("message_sent"), "data.message.data.metadata", {f"k{i}": [i % 10] for i in range(130_000)})
    body = body_of(payload)
    assert 1_500_000 < len(body) < 2_500_000

    started = time.process_time()
    same = same_event(body, body_of(changed(payload, "data.message.data.entities.sender.entity.status", "x")))

    assert same
    assert time.process_time() - started < 3
