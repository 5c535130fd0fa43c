"""Whatever bytes come: the edge stays up, speaks HTTP, serves the next good request, and invents no request."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from support.edge import Edge, a_chunked_post, a_post, an_edge, parse_answers, read_answers

FRAGMENTS = [
    b"POST /echo HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"Host: x\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: h2c\r\n", b"\r\n",
    b"\r\n\r\n", b"\n", b"\r", b"\x00", b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffff\r\n", b":", b" ",
    b"X: " + b"y" * 3000 + b"\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00", b"POST /deaf HTTP/1.1\r\n",
]  # fmt: skip
MARK = b"mark"
GOOD = [
    a_post("/echo", b"0123456789"),
    a_chunked_post("/echo", b"5\r\n01234\r\n", b"5;x=y\r\n56789\r\n", b"0\r\n\r\n"),
    a_post("/echo", b"0123456789", b"Expect: 100-continue"),
]

pieces = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=8), max_size=12)


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    """A good request, some bytes changed, cut in up to four pieces."""
    request = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(request)))
        request = request[:at] + draw(st.binary(max_size=2)) + request[at + draw(st.integers(0, 2)) :]
    cuts = sorted(draw(st.lists(st.integers(0, len(request)), max_size=3)))
    return [request[start:end] for start, end in zip([0, *cuts], [*cuts, len(request)], strict=True)]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """One for all examples: what one breaks, the next one sees."""
    with an_edge(tmp_path_factory.mktemp("edge") / "fuzzed", header_timeout=5, linger_timeout=0.5) as running:
        yield running


@given(sent=pieces | damaged())
@example(
    [b"POST /echo HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\n", b"hel"]
)
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_come_the_edge_speaks_http_and_goes_on(edge: Edge, sent: list[bytes]) -> None:
    """The sender shuts its sending side at the end, so every connection comes to its own end without waiting."""
    worker = edge.workers()
    with edge.connect() as connection:
        with contextlib.suppress(ConnectionError):
            for piece in sent:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65536):
                received += data

    answers = parse_answers(received)
    assert all(answer.status != 500 for answer in answers)
    assert all(answer.closes for answer in answers[-1:] if answer.status >= 400 and answer.status != 404)
    with edge.connect() as connection:
        connection.sendall(a_post("/echo", MARK, b"Connection: close"))
        assert read_answers(connection).only.json["body"] == MARK.decode()
    assert edge.workers() == worker, "a worker was replaced"
    assert "Traceback" not in edge.log


@given(request_number=st.sampled_from(range(len(GOOD))), data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_request_cut_off_anywhere_is_never_seen_as_whole(
    edge: Edge, request_number: int, data: st.DataObject
) -> None:
    """Wherever it is cut, however it had been sent."""
    request = GOOD[request_number]
    length = data.draw(st.integers(0, len(request) - 1))
    first = data.draw(st.integers(0, length))
    before = len(edge.noted("request"))
    with edge.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(request[:first])
        connection.sendall(request[first:length])
        connection.shutdown(socket.SHUT_WR)
        answers = read_answers(connection).all

    assert [answer.status for answer in answers] == ([400] if length else [])
    assert len(edge.noted("request")) == before
