"""What may be an event, and what is said of what may not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.encoding import ContentEncoding
from hookline_receiver.event import Event
from hookline_receiver.judge import admit, judge, measure
from hookline_receiver.verdict import STATUS, Reason, Refused
from support.accept import INGEST_ID, NOON_NS, a_head, endpoint_of
from support.receiver import EVENT, an_endpoint


def judged(body: bytes, head: Any = None, **fields: Any) -> Event | Refused:
    endpoint = endpoint_of(an_endpoint(**fields))
    return judge(body, head or a_head(), endpoint, ingest_id=INGEST_ID, now_ns=NOON_NS)


def test_an_accepted_event_keeps_the_bytes_that_came() -> None:
    """Handlers may hash or archive what CometChat sent, so the body must not be re-encoded."""
    body = b'{ "trigger":"message_sent" ,"x":1.0e0}\n'

    event = judged(body)

    assert isinstance(event, Event)
    assert event.body == body
    assert (event.ingest_id, event.received_at_ns) == (INGEST_ID, NOON_NS)
    assert str(event.subscription) == "acme/chat"


def test_the_envelope_is_read() -> None:
    """Routes match by what is read here."""
    event = judged(EVENT)

    assert isinstance(event, Event)
    assert (event.envelope.trigger, event.envelope.category) == ("message_sent", "message")
    assert event.envelope.app_id == "26753af2c0d24b10"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"message_sent"',
        b"{}",
        b'{"trigger":1}',
        b'{"trigger":null}',
        b'{"trigger":"x"',
        b'{"trigger":"x"}}',
        b'{"trigger":"x","data":NaN}',
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 100_000,
        b"\xff\xfe{\x00}\x00",
    ],
    ids=[
        "empty", "null", "list", "string", "no trigger", "number", "null trigger", "cut", "surplus", "NaN", "deep", "open", "utf-16",
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused(body: bytes) -> None:
    """A sender that posts something else must be told, not stored."""
    verdict = judged(body)

    assert isinstance(verdict, Refused)
    assert verdict.reason is Reason.NOT_AN_EVENT
    assert verdict.status == 400


@pytest.mark.parametrize(
    ("body", "trigger"),
    [
        (b'{"trigger":"new_thing","data":[1]}', "new_thing"),
        (b'{"trigger":"a","trigger":"b"}', "b"),
        (b'{"trigger":"x","n":' + b"9" * 400 + b"}", "x"),
        (b'{"trigger":"x","n":1e999}', "x"),
        (b'\xef\xbb\xbf{"trigger":"x"}', "x"),
        (b'{"trigger":"x","t":"\xff\xfe"}', "x"),
        (b'{"trigger":"x","t":"\\ud800"}', "x"),
        (b'{"trigger":"message_sent","data":{"message":7}}', "message_sent"),
    ],
    ids=["unknown", "twice", "huge number", "beyond float", "BOM", "not UTF-8", "lone surrogate", "odd payload"],
)
def test_what_can_be_read_is_an_event(body: bytes, trigger: str) -> None:
    """An avoidable refusal is a lost event: what a JSON reader of the field makes sense of is taken as it is."""
    event = judged(body)

    assert isinstance(event, Event)
    assert (event.envelope.trigger, event.body) == (trigger, body)


VALUES = (
    st.none() | st.booleans() | st.text(max_size=8) | st.floats(allow_nan=False, allow_infinity=False) | st.integers()
)


@given(st.dictionaries(st.text(max_size=8), VALUES | st.lists(VALUES, max_size=3), max_size=5))
def test_any_object_with_a_trigger_is_an_event(members: dict[str, Any]) -> None:
    """Unknown and additional members are normal."""
    body = json.dumps({**members, "trigger": "message_sent"}).encode()

    assert isinstance(judged(body), Event)


@given(st.binary(max_size=300))
def test_no_body_makes_it_raise(body: bytes) -> None:
    """Whatever a stranger with a credential sends: an event or a refusal."""
    verdict = judged(body)

    assert isinstance(verdict, Event) or verdict.reason is Reason.NOT_AN_EVENT


def test_events_of_other_apps_are_refused() -> None:
    """A tenant may bind its endpoint to its apps."""
    assert isinstance(judged(EVENT, app_ids=["26753af2c0d24b10", "other"]), Event)

    verdict = judged(EVENT, app_ids=["other"])

    assert isinstance(verdict, Refused)
    assert (verdict.reason, verdict.status) == (Reason.APP_NOT_ACCEPTED, 403)


def test_an_event_without_an_app_is_refused_where_apps_are_named() -> None:
    """What does not say where it comes from does not come from an accepted app."""
    verdict = judged(b'{"trigger":"x"}', app_ids=["other"])

    assert isinstance(verdict, Refused)
    assert verdict.reason is Reason.APP_NOT_ACCEPTED


@pytest.mark.parametrize(("sent", "kept"), [("00-ab-cd-01", "00-ab-cd-01"), ("x" * 600, "")], ids=["short", "long"])
def test_traceparent_is_kept_if_it_is_short(sent: str, kept: str) -> None:
    """It goes into every record; a sender must not fill the journal by it."""
    event = judged(EVENT, a_head(traceparent=sent))

    assert isinstance(event, Event)
    assert event.traceparent == kept


@pytest.mark.parametrize(
    ("announced", "fits"), [(None, True), (64, True), (65, False)], ids=["chunked", "equal", "above"]
)
def test_an_announced_size_is_measured(announced: int | None, fits: bool) -> None:
    """Before anything is read, hashed or verified."""
    refused = measure(a_head(content_length=announced), 64)

    assert (refused is None) is fits
    assert refused is None or (refused.reason, refused.status) == (Reason.TOO_LARGE, 413)


@pytest.mark.parametrize(
    ("head", "fields", "pending", "reason", "status"),
    [
        ({"method": "GET"}, {}, 0, Reason.METHOD_NOT_ALLOWED, 405),
        ({"method": "post"}, {}, 0, Reason.METHOD_NOT_ALLOWED, 405),
        ({"content_encoding": b"br"}, {}, 0, Reason.UNSUPPORTED_ENCODING, 415),
        ({"content_encoding": b"gzip, gzip"}, {}, 0, Reason.UNSUPPORTED_ENCODING, 415),
        ({}, {"suspended": True}, 0, Reason.SUSPENDED, 503),
        ({}, {"max_pending_bytes": 100}, 100, Reason.OVER_SHARE, 503),
    ],
    ids=["GET", "lower case", "brotli", "twice", "suspended", "share"],
)
def test_who_is_not_admitted(head: Any, fields: Any, pending: int, reason: Reason, status: int) -> None:
    """Each with its own word, and with when to come again where that helps."""
    verdict = admit(a_head(**head), endpoint_of(an_endpoint(**fields)), pending)

    assert isinstance(verdict, Refused)
    assert (verdict.reason, verdict.status) == (reason, status)
    assert bool(verdict.retry_after) is (status == 503)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [(None, "identity"), (b"", "identity"), (b"identity", "identity"), (b" GZIP ", "gzip"), (b"x-gzip", "gzip")],
    ids=["none", "empty", "identity", "upper case", "old name"],
)
def test_who_is_admitted(header: bytes | None, encoding: str) -> None:
    """One byte below the share is below it."""
    verdict = admit(a_head(content_encoding=header), endpoint_of(an_endpoint(max_pending_bytes=100)), 99)

    assert verdict is ContentEncoding(encoding)


def test_every_reason_has_a_status() -> None:
    """A reason without one would turn a refusal into a crash."""
    assert set(STATUS) == set(Reason)
