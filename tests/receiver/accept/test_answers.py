"""Every answer of the receiver, over a real server and a real journal."""

import base64
import gzip
import json
import random
import time
from collections.abc import Iterator

import pytest

from support.receiver import (
    EVENT,
    PASSWORD,
    USERNAME,
    Credential,
    HttpAnswer,
    Receiver,
    a_receiver,
    an_endpoint,
    basic,
)
from support.waiting import until_sync

LIMIT = 64 * 1024
CANARY = "CANARY-9f3b"


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    endpoints = (
        an_endpoint("/acme/chat", Credential(), Credential(username="chosen", generated=False)),
        an_endpoint("/acme/apps", app_ids=["26753af2c0d24b10"]),
        an_endpoint("/acme/rated", rate=(0.05, 3)),
        an_endpoint("/acme/suspended", suspended=True),
        an_endpoint("/acme/bare", verifiers=(), without_credentials="SecretMissing"),
        an_endpoint("/acme/share", max_pending_bytes=1000),
        an_endpoint("/acme/latin", Credential(username="jürgen", password="grüße")),
    )
    with a_receiver(tmp_path_factory.mktemp("receiver"), *endpoints, workers=2) as running:
        yield running


def stored(receiver: Receiver, body: bytes) -> int:
    """How many events with this body are durable."""
    return sum(event.body == body for event in receiver.events())


def an_event(name: str) -> bytes:
    """A body that no other test sends."""
    return json.dumps({"trigger": "message_sent", "test": name, "at": time.time_ns()}).encode()


def test_an_event_is_answered_200_and_is_durable(receiver: Receiver) -> None:
    """The answer's body is what `before_message` would inject: nothing."""
    body = an_event("plain")

    answer = receiver.post(body=body)

    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["content-type"] == "application/json"
    assert stored(receiver, body) == 1


@pytest.mark.parametrize("size", [200, 2_000, LIMIT])
@pytest.mark.parametrize("way", ["length", "chunked", "gzip", "gzip chunked"])
def test_the_body_is_kept_byte_for_byte(receiver: Receiver, way: str, size: int) -> None:
    """However it came."""
    chance = random.Random(f"{way} {size}")
    start = an_event(way)[:-1] + b', "t": "'
    middle = "".join(chance.choices(["a", " ", "é", "\\u0041"], k=size // 3)).encode()
    body = start + middle[: max(0, size - len(start) - 8)].rpartition(b"a")[0] + b'"}'
    body = body[:-2] + b"x" * (size - len(body)) + body[-2:]
    sent = gzip.compress(body) if "gzip" in way else body
    headers = {"Content_Encoding": "gzip"} if "gzip" in way else {}
    pieces = [sent[n : n + 777] for n in range(0, len(sent), 777)]

    answer = receiver.post("/acme/chat", iter(pieces) if "chunked" in way else sent, **headers)

    assert answer.status == 200, answer.body
    assert stored(receiver, body) == 1


def test_content_type_and_query_are_not_insisted_on(receiver: Receiver) -> None:
    """CometChat was seen to send `Application/json`; what else it may send is not known."""
    for path, headers in (
        ("/acme/chat", {"Content-Type": "text/plain"}),
        ("/acme/chat?x=%FF&y=%00", {}),
        ("/acme/chat?", {"Content-Type": "\xff"}),
    ):
        answer = receiver.request("POST", path, EVENT, {"Authorization": basic(), **headers})
        assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    "authorization",
    [
        basic(),
        basic().replace("Basic", "bAsIc"),
        basic().replace(" ", "    "),
        basic() + "  ",
        basic().rstrip("="),
        basic("chosen"),
    ],
    ids=["plain", "case", "spaces", "trailing", "padding", "chosen"],
)
def test_right_credentials_open(receiver: Receiver, authorization: str) -> None:
    """In each form that senders use."""
    assert receiver.post(auth=authorization).status == 200


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_credentials_may_be_encoded_in_two_ways(receiver: Receiver, encoding: str) -> None:
    """RFC 7617 says UTF-8; older clients send Latin-1."""
    shown = base64.b64encode("jürgen:grüße".encode(encoding)).decode()

    assert receiver.post("/acme/latin", auth=f"Basic {shown}").status == 200


STRANGERS = [
    ("POST", "/acme/chat", None),
    ("POST", "/acme/chat", basic(password="wrong")),
    ("POST", "/acme/chat", basic(username="wrong")),
    ("POST", "/acme/chat", "Basic ***"),
    ("POST", "/acme/chat", "Bearer token"),
    ("POST", "/acme/nowhere", basic()),
    ("POST", "/acme%2Fchat", basic()),
    ("POST", "/%61cme/chat", basic()),
    ("POST", "/acme/chat/", basic()),
    ("POST", "/", basic()),
    ("POST", "/metrics", None),
    ("GET", "/acme/chat", None),
    ("DELETE", "/acme/nowhere", basic()),
    ("POST", "/acme/bare", None),
]


@pytest.mark.parametrize(("method", "path", "authorization"), STRANGERS, ids=lambda value: repr(value)[:24])
def test_strangers_all_get_the_same_answer(
    receiver: Receiver, method: str, path: str, authorization: str | None
) -> None:
    """Byte for byte but for the date: nothing says which tenants exist."""
    plain = receiver.post(auth=basic(password="also wrong"))

    answer = receiver.request(method, path, EVENT, {"Authorization": authorization} if authorization else {})

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="hookline", charset="UTF-8"'
    assert (answer.body, fixed(answer)) == (plain.body, fixed(plain))
    assert answer.reason == "Unauthorized"


def fixed(answer: HttpAnswer) -> dict[str, str]:
    """The headers that the receiver decides on; the server closes where the body had not yet arrived whole."""
    return {name: value for name, value in answer.headers.items() if name not in ("date", "connection")}


def test_an_unknown_path_takes_no_other_time_than_a_wrong_password(receiver: Receiver) -> None:
    """Measured in turns; the quick tenth is compared, which other work on the machine disturbs least."""
    times: dict[str, list[float]] = {"/acme/chat": [], "/acme/nowhere": [], "/acme/suspended": []}
    connection = receiver.connect()
    for n in range(300):
        for path, found in times.items():
            headers = {"Authorization": basic(password=f"wrong{n}")}
            began = time.perf_counter()
            receiver.request("POST", path, EVENT, headers, connection)
            found.append(time.perf_counter() - began)
    connection.close()

    quick = {path: sorted(found)[len(found) // 10] for path, found in times.items()}

    print({path: f"{seconds * 1e6:.0f} µs" for path, seconds in quick.items()})
    assert max(quick.values()) < 1.25 * min(quick.values()) + 50e-6, quick


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_other_methods_are_refused_to_who_is_known(receiver: Receiver, method: str) -> None:
    """With what is allowed."""
    answer = receiver.request(method, "/acme/chat", None, {"Authorization": basic()})

    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert method == "HEAD" or answer.reason == "MethodNotAllowed"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "reason"),
    [
        ("/acme/apps", b'{"trigger":"x","appId":"other"}', {}, 403, "AppNotAccepted"),
        ("/acme/chat", b"not json", {}, 400, "NotAnEvent"),
        ("/acme/chat", b"", {}, 400, "NotAnEvent"),
        ("/acme/chat", b"[" * 60_000, {}, 400, "NotAnEvent"),
        ("/acme/chat", EVENT, {"Content_Encoding": "br"}, 415, "UnsupportedEncoding"),
        ("/acme/chat", EVENT, {"Content_Encoding": "gzip"}, 400, "BadEncoding"),
        ("/acme/chat", b"x" * (LIMIT + 1), {}, 413, "TooLarge"),
        ("/acme/chat", iter([b"x" * 1000] * 70), {}, 413, "TooLarge"),
        ("/acme/chat", gzip.compress(b"x" * 10_000_000), {"Content_Encoding": "gzip"}, 413, "TooLarge"),
        ("/acme/nowhere", b"x" * (LIMIT + 1), {}, 413, "TooLarge"),
        ("/acme/suspended", EVENT, {}, 503, "Suspended"),
        ("/acme/bare", EVENT, {}, 503, "NoCredentials"),
    ],
    ids=[
        "app", "no JSON", "empty", "deep", "brotli", "no gzip", "large", "large chunked", "bomb", "large unknown", "suspended",
        "no credentials",
    ],
)  # fmt: skip
def test_refusals_name_their_reason(
    receiver: Receiver, path: str, body: object, headers: dict[str, str], status: int, reason: str
) -> None:
    """As a problem document; with when to come again where it is 503; and nothing is stored."""
    before = len(receiver.events())

    answer = receiver.post(path, body, **headers)

    assert (answer.status, answer.reason) == (status, reason)
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in answer.headers) is (status == 503)
    assert len(receiver.events()) == before


def test_a_large_body_is_refused_before_it_is_sent(receiver: Receiver) -> None:
    """Who announces too much is told at once, without a byte of it; and `Expect: 100-continue` gets no 100."""
    head = f"POST /acme/chat HTTP/1.1\r\nHost: x\r\nAuthorization: {basic()}\r\nContent-Length: 999999999\r\n"

    came = receiver.send(f"{head}Expect: 100-continue\r\n\r\n".encode(), timeout=5)

    assert came.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in came


def test_a_stranger_is_refused_before_the_body_is_sent(receiver: Receiver) -> None:
    """A wrong password costs nobody an upload."""
    head = "POST /acme/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\nExpect: 100-continue\r\n\r\n"

    came = receiver.send(head.encode(), timeout=5)

    assert came.startswith(b"HTTP/1.1 401 ")


def test_who_expects_100_gets_it(receiver: Receiver) -> None:
    """And then is accepted."""
    body = an_event("expect")
    head = f"POST /acme/chat HTTP/1.1\r\nHost: x\r\nAuthorization: {basic()}\r\nContent-Length: {len(body)}\r\n"
    connection = receiver.connect()
    connection.connect()
    connection.sock.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())

    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 ")
    connection.sock.sendall(body)
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 200 ")
    connection.close()


def test_a_cut_off_body_is_never_an_event(receiver: Receiver) -> None:
    """By length and in chunks; where the part alone would be valid."""
    body = an_event("cut off")
    head = f"POST /acme/chat HTTP/1.1\r\nHost: x\r\nAuthorization: {basic()}\r\n"
    truncated = receiver.metric("hookline_receiver_requests_total", reason="Truncated")

    for framing, sent in (
        (f"Content-Length: {len(body) + 1}", body),
        ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(body), body)),
    ):
        connection = receiver.connect()
        connection.connect()
        connection.sock.sendall(f"{head}{framing}\r\n\r\n".encode() + sent)
        connection.close()

    until_sync(lambda: receiver.metric("hookline_receiver_requests_total", reason="Truncated") == truncated + 2)
    assert stored(receiver, body) == 0


def test_a_rate_holds_for_all_workers_together(receiver: Receiver) -> None:
    """Each request on a connection of its own, so that both workers are asked."""
    answers = [receiver.post("/acme/rated") for _ in range(20)]

    assert [answer.status for answer in answers].count(200) == 3
    limited = next(answer for answer in answers if answer.status == 429)
    assert limited.reason == "RateLimited"
    assert 1 <= int(limited.headers["retry-after"]) <= 20


def test_a_share_is_held_by_what_the_forwarder_says(receiver: Receiver) -> None:
    """Only that subscription is refused, and only while it is over."""
    receiver.write_pending({"uid-acme-share": 999_999})
    until_sync(
        lambda: {receiver.post("/acme/share").status for _ in range(10)} == {503}, what="refused by both workers"
    )

    answer = receiver.post("/acme/share")
    assert (answer.reason, "retry-after" in answer.headers) == ("OverShare", True)
    assert receiver.post("/acme/chat").status == 200
    until_sync(lambda: receiver.metric("hookline_receiver_share_subscriptions", above="0.8") == 1)

    def below_again() -> bool:
        receiver.write_pending({})
        return {receiver.post("/acme/share").status for _ in range(4)} == {200}

    until_sync(below_again)


def test_metrics_agree_with_what_was_sent(receiver: Receiver) -> None:
    """Over two workers, each asked by chance."""

    def counted() -> tuple[float, ...]:
        return (
            receiver.metric("hookline_receiver_accepted_events_total"),
            receiver.metric("hookline_receiver_subscription_events_total", namespace="acme", name="chat"),
            receiver.metric("hookline_receiver_accepted_bytes_total"),
            receiver.metric("hookline_receiver_requests_total", status="200"),
            receiver.metric("hookline_receiver_requests_total", status="401"),
            receiver.metric("hookline_receiver_accept_seconds_count"),
        )  # fmt: skip

    before = counted()
    for n in range(40):
        assert receiver.post().status == 200
        if n % 4 == 0:
            receiver.post(auth=None)

    assert [now - then for now, then in zip(counted(), before, strict=True)] == [40, 40, 40 * len(EVENT), 40, 10, 40]


def test_the_use_of_credentials_is_told(receiver: Receiver) -> None:
    """By credential, on the ops port; by which an operator knows that a new password is in use."""
    began = int(time.time())
    receiver.post(auth=basic("chosen"))

    used = json.loads(receiver.ops("/credentials").body)

    until_sync(lambda: json.loads(receiver.ops("/credentials").body).get("acme.chat-chosen@1", 0) >= began)
    assert "acme.bare" not in json.dumps(used)


def test_the_ops_port_says_what_is_so(receiver: Receiver) -> None:
    """Alive, ready, and nothing else there."""
    assert [receiver.ops(path).status for path in ("/livez", "/readyz", "/metrics", "/nothing")] == [200, 200, 200, 404]
    assert receiver.ops("/metrics").body.endswith(b"\n")


def test_logs_hold_no_body_and_no_credential(receiver: Receiver) -> None:
    """Whatever is sent, accepted or refused, broken or whole."""
    secret = f"{CANARY}-password"
    for auth in (basic(password=secret), f"Basic {CANARY}", f"{CANARY} x", basic(username=CANARY)):
        receiver.post(auth=auth)
    for body in (f'{{"trigger":"{CANARY}"}}', f'{{"trigger":1,"x":"{CANARY}"}}', f"{CANARY}", f'{{"{CANARY}'):
        receiver.post(body=body.encode())
        receiver.post(body=body.encode(), Content_Encoding=CANARY, X_Thing=CANARY, traceparent=CANARY)
    receiver.post("/acme/apps", f'{{"trigger":"x","appId":"{CANARY}"}}'.encode())
    until_sync(lambda: bool(receiver.log_lines("request refused")))

    log = receiver.log()

    assert CANARY not in log
    for hidden in (PASSWORD, secret, basic(), basic(password=secret).split()[1], basic(username=CANARY).split()[1]):
        assert hidden not in log
    assert USERNAME not in log.replace("acme.chat-" + USERNAME, "")
