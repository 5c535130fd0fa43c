"""Requests that two readers could understand differently are refused, closed, and never reach the application."""

from collections.abc import Iterator

import pytest

from support.edge import Edge, a_chunked_post, a_post, an_edge, read_answers


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Its time-outs are long: what is refused here is refused at once, not because time ran out."""
    with an_edge(tmp_path_factory.mktemp("edge") / "edge") as running:
        yield running


def _with(*fields: bytes, body: bytes = b"", line: bytes = b"POST /echo HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: x", *fields]) + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"

REFUSED = {
    "both lengths": (_with(CHUNKED, b"Content-Length: 5", body=HELLO), 400),
    "both lengths, other order": (_with(b"Content-Length: 5", CHUNKED, body=HELLO), 400),
    "two lengths": (_with(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"), 400),
    "two equal lengths": (_with(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), 400),
    "a list of lengths": (_with(b"Content-Length: 5, 5", body=b"hello"), 400),
    "a signed length": (_with(b"Content-Length: +5", body=b"hello"), 400),
    "a negative length": (_with(b"Content-Length: -1"), 400),
    "a length with an underscore": (_with(b"Content-Length: 1_0", body=b"0123456789"), 400),
    "a hexadecimal length": (_with(b"Content-Length: 0x5", body=b"hello"), 400),
    "an empty length": (_with(b"Content-Length:"), 400),
    "an arabic digit": (_with(b"Content-Length: \xd9\xa5", body=b"hello"), 400),
    "a length beyond 64 bits": (_with(b"Content-Length: 18446744073709551621", body=b"hello"), 400),
    "a coding of almost the name": (_with(b"Transfer-Encoding: xchunked", body=HELLO), 400),
    "chunked with a tab before": (_with(b"Transfer-Encoding: x,\tchunked", body=HELLO), 400),
    "chunked not last": (_with(b"Transfer-Encoding: chunked, identity", body=HELLO), 400),
    "chunked twice": (_with(b"Transfer-Encoding: chunked, chunked", body=HELLO), 400),
    "two codings fields": (_with(CHUNKED, b"Transfer-Encoding: identity", body=HELLO), 400),
    "identity": (_with(b"Transfer-Encoding: identity", b"Content-Length: 5", body=b"hello"), 400),
    "gzip, chunked": (_with(b"Transfer-Encoding: gzip, chunked", body=HELLO), 400),
    "an empty coding": (_with(b"Transfer-Encoding:", body=HELLO), 400),
    "chunked in HTTP/1.0": (_with(CHUNKED, body=HELLO, line=b"POST /echo HTTP/1.0"), 400),
    "a folded line": (_with(b"X-Folded: a", b" b"), 400),
    "a folded coding": (_with(b"Transfer-Encoding:", b" chunked", body=HELLO), 400),
    "a folded first line": (b"POST /echo HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "space before a colon": (_with(b"Transfer-Encoding : chunked", body=HELLO), 400),
    "tab before a colon": (_with(b"Content-Length\t: 5", body=b"hello"), 400),
    "space before a name": (_with(b"X: y", b" Content-Length: 5", body=b"hello"), 400),
    "no colon": (_with(b"Nonsense"), 400),
    "no name": (_with(b": nothing"), 400),
    "a name with a quote": (_with(b'X"Y: z'), 400),
    "NUL in a value": (_with(b"X: a\x00b"), 400),
    "NUL in a name": (_with(b"X\x00Y: a"), 400),
    "NUL in the target": (_with(line=b"POST /echo\x00x HTTP/1.1"), 400),
    "an encoded NUL in the target": (_with(line=b"POST /echo%00x HTTP/1.1"), 400),
    "a control character in a value": (_with(b"X: a\x0bb"), 400),
    "DEL in a value": (_with(b"X: a\x7fb"), 400),
    "a bare CR in a value": (_with(b"X: a\rContent-Length: 5", body=b"hello"), 400),
    "a bare LF after a field": (b"POST /echo HTTP/1.1\r\nHost: x\r\nX: y\nContent-Length: 5\r\n\r\nhello", 400),
    "a bare LF after the first line": (b"POST /echo HTTP/1.1\nHost: x\r\n\r\n", 400),
    "bare LFs throughout": (b"POST /echo HTTP/1.1\nHost: x\n\n", 400),
    "a bare LF as the empty line": (b"POST /echo HTTP/1.1\r\nHost: x\r\n\n", 400),
    "an absolute target": (_with(line=b"POST http://x/echo HTTP/1.1"), 400),
    "an authority as the target": (b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 400),
    "an asterisk as the target": (_with(line=b"OPTIONS * HTTP/1.1"), 400),
    "a relative target": (_with(line=b"POST echo HTTP/1.1"), 400),
    "no target": (_with(line=b"POST HTTP/1.1"), 400),
    "a fragment": (_with(line=b"POST /echo#x HTTP/1.1"), 400),
    "a broken percent encoding": (_with(line=b"POST /echo%2 HTTP/1.1"), 400),
    "a raw byte in the target": (_with(line=b"POST /\xc3\xa9 HTTP/1.1"), 400),
    "space in the target": (_with(line=b"POST /ec ho HTTP/1.1"), 400),
    "two spaces": (_with(line=b"POST  /echo HTTP/1.1"), 400),
    "a tab between": (_with(line=b"POST\t/echo HTTP/1.1"), 400),
    "space behind the version": (_with(line=b"POST /echo HTTP/1.1 "), 400),
    "a version in lower case": (_with(line=b"POST /echo http/1.1"), 400),
    "no version": (_with(line=b"POST /echo"), 400),
    "HTTP/0.9": (_with(line=b"POST /echo HTTP/0.9"), 505),
    "HTTP/2.0": (_with(line=b"POST /echo HTTP/2.0"), 505),
    "HTTP/1.10": (_with(line=b"POST /echo HTTP/1.10"), 400),
    "no host": (b"POST /echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400),
    "two hosts": (_with(b"Host: y"), 400),
    "a host that is none": (b"POST /echo HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "a host with a path": (b"POST /echo HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "an unknown expectation": (_with(b"Expect: 200-maybe"), 417),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "a TLS hello": (bytes.fromhex("1603010200010001fc0303") + bytes(range(256)) * 2, 400),
    "a chunk size that is no number": (a_chunked_post("/echo", b"xyz\r\nhello\r\n0\r\n\r\n"), 400),
    "a chunk size with 0x": (a_chunked_post("/echo", b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    "a signed chunk size": (a_chunked_post("/echo", b"+5\r\nhello\r\n0\r\n\r\n"), 400),
    "a negative chunk size": (a_chunked_post("/echo", b"-5\r\nhello\r\n0\r\n\r\n"), 400),
    "a chunk size with an underscore": (a_chunked_post("/echo", b"0_5\r\nhello\r\n0\r\n\r\n"), 400),
    "space before a chunk size": (a_chunked_post("/echo", b" 5\r\nhello\r\n0\r\n\r\n"), 400),
    "space behind a chunk size": (a_chunked_post("/echo", b"5 \r\nhello\r\n0\r\n\r\n"), 400),
    "an empty chunk size": (a_chunked_post("/echo", b"\r\nhello\r\n0\r\n\r\n"), 400),
    "a chunk size beyond 64 bits": (a_chunked_post("/echo", b"10000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
    "a bare LF behind a chunk size": (a_chunked_post("/echo", b"5\nhello\r\n0\r\n\r\n"), 400),
    "a bare CR behind a chunk size": (a_chunked_post("/echo", b"5\rhello\r\n0\r\n\r\n"), 400),
    "a bare LF in a chunk extension": (a_chunked_post("/echo", b"5;a\nb\r\nhello\r\n0\r\n\r\n"), 400),
    "NUL in a chunk extension": (a_chunked_post("/echo", b"5;a\x00b\r\nhello\r\n0\r\n\r\n"), 400),
    "a chunk longer than it says": (a_chunked_post("/echo", b"5\r\nhello!!\r\n0\r\n\r\n"), 400),
    "a chunk shorter than it says": (a_chunked_post("/echo", b"7\r\nhello\r\n0\r\n\r\n"), 400),
    "a bare LF behind a chunk": (a_chunked_post("/echo", b"5\r\nhello\n0\r\n\r\n"), 400),
    "a trailer without a colon": (a_chunked_post("/echo", b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n"), 400),
    "a length among the trailers": (a_chunked_post("/echo", b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"), 400),
    "a bare LF behind a trailer": (a_chunked_post("/echo", b"5\r\nhello\r\n0\r\nX: y\n\r\n"), 400),
}


@pytest.mark.parametrize(("request_bytes", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_a_doubtful_request_is_refused_and_closed_and_not_seen(edge: Edge, request_bytes: bytes, status: int) -> None:
    """What follows it on the connection could be somebody else's request, smuggled: it must not be read as one."""
    seen = len(edge.noted("request"))
    smuggled = a_post("/smuggled", b"evil")

    answers = edge.talk(request_bytes + smuggled)

    assert answers.only.status == status
    assert answers.only.closes
    assert not answers.reset
    assert answers.only.headers["content-type"] == "application/problem+json"
    assert answers.only.reason
    assert len(edge.noted("request")) == seen


def test_a_request_cut_into_single_bytes_is_refused_alike(edge: Edge) -> None:
    """What a reader understands must not depend on how the network cut it."""
    request = REFUSED["both lengths"][0]

    answers = edge.talk(*(request[at : at + 1] for at in range(len(request))))

    assert answers.only.status == 400


ACCEPTED = {
    "a length": (a_post("/echo", b"hello"), b"hello"),
    "a length with zeros before": (_with(b"Content-Length: 0005", body=b"hello"), b"hello"),
    "chunks": (a_chunked_post("/echo", HELLO), b"hello"),
    "chunked in another case": (_with(b"Transfer-Encoding: Chunked", body=HELLO), b"hello"),
    "chunk extensions": (a_chunked_post("/echo", b'5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n'), b"hello"),
    "sizes in both cases": (
        a_chunked_post("/echo", b"A\r\n0123456789\r\na\r\n0123456789\r\n00\r\n\r\n"),
        b"0123456789" * 2,
    ),
    "trailers": (a_chunked_post("/echo", b"5\r\nhello\r\n0\r\nDigest: z\r\nX: y\r\n\r\n"), b"hello"),
    "an empty line before": (b"\r\n" + a_post("/echo", b"hello"), b"hello"),
    "an upgrade that is not taken": (a_post("/echo", b"hello", b"Connection: Upgrade", b"Upgrade: h2c"), b"hello"),
    "spaces around a value": (_with(b"Content-Length: \t 5 \t", body=b"hello"), b"hello"),
    "an empty value": (a_post("/echo", b"hello", b"X-Empty:"), b"hello"),
    "bytes beyond ASCII in a value": (a_post("/echo", b"hello", b"X: \xc3\xa9"), b"hello"),
    "no body": (_with(), b""),
}


@pytest.mark.parametrize(("request_bytes", "body"), ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.parametrize("cut", ["whole", "in single bytes"])
def test_an_unusual_but_clear_request_is_served(edge: Edge, request_bytes: bytes, body: bytes, cut: str) -> None:
    """Strictness must not refuse what is only rare."""
    closing = request_bytes.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n", 1)
    step = len(closing) if cut == "whole" else 1

    answers = edge.talk(*(closing[at : at + step] for at in range(0, len(closing), step)))

    assert answers.only.status == 200
    assert answers.only.json["body"].encode("latin-1") == body


def test_a_path_arrives_as_it_was_sent(edge: Edge) -> None:
    """`/acme%2Fchat` is not `/acme/chat`: only the raw path tells them apart."""
    seen = edge.get("/acme%2Fchat%252F?a=%2F").json

    assert (seen["raw_path"], seen["path"], seen["query"]) == ("/acme%2Fchat%252F", "/acme/chat%2F", "a=%2F")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "M-SEARCH"])
def test_a_method_arrives_as_it_was_sent(edge: Edge, method: str) -> None:
    """Which are allowed is the application's to say (405)."""
    answers = edge.talk(f"{method} /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    assert answers.only.json["method"] == method


@pytest.mark.parametrize("method", ["post", "PoST", "FOO", "X-Y", "POSTT", "GE"])
def test_a_method_that_nobody_knows_is_refused(edge: Edge, method: str) -> None:
    """Methods are case-sensitive: `post` is not POST, and must not be taken for it."""
    answers = edge.talk(f"{method} /echo HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert (answers.only.status, answers.only.reason, answers.only.closes) == (501, "unknown_method", True)


def test_an_answer_to_head_has_no_body(edge: Edge) -> None:
    """A refusal's neither: what follows an answer's head is the next answer."""
    with edge.connect() as connection:
        connection.sendall(b"HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\nHEAD /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
        answers = read_answers(connection, method="HEAD").all

    assert [(answer.status, answer.body) for answer in answers] == [(200, b""), (400, b"")]
    assert all(int(answer.headers["content-length"]) > 0 for answer in answers)


def test_no_answer_tells_what_serves_it(edge: Edge) -> None:
    """A banner with a version is a shopping list."""
    for answer in (edge.get("/echo"), edge.talk(b"nonsense\r\n\r\n").only):
        assert "server" not in answer.headers
        assert b"gunicorn" not in answer.body
