"""Whatever comes over the wire gets one of the documented answers, and is stored only if it was answered 200."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hookline_receiver.verdict import STATUS
from support.receiver import EVENT, Credential, Receiver, a_receiver, an_endpoint, basic

OF_THE_EDGE = {400, 408, 411, 413, 414, 417, 431, 501, 505}
"""What the HTTP server may say before anything is judged."""

DOCUMENTED = ({200, 417} | set(STATUS.values()) | OF_THE_EDGE) - {500}

AUTH = basic().encode()


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    endpoint = an_endpoint("/acme/chat", Credential(), Credential(username="chosen", generated=False))
    with a_receiver(tmp_path_factory.mktemp("fuzz"), endpoint, an_endpoint("/acme/apps", app_ids=["a"])) as running:
        yield running


JSON = st.recursive(
    st.sampled_from([b"null", b"1", b"-0", b"1e999", b'"x"', b'"\\ud800"', b'"\xff"', b"NaN", b"{}", b"[]", b"tru"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: b"[" + b",".join(parts) + b"]")
        | st.lists(st.tuples(st.sampled_from([b"trigger", b"data", b"message", b"appId", b"id", b""]), inner), max_size=4).map(
            lambda members: b"{" + b",".join(b'"%b":%b' % member for member in members) + b"}"
        )
    ),
    max_leaves=8,
)  # fmt: skip
BODIES = st.binary(max_size=300) | JSON | JSON.map(lambda data: b'{"trigger":"message_sent","data":%b}' % data)
HEADER_VALUES = st.binary(max_size=60).map(lambda value: re.sub(rb"[\r\n\x00]", b"", value))
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Authorization", b"Content-Type", b"Content-Encoding", b"Host", b"traceparent", b"Expect", b"Accept", b"X-Y", b"TE"]
        ),
        HEADER_VALUES | st.sampled_from([AUTH, b"gzip", b"identity", b"br", b"100-continue", b"Basic " + b"A" * 5000, b"Basic Og=="]),
    ),
    max_size=4,
)  # fmt: skip
PATHS = st.sampled_from(
    [b"/acme/chat", b"/acme/apps", b"/acme%2Fchat", b"/acme/chat?%FF", b"*", b"/", b"//x/y", b"/\xff"]
) | (st.binary(max_size=30).map(lambda path: b"/" + re.sub(rb"[\r\n\x00 ]", b"", path)))
METHODS = st.sampled_from(
    [b"POST", b"POST", b"POST", b"GET", b"HEAD", b"PUT", b"OPTIONS", b"BREW", b"post", b"WEBSOCKET"]
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=METHODS, path=PATHS, headers=HEADERS, body=BODIES, chunked=st.booleans(), known=st.booleans())
@example(method=b"WEBSOCKET", path=b"/acme/chat", headers=[], body=b"{}", chunked=False, known=True)
@example(method=b"POST", path=b"/acme/chat?\xff", headers=[], body=EVENT, chunked=False, known=True)
@example(method=b"POST", path=b"*", headers=[(b"Upgrade", b"websocket")], body=EVENT, chunked=False, known=True)
@example(method=b"POST", path=b"/acme/chat", headers=[(b"Content-Type", b"\xff")], body=EVENT, chunked=True, known=True)
@example(
    method=b"GET", path=b"/acme/chat", headers=[(b"Content-Encoding", b"gzip")], body=b"", chunked=True, known=True
)
def test_every_request_gets_a_documented_answer(
    receiver: Receiver,
    method: bytes,
    path: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    chunked: bool,
    known: bool,
) -> None:
    """Never 500, and never silence."""
    lines = [b"%b %b HTTP/1.1" % (method, path), b"Connection: close"]
    if not any(name == b"Host" for name, _ in headers):
        lines.append(b"Host: x")
    if known:
        lines.append(b"Authorization: " + AUTH)
    lines += [b"%b: %b" % header for header in headers]
    lines.append(b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body))
    framed = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n" if chunked else body

    came = receiver.send(b"\r\n".join(lines) + b"\r\n\r\n" + framed)

    statuses = [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", came)]
    assert statuses, came
    assert set(statuses) <= DOCUMENTED | {100}, came
    assert "Traceback" not in receiver.log()


def test_nothing_was_a_fault_of_ours(receiver: Receiver) -> None:
    """After all that: alive, ready, no error counted, and as many events as 200s."""
    assert receiver.metric("hookline_receiver_requests_total", reason="Internal") == 0
    assert receiver.ops("/readyz").status == 200
    assert receiver.metric("hookline_receiver_accepted_events_total") == len(receiver.events())
    assert receiver.post().status == 200
