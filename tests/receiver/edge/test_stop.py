"""An ordered end, a worker's or everybody's, fails no request."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from support.edge import PATIENCE, Edge, a_post, an_edge, read_answers, read_one, until

CLIENTS = 16
BODY = b"x" * 2000


@dataclass
class Load:
    """Clients that send one request after another, and what became of the requests."""

    address: tuple[str, int]
    keep_alive: bool = True
    reconnects: bool = False
    """What a client does when told `Connection: close`: begin anew, or end."""
    pause: float = 0.0
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        until(lambda: self.answered > 200 or self.failures, "the load")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(PATIENCE)

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))
        self.ended.set()

    async def _client(self) -> None:
        while not self.stop.is_set():
            try:
                await asyncio.wait_for(self._connection(), PATIENCE)
            except (OSError, EOFError, TimeoutError) as error:
                self.failures.append(repr(error))
                return
            if not self.reconnects and self.keep_alive:
                return

    async def _connection(self) -> None:
        """Send over one connection until it is to be closed; anything but a whole answer is a failure."""
        reader, writer = await asyncio.open_connection(*self.address)
        request = a_post("/echo", BODY, *([] if self.keep_alive else [b"Connection: close"]))
        try:
            closes = False
            while not closes and not self.stop.is_set():
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                if not head.startswith(b"http/1.1 200"):
                    raise OSError(head.split(b"\r\n")[0].decode())
                self.answered += 1
                closes = b"connection: close" in head
                await asyncio.sleep(self.pause)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["without pause", "with pauses"])
@pytest.mark.parametrize("drain_seconds", [0.0, 0.5], ids=["at once", "after a drain"])
def test_sigterm_under_load_fails_no_request(tmp_path: Path, drain_seconds: float, pause: float) -> None:
    """A rolling update loses and refuses nothing: each client gets its answers, the last with `Connection: close`."""
    with (
        an_edge(tmp_path / "edge", workers=2, drain_seconds=drain_seconds, idle_grace=0.5) as edge,
        Load(edge.tcp, pause=pause) as load,
    ):
        began = time.monotonic()
        edge.signal(signal.SIGTERM)
        status = edge.wait()
        took = time.monotonic() - began
        assert load.ended.wait(PATIENCE)

        assert load.failures == []
        assert status == 0
        assert took < drain_seconds + 5
        assert len(edge.noted("request")) == load.answered


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "a connection per request"])
def test_a_successor_on_the_same_port_takes_over_without_a_failure(tmp_path: Path, keep_alive: bool) -> None:
    """New connections arrive until the very end: none may be reset when the old one's listening ends."""
    settings: dict[str, Any] = {"reuse_port": True, "workers": 2, "idle_grace": 0.5}
    with an_edge(tmp_path / "old", **settings) as old:
        host, port = old.tcp
        with (
            an_edge(tmp_path / "new", bind=f"{host}:{port}", **settings) as new,
            Load((host, port), keep_alive=keep_alive, reconnects=True) as load,
        ):
            old.signal(signal.SIGTERM)
            assert old.wait() == 0
            before = len(new.noted("request"))
            until(lambda: len(new.noted("request")) > before + 200 or load.failures, "the successor to serve")

        assert load.failures == []
        assert len(old.noted("request")) + len(new.noted("request")) == load.answered


def test_a_drain_goes_on_accepting_and_says_so_at_once(tmp_path: Path) -> None:
    """Endpoints take seconds to go: until then senders still come, and must be served."""
    with an_edge(tmp_path / "edge", drain_seconds=3.0, idle_grace=0.2) as edge:
        assert edge.state()["draining"] is False
        with edge.connect() as kept:
            kept.sendall(a_post())
            assert not read_one(kept).closes
            edge.signal(signal.SIGTERM)
            until(lambda: edge.state()["draining"], "the drain")

            kept.sendall(a_post())
            assert read_one(kept).closes
            assert kept.recv(1) == b""
        assert edge.get("/echo").closes
        assert edge.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            edge.connect()


def test_what_is_under_way_is_finished(tmp_path: Path) -> None:
    """A request being answered, one half sent, and one not begun on a connection just opened: each gets its 200."""
    with an_edge(tmp_path / "edge", idle_grace=3.0) as edge:
        with edge.connect() as slow, edge.connect() as half, edge.connect() as head, edge.connect() as fresh:
            slow.sendall(a_post("/late?go"))
            half.sendall(a_post("/echo", b"hello")[:-3])
            head.sendall(a_post("/echo", b"hello")[:10])
            until(lambda: edge.state()["connections"] == 5 and edge.noted("late"), "all to be there")
            edge.signal(signal.SIGTERM)
            _until_refused(edge)
            fresh.sendall(a_post("/echo", b"hello"))
            half.sendall(b"llo")
            head.sendall(a_post("/echo", b"hello")[10:])
            (edge.folder / "go").touch()

            answers = [read_answers(connection).only for connection in (slow, half, head, fresh)]

        assert [(answer.status, answer.closes) for answer in answers] == [(200, True)] * 4
        assert edge.wait() == 0
        last = (edge.folder / "record").read_text().splitlines()[-1]
        assert '"shutdown"' in last, "the application closes what it opened behind the last request"


def test_idle_connections_do_not_hold_up_the_end(tmp_path: Path) -> None:
    """They get a moment for a last request, then they are closed."""
    with an_edge(tmp_path / "edge", idle_grace=0.3, graceful_timeout=10) as edge, edge.connect() as idle:
        idle.sendall(a_post())
        read_one(idle)
        began = time.monotonic()
        edge.signal(signal.SIGTERM)

        assert idle.recv(1) == b""
        assert edge.wait() == 0
        assert time.monotonic() - began < 3


def test_a_request_that_never_ends_is_cut_off_in_time(tmp_path: Path) -> None:
    """The process ends before its supervisor kills it."""
    with an_edge(tmp_path / "edge", graceful_timeout=1, idle_grace=0.1) as edge, edge.connect() as stuck:
        stuck.sendall(a_post("/late?never"))
        until(lambda: edge.noted("late"), "the request")
        began = time.monotonic()
        edge.signal(signal.SIGTERM)

        assert edge.wait() == 0
        assert time.monotonic() - began < 4
        assert "requests were cut off at the end" in edge.log
        assert edge.noted("shutdown")


def test_sigint_ends_at_once_and_in_order(tmp_path: Path) -> None:
    """Somebody at a terminal is in a hurry; what the application opened is closed all the same."""
    with an_edge(tmp_path / "edge") as edge, edge.connect() as stuck:
        stuck.sendall(a_post("/late?never"))
        until(lambda: edge.noted("late"), "the request")
        began = time.monotonic()
        edge.signal(signal.SIGINT)

        assert edge.wait() == 0
        assert time.monotonic() - began < 3
        assert edge.noted("shutdown")


def test_a_second_thought_cuts_a_drain_short(tmp_path: Path) -> None:
    """SIGTERM, then Ctrl-C: now means now."""
    with an_edge(tmp_path / "edge", drain_seconds=60) as edge:
        edge.signal(signal.SIGTERM)
        until(lambda: edge.state()["draining"], "the drain")
        edge.signal(signal.SIGINT)

        assert edge.wait(5) == 0
        assert edge.noted("shutdown")


@pytest.mark.parametrize("whom", ["master", "everybody"])
def test_a_signal_to_the_whole_group_is_an_orderly_end_too(tmp_path: Path, whom: str) -> None:
    """Some supervisors (systemd) signal every process of a service."""
    with an_edge(tmp_path / "edge", workers=2, idle_grace=0.3) as edge, Load(edge.tcp) as load:
        if whom == "everybody":
            os.killpg(edge.process.pid, signal.SIGTERM)
        else:
            edge.signal(signal.SIGTERM)

        assert edge.wait() == 0
        assert load.ended.wait(PATIENCE)
        assert load.failures == []


# Workers come and go.


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "a connection per request"])
def test_workers_are_renewed_under_load_without_a_failure(tmp_path: Path, keep_alive: bool) -> None:
    """SIGHUP: new ones begin, old ones finish what they have."""
    with (
        an_edge(tmp_path / "edge", workers=2, idle_grace=0.5) as edge,
        Load(edge.tcp, keep_alive=keep_alive, reconnects=True) as load,
    ):
        before = set(edge.workers())
        edge.signal(signal.SIGHUP)
        until(lambda: not before & set(edge.workers()), "the old workers' end")
        served = load.answered
        until(lambda: load.answered > served + 200 or load.failures, "the new workers to serve")

        assert load.failures == []
        assert edge.state()["draining"] is False


def test_a_worker_that_has_served_its_share_is_replaced_without_a_failure(tmp_path: Path) -> None:
    """The next one accepts what waits on the socket that all share."""
    with (
        an_edge(tmp_path / "edge", max_requests=300, idle_grace=0.3) as edge,
        Load(edge.tcp, reconnects=True) as load,
    ):
        until(lambda: len(edge.noted("startup")) >= 3 or load.failures, "two renewals")

        assert load.failures == []


def test_a_killed_worker_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    """Only what it had in hand is lost."""
    with an_edge(tmp_path / "edge", workers=2) as edge:
        victim, *_ = edge.workers()
        os.kill(victim, signal.SIGKILL)
        served = edge.get("/echo")

        assert served.status == 200
        until(lambda: len(edge.workers()) == 2 and victim not in edge.workers(), "another worker")
        until(lambda: len(edge.noted("startup")) == 3, "its start")
        assert edge.get("/echo").status == 200


def test_a_worker_that_stands_still_is_replaced(tmp_path: Path) -> None:
    """A loop that is stuck serves nobody, and would not notice."""
    with an_edge(tmp_path / "edge", worker_timeout=2) as edge, edge.connect() as stuck:
        (victim,) = edge.workers()
        stuck.sendall(a_post("/hang"))

        until(lambda: len(edge.noted("startup")) == 2 and edge.workers() != [victim], "another worker")
        assert edge.get("/echo").status == 200


def test_workers_end_when_their_master_is_killed(tmp_path: Path) -> None:
    """Orphans would hold the port and serve an old configuration for ever; what they have in hand they finish."""
    with an_edge(tmp_path / "edge", workers=2, drain_seconds=30, idle_grace=0.2) as edge, edge.connect() as slow:
        slow.sendall(a_post("/late?go"))
        until(lambda: edge.noted("late"), "the request")
        workers = edge.workers()
        edge.signal(signal.SIGKILL)
        edge.wait()
        _until_refused(edge)
        (edge.folder / "go").touch()

        assert read_answers(slow).only.status == 200
        until(lambda: not any(_alive(pid) for pid in workers), "the workers' end")
        assert len(edge.noted("shutdown")) == 2


def test_a_killed_receiver_can_start_again_at_once_on_its_port(tmp_path: Path) -> None:
    """Its orphans need a moment to let go of it."""
    with an_edge(tmp_path / "first", workers=2) as first:
        host, port = first.tcp
        first.signal(signal.SIGKILL)
        with an_edge(tmp_path / "second", bind=f"{host}:{port}") as second:
            assert second.get("/echo").status == 200


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def _until_refused(edge: Edge) -> None:
    """Wait until new connections are turned away."""

    def refused() -> bool:
        with socket.socket() as attempt:
            attempt.settimeout(0.05)
            try:
                attempt.connect(edge.tcp)
            except (ConnectionRefusedError, TimeoutError):
                return True
            return False

    until(refused, "listening to end")
