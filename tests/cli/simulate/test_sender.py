"""How a plan is sent: CometChat's patience, retries and credentials, seen from the endpoint."""

import asyncio
from collections import Counter

import pytest

from hookline_cli.simulate.client import parse_url
from hookline_cli.simulate.payloads import read_samples
from hookline_cli.simulate.plan import Kind, Mix, Shot, make_plan
from hookline_cli.simulate.report import Report
from hookline_cli.simulate.sender import Endpoint, Manner, Simulator
from support.endpoint import Answering, Request, ScriptedEndpoint, a_scripted_endpoint, answer

SAMPLES = read_samples()

QUICK = Manner(attempts_at=(0.0, 0.02, 0.06), timeout=0.2)


async def played(
    answering: Answering, plan: list[Shot] | None = None, manner: Manner = QUICK
) -> tuple[Report, ScriptedEndpoint]:
    """The report of a run against an endpoint that answers so."""
    async with a_scripted_endpoint(answering) as endpoint:
        simulator = Simulator(Endpoint(endpoint.url, "hooks", "secret"), manner)
        return await simulator.send(an_event() if plan is None else plan), endpoint


def an_event() -> list[Shot]:
    return make_plan(SAMPLES, Mix(events=1), seed=1)


def well(request: Request) -> bytes:
    return answer(200)


async def test_every_body_arrives_byte_for_byte_and_once() -> None:
    """What was sent is what is later looked for."""
    plan = make_plan(SAMPLES, Mix(events=200), seed=1)

    report, endpoint = await played(well, plan)

    assert report.well
    assert Counter(endpoint.bodies()) == Counter(shot.body for shot in plan)
    assert [sent.shot for sent in report.sent] == plan


async def test_connections_are_kept_alive() -> None:
    """A connection for each event would measure connecting."""
    report, endpoint = await played(well, make_plan(SAMPLES, Mix(events=200), seed=1), Manner(concurrency=4))

    assert report.well
    assert 1 <= endpoint.connections <= 4


async def test_requests_bear_the_documented_headers() -> None:
    """An endpoint sees what it will see of CometChat."""
    _, endpoint = await played(well)
    (request,) = endpoint.requests

    assert request.head.startswith("POST /acme/chat HTTP/1.1\r\n")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{endpoint.port}"
    assert request.user == "hooks:secret"


@pytest.mark.parametrize("failing", [503, 401, 302, 404], ids=str)
async def test_a_failed_event_is_tried_three_times_and_is_then_lost(failing: int) -> None:
    """Other answers than 2xx are all the same to CometChat."""
    report, endpoint = await played(lambda request: answer(failing))

    assert len(endpoint.requests) == 3
    assert len(set(endpoint.bodies())) == 1
    assert [len(report.lost), report.as_object()["lost"]] == [1, 1]
    assert not report.well


@pytest.mark.parametrize("good", [2, 3])
async def test_an_event_is_accepted_by_whichever_attempt(good: int) -> None:
    """Nothing is lost as long as one of the three is answered."""
    count = iter(range(1, 10))
    report, endpoint = await played(lambda request: answer(200 if next(count) == good else 503))

    assert len(endpoint.requests) == good
    assert report.well
    assert report.first_attempts_failed == 1
    assert report.as_object()["outcomes"] == {"503": good - 1, "200": 1}


async def test_attempts_are_made_at_the_documented_moments_counted_from_the_first() -> None:
    """0, 10 and 30 seconds, scaled."""
    manner = Manner(time_scale=0.02)
    report, _ = await played(lambda request: answer(503), manner=manner)
    first, second, third = (attempt.begun for attempt in report.sent[0].attempts)

    assert manner.attempts_at == (0.0, 10.0, 30.0)
    assert 0.15 < second - first < 5
    assert 0.55 < third - first < 5
    assert second < third


async def test_without_retries_one_failure_loses_the_event() -> None:
    """`retryOnFailure` is off by default at CometChat."""
    report, endpoint = await played(lambda request: answer(503), manner=Manner(attempts_at=(0.0,)))

    assert len(endpoint.requests) == 1
    assert len(report.lost) == 1


async def test_an_answer_that_takes_longer_than_the_limit_is_a_failure() -> None:
    """Two seconds at CometChat."""

    async def slow(request: Request) -> bytes:
        await asyncio.sleep(5)
        return answer(200)

    report, _ = await played(slow)

    assert len(report.lost) == 1
    assert report.over_limit == 3
    assert report.as_object()["outcomes"] == {"time-out": 3}


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
    ids=["closed", "not HTTP", "no status", "cut", "bad length", "bad chunk", "endless head"],
)
async def test_what_is_no_answer_is_a_failure_with_a_reason(reply: bytes | None) -> None:
    """A report of "exception" would help nobody."""
    report, _ = await played(lambda request: reply)

    assert len(report.lost) == 1
    assert all(attempt.error and not attempt.status for attempt in report.sent[0].attempts)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\ncontent-LENGTH: 2\r\n\r\n{}",
    ],
    ids=["continue", "chunked", "to the end", "1.0", "204", "202"],
)
async def test_every_way_to_say_yes_is_understood(reply: bytes) -> None:
    """Endpoints stand behind proxies of all kinds."""
    report, _ = await played(lambda request: reply, make_plan(SAMPLES, Mix(events=5), seed=1), Manner(concurrency=1))

    assert report.well
    assert {attempt.answer for sent in report.sent for attempt in sent.attempts} <= {b"{}", b""}


async def test_a_connection_that_the_endpoint_closed_while_idle_is_not_used_again() -> None:
    """It would look like an event that the endpoint refused."""

    def polite(request: Request) -> bytes:
        return answer(200, b"{}", "Connection: close")

    report, endpoint = await played(polite, make_plan(SAMPLES, Mix(events=20), seed=1), Manner(concurrency=2))

    assert report.well
    assert report.first_attempts_failed == 0
    assert endpoint.connections == 20


async def test_refusals_are_expected_of_what_deserves_them_and_not_tried_again() -> None:
    """A well endpoint refuses a stranger once; a right refusal is no failure."""
    plan = make_plan(SAMPLES, Mix(events=0, bad_credentials=4, broken=6, oversize=1, oversize_bytes=9000), seed=1)
    statuses = {shot.body: shot.expected for shot in plan}

    report, endpoint = await played(lambda request: answer(statuses[request.body]), plan)

    assert report.well
    assert len(endpoint.requests) == 11
    assert report.as_object()["accepted"] == 0


async def test_a_stranger_that_is_let_in_is_reported() -> None:
    """200 for bad credentials is the worst answer of all."""
    report, _ = await played(well, make_plan(SAMPLES, Mix(events=0, bad_credentials=1), seed=1))

    assert not report.well
    assert [len(report.unexpected), len(report.lost)] == [1, 0]


async def test_bad_credentials_come_in_every_form() -> None:
    """Wrong password, wrong user, none, malformed."""
    _, endpoint = await played(
        lambda request: answer(401), make_plan(SAMPLES, Mix(events=0, bad_credentials=4), seed=1), Manner(concurrency=1)
    )
    headers = [request.headers.get("authorization") for request in endpoint.requests]

    assert len(set(headers)) == 4
    assert None in headers
    assert "hooks:secret" not in [request.user for request in endpoint.requests]


async def test_a_duplicate_is_sent_only_after_its_event_was_answered() -> None:
    """Else two attempts of one event would be under way at once, which CometChat does not do."""
    under_way: Counter[bytes] = Counter()
    met: list[int] = []

    async def watching(request: Request) -> bytes:
        met.append(under_way[request.body])
        under_way[request.body] += 1
        await asyncio.sleep(0.002)
        under_way[request.body] -= 1
        return answer(200)

    report, endpoint = await played(watching, make_plan(SAMPLES, Mix(events=60, duplicates=60), seed=1))

    assert report.well
    assert max(Counter(endpoint.bodies()).values()) == 2
    assert max(met) == 0


async def test_no_more_requests_are_under_way_than_was_allowed() -> None:
    """An endpoint's limit on connections is met on purpose, or not at all."""
    now = most = 0

    async def counting(request: Request) -> bytes:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1
        return answer(200)

    report, _ = await played(counting, make_plan(SAMPLES, Mix(events=100), seed=1), Manner(concurrency=3))

    assert report.well
    assert most == 3


async def test_a_rate_is_kept_in_bursts_too() -> None:
    """Ten at once, a hundred a second."""
    manner = Manner(rate=100, burst=10, concurrency=50)
    report, _ = await played(well, make_plan(SAMPLES, Mix(events=30), seed=1), manner)
    begun = sorted(sent.attempts[0].begun for sent in report.sent)

    assert begun[10] - begun[0] > 0.09
    assert begun[20] - begun[0] > 0.19
    assert begun[29] < 5
    assert max(begun[9] - begun[0], begun[19] - begun[10]) < begun[10] - begun[0]


async def test_an_endpoint_that_is_not_there_loses_every_event_and_raises_nothing() -> None:
    """An outage is a normal case."""
    async with a_scripted_endpoint(well) as endpoint:
        pass
    report = await Simulator(Endpoint(endpoint.url), QUICK).send(an_event())

    assert len(report.lost) == 1
    assert "ConnectionRefusedError" in report.sent[0].attempts[0].error


async def test_whoever_watches_is_told_of_each_shot_once_it_has_ended() -> None:
    """For progress."""
    told = []
    async with a_scripted_endpoint(well) as endpoint:
        report = await Simulator(Endpoint(endpoint.url), QUICK, told.append).send(make_plan(SAMPLES, Mix(), seed=1))

    assert sorted(sent.shot.number for sent in told) == [sent.shot.number for sent in report.sent]


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://h/x", "http://", "http://h/a b", "http://u:p@h/", "http://h/é", "http://h:x/"]
)
def test_a_url_that_can_not_be_posted_to_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=r".+"):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://h:8080/acme/chat", "h:8080", "/acme/chat"),
        ("http://h", "h", "/"),
        ("https://h:443/x?y=1", "h", "/x?y=1"),
        ("http://[::1]:80/x", "[::1]", "/x"),
    ],
)
def test_a_url_is_split_as_http_wants_it(url: str, authority: str, target: str) -> None:
    """Host and request target."""
    assert (parse_url(url).authority, parse_url(url).target) == (authority, target)


def test_an_event_is_expected_to_be_accepted_and_anything_else_refused() -> None:
    """The table of what is right."""
    shot = Shot(1, Kind.EVENT, "x", b"")

    assert [Shot(1, kind, "x", b"").expected for kind in Kind] == [200, 200, 200, 401, 400, 413]
    assert shot.expected == 200
