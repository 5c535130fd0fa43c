"""What comes into the queue, and that neither order nor repetitions change it."""

import itertools
from contextlib import closing

import pytest

from moderation.item import Settlement, State
from moderation.queue import KEPT, NoSuchItem, NotOpen, Queue
from moderation.reading import ApprovedElsewhere, Finding, Gone, read
from support.examples import SAMPLES, a_payload, an_event

AT = 1791285309
BLOCKED = a_payload("moderation_engine_blocked")
FAILED_IMAGE = a_payload(
    "moderation_engine_failed", resource__id="13", contentType="image", outcome="blocked", completedAt=AT + 1
)
APPROVED = a_payload("moderation_manual_approved", message__id="13", message__updatedAt=AT)
DELETED = a_payload("message_deleted", message__data__entities__on__entity={"id": "13", "deletedAt": AT + 9})


def said(payload):
    found = read(an_event(payload))
    assert found is not None
    return found


@pytest.fixture
def queue(tmp_path):
    with closing(Queue(tmp_path / "moderation.db")) as made:
        yield made


def test_a_blocked_message_comes_into_the_queue(queue):
    """With everything that a reviewer needs to judge it."""
    queue.take(said(BLOCKED))

    (item,) = queue.items()
    assert (item.number, item.state, item.withheld) == (1, State.OPEN, True)
    assert [str(reason) for reason in item.reasons] == ["blocked (text): blocked by the engine"]
    subject = item.subject
    assert (subject.message, subject.sender, subject.text) == ("13", "cometchat-uid-1", "message that tripped a rule")
    assert (subject.tenant, subject.app) == ("examples", "<appId>")


def test_a_failed_judgement_comes_into_the_queue_and_says_whether_people_see_the_message(queue):
    """CometChat's setting decides that, and the reviewer's hurry depends on it."""
    queue.take(said("moderation_engine_failed"))

    (item,) = queue.items()
    assert not item.withheld
    assert str(item.reasons[0]).startswith("failed (text): Your moderation endpoint returned HTTP 500")


def test_rules_that_blocked_are_named(queue):
    """ "blocked by the engine" alone does not tell what to look for."""
    matches = a_payload("moderation_manual_approved")["data"]["moderation"]
    payload = {**BLOCKED, "data": {**BLOCKED["data"], "moderation": matches}}

    queue.take(said(payload))

    assert queue.items()[0].reasons[0].text == "AI Spam detection"


def test_all_findings_of_a_message_are_one_item(queue):
    """A picture with a caption is judged twice; a reviewer looks once."""
    for payload in (BLOCKED, FAILED_IMAGE, BLOCKED, FAILED_IMAGE):
        queue.take(said(payload))

    (item,) = queue.items()
    assert [(reason.kind, reason.content_type) for reason in item.reasons] == [("blocked", "text"), ("failed", "image")]


@pytest.mark.parametrize(
    ("payloads", "expected"),
    [
        ((BLOCKED, FAILED_IMAGE), State.OPEN),
        ((BLOCKED, APPROVED), State.APPROVED),
        ((BLOCKED, FAILED_IMAGE, APPROVED), State.OPEN),
        ((BLOCKED, FAILED_IMAGE, APPROVED, DELETED), None),
    ],
    ids=["found-twice", "approved-elsewhere", "found-again-later", "deleted"],
)
def test_any_order_with_repetitions_ends_the_same(tmp_path, payloads, expected):
    """An approval before what it approves, a deletion before everything."""
    heard = [said(payload) for payload in payloads]
    for number, order in enumerate(itertools.permutations(heard)):
        with closing(Queue(tmp_path / f"{number}.db", lambda: 0.0)) as queue:
            for each in (*order, *order[:2]):
                queue.take(each)
            assert [item.state for item in queue.items()] == ([expected] if expected else []), order


def test_a_deleted_message_leaves_no_text_behind(queue, tmp_path):
    """Whoever deleted it wanted it gone here too."""
    queue.take(said(BLOCKED))
    queue.take(said(DELETED))
    queue.take(said(BLOCKED))

    assert queue.items() == []
    rows = list(queue._database.execute("SELECT * FROM items"))
    assert rows == []


def decide(queue, number, verdict=State.APPROVED, by="anna"):
    item = queue.item(number)
    return queue.decide(item, Settlement(verdict, item.latest, by, ""), None)


def test_of_two_reviewers_one_is_first(queue):
    """The other must learn it, not overrule it unseen."""
    queue.take(said(BLOCKED))

    assert decide(queue, 1).state is State.APPROVED
    with pytest.raises(NotOpen, match="item 1 was approved by anna already"):
        decide(queue, 1, State.REJECTED, "bert")


def test_what_is_decided_is_what_was_looked_at(queue):
    """The message was edited while the reviewer thought."""
    queue.take(said(BLOCKED))
    seen = queue.item(1)
    queue.take(said(FAILED_IMAGE))

    with pytest.raises(NotOpen, match="has changed meanwhile"):
        queue.decide(seen, Settlement(State.APPROVED, seen.latest, "anna", ""), None)


def test_a_repeated_finding_does_not_open_a_decided_item_and_a_new_one_does(queue):
    """A redelivery is nothing new; an edited message is another message."""
    queue.take(said(BLOCKED))
    decide(queue, 1)
    queue.take(said(BLOCKED))
    assert queue.item(1).state is State.APPROVED

    edited = a_payload("moderation_engine_blocked", message__updatedAt=AT + 60, message__data__text="worse")
    queue.take(said(edited))

    item = queue.item(1)
    assert (item.state, item.withheld, item.subject.text) == (State.OPEN, True, "worse")


def test_comet_chat_s_echo_of_a_decision_leaves_it_with_who_made_it(queue):
    """An approval by API is told by a webhook again."""
    queue.take(said(BLOCKED))
    decide(queue, 1)
    queue.take(said(APPROVED))

    settled = queue.item(1).settlement
    assert settled is not None
    assert settled.by == "anna"


def test_what_is_settled_is_forgotten_after_a_while_and_what_is_open_is_not(tmp_path):
    """The queue holds what people wrote; nothing of it is kept for ever."""
    now = [1_000_000.0]
    with closing(Queue(tmp_path / "moderation.db", lambda: now[0])) as queue:
        queue.take(said(BLOCKED))
        queue.take(said(a_payload("moderation_engine_blocked", message__id="14")))
        decide(queue, 1)
        now[0] += KEPT.total_seconds() + 1
        queue.take(Gone("app", "1"))

        assert [item.subject.message for item in queue.items()] == ["14"]


def test_an_item_that_is_not_there_is_named(queue):
    """A typing mistake is the usual reason."""
    with pytest.raises(NoSuchItem, match="no item 7"):
        queue.item(7)

    queue.take(said(APPROVED))
    assert queue.items() == []
    with pytest.raises(NoSuchItem):
        queue.item(1)


@pytest.mark.parametrize("file", sorted(SAMPLES.glob("*.json")), ids=lambda file: file.stem)
def test_every_documented_payload_can_be_read(file, queue):
    """None may end as an exception."""
    heard = read(an_event(file.stem))

    assert heard is None or isinstance(heard, Finding | ApprovedElsewhere | Gone)
    if heard is not None:
        queue.take(heard)
