"""Any order, any repetitions: the tables are the same, and they are what happened."""

import random
import sqlite3
from contextlib import closing

from hypothesis import given, settings
from hypothesis import strategies as some

from hookline_kit import Event
from hookline_kit.event import event_of
from support.chat_history import APP, Chat
from support.examples import an_event, delivered
from sync.facts import facts
from sync.mirror import KEYS, Mirror

PEOPLE = some.sampled_from(["anna", "bert", "carl"])
GROUPS = some.sampled_from(["hikers", "cooks"])
MESSAGES = some.sampled_from(["1", "2", "3"])
WORDS = some.text(max_size=5)
COMINGS = some.sampled_from(
    [
        ("group_member_added", "member"),
        ("group_member_joined", "member"),
        ("group_member_left", "left"),
        ("group_member_kicked", "kicked"),
        ("group_member_banned", "banned"),
        ("group_member_unbanned", "unbanned"),
    ]
)
STEPS = some.one_of(
    some.builds(lambda seconds: lambda chat: chat.wait(seconds), some.integers(0, 2)),
    some.builds(lambda one, other, text: lambda chat: chat.send(one, other, text), PEOPLE, PEOPLE, WORDS),
    some.builds(lambda which, text, flat: lambda chat: chat.edit(which, text, flat=flat), MESSAGES, WORDS, some.booleans()),
    some.builds(lambda which, flat: lambda chat: chat.delete(which, flat=flat), MESSAGES, some.booleans()),
    some.builds(lambda who, online: lambda chat: chat.connect(who, online=online), PEOPLE, some.booleans()),
    some.builds(lambda which, owner, name: lambda chat: chat.make(which, owner, name), GROUPS, PEOPLE, WORDS.filter(bool)),
    some.builds(lambda which, name: lambda chat: chat.rename(which, name), GROUPS, WORDS.filter(bool)),
    some.builds(lambda which: lambda chat: chat.drop(which), GROUPS),
    some.builds(
        lambda how, which, who: lambda chat: chat.join(how[0], which, who, how[1]), COMINGS, GROUPS, PEOPLE
    ),
)  # fmt: skip


def mirrored(events, path=":memory:"):
    """The tables after *events*, without their version columns."""
    with closing(Mirror(path)) as mirror:
        for event in events:
            mirror.apply(facts(event))
        return tables(mirror._database)


def tables(database: sqlite3.Connection):
    found = {}
    for table, key in KEYS.items():
        cursor = database.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        found[table] = {
            tuple(row[name] for name in key): {
                name: value for name, value in row.items() if name not in key and not name.endswith("_version")
            }
            for row in rows
        }
    return found


def accepted(chat: Chat) -> list[Event]:
    """The chat's events as the gateway took them: each a moment after it happened, so in order."""
    told = zip(chat.payloads, chat.times, strict=True)
    return [event_of(delivered(payload, at=at + number / 1000)) for number, (payload, at) in enumerate(told)]


@settings(max_examples=150, deadline=None)
@given(steps=some.lists(STEPS, max_size=30), chance=some.randoms(use_true_random=False))
def test_any_order_with_any_repetitions_gives_what_happened(steps, chance: random.Random):
    """The gateway promises at least once, and no order unless a route pays for it."""
    chat = Chat()
    for step in steps:
        step(chat)
    events = accepted(chat)
    disorder = [*events, *(event for event in events if chance.random() < 0.3)]
    chance.shuffle(disorder)

    assert mirrored(disorder) == mirrored(events) == chat.tables


def test_an_edit_before_its_message_and_a_delete_before_the_edit():
    """The example of the page in the docs, with CometChat's own payloads."""
    sent = an_event("message_sent")
    edited = an_event("message_edited")
    on = {"id": "1", "conversationId": "c", "deletedAt": 1696935005, "deletedBy": "cometchat-uid-1"}
    deleted = an_event("message_deleted", message__data__entities__on__entity=on)

    after_edit = mirrored([edited, sent])["messages"]["<appId>", "1"]
    after_delete = mirrored([deleted, edited, sent])["messages"]["<appId>", "1"]

    assert (after_edit["text"], after_edit["edited_at"], after_edit["sender"]) == (
        "hello", 1696934985, "cometchat-uid-1",
    )  # fmt: skip
    assert (after_delete["text"], after_delete["deleted_at"]) == (None, 1696935005)


def test_what_was_deleted_leaves_no_text_on_the_disk_s_rows_whatever_comes_later():
    """Somebody wanted it gone: a late edit, or a replay of last month, must not bring it back."""
    chat = Chat()
    chat.send("anna", "bert", "a secret")
    chat.delete("1", flat=True)
    events = accepted(chat)
    late_edit = an_event(
        {**chat.payloads[0], "trigger": "message_edited", "data": {"message": {
            **chat.payloads[0]["data"]["message"], "editedAt": chat.now + 1000}}}
    )  # fmt: skip

    rows = mirrored([*events, late_edit, events[0]])["messages"]

    assert rows[APP, "1"]["text"] is None
    assert "secret" not in repr(rows)


def test_an_acceptance_of_the_same_post_twice_changes_nothing():
    """CometChat's retry, where the gateway could not know that it is one."""
    chat = Chat()
    chat.send("anna", "bert", "one")
    chat.wait(1)
    chat.edit("1", "two", flat=False)
    first, second = accepted(chat), accepted(chat)

    assert mirrored([*first, *second]) == mirrored([*second, *first]) == chat.tables


def test_two_edits_in_one_second_end_as_the_one_accepted_later():
    """CometChat's times are whole seconds; some order is needed, and the same one at every try."""
    chat = Chat()
    chat.send("anna", "bert", "one")
    chat.edit("1", "two", flat=True)
    chat.edit("1", "three", flat=True)
    sent, second, third = accepted(chat)

    assert mirrored([third, sent, second])["messages"][APP, "1"]["text"] == "three"


def test_an_edit_outdoes_its_message_also_when_both_are_of_one_second_and_the_edit_was_accepted_first():
    """CometChat's POSTs overtake each other."""
    chat = Chat()
    chat.send("anna", "bert", "one")
    chat.edit("1", "two", flat=False)
    sent, edited = chat.payloads
    events = [event_of(delivered(edited, at=chat.now)), event_of(delivered(sent, at=chat.now + 5))]

    for order in (events, events[::-1]):
        assert mirrored(order)["messages"][APP, "1"]["text"] == "two"
