"""
The whole way at once, and beside a backlog: `python -m bench.sustained [--seconds 4] [--rounds 3] [--backlog 1000 ...]`.

First: one receiver worker accepts alone, then accepts while the forwarder carries, delivers and settles everything, in
turns. What an event costs is each process's processor time over its events; events/s of one core is a million over the
sum of what receiver and forwarder need. Handler and sender run in processes of their own and are not counted.

Then: the forwarder's cost of an event, from journal to settled, in stores that hold so many parked deliveries (due
tomorrow, waiting for their key, paused; filled in bulk). The figures should not grow.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / "tests")]

from bench.pipeline import cpu_of, memory_of, wait
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import RouteRef
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.record import encode
from hookline_receiver.store.port import Arrival, Target
from hookline_receiver.store.sqlite import SqliteEventStore
from support.forwarder import CHAT, DataFolder, ForwarderProcess, a_route, a_subscription, an_event
from support.receiver import Receiver, a_receiver, an_endpoint, basic

SAMPLE = Path(__file__).parent.parent / "tests" / "data" / "cometchat" / "samples" / "message_sent.json"
CONNECTIONS = 32
BATCH = 32
NUMBER = "1234567890123"
TOMORROW = 86_400 * 10**9


@dataclass
class CountingHandler:
    """A handler in a process of its own, and how many events it has taken."""

    process: subprocess.Popen[bytes]
    address: str
    taken: int = 0

    def count(self) -> None:
        """Follow what it prints."""
        assert self.process.stdout is not None
        for _ in self.process.stdout:
            self.taken += 1


@contextmanager
def a_handler() -> Iterator[CountingHandler]:
    """One that takes everything."""
    file = Path(__file__).parent / "pipeline.py"
    process = subprocess.Popen([sys.executable, file], env=os.environ | {"BENCH_HANDLER": "1"}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    handler = CountingHandler(process, process.stdout.readline().decode().strip())
    threading.Thread(target=handler.count, daemon=True).start()
    try:
        yield handler
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def a_forwarder(data: DataFolder, handler: CountingHandler) -> Iterator[ForwarderProcess]:
    """One that delivers everything to *handler*."""
    data.endpoints(notifier=[handler.address])
    data.route(a_subscription(a_route(batch=BATCH, max_in_flight=256)))
    forwarder = ForwarderProcess(data, {"LOG_LEVEL": "WARNING", "OPS_BIND": ""})
    forwarder.start()
    try:
        yield forwarder
        forwarder.stop()
    finally:
        forwarder.kill()


def pid_of(forwarder: ForwarderProcess) -> int:
    """Its process."""
    assert forwarder.process is not None
    return forwarder.process.pid


# --- accept, beside the whole way --------------------------------------------------------------------------------------


@dataclass
class Sender:
    """Sends events, each unlike every other, as fast as answers come."""

    port: int
    prefix: bytes
    suffix: bytes
    number: int = 10**12
    answers: int = 0
    running: bool = True

    def request(self) -> bytes:
        """The next one."""
        self.number += 1
        return b"%s%d%s" % (self.prefix, self.number, self.suffix)

    async def connection(self) -> None:
        """One request after another."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while self.running:
            writer.write(self.request())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"not accepted: {head!r}")
            await reader.readexactly(2)
            self.answers += 1
        writer.close()

    async def play(self, seconds: float) -> float:
        """For so long; how long it was."""
        began, self.running, self.answers = time.perf_counter(), True, 0
        tasks = [asyncio.ensure_future(self.connection()) for _ in range(CONNECTIONS)]
        await asyncio.sleep(seconds)
        self.running = False
        await asyncio.gather(*tasks)
        return time.perf_counter() - began


def a_sender(port: int) -> Sender:
    """Of documented payloads with an id of their own."""
    payload = json.loads(SAMPLE.read_bytes())
    payload["data"]["message"]["id"] = NUMBER
    body = json.dumps(payload).encode()
    head = (
        f"POST /acme/chat HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic()}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    prefix, _, suffix = (head.encode() + body).partition(NUMBER.encode())
    return Sender(port, prefix, suffix)


@dataclass
class Figures:
    """Of each round: microseconds of processor time an event, and events a second."""

    accept: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def show(self, name: str) -> None:
        """A line of the table."""
        accept, forward = statistics.median(self.accept), statistics.median(self.forward)
        print(
            f"  {name:<34}{accept:9.0f}{forward:11.0f}{1e6 / (accept + forward):11.0f}"
            f"{statistics.median(self.rate):11.0f}{max(self.memory):9d}",
            flush=True,
        )


def receiver_cpu(receiver: Receiver) -> float:
    """Seconds of its workers."""
    return sum(cpu_of(pid) for pid in receiver.worker_pids())


def one_round(receiver: Receiver, sender: Sender, seconds: float, figures: Figures, *, whole: "Whole | None") -> None:
    """Play once and note what it cost."""
    taken = whole.handler.taken if whole else 0
    before = receiver_cpu(receiver), cpu_of(whole.pid) if whole else 0.0
    began = time.perf_counter()
    asyncio.run(sender.play(seconds))
    if whole:
        wait(lambda: whole.handler.taken - taken >= sender.answers)
    took, count = time.perf_counter() - began, sender.answers
    figures.accept.append((receiver_cpu(receiver) - before[0]) / count * 1e6)
    figures.forward.append(((cpu_of(whole.pid) if whole else 0.0) - before[1]) / count * 1e6)
    figures.rate.append(count / took)
    figures.memory.append(memory_of(receiver.worker_pids()[0]) + (memory_of(whole.pid) if whole else 0))


@dataclass(frozen=True)
class Whole:
    """Forwarder and handler behind a receiver."""

    pid: int
    handler: CountingHandler


def whole_way(seconds: float, rounds: int) -> None:
    """Accept alone and the whole way, in turns."""
    alone, together = Figures(), Figures()
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        receivers = [stack.enter_context(a_receiver(one, an_endpoint(uid=CHAT.uid))) for one in folders]
        senders = [a_sender(one.port) for one in receivers]
        handler = stack.enter_context(a_handler())
        forwarder = stack.enter_context(a_forwarder(DataFolder(folders[1]), handler))
        whole = Whole(pid_of(forwarder), handler)
        for number in range(rounds + 1):
            first = Figures(), Figures()
            figures = (alone, together) if number else first
            one_round(receivers[0], senders[0], seconds if number else 1, figures[0], whole=None)
            one_round(receivers[1], senders[1], seconds if number else 1, figures[1], whole=whole)
    print(
        f"  {'medians of ' + str(rounds) + ' rounds':<34}{'receiver':>9}{'forwarder':>11}{'per core':>11}{'measured':>11}{'MiB':>9}"
    )
    print(f"  {'':<34}{'µs':>9}{'µs':>11}{'events/s':>11}{'events/s':>11}")
    alone.show("accept alone")
    together.show("accept, carry, deliver, settle")


# --- beside a backlog --------------------------------------------------------------------------------------------------


def fill(data: DataFolder, deliveries: int) -> None:
    """Park so many deliveries of the route that is measured, and of another that is paused."""
    store = SqliteEventStore(data.root / "store" / "events.db", same=same_event)
    now = time.time_ns()
    notify, paused = RouteRef(CHAT, "notify"), RouteRef(CHAT, "paused")
    for number in range(0, deliveries, 1_000):
        route, key = ((notify, None), (notify, "one"), (paused, None))[number // 1_000 % 3]
        event = an_event(received_at_ns=now)
        store.add([Arrival(event, [Target(route, key)] * 1_000, "", now)], {}, now + TOMORROW)
    store.sync()
    store.close()


def beside_backlog(deliveries: int, events: int, handler: CountingHandler) -> None:
    """The forwarder's cost of an event."""
    with tempfile.TemporaryDirectory() as folder:
        data = DataFolder(Path(folder))
        fill(data, deliveries)
        body = SAMPLE.read_bytes()
        with a_forwarder(data, handler) as forwarder:
            paused = a_route("paused", service="paused", triggers=["call_ended"], paused=True)
            data.route(a_subscription(a_route(batch=BATCH, max_in_flight=256), paused))
            costs = []
            for size in (500, events, events, events):
                made = [an_event(body) for _ in range(size)]
                taken, before, began = handler.taken, cpu_of(pid_of(forwarder)), time.perf_counter()
                asyncio.run(append_all(data, [encode(one) for one in made]))
                wait(lambda taken=taken, size=size: handler.taken - taken >= size)  # type: ignore[misc]
                costs.append(((cpu_of(pid_of(forwarder)) - before) / size * 1e6, size / (time.perf_counter() - began)))
            cpu, rate = (statistics.median(each) for each in zip(*costs[1:], strict=True))
            file = (data.root / "store" / "events.db").stat().st_size >> 20
            print(f"  {deliveries:>9}{cpu:11.0f}{rate:11.0f}{memory_of(pid_of(forwarder)):9d}{file:9d}", flush=True)


async def append_all(data: DataFolder, records: list[bytes]) -> None:
    """A worker that lives for a burst."""
    journal = SegmentJournal.open(data.journal)
    for start in range(0, len(records), 256):
        await asyncio.gather(*(journal.append(one) for one in records[start : start + 256]))
    await journal.close()


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=4.0)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--events", type=int, default=3_000)
    arguments.add_argument("--backlog", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    given = arguments.parse_args()
    whole_way(given.seconds, given.rounds)
    print(f"\n  the forwarder beside a backlog, {given.events} events in a burst, medians of 3\n")
    print(f"  {'parked':>9}{'µs (cpu)':>11}{'events/s':>11}{'MiB':>9}{'file MiB':>9}")
    with a_handler() as handler:
        for deliveries in given.backlog:
            beside_backlog(deliveries, given.events, handler)


if __name__ == "__main__":
    main()
