"""
The whole way at once, and beside a backlog: `python -m bench.sustained [--seconds 4] [--rounds 5] [--backlog 1000 ...]`.

First: one receiver worker accepts alone, then accepts while the forwarder carries, delivers and settles everything, in
turns. What an event costs is each process's processor time over its events; events/s of one core is a million over the
sum of what receiver and forwarder need. Handler and sender run in processes of their own and are not counted.

Every second round is itemised: of what is done for each event one visit in some sixty is measured, of what is done for many
at once each one (`ledger`). What that adds to a visit is found
out by a step that does next to nothing, and taken off. What a thread took beyond its steps is a line of its own, and so are
threads without steps; all lines come to the process's time. The rounds that are not itemised, in the same processes, say
whether itemising changed it.

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

from bench.itemised import FORWARDER, NOTHING, RECEIVER
from bench.ledger import Count, Ledger, alone, thread_times
from bench.pipeline import cpu_of, memory_of, wait
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import RouteRef
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.record import encode
from hookline_receiver.store.port import Arrival, Target
from hookline_receiver.store.sqlite import SqliteEventStore
from support.forwarder import CHAT, DataFolder, ForwarderProcess, a_route, a_subscription, an_event
from support.receiver import a_receiver, an_endpoint, basic

SAMPLE = Path(__file__).parent.parent / "tests" / "data" / "cometchat" / "samples" / "message_sent.json"
ITEMISED = Path(__file__).parent / "itemised.py"
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
def a_forwarder(data: DataFolder, handler: CountingHandler, ledger: Path | None = None) -> Iterator[ForwarderProcess]:
    """One that delivers everything to *handler*; with a *ledger*: that may be itemised."""
    data.endpoints(notifier=[handler.address])
    data.route(a_subscription(a_route(batch=BATCH, max_in_flight=256)))
    forwarder = ForwarderProcess(data, {"LOG_LEVEL": "WARNING", "OPS_BIND": ""})
    if ledger:
        forwarder.program = (str(ITEMISED), "forwarder", str(ledger))
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


@dataclass(frozen=True)
class State:
    """What a process has used so far."""

    whole: float
    threads: dict[int, float]
    counts: dict[str, Count]


@dataclass(frozen=True)
class Program:
    """A process that is measured."""

    pid: int
    ledger: Ledger

    def state(self) -> State:
        """As of now."""
        return State(cpu_of(self.pid), thread_times(self.pid), self.ledger.counts())


@dataclass
class Costs:
    """Of one program, of each round: microseconds of processor time an event."""

    plain: list[float] = field(default_factory=list)
    itemised: list[float] = field(default_factory=list)
    lines: list[dict[str, float]] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    """Microseconds that measuring adds to a visit."""

    def note(self, ledger: Ledger, before: State, after: State, events: int) -> None:
        """An itemised round's."""
        counts = {name: count.since(before.counts[name]) for name, count in after.counts.items()}
        bias = counts[NOTHING].seconds / max(1.0, counts[NOTHING].measured)
        found = {name: seconds / events * 1e6 for name, seconds in alone(ledger.steps, counts, bias).items()}
        del found[NOTHING]
        for thread, name in _threads(counts).items():
            took = (after.threads[thread] - before.threads.get(thread, 0.0)) / events * 1e6
            found[f"{name}: the rest"] = took - sum(found[one] for one in _steps_of(thread, counts) if one in found)
        whole = (after.whole - before.whole) / events * 1e6
        found["threads without steps"] = whole - sum(found.values())
        self.itemised.append(whole)
        self.lines.append(found)
        self.bias.append(bias * 1e6)

    def line(self, name: str) -> list[float]:
        """Of the rounds."""
        return [one[name] for one in self.lines]


def _threads(counts: dict[str, Count]) -> dict[int, str]:
    """Names for the threads that have steps."""
    numbers = sorted({count.thread for count in counts.values() if count.measured})
    return dict(zip(numbers, ("main thread", "second thread", "third thread", "fourth thread"), strict=False))


def _steps_of(thread: int, counts: dict[str, Count]) -> list[str]:
    return [name for name, count in counts.items() if count.thread == thread and count.measured]


@dataclass
class Figures:
    """Of each round: what an event cost each program, and events a second."""

    accept: Costs = field(default_factory=Costs)
    forward: Costs = field(default_factory=Costs)
    rate: list[float] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)

    def show(self, name: str) -> None:
        """A line of the table."""
        accept = statistics.median(self.accept.plain)
        forward = statistics.median(self.forward.plain) if self.forward.plain else 0.0
        worker, forwarder = (max(each) for each in zip(*self.memory, strict=True))
        print(
            f"  {name:<34}{accept:9.0f}{forward:11.0f}{1e6 / (accept + forward):11.0f}"
            f"{statistics.median(self.rate):11.0f}{worker:9d}{forwarder:6d}",
            flush=True,
        )


@dataclass(frozen=True)
class Way:
    """A receiver with its sender, and the forwarder and handler behind it, if there are any."""

    receiver: Program
    sender: Sender
    forwarder: Program | None
    handler: CountingHandler | None
    figures: Figures = field(default_factory=Figures)

    def play(self, seconds: float, *, itemised: bool, noted: bool = True) -> None:
        """A round."""
        programs = [self.receiver, *([self.forwarder] if self.forwarder else [])]
        for one in programs:
            one.ledger.turn(on=itemised)
        taken = self.handler.taken if self.handler else 0
        before, began = [one.state() for one in programs], time.perf_counter()
        asyncio.run(self.sender.play(seconds))
        if (handler := self.handler) is not None:
            wait(lambda: handler.taken - taken >= self.sender.answers)
        took = time.perf_counter() - began
        time.sleep(0.3)  # what was taken last is settled by now
        after = [one.state() for one in programs]
        if noted:
            self._note(programs, before, after, took, itemised=itemised)

    def _note(
        self, programs: list[Program], before: list[State], after: list[State], took: float, *, itemised: bool
    ) -> None:
        costs, events = (self.figures.accept, self.figures.forward), self.sender.answers
        for cost, program, one, other in zip(costs, programs, before, after, strict=False):
            if itemised:
                cost.note(program.ledger, one, other, events)
            else:
                cost.plain.append((other.whole - one.whole) / events * 1e6)
        if not itemised:
            self.figures.rate.append(events / took)
        memory = [memory_of(one.pid) for one in programs]
        self.figures.memory.append((memory[0], memory[1] if len(memory) > 1 else 0))


def whole_way(seconds: float, rounds: int) -> None:
    """Accept alone and the whole way, in turns, each plain and itemised."""
    with ExitStack() as stack:
        ways = [a_way(stack, whole=False), a_way(stack, whole=True)]
        for way in ways:
            way.play(1, itemised=False, noted=False)
        for number in range(rounds):
            for itemised in (False, True) if number % 2 else (True, False):
                for way in ways:
                    way.play(seconds, itemised=itemised)
        show(ways[0].figures, ways[1].figures, rounds)


def a_way(stack: ExitStack, *, whole: bool) -> Way:
    """Processes of their own, ended with *stack*."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    # In memory: a page that is being written back to a disk holds up whoever counts.
    ledgers = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
    accepting, forwarding = ledgers / "receiver", ledgers / "forwarder"
    receiver = stack.enter_context(a_receiver(folder, an_endpoint(uid=CHAT.uid), start=False))
    receiver.program = (str(ITEMISED), "receiver", str(accepting))
    receiver.start()
    program, sender = Program(receiver.worker_pids()[0], Ledger(accepting, RECEIVER)), a_sender(receiver.port)
    if not whole:
        return Way(program, sender, None, None)
    handler = stack.enter_context(a_handler())
    forwarder = stack.enter_context(a_forwarder(DataFolder(folder), handler, forwarding))
    return Way(program, sender, Program(pid_of(forwarder), Ledger(forwarding, FORWARDER)), handler)


def show(alone: Figures, together: Figures, rounds: int) -> None:
    """Both tables."""
    heads = ("receiver", "forwarder", "per core", "measured", "MiB")
    print(f"  {f'medians of {rounds} rounds':<34}{heads[0]:>9}" + "".join(f"{one:>11}" for one in heads[1:]))
    print(f"  {'':<34}{'µs':>9}{'µs':>11}{'events/s':>11}{'events/s':>11}")
    alone.show("accept alone")
    together.show("accept, carry, deliver, settle")
    print(f"\n  {'itemised, µs of processor time an event':<44}{'alone':>11}{'whole way':>15}\n")
    itemise("the receiver", [alone.accept, together.accept])
    itemise("the forwarder", [together.forward])


def itemise(name: str, costs: list[Costs]) -> None:
    """A program's steps: medians of the rounds, and half the distance between the rounds' quartiles."""

    def line(what: str, figures: list[list[float]]) -> None:
        shown = [f"{statistics.median(one):9.1f} ±{_spread(one):4.1f}" for one in figures]
        print(f"    {what:<42}{'':{30 - 15 * len(figures)}}" + "".join(shown))

    print(f"  {name}")
    for step in costs[0].lines[0]:
        line(step, [one.line(step) for one in costs])
    line("all, itemised", [one.itemised for one in costs])
    line("all, in the rounds that were not", [one.plain for one in costs])
    line("taken off each piece that was measured", [one.bias for one in costs])
    print()


def _spread(figures: list[float]) -> float:
    if len(figures) < 2:
        return 0.0
    low, _, high = statistics.quantiles(figures, n=4, method="inclusive")
    return (high - low) / 2


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
    arguments.add_argument("--rounds", type=int, default=5)
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
