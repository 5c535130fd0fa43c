"""What the store takes for a repetition, by the payloads of every trigger and the moments at which they come."""

from uuid import UUID

import pytest

from hookline_receiver.carrying.fanout import fan_out
from hookline_receiver.cometchat.envelope import Reading, read
from hookline_receiver.cometchat.identity import identify
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import Event
from hookline_receiver.store.memory import MemoryEventStore
from support.cometchat import Payload, a_payload, body_of, changed, every_payload, reordered, sample, without
from support.forwarder import CHAT, SECOND, a_book, a_route, a_subscription

PLAN = a_book(a_subscription(a_route(), window=3600)).subscriptions[CHAT.uid]
NOON = 1_800_000_000 * SECOND


def became_events(*came: tuple[float, Payload]) -> list[bool]:
    """Whether each payload, come so many seconds after noon, was an event of its own."""
    store, found = MemoryEventStore(same=same_event), []
    for number, (after, payload) in enumerate(came):
        now = NOON + int(after * SECOND)
        body = body_of(payload)
        reading = read(body)
        assert isinstance(reading, Reading)
        event = Event(
            ingest_id=UUID(int=number + 1).bytes,
            subscription=CHAT,
            received_at_ns=now,
            body=body,
            envelope=reading.envelope,
            identity=identify(reading, body, CHAT.uid),
            traceparent="",
        )
        found.append(store.add([fan_out(event, PLAN).arrival], {}, now).stored == 1)
    return found


@pytest.mark.parametrize("name", every_payload())
def test_a_retry_is_found_and_the_same_an_hour_later_is_another_event_where_nothing_strong_tells(name: str) -> None:
    """The sender tries for 40 seconds; what comes after that with a weak key has happened again, and must not be lost."""
    payload = every_payload()[name]
    again = reordered(payload)
    reading = read(body_of(payload))
    assert isinstance(reading, Reading)
    strong = identify(reading, body_of(payload), CHAT.uid).strong

    assert became_events((0, payload), (10, again), (40, payload)) == [True, False, False]
    assert became_events((0, payload), (61, again)) == [True, not strong]
    assert became_events((0, payload), (3599, again)) == [True, not strong]
    assert became_events((0, payload), (3601, again)) == [True, True]


def test_to_block_to_unblock_and_to_block_again_an_hour_later_are_three_events() -> None:
    """The payload of a block has no time: only the horizon tells the second from a retry of the first."""
    block, unblock = sample("user_blocked"), sample("user_unblocked")

    assert became_events((0, block), (1800, unblock), (3500, block)) == [True, True, True]
    # Within the horizon nothing can tell: listed in docs/triggers.md.
    assert became_events((0, block), (10, unblock), (20, block)) == [True, True, False]


def test_two_edits_within_one_second_are_two_if_they_say_different_things() -> None:
    """Equal keys are not enough: the bodies must agree too."""
    first = a_payload(
        "message_edited",
        {"message": {"id": "1", "editedAt": 1696934985, "category": "message", "data": {"text": "hello"}}},
    )
    second = changed(first, "data.message.data.text", "hello!")

    assert became_events((0, first), (0.5, second), (10, first), (11, second)) == [True, True, False, False]


UNAVOIDABLE = {
    "block": sample("user_blocked"),
    "unblock": sample("user_unblocked"),
    "membership without a time": without(sample("group_member_joined"), "data.group.updatedAt"),
    "occupants of one name": sample("call_participant_joined"),
    "flat edit": a_payload("message_edited", {"message": {"id": "1", "editedAt": 1, "data": {"text": "x"}}}),
    "receipt": sample("message_read_receipt"),
    "before_message": sample("legacy.before_message"),
    "e-mail": sample("custom-provider.email-notification-payload-generated.user"),
    "sms": sample("custom-provider.sms-notification-payload-generated.user"),
    "unknown trigger": a_payload("message_pinned", {"message": {"id": "1"}}),
}


@pytest.mark.parametrize("name", UNAVOIDABLE)
def test_what_nothing_can_tell_apart_is_weak_and_bounded_by_the_horizon(name: str) -> None:
    """Every collision that the docs list: it costs an event only if it truly happened twice within a minute."""
    payload = UNAVOIDABLE[name]

    assert became_events((0, payload), (59, payload), (130, payload)) == [True, False, True]
