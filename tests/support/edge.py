"""
A real receiver's edge in processes of its own, with a small application, and senders that misbehave as told.

Run as a program (`python -m support.edge SETTINGS RECORD`), this module is that application under gunicorn.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import falcon.asgi
import h11

from hookline_receiver.edge.exchange import BodyTruncated
from hookline_receiver.edge.lifecycle import ASGIApp, Receive, Send, WorkerContext
from hookline_receiver.edge.settings import EdgeSettings

TESTS = Path(__file__).resolve().parents[1]
PATIENCE = 20.0
"""Seconds until a test gives up waiting for what it waits for."""


# The application.


class Application:
    """
    Answers by path; writes every request that it took for whole to a file, one JSON object a line.

    A file `held` beside that one holds up its start, a file `broken` lets it fail with the text in it. Its reader is as
    trusting as Falcon's: `http.disconnect` looks like the end of a body to it.
    """

    def __init__(self, context: WorkerContext, record: Path) -> None:
        self._context = context
        self._record = record
        self._falcon: Any = falcon.asgi.App()
        self._falcon.add_route("/falcon", _FalconEcho(self))
        self._falcon.add_error_handler(BodyTruncated, _say_nothing)

    def note(self, kind: str, **fields: Any) -> None:
        """Write a line, in one write, so that workers do not mix theirs."""
        line = json.dumps({"kind": kind, "pid": os.getpid(), **fields}) + "\n"
        with self._record.open("a") as file:
            file.write(line)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"] == "/falcon":
            await self._falcon(scope, receive, send)
        else:
            await getattr(self, "_" + scope["path"].strip("/").split("/")[0], self._echo)(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        broken = self._record.with_name("broken")
        while self._record.with_name("held").exists():
            await asyncio.sleep(0.005)
        if broken.exists():
            await send({"type": "lifespan.startup.failed", "message": broken.read_text()})
            return
        self.note("startup")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.note("shutdown")
        await send({"type": "lifespan.shutdown.complete"})

    async def _echo(self, scope: Any, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        self._whole(scope, body)
        await answer(send, 200, {**_seen(scope), "length": len(body), "body": body.decode("latin-1")})

    def _whole(self, scope: Any, body: bytes) -> None:
        self.note("request", **_seen(scope), body=body.decode("latin-1"))

    async def _deaf(self, scope: Any, receive: Receive, send: Send) -> None:
        """Refuses without reading."""
        await answer(send, 413, {"reason": "too_large"})

    async def _limit(self, scope: Any, receive: Receive, send: Send) -> None:
        """Reads at most 1000 bytes."""
        length, more = 0, True
        while more:
            message = await receive()
            length, more = length + len(message["body"]), message["more_body"]
            if length > 1000:
                self.note("cut", length=length)
                await answer(send, 413, {"reason": "too_large"})
                return
        await answer(send, 200, {"length": length})

    async def _late(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answers when the file named in the query is there."""
        body = await _read(receive)
        self.note("late", query=scope["query_string"].decode())
        while not self._record.with_name(scope["query_string"].decode()).exists():
            await asyncio.sleep(0.005)
        self._whole(scope, body)
        await answer(send, 200, {"length": len(body)})

    async def _patient(self, scope: Any, receive: Receive, send: Send) -> None:
        """Reads, then waits for the client to leave."""
        await _read(receive)
        self.note("waiting")
        message = await receive()
        self.note("left", type=message["type"])

    async def _lazy(self, scope: Any, receive: Receive, send: Send) -> None:
        """Begins to read only when the file named in the query is there."""
        self.note("lazy")
        while not self._record.with_name(scope["query_string"].decode()).exists():
            await asyncio.sleep(0.005)
        await self._echo(scope, receive, send)

    async def _broken(self, scope: Any, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken on purpose")

    async def _half(self, scope: Any, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"100")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 50, "more_body": True})
        raise RuntimeError("broken on purpose")

    async def _silent(self, scope: Any, receive: Receive, send: Send) -> None:
        return

    async def _split(self, scope: Any, receive: Receive, send: Send) -> None:
        """Tries to put a line break into a header."""
        headers = [(b"x-evil", b"a\r\nx-injected: b")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _stream(self, scope: Any, receive: Receive, send: Send) -> None:
        """Sends as many MiB as the query says, of unannounced length."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(int(scope["query_string"])):
            await send({"type": "http.response.body", "body": b"x" * 1024 * 1024, "more_body": True})
        await send({"type": "http.response.body"})
        self.note("streamed")

    async def _hang(self, scope: Any, receive: Receive, send: Send) -> None:
        """Stops the event loop."""
        time.sleep(PATIENCE)  # noqa: ASYNC251  # standing still is the point

    async def _state(self, scope: Any, receive: Receive, send: Send) -> None:
        counters = self._context.counters
        state = {
            "draining": self._context.draining.active,
            "connections": counters.connections,
            "accepted": counters.accepted,
            "requests": counters.requests,
            "truncated": counters.truncated,
            "refused": dict(counters.refused),
            "pid": os.getpid(),
        }
        await answer(send, 200, state)


class _FalconEcho:
    def __init__(self, application: Application) -> None:
        self._application = application

    async def on_post(self, req: Any, resp: Any) -> None:
        body = await req.stream.read()
        self._application._whole(req.scope, body)
        resp.media = {"length": len(body)}


async def _say_nothing(req: Any, resp: Any, error: Exception, params: Any) -> None:
    """Nobody is there to be answered."""


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _seen(scope: Any) -> dict[str, Any]:
    return {
        "method": scope["method"],
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "client": scope["client"] and scope["client"][0],
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
    }


async def answer(send: Send, status: int, content: Any) -> None:
    """Send *content* as JSON."""
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(settings: str, record: str) -> None:
    """Serve until told to end."""
    import logging

    from hookline_receiver.edge.gunicorn import run

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    fields = json.loads(settings)
    fields["trusted_proxies"] = tuple(fields.get("trusted_proxies", ()))

    def factory(context: WorkerContext) -> ASGIApp:
        return Application(context, Path(record))

    run(EdgeSettings(**fields), factory)


# The test's side.


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait until *condition* gives something true, and give it."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain for {what}"
        time.sleep(0.01)
    return found


def children(pid: int) -> list[int]:
    """The processes that *pid* has started and not yet reaped, by what the kernel says."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state_of(pid: int) -> str:
    """The kernel's letter for what *pid* does: `S` sleeps, `T` is stopped, `Z` has ended and is not reaped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@dataclasses.dataclass
class Edge:
    """A running receiver's edge."""

    process: subprocess.Popen[bytes]
    folder: Path
    address: tuple[str, int] | str

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text()

    @property
    def tcp(self) -> tuple[str, int]:
        """Host and port."""
        assert not isinstance(self.address, str)
        return self.address

    def noted(self, kind: str) -> list[dict[str, Any]]:
        """What the application wrote down."""
        record = self.folder / "record"
        text = record.read_text() if record.exists() else ""
        # The last line may be on its way.
        lines = text[: text.rfind("\n") + 1].splitlines()
        return [entry for entry in map(json.loads, lines) if entry["kind"] == kind]

    def connect(self) -> socket.socket:
        """A new connection."""
        if isinstance(self.address, str):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PATIENCE)
            connection.connect(self.address)
            return connection
        return socket.create_connection(self.address, timeout=PATIENCE)

    def talk(self, *pieces: bytes) -> "Answers":
        """Send *pieces* and read until the edge closes, or has given as many whole answers as there are requests."""
        with self.connect() as connection:
            for piece in pieces:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(piece)
            return read_answers(connection)

    def get(self, path: str, **headers: str) -> "Answer":
        """One good request."""
        fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        return self.talk(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n".encode()).only

    def state(self) -> dict[str, Any]:
        """What the application of one worker knows of its edge."""
        state: dict[str, Any] = self.get("/state").json
        return state

    def workers(self) -> list[int]:
        """The processes of the workers, by what the kernel says."""
        return children(self.process.pid)

    def signal(self, number: signal.Signals) -> None:
        """Signal the master."""
        self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit status."""
        return self.process.wait(patience)


@contextlib.contextmanager
def an_edge(folder: Path, *, environment: dict[str, str] | None = None, **settings: Any) -> Iterator[Edge]:
    """A running edge with its application in *folder*; killed at the end if it still runs."""
    settings.setdefault("bind", "127.0.0.1:0")
    folder.mkdir(exist_ok=True)
    process = start_process(folder, settings, environment)
    try:
        yield Edge(process, folder, _listening(process, folder, settings))
    finally:
        _end(process)


def start_process(
    folder: Path, settings: dict[str, Any], environment: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
) -> subprocess.Popen[bytes]:
    """The process alone, which may fail to start."""
    command = [*prefix, sys.executable, "-m", "support.edge", json.dumps(settings), str(folder / "record")]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": str(TESTS), **(environment or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _listening(process: subprocess.Popen[bytes], folder: Path, settings: dict[str, Any]) -> tuple[str, int] | str:
    """Where it listens, once every worker has started."""
    wanted = settings.get("workers", 1)

    def look() -> str:
        log = (folder / "log").read_text()
        assert process.poll() is None, f"ended with {process.returncode}:\n{log}"
        record = folder / "record"
        started = record.read_text().count('"startup"') if record.exists() else 0
        return log if started >= wanted else ""

    log = until(look, "the edge's start")
    where = log.split("Listening at: ")[-1].split(" ")[0].strip()
    if where.startswith("unix:"):
        return str(where.removeprefix("unix:"))
    host, _, port = where.removeprefix("http://").rpartition(":")
    return host.strip("[]"), int(port)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started: a group of its own."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer, read by h11, which refuses what is not HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes
    informational: tuple[int, ...] = ()

    @property
    def json(self) -> Any:
        """The body's content."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of a refusal."""
        return str(self.json["reason"])

    @property
    def closes(self) -> bool:
        """Whether it announced the connection's end."""
        return self.headers.get("connection") == "close"


@dataclasses.dataclass(frozen=True)
class Answers:
    """Everything that came back on a connection."""

    all: list[Answer]
    reset: bool
    """Whether the connection ended by a reset."""

    @property
    def only(self) -> Answer:
        """The single answer."""
        assert len(self.all) == 1, f"{len(self.all)} answers"
        return self.all[0]


def read_answers(connection: socket.socket, *, method: str = "POST") -> Answers:
    """Read until the other side closes."""
    received, reset = b"", False
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionError:
        reset = True
    return Answers(parse_answers(received, method=method), reset)


def parse_answers(received: bytes, *, method: str = "POST") -> list[Answer]:
    """The answers in *received*; fails on anything that is not well-formed HTTP, or is cut off."""
    answers = []
    while received:
        parsed, received = _parse_one(received, method)
        answers.append(parsed)
    return answers


def _parse_one(received: bytes, method: str) -> tuple[Answer, bytes]:
    client = h11.Connection(our_role=h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(received)
    client.receive_data(b"")
    informational: list[int] = []
    status, headers, body = 0, {}, b""
    while True:
        event = client.next_event()
        match event:
            case h11.InformationalResponse():
                informational.append(event.status_code)
            case h11.Response():
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                return Answer(status, headers, body, tuple(informational)), client.trailing_data[0]
            case _:
                raise AssertionError(f"the answer is not whole: {event!r}")


def read_one(connection: socket.socket) -> Answer:
    """Read one answer with a Content-Length off a connection that stays open."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        assert data, f"closed after {received!r}"
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        data = connection.recv(65536)
        assert data, f"closed within {received!r}"
        body += data
    assert len(body) == length, f"more than one answer: {body!r}"
    return parse_answers(head + b"\r\n\r\n" + body)[0]


def a_post(path: str = "/echo", body: bytes = b"", *fields: bytes, version: str = "1.1") -> bytes:
    """A good request."""
    lines = [f"POST {path} HTTP/{version}".encode(), b"Host: x", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def a_chunked_post(path: str, *chunks: bytes, fields: tuple[bytes, ...] = ()) -> bytes:
    """A request whose body is *chunks*, as they are."""
    lines = [f"POST {path} HTTP/1.1".encode(), b"Host: x", b"Transfer-Encoding: chunked", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + b"".join(chunks)


if __name__ == "__main__":
    main(*sys.argv[1:])
