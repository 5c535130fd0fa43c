"""Senders that are slow, greedy or gone: each is ended in time, with a reason, and nobody else notices."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.edge import (
    PATIENCE,
    Answer,
    Edge,
    a_chunked_post,
    a_post,
    an_edge,
    parse_answers,
    read_answers,
    read_one,
    until,
)

QUICK: dict[str, Any] = {
    "header_timeout": 0.5,
    "body_timeout": 1.5,
    "body_progress_seconds": 0.5,
    "body_progress_bytes": 100,
    "keep_alive_timeout": 0.6,
    "linger_timeout": 0.5,
    "send_timeout": 0.5,
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge that loses patience soon."""
    with an_edge(tmp_path_factory.mktemp("edge") / "quick", **QUICK) as running:
        yield running


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge with its usual times: what it refuses at once is not refused because time ran out."""
    with an_edge(tmp_path_factory.mktemp("edge") / "usual") as running:
        yield running


def serves(edge: Edge) -> bool:
    """Whether a good request gets its answer."""
    return edge.get("/echo").status == 200


# Slow senders.


def trickle(connection: socket.socket, data: bytes, pause: float) -> None:
    """Send byte for byte until all is sent or the other side has had enough."""
    connection.settimeout(pause)
    for at in range(len(data)):
        try:
            connection.sendall(data[at : at + 1])
            if connection.recv(1, socket.MSG_PEEK) is not None:
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    connection.settimeout(PATIENCE)


@pytest.mark.parametrize(
    "beginning",
    [b"P", b"POST /echo HTTP/1.1\r\n", b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Le", b"\r\n", b"\r\nP"],
    ids=["a byte", "a line", "half a field", "an empty line", "an empty line and a byte"],
)
def test_half_a_head_is_ended_in_time(quick: Edge, beginning: bytes) -> None:
    """Known of the workers tried: none ever ended such a connection."""
    began = time.monotonic()

    answers = quick.talk(beginning)

    assert 0.4 < time.monotonic() - began < 5
    assert [answer.reason for answer in answers.all] in (["headers_timeout"], [])
    assert not answers.reset


def test_a_connection_that_sends_nothing_is_closed_in_time(quick: Edge) -> None:
    """An open connection costs a place."""
    began = time.monotonic()

    answers = quick.talk()

    assert (answers.all, answers.reset) == ([], False)
    assert time.monotonic() - began < 5


def test_a_head_that_trickles_is_ended_in_time(quick: Edge) -> None:
    """Each byte coming in time must not buy more time."""
    began = time.monotonic()
    with quick.connect() as connection:
        trickle(connection, a_post("/echo", b"x" * 100), 0.1)
        answers = read_answers(connection)

    assert time.monotonic() - began < 5
    assert (answers.only.status, answers.only.reason) == (408, "headers_timeout")


def test_empty_lines_do_not_keep_a_connection(quick: Edge) -> None:
    """Only one is read over; it must not begin the head's time anew."""
    began = time.monotonic()
    with quick.connect() as connection:
        connection.sendall(a_post())
        read_one(connection)
        trickle(connection, b"\r\n" * 100, 0.1)
        read_answers(connection)

    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "beginning",
    [
        a_post("/echo", b"x" * 1000)[:-500],
        a_post("/echo", b"x" * 1000)[:-1000],
        a_chunked_post("/echo", b"3e8\r\n", b"x" * 500),
        a_chunked_post("/echo", b"5\r\nhello\r\n"),
        a_chunked_post("/echo", b"5\r\nhello\r\n0\r\n"),
        a_chunked_post("/echo", b"5"),
        a_chunked_post("/echo", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        a_chunked_post("/falcon", b"5\r\nhello\r\n"),
        a_post("/falcon", b"x" * 1000)[:-500],
    ],
    ids=[
        "half a body",
        "no body",
        "half a chunk",
        "no last chunk",
        "no end",
        "half a size",
        "an immense chunk",
        "no last chunk, Falcon",
        "half a body, Falcon",
    ],
)
def test_a_stalled_body_is_refused_and_never_taken_for_whole(quick: Edge, beginning: bytes) -> None:
    """Known of gunicorn's asgi worker: after 30 s it hands over what came as if it were whole, a 200 for half an event."""
    seen = len(quick.noted("request"))

    answers = quick.talk(beginning)

    assert answers.only.status == 408
    assert answers.only.reason in ("body_too_slow", "body_timeout")
    assert answers.only.closes
    assert len(quick.noted("request")) == seen


def test_a_body_that_trickles_is_refused(quick: Edge) -> None:
    """Some bytes each time, but too few: the sender holds a place for nothing."""
    with quick.connect() as connection:
        connection.sendall(a_post("/echo", b"x" * 10_000)[:-10_000])
        trickle(connection, b"x" * 200, 0.05)
        answers = read_answers(connection)

    assert (answers.only.status, answers.only.reason) == (408, "body_too_slow")


def test_a_body_that_takes_too_long_in_all_is_refused(quick: Edge) -> None:
    """Progress alone is not enough: the sender itself gives up after 2 s."""
    with quick.connect() as connection:
        connection.sendall(a_post("/echo", b"x" * 1_000_000)[:-1_000_000])
        connection.settimeout(0.1)
        began = time.monotonic()
        received = b""
        while not received and time.monotonic() - began < 10:
            connection.sendall(b"x" * 500)
            try:
                received = connection.recv(65536)
            except TimeoutError:
                continue

    assert parse_answers(received)[0].reason == "body_timeout"


def test_an_application_that_lets_a_sender_wait_does_not_make_it_late(quick: Edge, tmp_path: Path) -> None:
    """A body that is not read stays in the kernel: the sender is not to blame for that time."""
    go = quick.folder / "go-lazy"
    with quick.connect() as connection:
        connection.sendall(a_post("/lazy?go-lazy", b"x" * 400_000)[:-1])
        until(lambda: quick.noted("lazy"), "the application's start")
        connection.settimeout(1.0)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        go.touch()
        connection.settimeout(PATIENCE)
        connection.sendall(b"x")

        assert read_one(connection).json["length"] == 400_000


def test_an_idle_connection_is_closed_without_a_word(quick: Edge) -> None:
    """An answer that nobody asked for would be taken for the next request's."""
    with quick.connect() as connection:
        connection.sendall(a_post())
        read_one(connection)

        assert connection.recv(1) == b""


def test_a_client_that_does_not_read_its_answer_is_cut_off(quick: Edge) -> None:
    """Else the answer stays in memory for ever."""
    with quick.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /stream?64 HTTP/1.1\r\nHost: x\r\n\r\n")

        until(lambda: quick.state()["connections"] == 1, "the connection's end")

    assert serves(quick)


# Greedy senders.


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (a_post("/echo", b"", b"X: " + b"y" * 200_000), 431, "headers_too_large"),
        (a_post("/echo", b"", *[b"X: " + b"y" * 1000] * 200), 431, "headers_too_large"),
        (a_post("/echo", b"", *[b"X: y"] * 1000), 431, "too_many_headers"),
        (b"POST /" + b"x" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "request_line_too_long"),
        (b"POST /" + b"x" * 200_000, 431, "headers_too_large"),
        (b"A" * 5000, 414, "request_line_too_long"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000, 431, "headers_too_large"),
        (b"\x00" * 10, 400, "malformed_request"),
        (a_post("/echo")[:-4] + b"\r\nContent-Length: 99999999999\r\n\r\n", 400, "malformed_request"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413, "too_large"),
        (a_chunked_post("/echo", b"5;" + b"x" * 20_000), 400, "malformed_request"),
        (a_chunked_post("/echo", b"1;" + b"x" * 1000 + b"\r\ny\r\n", *[b"1;" + b"x" * 1000 + b"\r\ny\r\n"] * 50), 400, None),
        (a_chunked_post("/echo", b"5\r\nhello\r\n0\r\n", b"X: y\r\n" * 5000), 400, "malformed_request"),
    ],
    ids=[
        "a field of 200 kB",
        "fields of 200 kB",
        "1000 fields",
        "a path of 8 kB",
        "a path of 200 kB",
        "garbage without an end",
        "a field without an end",
        "NULs",
        "a second length",
        "an immense length",
        "an extension without an end",
        "extensions without an end",
        "trailers without an end",
    ],
)  # fmt: skip
def test_a_greedy_request_is_refused_at_once(edge: Edge, request_bytes: bytes, status: int, reason: str | None) -> None:
    """Before it is kept, and without waiting for its end."""
    answers = edge.talk(request_bytes)

    assert answers.only.status == status
    assert reason in (None, answers.only.reason)
    assert answers.only.closes
    assert not answers.reset


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (a_post("/deaf", b"x" * 3_000_000), 413),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 3_000_000, 413),
        (a_chunked_post("/echo", b"nonsense\r\n" + b"x" * 3_000_000), 400),
    ],
    ids=["by the application", "by the edge", "within a body"],
)
def test_a_refusal_reaches_a_sender_that_goes_on_sending(edge: Edge, request_bytes: bytes, status: int) -> None:
    """A reset would overtake the answer, and the sender would try again what can't be accepted."""
    answers = edge.talk(request_bytes)

    assert (answers.only.status, answers.only.closes, answers.reset) == (status, True, False)


def test_a_chunked_body_is_cut_at_the_applications_limit(edge: Edge) -> None:
    """Its length is not announced: the limit holds while it is read, not behind it."""
    answers = edge.talk(a_chunked_post("/limit", *[b"10000\r\n" + b"x" * 0x10000 + b"\r\n"] * 50))

    assert answers.only.status == 413
    assert not answers.reset
    assert edge.noted("cut")[-1]["length"] < 512 * 1024


def test_an_unread_body_stays_out_of_memory(edge: Edge) -> None:
    """A slow application with fast senders must not fill the memory."""
    size = 15_000_000
    pid = edge.state()["pid"]
    before = _resident(pid)
    with ExitStack() as stack:
        connections = [stack.enter_context(edge.connect()) for _ in range(10)]
        for connection in connections:
            connection.sendall(a_post("/lazy?go-on", b"x" * size)[:-size])
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.sendall(b"x" * size)

        assert _resident(pid) - before < 20_000_000
    (edge.folder / "go-on").touch()


def _resident(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def test_pipelined_requests_are_answered_one_after_another(edge: Edge) -> None:
    """In order, each seen once."""
    count = 200
    requests = b"".join(a_post("/echo", b"%d" % number) for number in range(count))

    answers = edge.talk(requests + a_post("/echo", b"last", b"Connection: close"))

    assert [answer.json["body"] for answer in answers.all] == [*map(str, range(count)), "last"]


def test_a_pipeline_whose_sender_ends_behind_it_is_answered_whole(edge: Edge) -> None:
    """It has sent all it wanted, in one go."""
    with edge.connect() as connection:
        connection.sendall(b"".join(a_post("/echo", b"%d" % number) for number in range(20)))
        connection.shutdown(socket.SHUT_WR)
        answers = read_answers(connection).all

    assert [answer.json["body"] for answer in answers] == [str(number) for number in range(20)]


def test_only_one_pipelined_request_is_under_way(edge: Edge) -> None:
    """A pipeline must not buy more of the application's time than one connection has."""
    with edge.connect() as connection:
        connection.sendall(a_post("/late?pipeline-1") + a_post("/late?pipeline-2"))
        until(lambda: [one for one in edge.noted("late") if one["query"] == "pipeline-1"], "the first request")
        (edge.folder / "pipeline-1").touch()
        read_one(connection)
        until(lambda: [one for one in edge.noted("late") if one["query"] == "pipeline-2"], "the second request")
        (edge.folder / "pipeline-2").touch()
        read_one(connection)

    order = [one["query"] for one in edge.noted("late") + edge.noted("request") if "pipeline" in one["query"]]
    assert order == ["pipeline-1", "pipeline-2"] * 2


def test_a_broken_request_behind_a_good_one_does_not_spoil_its_answer(edge: Edge) -> None:
    """The first answer on a connection belongs to the first request."""
    answers = edge.talk(a_post("/echo", b"good") + b"nonsense\r\n\r\n")

    assert [answer.status for answer in answers.all] == [200, 400]


# Expect: 100-continue.


def test_continue_is_said_when_the_application_reads(edge: Edge) -> None:
    """Not before: it asks for the body."""
    with edge.connect() as connection:
        request = a_post("/echo", b"hello", b"Expect: 100-continue", b"Connection: close")
        connection.sendall(request[:-5])
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")

        assert read_answers(connection).only.json["body"] == "hello"


def test_a_refusal_comes_without_continue(edge: Edge) -> None:
    """The sender is spared the body, and the receiver too."""
    answers = edge.talk(a_post("/deaf", b"x" * 1000, b"Expect: 100-continue")[:-1000])

    assert (answers.only.status, answers.only.informational, answers.only.closes) == (413, (), True)


def test_continue_is_not_said_when_the_body_is_here_already(edge: Edge) -> None:
    """There is nothing left to ask for."""
    answers = edge.talk(a_post("/echo", b"hello", b"Expect: 100-continue", b"Connection: close"))

    assert (answers.only.status, answers.only.informational) == (200, ())


# Senders that leave.


def leave_by_reset(connection: socket.socket) -> None:
    """Close so that the other side sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("path", ["/echo", "/falcon"])
@pytest.mark.parametrize("way", ["closes", "resets", "shuts its sending side"])
@pytest.mark.parametrize(
    "beginning",
    [b"Content-Length: 1000\r\n\r\n" + b"x" * 500, b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
    ids=["a length", "chunks"],
)
def test_a_sender_that_leaves_within_a_body_has_sent_nothing(edge: Edge, path: str, way: str, beginning: bytes) -> None:
    """Falcon takes a disconnect for the end of the body: a cut-off event would be stored, and be wrong for ever."""
    seen, truncated = len(edge.noted("request")), edge.state()["truncated"]
    with edge.connect() as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode() + beginning)
        match way:
            case "closes":
                connection.close()
            case "resets":
                leave_by_reset(connection)
            case _:
                connection.shutdown(socket.SHUT_WR)
                assert read_answers(connection).only.reason == "incomplete_request"

    until(lambda: edge.state()["truncated"] == truncated + 1, "the truncation to be noticed")
    assert len(edge.noted("request")) == seen
    assert "Traceback" not in edge.log


def test_an_application_learns_that_its_client_left(edge: Edge) -> None:
    """Once the body is whole, leaving is a disconnect, as ASGI says. (A mere FIN may be a client that still reads.)"""
    with edge.connect() as connection:
        connection.sendall(a_post("/patient", b"hello"))
        until(lambda: edge.noted("waiting"), "the request")
        leave_by_reset(connection)

    assert until(lambda: edge.noted("left"), "the disconnect")[0]["type"] == "http.disconnect"


def test_a_client_that_only_shuts_its_sending_side_gets_its_answer(edge: Edge) -> None:
    """It has sent all it wanted: `nc -N` does so."""
    with edge.connect() as connection:
        connection.sendall(a_post("/echo", b"hello"))
        connection.shutdown(socket.SHUT_WR)

        assert read_answers(connection).only.json["body"] == "hello"


# Applications that fail.


@pytest.mark.parametrize("path", ["/broken", "/silent", "/split"])
def test_a_failing_application_is_answered_for(edge: Edge, path: str) -> None:
    """The sender tries again; it learns nothing of what went wrong."""
    answer = edge.get(path)

    assert (answer.status, answer.reason, answer.closes) == (500, "internal_error", True)
    assert "x-injected" not in answer.headers


def test_an_answer_that_can_not_be_finished_is_cut_off(edge: Edge) -> None:
    """Half an answer must not look whole."""
    with edge.connect() as connection:
        connection.sendall(a_post("/half"))
        until(lambda: edge.log.count("broken on purpose") >= 2, "the failure")
        connection.recv(65536)

        with pytest.raises(ConnectionResetError):
            connection.recv(65536)


# Many connections.


def test_one_address_can_not_have_all_connections(tmp_path: Path) -> None:
    """Else one sender shuts out all others."""
    with an_edge(tmp_path / "edge", max_connections_per_address=10) as edge, ExitStack() as stack:
        mine = [stack.enter_context(edge.connect()) for _ in range(10)]
        for connection in mine:
            connection.sendall(a_post())
            read_one(connection)
        refused = edge.talk()
        other = socket.create_connection(edge.tcp, PATIENCE, ("127.0.0.2", 0))
        stack.enter_context(other)
        other.sendall(a_post())

        assert read_one(other).status == 200
        assert (refused.only.status, refused.only.reason) == (503, "too_many_connections_of_address")
        assert refused.only.headers["retry-after"] == "1"
        mine.pop().close()
        assert until(lambda: edge.talk(a_post("/echo", b"", b"Connection: close")).only.status == 200, "a place")


def test_connections_in_all_are_bounded(tmp_path: Path) -> None:
    """Whoever comes while all are at work is told to come again."""
    with an_edge(tmp_path / "edge", max_connections=10) as edge, ExitStack() as stack:
        busy = [stack.enter_context(edge.connect()) for _ in range(10)]
        for connection in busy:
            connection.sendall(a_post("/late?over"))
        until(lambda: len(edge.noted("late")) == 10, "all to be busy")
        refused = edge.talk(a_post())
        (edge.folder / "over").touch()

        assert (refused.only.status, refused.only.reason) == (503, "too_many_connections")
        assert [read_one(connection).status for connection in busy] == [200] * 10


def test_who_only_holds_connections_shuts_nobody_out(tmp_path: Path) -> None:
    """Slow heads from many addresses fill every place; a sender with an event still gets one."""
    with an_edge(tmp_path / "edge", max_connections=10) as edge, ExitStack() as stack:
        for number in range(10):
            holder = socket.create_connection(edge.tcp, PATIENCE, (f"127.0.0.{number + 2}", 0))
            stack.enter_context(holder).sendall(b"POST /echo HTTP/1.1\r\nHost:")

        def answer() -> Answer:
            return edge.talk(a_post("/echo", b"event", b"Connection: close")).only

        assert until(lambda: (got := answer()).status == 200 and got, "a place").json["body"] == "event"


def test_a_storm_of_connections_leaves_nothing_behind(edge: Edge) -> None:
    """Places, files and memory are given back, however connections end."""
    for number in range(300):
        connection = edge.connect()
        match number % 4:
            case 0:
                connection.sendall(a_post("/echo", b"x" * 100)[:-50])
            case 1:
                connection.sendall(b"\x16\x03\x01")
            case 2:
                connection.sendall(a_post("/echo", b"x" * 100))
        if number % 3:
            leave_by_reset(connection)
        else:
            connection.close()

    until(lambda: edge.state()["connections"] == 1, "all others to be gone")
    assert serves(edge)


# Proxies.


def test_nobody_is_believed_about_the_clients_address_unless_trusted(edge: Edge) -> None:
    """Anyone can write the header."""
    assert edge.get("/echo", X_Forwarded_For="10.9.8.7").json["client"] == "127.0.0.1"


def test_a_trusted_proxys_word_on_the_client_counts(tmp_path: Path) -> None:
    """The limit per address is the client's, not the proxy's, which has many clients."""
    settings: dict[str, Any] = {"trusted_proxies": ["127.0.0.0/8"], "max_connections_per_address": 2}
    with an_edge(tmp_path / "edge", **settings) as edge, ExitStack() as stack:
        assert edge.get("/echo", X_Forwarded_For="1.1.1.1, 10.9.8.7, 127.0.0.5").json["client"] == "10.9.8.7"
        for _ in range(2):
            connection = stack.enter_context(edge.connect())
            connection.sendall(a_post("/late?proxy", b"", b"X-Forwarded-For: 10.9.8.7"))
        until(lambda: len(edge.noted("late")) == 2, "both requests")

        assert edge.get("/echo", X_Forwarded_For="10.9.8.7").reason == "too_many_connections_of_address"
        assert edge.get("/echo", X_Forwarded_For="10.9.8.6").status == 200
        (edge.folder / "proxy").touch()
