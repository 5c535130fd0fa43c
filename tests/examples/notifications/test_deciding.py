"""Whom a message concerns, and when they are left in peace."""

from datetime import UTC, datetime, timedelta

import pytest

from notifications.deciding import Kind, Known, Policy, Skip, notices, skip
from support.examples import an_event
from support.notifications import message_of, presence_of

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOTHING = Known(mailed=False, online=None, last_mail=None)
GROUP = {"message__receiverType": "group", "message__receiver": "hikers", "message__conversationId": "group_hikers"}


def a_message(sample: str = "message_sent", **changes):
    message = message_of(an_event(sample, **changes))
    assert message is not None
    return message


def a_notice(status: str = "offline", **changes):
    changes = {"message__sentAt": int(NOON.timestamp()), **changes}
    (notice,) = notices(a_message(**changes, message__data__entities__receiver__entity__status=status))
    return notice


def test_a_message_between_two_people_concerns_who_receives_it():
    """Not who wrote it."""
    (notice,) = notices(a_message())

    assert (notice.person.uid, notice.person.name, notice.kind) == ("cometchat-uid-2", "George Alan", Kind.MESSAGE)
    assert notice.key == ("<appId>", "1", "cometchat-uid-2")


def test_a_message_to_a_group_concerns_only_who_is_mentioned():
    """A mail to each member for each message would be spam."""
    assert notices(a_message(**GROUP)) == ()

    mentions = {uid: {"uid": uid, "name": uid.title()} for uid in ("anna", "bert", "cometchat-uid-1")}
    found = notices(a_message(**GROUP, message__data__mentions=mentions))

    assert [(notice.person.name, notice.kind) for notice in found] == [("Anna", Kind.MENTION), ("Bert", Kind.MENTION)]
    assert {notice.message.group for notice in found} == {"hikers"}


def test_a_mention_and_the_message_that_it_comes_with_share_one_key():
    """CometChat sends user_mentioned and message_sent with the same message id."""
    mentions = {"cometchat-uid-2": {"uid": "cometchat-uid-2", "name": "George"}}
    sent = notices(a_message("message_sent", message__id="4", message__data__mentions=mentions))
    mentioned = notices(a_message("user_mentioned"))

    assert [notice.key for notice in sent] == [notice.key for notice in mentioned]
    assert {notice.kind for notice in (*sent, *mentioned)} == {Kind.MENTION}


def test_a_name_is_taken_from_wherever_it_is():
    """A mention between two people tells the name in the mention only."""
    (mention,) = notices(a_message("user_mentioned"))
    (message,) = notices(a_message("message_sent"))

    assert mention.person.name == "Andrew Joseph"
    assert message.person.name == "George Alan"


def test_what_nobody_wrote_concerns_nobody():
    """CometChat sends message_sent for each edit and delete too, with messages that it made itself."""
    assert message_of(an_event("message_sent", message__category="action")) is None


def test_a_mention_is_read_as_a_name():
    """ "<@uid:...>" means nothing to a reader."""
    assert a_message("user_mentioned").text == "Hi @Andrew Joseph"


@pytest.mark.parametrize(
    ("known", "status", "late", "expected"),
    [
        (NOTHING, "offline", timedelta(0), None),
        (NOTHING, "", timedelta(0), None),
        (NOTHING, "available", timedelta(0), Skip.ONLINE),
        (Known(False, True, None), "offline", timedelta(0), Skip.ONLINE),
        (Known(False, False, None), "available", timedelta(0), None),
        (Known(True, False, NOON), "offline", timedelta(0), Skip.ALREADY_MAILED),
        (Known(False, False, NOON - timedelta(minutes=9)), "offline", timedelta(0), Skip.QUIET),
        (Known(False, False, NOON - timedelta(minutes=10)), "offline", timedelta(0), None),
        (NOTHING, "offline", timedelta(hours=25), Skip.TOO_OLD),
        (NOTHING, "offline", timedelta(hours=24), None),
    ],
    ids=[
        "offline", "presence-unknown", "online", "came-since", "went-since", "mailed", "quiet", "quiet-over", "old",
        "just-not-old",
    ],
)  # fmt: skip
def test_when_a_mail_is_due(known, status, late, expected):
    """The presence that events told goes before the one in the payload, which was made before them."""
    assert skip(a_notice(status), known, Policy(), NOON + late) == expected


def test_without_a_limit_of_age_any_message_is_told_of():
    """For a replay of old events on purpose."""
    assert skip(a_notice(), NOTHING, Policy(max_age=None), NOON + timedelta(days=1000)) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"status": "online"}, True),
        ({"status": "invisible"}, None),
        ({"userPresenceChanged": False}, None),
        ({"user__uid": ""}, None),
    ],
    ids=["went", "came", "unknown-word", "another-device-stays", "nobody"],
)
def test_presence_is_read_from_what_changed_it(changes, expected):
    """Closing one of two browser windows is no reason for mails."""
    presence = presence_of(an_event("user_connection_status_changed", **changes))

    assert (None if presence is None else presence.online) == expected
    if presence:
        assert presence.at == datetime.fromtimestamp(1696935103.114, UTC)
