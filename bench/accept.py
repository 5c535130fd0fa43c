"""
What an accepted event costs, step by step: `python -m bench.accept [--rounds 7] [--seconds 1.0] [--folder DIR]`.

All servers run at once and take turns under load, each on the same core, the load on another: what else the machine does
falls on all of them, and what counts are differences and ratios within a round. The cost of a step is processor time of
the worker per event, which a noisy neighbour does not change as it changes the clock's.

Prints a table and keeps nothing; the journals are in a folder that is removed.
"""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.accept_steps import STEPS, an_acceptance
from bench.load import Load, full, paced
from hookline.routing.v1.snapshot_pb2 import Endpoint, ReceiverSnapshot, SubscriptionRef
from hookline_receiver.event import Event
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.request import RequestHead
from hookline_routes.verifier import make_verifier

SAMPLE = Path(__file__).parent.parent / "tests" / "data" / "cometchat" / "samples" / "message_sent.json"
CONNECTIONS = 64
TAG_KEY = bytes(32)


@dataclass(frozen=True)
class Server:
    """A server under measurement."""

    name: str
    port: int
    pids: Sequence[int]
    """Processes whose time is counted."""

    def processor_seconds(self) -> float:
        """Time that its processes have had."""
        return sum(_times(pid) for pid in self.pids)

    def memory(self) -> tuple[int, int]:
        """Resident and largest resident memory of its first process, in KiB."""
        text = Path(f"/proc/{self.pids[0]}/status").read_text()
        found = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line.startswith("Vm")}
        return int(found["VmRSS"]), int(found["VmHWM"])


def _times(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def the_body() -> bytes:
    """A documented message, as senders write JSON."""
    return json.dumps(json.loads(SAMPLE.read_bytes()), separators=(",", ":")).encode()


def the_request(body: bytes) -> bytes:
    """A POST of it as CometChat sends it."""
    return (
        b"POST /acme/chat HTTP/1.1\r\nHost: hooks.example.com\r\nAuthorization: Basic dTpw\r\nUser-Agent: CometChat\r\n"
        b"Content-Type: Application/json\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\nContent-Length: %d\r\n\r\n%b"
    ) % (len(body), body)


def write_routes(folder: Path) -> None:
    """One endpoint, opened by u:p."""
    verifier = make_verifier("acme/chat@1", "u", "p", generated=True, salt=bytes(16), tag_key=TAG_KEY)
    ref = SubscriptionRef(uid="8c1f2f1e-3f0f-4d0e-9d43-7a3c6f5b2a10", namespace="acme", name="chat")
    endpoint = Endpoint(path="/acme/chat", subscription=ref, verifiers=[verifier], max_body_bytes=2 << 20)
    file = folder / "routes" / "receiver.binpb"
    file.parent.mkdir(parents=True)
    file.write_bytes(ReceiverSnapshot(format=1, version="1", tag_key=TAG_KEY, endpoints=[endpoint]).SerializeToString())


def a_free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def serving(step: str, folder: Path, core: int) -> Iterator[Server]:
    """The server that stops after *step*, on *core*."""
    port = a_free_port()
    write_routes(folder)
    process = subprocess.Popen([sys.executable, "-m", "bench.accept_steps", step, str(port), str(folder)])
    os.sched_setaffinity(process.pid, {core})
    try:
        _wait_for(port, process)
        yield Server(step, port, _children(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def nginx(folder: Path, core: int) -> Iterator[Server]:
    """nginx with one worker that reads the request and answers 200."""
    port = a_free_port()
    (folder / "conf").write_text(
        f"worker_processes 1; daemon off; error_log stderr; pid {folder}/pid; events {{}} http {{ access_log off;"
        f" client_body_temp_path {folder}; keepalive_requests 100000000; client_body_buffer_size 64k;"
        f' server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 "{{}}"; }} }} }}'
    )
    process = subprocess.Popen([str(shutil.which("nginx")), "-c", str(folder / "conf"), "-p", str(folder)])
    os.sched_setaffinity(process.pid, {core})
    try:
        _wait_for(port, process)
        yield Server("nginx answering 200", port, _children(process.pid))
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0 and _children(process.pid):
                return
        time.sleep(0.05)
    raise SystemExit(f"the server on port {port} did not start")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@dataclass(frozen=True)
class Round:
    """One turn of one server."""

    microseconds: float
    """Processor time per event."""
    rate: float
    """Events a second."""


def one_round(server: Server, request: bytes, seconds: float) -> Round:
    """Load *server* to the full."""
    before = server.processor_seconds()
    load = uvloop.run(full(server.port, request, seconds, CONNECTIONS))
    spent = server.processor_seconds() - before
    if load.others or not load.answers:
        raise SystemExit(f"{server.name}: {load.others} of {load.answers} answers were not 200")
    return Round(spent / load.answers * 1e6, load.rate)


def flushed_appends(folder: Path, record: bytes, batch: int, seconds: float) -> float:
    """Records a second that a loop of write and fdatasync makes durable, *batch* at a time."""
    count, began = 0, time.perf_counter()
    with (folder / f"appends{batch}").open("wb", buffering=0) as file:
        while (now := time.perf_counter()) - began < seconds:
            file.write(record * batch)
            os.fdatasync(file.fileno())
            count += batch
    return count / (now - began)


def table(servers: Sequence[Server], rounds: Sequence[Sequence[Round]]) -> None:
    """What each server took, and what each step adds to the one before it."""
    print(
        f"{'':28}{'events/s':>10}{'µs/event':>10}{'this step':>11}{'over bare':>11}   medians of {len(rounds)} rounds"
    )
    for n, server in enumerate(servers):
        column = [each[n] for each in rounds]
        step = [each[n].microseconds - each[n - 1].microseconds for each in rounds]
        over = [each[n].microseconds - each[0].microseconds for each in rounds]
        shown = 0 < n < len(STEPS)
        print(
            f"{server.name if not shown else '+ ' + server.name:28}"
            f"{statistics.median(each.rate for each in column):>10,.0f}"
            f"{statistics.median(each.microseconds for each in column):>10.1f}"
            + (f"{statistics.median(step):>11.1f}{statistics.median(over):>11.1f}" if shown else "")
        )


def profile(folder: Path, body: bytes, events: int = 20_000) -> None:
    """Where the time of `accept` goes, functions of most own time first; the profiler itself is dear."""
    head = RequestHead("POST", b"/acme/chat", b"hooks.example.com", b"Basic dTpw", len(body), None, "")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def one(acceptance: Any, count: int) -> None:
        for _ in range(count):
            assert isinstance((await acceptance.accept(head, receive)).verdict, Event)

    async def all_of_them(profiler: cProfile.Profile) -> None:
        journal = SegmentJournal.open(folder / "journal")
        acceptance = an_acceptance(folder, journal)
        await one(acceptance, 1)
        profiler.enable()
        await asyncio.gather(*(one(acceptance, events // 64) for _ in range(64)))
        profiler.disable()
        await journal.close()

    profiler = cProfile.Profile()
    uvloop.run(all_of_them(profiler))
    stats = pstats.Stats(profiler)
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])  # type: ignore[attr-defined]
    whole = stats.total_tt  # type: ignore[attr-defined]
    print(f"\n{'own time of accept by function (loop and Falcon left out)':60}{'part':>7}{'µs/event':>10}")
    for (file, _, name), (_, _, own, _, _) in rows[:14]:
        place = "/".join(Path(file).parts[-2:]) if file != "~" else ""
        print(f"{(place + ' ' + name).strip()[:60]:60}{own / whole:>7.0%}{own / events * 1e6:>10.2f}")


def latency(server: Server, request: bytes, most: float, seconds: float) -> None:
    """How long an answer takes at 80 % of the most."""
    load: Load = uvloop.run(paced(server.port, request, seconds, 0.8 * most))
    print(
        f"\nat 80 % of the most ({0.8 * most:,.0f} events/s asked, {load.rate:,.0f} answered): "
        f"p50 {load.percentile(0.5) * 1e3:.1f} ms, p99 {load.percentile(0.99) * 1e3:.1f} ms, "
        f"max {max(load.times) * 1e3:.1f} ms, not 200: {load.others}"
    )


def measured(stack: ExitStack, folder: Path, core: int) -> list[Server]:
    """All servers, running."""
    servers = []
    for n, step in enumerate(STEPS):
        (folder / str(n)).mkdir()
        servers.append(stack.enter_context(serving(step, folder / str(n), core)))
    if shutil.which("nginx"):
        (folder / "nginx").mkdir()
        servers.append(stack.enter_context(nginx(folder / "nginx", core)))
    return servers


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each server's turn")
    parser.add_argument(
        "--folder",
        type=lambda name: Path(name).resolve(),
        help="where journals are made and removed; a disk, not memory",
    )
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    os.sched_setaffinity(0, {cores[-1]})
    body = the_body()
    request = the_request(body)
    with tempfile.TemporaryDirectory(dir=given.folder) as name, ExitStack() as stack:
        folder = Path(name)
        servers = measured(stack, folder, cores[0])
        print(
            f"{len(body)} bytes, {CONNECTIONS} connections, servers on core {cores[0]}, load on core {cores[-1]}, "
            f"load of the machine {os.getloadavg()[0]:.1f}\n"
        )
        for server in servers:
            one_round(server, request, 0.3)
        rounds = [[one_round(server, request, given.seconds) for server in servers] for _ in range(given.rounds)]
        table(servers, rounds)
        if not shutil.which("nginx"):
            print("nginx answering 200: not measured, nginx is not installed")
        os.sched_setaffinity(0, {cores[0]})
        for batch in (1, CONNECTIONS):
            rate = flushed_appends(folder, body, batch, given.seconds)
            print(f"write and fdatasync of the same bytes, {batch:>2} at a time: {rate:,.0f} events/s")
        os.sched_setaffinity(0, {cores[-1]})
        receiver = servers[len(STEPS) - 1]
        most = statistics.median(each[len(STEPS) - 1].rate for each in rounds)
        latency(receiver, request, most, max(3.0, 3 * given.seconds))
        resident, largest = receiver.memory()
        print(f"memory of the receiver's worker: {resident / 1024:.0f} MiB, at most {largest / 1024:.0f} MiB")
        (folder / "profile").mkdir()
        write_routes(folder / "profile")
        profile(folder / "profile", body)


if __name__ == "__main__":
    main()
