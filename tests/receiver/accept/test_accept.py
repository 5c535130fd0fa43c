"""The way of a request in the right order, with everything around it in memory."""

import asyncio
import json
from typing import Any

import pytest

from hookline_receiver.auth.authenticate import Way
from hookline_receiver.event import Event
from hookline_receiver.journal.memory import MemoryJournal
from hookline_receiver.limits.rate import RateLimit
from hookline_receiver.problem import CHALLENGE, problem
from hookline_receiver.verdict import Reason, Refused
from support.accept import Rig, a_head, receiving
from support.receiver import EVENT, Credential, an_endpoint, basic


class Untouchable:
    """A body that must not be read."""

    async def __call__(self) -> Any:
        raise AssertionError("the body was read")


class Rates:
    """A limit that is reached."""

    def __init__(self) -> None:
        self.charged: list[str] = []

    def take(self, uid: str, limit: RateLimit) -> float:
        self.charged.append(uid)
        return 2.5


async def refusal(rig: Rig, receive: Any = None, **head: Any) -> Refused:
    answered = await rig.acceptance.accept(a_head(**head), receive or Untouchable())
    assert isinstance(answered.verdict, Refused)
    assert rig.journal.payloads == []
    return answered.verdict


async def test_an_event_is_stored_before_it_is_answered() -> None:
    """The promise."""
    rig = Rig()

    answered = await rig.acceptance.accept(a_head(traceparent="00-1-2-01"), receiving(EVENT))

    assert isinstance(answered.verdict, Event)
    assert rig.events == [answered.verdict]
    assert (answered.verdict.body, answered.verdict.traceparent) == (EVENT, "00-1-2-01")
    assert (rig.notes.ways, rig.notes.appends, rig.notes.used) == ([Way.FAST], 1, ["acme.chat-acmehooks@1"])
    assert rig.shares.pending("uid-acme-chat") == len(EVENT)


@pytest.mark.parametrize(
    "head",
    [
        {"path": b"/acme/other"},
        {"path": b"/acme%2Fchat"},
        {"host": b"evil.example.com"},
        {"authorization": None},
        {"authorization": b"Bearer x"},
        {"authorization": basic(password="wrong").encode()},
        {"authorization": None, "method": "GET"},
        {"path": b"/acme/other", "method": "GET"},
        {"path": b"/acme/other", "content_encoding": b"br"},
    ],
    ids=["path", "encoded", "host", "none", "bearer", "wrong", "GET", "GET path", "path and encoding"],
)
async def test_strangers_all_get_the_same_answer(head: dict[str, Any]) -> None:
    """Byte for byte, whatever it was: who has no credential learns nothing of which tenants exist."""
    rig = Rig(hostnames=["hooks.example.com"])
    plain = problem(await refusal(rig, authorization=basic(password="nope").encode()))

    answer = problem(await refusal(rig, **head))

    assert answer == plain
    assert (answer.status, answer.headers["www-authenticate"]) == (401, CHALLENGE)


async def test_strangers_can_not_tell_by_size_either() -> None:
    """An announced size is refused before the credential is looked at, for any path."""
    rig = Rig(an_endpoint(max_body_bytes=10))

    known = await refusal(rig, content_length=11, authorization=None)
    unknown = await refusal(rig, content_length=11, authorization=None, path=b"/no/where")

    assert known == unknown
    assert known.reason is Reason.TOO_LARGE


async def test_strangers_do_not_spend_a_tenants_rate() -> None:
    """Charged after authentication only."""
    rig = Rig(an_endpoint(rate=(1, 1)))
    rig.rates = rates = Rates()

    await refusal(rig, authorization=basic(password="wrong").encode())
    assert rates.charged == []

    limited = await refusal(rig)
    assert (limited.reason, limited.retry_after, rates.charged) == (Reason.RATE_LIMITED, 3, ["uid-acme-chat"])


@pytest.mark.parametrize(
    ("head", "fields", "reason"),
    [
        ({"method": "PUT"}, {}, Reason.METHOD_NOT_ALLOWED),
        ({"content_encoding": b"deflate"}, {}, Reason.UNSUPPORTED_ENCODING),
        ({}, {"suspended": True}, Reason.SUSPENDED),
    ],
    ids=["method", "encoding", "suspended"],
)
async def test_who_is_known_is_told_why(head: dict[str, Any], fields: dict[str, Any], reason: Reason) -> None:
    """And before the body is read."""
    refused = await refusal(Rig(an_endpoint(**fields)), **head)

    assert refused.reason is reason


async def test_a_subscription_over_its_share_is_refused_alone() -> None:
    """One tenant's dead handler never makes others get 503."""
    rig = Rig(an_endpoint("/acme/chat", max_pending_bytes=50), an_endpoint("/acme/more", max_pending_bytes=50))
    rig.shares.renew({"uid-acme-chat": 50}, 0)

    refused = await refusal(rig)
    other = await rig.acceptance.accept(a_head(path=b"/acme/more"), receiving(EVENT))

    assert (refused.reason, refused.status, bool(refused.retry_after)) == (Reason.OVER_SHARE, 503, True)
    assert isinstance(other.verdict, Event)


async def test_an_endpoint_without_credentials_says_so_to_who_shows_one() -> None:
    """503 so that the sender tries again; without a credential there is nothing but 401."""
    rig = Rig(an_endpoint(verifiers=(), without_credentials="the Secret is missing"))

    shown = await refusal(rig)
    unshown = await refusal(rig, authorization=None)

    assert (shown.reason, shown.status) == (Reason.NO_CREDENTIALS, 503)
    assert "Secret" not in shown.detail
    assert unshown.reason is Reason.UNAUTHORIZED


async def test_without_routes_nobody_is_told_that_his_password_is_wrong() -> None:
    """A receiver that has just started knows nothing yet."""
    rig = Rig()
    rig.current = None

    refused = await refusal(rig)

    assert (refused.reason, refused.status, bool(refused.retry_after)) == (Reason.NO_ROUTES, 503, True)


async def test_what_can_not_be_made_durable_is_not_accepted() -> None:
    """Nothing was promised."""
    rig = Rig()
    rig.journal.unavailable = "journal /data/x: no space left on device (0 bytes free)"

    refused = await refusal(rig, receiving(EVENT))

    assert (refused.reason, refused.status, bool(refused.retry_after)) == (Reason.JOURNAL_UNAVAILABLE, 503, True)
    assert "/data" not in refused.detail
    assert rig.shares.pending("uid-acme-chat") == 0


class SlowJournal(MemoryJournal):
    """A disk that answers after the sender has lost its patience."""

    async def append(self, payload: bytes) -> None:
        await asyncio.Event().wait()


async def test_the_sender_is_answered_while_it_still_listens() -> None:
    """An answer after 2 s is none: 503 before, so that the sender knows that it must come again."""
    rig = Rig()
    rig.journal, rig.append_timeout = SlowJournal(), 0.05

    refused = await refusal(rig, receiving(EVENT))

    assert (refused.reason, refused.status, bool(refused.retry_after)) == (Reason.JOURNAL_SLOW, 503, True)


async def test_no_part_of_a_body_is_an_event() -> None:
    """Even where the part is valid JSON."""
    rig = Rig()

    refused = await refusal(rig, receiving(EVENT, ends=False))

    assert refused.reason is Reason.TRUNCATED


async def test_chosen_passwords_are_verified_in_a_thread() -> None:
    """And the next time by memory."""
    rig = Rig(an_endpoint("/acme/chat", Credential(generated=False)))

    for _ in range(2):
        await rig.acceptance.accept(a_head(), receiving(EVENT))

    assert rig.notes.ways == [Way.SLOW, Way.CACHED]
    assert len(rig.events) == 2


@pytest.mark.parametrize("reason", list(Reason), ids=str)
def test_a_refusal_is_a_problem_document(reason: Reason) -> None:
    """One word, the same as in logs and metrics; RFC 9457."""
    refused = Refused(reason, "why", retry_after=7 if reason is Reason.SUSPENDED else 0)

    answer = problem(refused)

    document = json.loads(answer.body)
    assert document == {
        "type": f"urn:hookline:problem:{reason}",
        "title": document["title"],
        "status": answer.status,
        "detail": "why",
        "reason": reason,
    }
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("www-authenticate" in answer.headers) is (answer.status == 401)
    assert answer.headers.get("allow") == ("POST" if answer.status == 405 else None)
    assert answer.headers.get("retry-after") == ("7" if reason is Reason.SUSPENDED else None)
