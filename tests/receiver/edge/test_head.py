"""What the edge understands of a head, llhttp and h11 understand too: nobody in front of us can be told another story."""

from typing import Any

import h11
import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hookline_receiver.edge.body import reader_for
from hookline_receiver.edge.head import Head, parse_head
from hookline_receiver.edge.refusal import Refusal
from hookline_receiver.edge.settings import EdgeSettings

LIMITS = EdgeSettings()


def understood(request: bytes) -> tuple[str, bytes, list[tuple[bytes, bytes]], bytes, bytes] | None:
    """Method, target, fields, body and what follows it, as the edge reads them; None if it refuses or wants more."""
    head_end = request.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = parse_head(request[: head_end + 2], LIMITS)
    if isinstance(head, Refusal):
        return None
    reader = reader_for(head, LIMITS)
    body = reader.feed(request[head_end + 4 :])
    if isinstance(body, Refusal) or not reader.complete:
        return None
    target = head.raw_path + (b"?" + head.query if head.query else b"")
    return head.method, target, head.fields, body, reader.rest


class _Listener:
    """Gathers what llhttp reads of the first message."""

    def __init__(self) -> None:
        self.target, self.body, self.fields, self.complete = b"", b"", list[tuple[bytes, bytes]](), 0
        self.headers_complete = False

    def on_url(self, url: bytes) -> None:
        if not self.complete:
            self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headers_complete:
            self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.headers_complete = True

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


def by_llhttp(request: bytes) -> Any:
    listener = _Listener()
    parser = httptools.HttpRequestParser(listener)
    try:
        parser.feed_data(request)
    except httptools.HttpParserInvalidMethodError:
        return "unknown method"
    except httptools.HttpParserUpgrade:
        return "upgrade"
    except httptools.HttpParserError as error:
        return f"refused: {error}"
    if not listener.complete:
        return "wants more"
    return parser.get_method().decode(), listener.target, listener.fields, listener.body


def by_h11(request: bytes) -> Any:
    server = h11.Connection(our_role=h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(request)
    body = b""
    try:
        head = server.next_event()
        if head is h11.NEED_DATA:
            return "wants more"
        assert isinstance(head, h11.Request)
        while isinstance(event := server.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError as error:
        return f"refused: {error}"
    if not isinstance(event, h11.EndOfMessage):
        return "wants more"
    return head.method.decode(), head.target, [(name, value) for name, value in head.headers], body


FRAGMENTS = [
    b"POST", b"GET", b" ", b"  ", b"/", b"/acme/chat", b"/a%2Fb", b"?x=1", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r",
    b"\r\n\r\n", b"Host: x", b"Host: x\r\n", b"Content-Length: 5", b"Content-Length: 0", b"Content-Length:5\r\n",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:", b"chunked", b"identity",
    b"Connection: close\r\n", b"Upgrade: h2c\r\n", b":", b",", b";", b"\t", b"\x00", b"\x0b", b"\xe9", b"hello",
    b"5\r\nhello\r\n", b"0\r\n\r\n", b"0", b"5", b"a", b"X: y\r\n", b"X-Long: " + b"z" * 100, b"POST /acme/chat HTTP/1.1\r\n",
]  # fmt: skip

requests = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=24).map(b"".join)
GOOD = [
    b"POST /acme/chat?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    b"POST /acme/chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: u\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good request with a few bytes changed, lost, doubled or put in."""
    request = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(request)))
        gone = draw(st.integers(0, 3))
        request = request[:at] + draw(st.sampled_from(FRAGMENTS) | st.binary(max_size=2)) + request[at + gone :]
    return request


@given(requests | damaged())
@example(GOOD[0])
@example(GOOD[1])
@example(GOOD[2])
@settings(max_examples=3000, deadline=None)
def test_what_is_understood_is_understood_alike_by_others(request_bytes: bytes) -> None:
    """Smuggling lives on differences: a proxy that reads the bytes as llhttp (Node, Envoy) or h11 do must agree."""
    ours = understood(request_bytes)
    if ours is None:
        return
    method, target, fields, body, _ = ours

    for theirs in (by_llhttp(request_bytes), by_h11(request_bytes)):
        if theirs in ("unknown method", "upgrade"):
            continue
        assert theirs == (method, target, fields, body) or _refused(theirs, request_bytes), theirs


def _refused(theirs: Any, request: bytes) -> bool:
    """Refusing more than we do is no disagreement on what was said; only bytes behind the message may make them do so."""
    return isinstance(theirs, str) and theirs.startswith("refused")


@given(requests | damaged(), st.data())
@settings(max_examples=500, deadline=None)
def test_a_body_is_read_alike_however_it_is_cut(request_bytes: bytes, data: st.DataObject) -> None:
    """The network cuts where it likes."""
    head_end = request_bytes.find(b"\r\n\r\n")
    head = parse_head(request_bytes[: head_end + 2], LIMITS) if head_end >= 0 else None
    if not isinstance(head, Head):
        return
    rest = request_bytes[head_end + 4 :]
    whole = reader_for(head, LIMITS)
    at_once = whole.feed(rest)
    pieces, reader, got = rest, reader_for(head, LIMITS), b""
    refused = False
    while pieces and not reader.complete and not refused:
        size = data.draw(st.integers(1, len(pieces)))
        piece = reader.feed(pieces[:size])
        pieces = pieces[size:]
        refused = isinstance(piece, Refusal)
        got += b"" if isinstance(piece, Refusal) else piece

    assert refused == isinstance(at_once, Refusal)
    assert reader.complete == whole.complete
    if whole.complete:
        assert (got, reader.rest + pieces) == (at_once, whole.rest)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.binary(max_size=10), st.data())
def test_a_chunked_body_cut_short_is_never_complete(chunks: list[bytes], rest: bytes, data: st.DataObject) -> None:
    """A cut-off event must not look whole, wherever it was cut."""
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    head = parse_head(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n", LIMITS)
    assert isinstance(head, Head)
    cut, whole = reader_for(head, LIMITS), reader_for(head, LIMITS)

    cut.feed(wire[: data.draw(st.integers(0, len(wire) - 1))])
    body = whole.feed(wire + rest)

    assert not cut.complete
    assert (whole.complete, body, whole.rest) == (True, b"".join(chunks), rest)


@pytest.mark.parametrize(
    ("fields", "status"),
    [(99, None), (100, None), (101, 431)],
    ids=["below the limit", "at the limit", "above the limit"],
)
def test_the_number_of_fields_is_bounded(fields: int, status: int | None) -> None:
    """Each costs memory and time."""
    block = b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * (fields - 1)

    head = parse_head(block, LIMITS)

    assert (head.status if isinstance(head, Refusal) else None) == status
