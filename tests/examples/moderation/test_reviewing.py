"""Decisions and what they do, against a real HTTP server in CometChat's place."""

import json
import socket
from contextlib import closing

import pytest

from moderation.calls import BadSubject, Call, call_for
from moderation.cometchat import CallFailed, Http, SaysOnly
from moderation.item import State
from moderation.queue import Queue
from moderation.reading import read
from moderation.reviewing import Review
from support.examples import a_payload, an_event
from support.web import Site, web_site

NAMES = {"app": "26753af2c0d24b10", "region": "eu"}


def a_queue(tmp_path, sample="moderation_engine_blocked", *, app=NAMES["app"], region=NAMES["region"], **changes):
    queue = Queue(tmp_path / "moderation.db")
    said = read(an_event({**a_payload(sample, **changes), "appId": app, "region": region}))
    assert said is not None
    queue.take(said)
    return closing(queue)


@pytest.mark.parametrize(
    ("verdict", "status"), [(State.APPROVED, "approved"), (State.REJECTED, "rejected")], ids=["approve", "reject"]
)
def test_a_decision_on_a_blocked_message_is_told_to_comet_chat(tmp_path, verdict, status):
    """Else the message would stay as it is."""
    with a_queue(tmp_path) as queue, web_site() as site:
        decided = Review(queue, Http("secret-key"), site.url + "/v3").decide(1, verdict, "anna", "seen")

        (asked,) = site.asked
        assert (asked.method, asked.path) == ("PATCH", "/v3/moderation/blocked-messages/13")
        assert json.loads(asked.body) == {"status": status, "reviewed": True}
        assert asked.headers["apikey"] == "secret-key"
        assert (decided.state, decided.settlement.by, decided.settlement.note) == (verdict, "anna", "seen")
        assert queue.due() == []


def test_a_message_that_people_can_see_is_deleted_when_rejected_and_left_alone_when_approved(tmp_path):
    """The engine failed and CometChat let the message pass."""
    with a_queue(tmp_path, "moderation_engine_failed") as queue:
        item = queue.item(1)

    assert call_for(item, State.APPROVED) is None
    assert call_for(item, State.REJECTED) == Call(
        "DELETE", "https://26753af2c0d24b10.api-eu.cometchat.io/v3/messages/11", b""
    )


def test_a_decision_stands_when_comet_chat_is_away_and_is_carried_out_later(tmp_path):
    """The reviewer must not have to think of it again."""
    with a_queue(tmp_path) as queue, web_site(Site(status=503)) as site:
        review = Review(queue, Http("key"), site.url)
        with pytest.raises(CallFailed, match=r"PATCH .*/moderation/blocked-messages/13: status 503"):
            review.decide(1, State.APPROVED, "anna")
        assert queue.item(1).state is State.APPROVED

        done, failures = review.carry_out_due()
        assert (done, len(failures)) == (0, 1)
        site.status = 200
        assert review.carry_out_due() == (1, [])
        assert review.carry_out_due() == (0, [])

    assert len(site.asked) == 3


def test_a_decision_is_carried_out_after_a_crash(tmp_path):
    """The call is written down in the transaction that decides."""

    class Crash:
        def make(self, call):
            raise KeyboardInterrupt

    with a_queue(tmp_path) as queue, pytest.raises(KeyboardInterrupt):
        Review(queue, Crash(), "http://localhost").decide(1, State.REJECTED, "anna")

    with web_site() as site, closing(Queue(tmp_path / "moderation.db")) as queue:
        ((_, call),) = queue.due()
        assert json.loads(call.body)["status"] == "rejected"
        assert Review(queue, SaysOnly(print)).carry_out_due() == (0, [])
        queue.made(1, call)
        assert queue.due() == []
        assert site.asked == []


def test_without_a_key_it_is_only_said_and_stays_due(tmp_path):
    """Nothing may look done that is not."""
    said: list[str] = []
    with a_queue(tmp_path) as queue:
        Review(queue, SaysOnly(said.append)).decide(1, State.APPROVED, "anna")

        (line,) = said
        where = "https://26753af2c0d24b10.api-eu.cometchat.io/v3/moderation/blocked-messages/13"
        assert line == f'would call PATCH {where} {{"status": "approved", "reviewed": true}}'
        assert len(queue.due()) == 1


def test_a_message_that_is_gone_is_deleted_enough():
    """A call may be made twice."""
    with web_site(Site(status=404)) as site:
        assert Http("key").make(Call("DELETE", f"{site.url}/messages/1", b""))
        with pytest.raises(CallFailed, match="status 404"):
            Http("key").make(Call("PATCH", f"{site.url}/moderation/blocked-messages/1", b"{}"))


def test_no_redirect_is_followed():
    """SECURITY: the API key would go along."""
    with web_site() as elsewhere, web_site(Site(status=307, headers={"Location": elsewhere.url})) as site:
        with pytest.raises(CallFailed, match="status 307"):
            Http("key").make(Call("DELETE", f"{site.url}/messages/1", b""))

        assert elsewhere.asked == []


def test_an_api_that_is_not_there_is_a_failed_call_without_the_key():
    """It is printed, and may be logged."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/messages/1"
        with pytest.raises(CallFailed, match="ConnectionRefusedError") as failure:
            Http("secret-key").make(Call("DELETE", url, b""))

    assert "secret-key" not in str(failure.value)


@pytest.mark.parametrize(
    "changes",
    [{"app": "evil.example.com/"}, {"app": ""}, {"region": "eu.evil.example.com#"}, {"message__id": "1/../../x"}],
    ids=["host", "no-app", "region", "path"],
)
def test_names_that_do_not_belong_into_a_url_are_refused_before_anything_is_decided(tmp_path, changes):
    """SECURITY: they came in a payload, and the API key goes to the host they name."""
    with a_queue(tmp_path, **changes) as queue:
        with pytest.raises(BadSubject, match="is not one that CometChat would give"):
            Review(queue, Http("key")).decide(1, State.APPROVED, "anna")

        assert queue.item(1).state is State.OPEN
