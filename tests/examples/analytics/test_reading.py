"""What an event adds to which table."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from analytics.reading import Increment, Table, count, day, hour
from support.examples import SAMPLES, a_payload, an_event

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def added(sample, table, **changes):
    increments = count(an_event(sample, **changes), NOON).increments
    return [increment for increment in increments if increment.table == table]


def test_a_message_counts_in_its_conversation_and_hour_and_makes_its_sender_active():
    """By the time of the message, not of its arrival: an outage must not look like a busy hour."""
    event = an_event("message_sent")

    counted = count(event, NOON)

    assert (counted.source, counted.id) == (event.source, event.id)
    conversation = "cometchat-uid-1_user_cometchat-uid-2"
    assert counted.increments == (
        Increment(Table.EVENTS, ("examples", "2023-10-10T10:00Z", "message_sent"), (1,)),
        Increment(Table.MESSAGES, ("examples", conversation, "2023-10-10T10:00Z"), (1,)),
        Increment(Table.USERS, ("examples", "2023-10-10", "cometchat-uid-1")),
    )


@pytest.mark.parametrize("category", ["action", "call"])
def test_what_nobody_wrote_is_no_message(category):
    """An edit makes three such messages."""
    assert added("message_sent", Table.MESSAGES, message__category=category) == []


def test_a_meeting_counts_its_minutes_and_those_of_everybody_in_it():
    """Providers bill by the participant's minute."""
    occupants = [
        {"name": "a", "joined_at": 1696934692, "left_at": 1696934752},
        {"name": "b", "joined_at": 1696934722},
        {"name": "c", "joined_at": 1696934752, "left_at": 1696934700},
        {"name": "d"},
    ]

    (increment,) = added("meeting_ended", Table.SESSIONS, destroyed_at=1696934752, all_occupants=occupants)

    assert increment.key == ("examples", "2023-10-10", "meeting")
    assert increment.amounts == (1, 60, 4, 60 + 30)


def test_a_call_counts_as_a_call():
    """The trigger has no documented sample; its payload is that of a meeting."""
    payload = {**a_payload("meeting_ended"), "trigger": "call_ended", "type": "call"}

    assert [one.key[-1] for one in count(an_event(payload), NOON).increments if one.table == Table.SESSIONS] == ["call"]


@pytest.mark.parametrize(
    ("sample", "uid"),
    [
        ("message_edited", "cometchat-uid-1"),
        ("message_deleted", "cometchat-uid-1"),
        ("message_reaction_added", "cometchat-uid-1"),
        ("message_read_receipt", "cometchat-uid-2"),
        ("call_initiated", "cometchat-uid-1"),
    ],
)
def test_who_does_something_is_active(sample, uid):
    """The sender of an event is not always who acted."""
    assert [one.key[-1] for one in added(sample, Table.USERS)] == [uid]


def test_an_unknown_trigger_is_counted_too():
    """A new trigger is seen in the numbers before anybody has read of it."""
    assert count(an_event({"trigger": "message_foretold", "data": {}}), NOON).increments[0].key[-1] == (
        "message_foretold"
    )


@pytest.mark.parametrize("file", sorted(SAMPLES.glob("*.json")), ids=lambda file: file.stem)
def test_every_documented_payload_can_be_counted(file):
    """None may end as an exception."""
    assert count(an_event(file.stem), NOON).increments


def test_hours_and_days_are_utc():
    """Whatever zone the machine is in."""
    at = datetime(2026, 11, 2, 0, 30, tzinfo=timezone(timedelta(hours=1)))

    assert (hour(at), day(at)) == ("2026-11-01T23:00Z", "2026-11-01")
