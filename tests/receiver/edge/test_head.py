"""What the edge understands of a request, h11 understands too: nobody in front of us can be told another story."""

import time
from typing import Any

import h11
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from hookline_receiver.edge.head import Head
from hookline_receiver.edge.message import MessageReader
from hookline_receiver.edge.refusal import Refusal
from hookline_receiver.edge.settings import EdgeSettings

LIMITS = EdgeSettings()
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def a_head(request: bytes) -> tuple[MessageReader, Head] | None:
    """The reader behind the head of *request*, and the head; None if it is refused or not whole."""
    end = request.find(b"\r\n\r\n") + 4
    reader = MessageReader(LIMITS)
    head = reader.head(request[:end]) if end > 3 else None
    return (reader, head) if isinstance(head, Head) else None


def understood(request: bytes) -> Any:
    """Method, target, fields and body as the edge reads them; None if it refuses or wants more."""
    if (read := a_head(request)) is None:
        return None
    reader, head = read
    body = reader.feed(request[request.find(b"\r\n\r\n") + 4 :])
    if isinstance(body, Refusal) or not reader.complete:
        return None
    target = head.raw_path + (b"?" + head.query if head.query else b"")
    return head.method, target, head.fields, body


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
@settings(max_examples=1500, deadline=None)
def test_what_is_understood_is_understood_alike_by_another_reader(request_bytes: bytes) -> None:
    """Smuggling lives on differences: what llhttp and our rules accept, h11 reads alike, or refuses."""
    ours = understood(request_bytes)
    if ours is None:
        return
    event("accepted")

    theirs = by_h11(request_bytes)

    assert theirs == ours or str(theirs).startswith("refused"), theirs


@given(requests | damaged(), st.data())
@settings(max_examples=500, deadline=None)
def test_a_body_is_read_alike_however_it_is_cut(request_bytes: bytes, data: st.DataObject) -> None:
    """The network cuts where it likes."""
    if (whole := a_head(request_bytes)) is None or (cut := a_head(request_bytes)) is None:
        return
    rest = request_bytes[request_bytes.find(b"\r\n\r\n") + 4 :]
    at_once, got, refused = whole[0].feed(rest), b"", False
    while rest and not cut[0].complete and not refused:
        size = data.draw(st.integers(1, len(rest)))
        piece = cut[0].feed(rest[:size])
        rest, refused = rest[size:], isinstance(piece, Refusal)
        got += b"" if isinstance(piece, Refusal) else piece

    assert refused == isinstance(at_once, Refusal)
    assert cut[0].complete == whole[0].complete
    if whole[0].complete:
        assert (got, cut[0].rest + rest) == (at_once, whole[0].rest)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.binary(max_size=10), st.data())
@example([b"\r\n\r\n", b"0\r\n\r\n", b"\r", b"\n"], b"\r\n\r\n", None)
def test_a_chunked_body_cut_short_is_never_complete(chunks: list[bytes], rest: bytes, data: Any) -> None:
    """A cut-off event must not look whole, wherever it was cut, and what follows a whole one is left for the next."""
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    lengths = [data.draw(st.integers(0, len(wire) - 1))] if data else range(len(wire))
    for length in lengths:
        cut, _ = a_head(CHUNKED) or pytest.fail("refused")
        cut.feed(wire[:length])
        assert not cut.complete

    whole, _ = a_head(CHUNKED) or pytest.fail("refused")
    body = whole.feed(wire + rest)

    assert (whole.complete, body, whole.rest) == (True, b"".join(chunks), rest)


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0;x=y\r\nDigest: z\r\n\r\n"], ids=["plain", "with a trailer"])
def test_what_follows_a_chunked_body_is_left_for_the_next_wherever_it_is_cut(end: bytes) -> None:
    """llhttp does not say where a message ended: read one byte too far, and the next request is lost or mangled."""
    wire, rest = b"5\r\nhe\r\n\r\r\n" + end, b"POST /next HTTP/1.1\r\n\r\n"
    for cut in range(len(wire) + len(rest)):
        reader, _ = a_head(CHUNKED) or pytest.fail("refused")

        first, second = reader.feed((wire + rest)[:cut]), reader.feed((wire + rest)[cut:])

        assert isinstance(first, bytes), cut
        assert isinstance(second, bytes), cut
        assert (first + second, reader.complete, reader.rest) == (b"he\r\n\r", True, rest), cut


def test_a_body_of_tiny_chunks_is_read_in_time_that_grows_with_its_length() -> None:
    """Else one sender with 256 KiB of one-byte chunks would stop the worker for seconds."""
    reader, _ = a_head(CHUNKED) or pytest.fail("refused")
    began = time.process_time()

    body = reader.feed(b"4\r\n\r\n\r\n\r\n" * 25_000 + b"0\r\n\r\n")

    assert body == b"\r\n\r\n" * 25_000
    assert time.process_time() - began < 1


def test_an_offer_to_upgrade_does_not_cost_the_body() -> None:
    """llhttp would skip it: a request without its body would look whole."""
    request = b"POST / HTTP/1.1\r\nhost: x\r\nConnection: uPgrade\r\nuPgrade: h2c\r\nContent-Length: 5\r\n\r\n"
    reader, head = a_head(request) or pytest.fail("refused")

    assert (reader.complete, reader.feed(b"hello"), reader.complete) == (False, b"hello", True)
    assert (b"connection", b"uPgrade") in head.fields


@pytest.mark.parametrize(
    ("fields", "status"),
    [(99, None), (100, None), (101, 431)],
    ids=["below the limit", "at the limit", "above the limit"],
)
def test_the_number_of_fields_is_bounded(fields: int, status: int | None) -> None:
    """Each costs memory and time."""
    block = b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * (fields - 1)

    head = MessageReader(LIMITS).head(block + b"\r\n")

    assert (head.status if isinstance(head, Refusal) else None) == status
