"""
How fast events go from the journal to handlers, step by step: `python bench/pipeline.py [--events N] [--size BYTES]`.

Each step runs alone on the same events, then the forwarder's process does all of them together: carried while nothing
is delivered, then delivered with batches of 1 and of 32 to a handler in another process, and with batches of 32 to one
whose route asks for the raw event only: the difference is what typing costs. Events are messages of a simulated day,
filled up with text. Microseconds per event; the machine's noise is larger than small differences, so compare figures of
one run only.
"""

import argparse
import asyncio
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

sys.path[:0] = [str(Path(__file__).parent.parent / "tests")]

from hookline.handler.v1 import handler_pb2 as pb
from hookline.routing.v1.snapshot_pb2 import Handler
from hookline_cli.simulate.day import Script, moments
from hookline_cli.simulate.payloads import body_of
from hookline_receiver.carrying.fanout import fan_out
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import Event
from hookline_receiver.forwarder.message import Built, Typer, build, request_of
from hookline_receiver.journal.reader import SegmentJournals
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.record import decode, encode
from hookline_receiver.store.port import Delivered, Settlement
from hookline_receiver.store.sqlite import SqliteEventStore
from support.forwarder import DataFolder, a_book, a_route, a_subscription, an_event

BOOK = a_book(a_subscription(a_route(batch=32)))
ROUTE = next(iter(BOOK.routes))
PLAN = next(iter(BOOK.subscriptions.values()))
HOUR = 3600 * 10**9


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=20_000)
    arguments.add_argument("--size", type=int, default=2_000, help="bytes of a body")
    given = arguments.parse_args()
    if os.environ.get("BENCH_HANDLER"):
        asyncio.run(serve())
        return
    events = messages(given.events, given.size)
    print(f"{given.events} messages of {given.size} bytes, 2 routes' worth of nothing else; µs per event")
    with tempfile.TemporaryDirectory() as folder:
        steps(events, DataFolder(Path(folder)))
    for batch, raw in ((1, False), (32, False), (32, True)):
        with tempfile.TemporaryDirectory() as folder:
            together(events, DataFolder(Path(folder)), batch, raw)


def messages(count: int, size: int) -> Sequence[Event]:
    """Events whose typed form is worth making."""
    events = []
    for moment in moments(Script(count=count, triggers=frozenset(["message_sent"])), seed=1):
        missing = size - len(body_of(moment.payload))
        moment.payload["data"]["message"]["data"]["text"] = "x" * max(1, missing)
        events.append(an_event(body_of(moment.payload)))
    return events


def steps(events: Sequence[Event], data: DataFolder) -> None:
    """Each step alone, in batches as the forwarder makes them."""
    asyncio.run(journal_all(events, data.journal))
    journals = SegmentJournals(data.journal)
    payloads: list[bytes] = []

    def read() -> None:
        for reader in journals.discover():
            payloads.extend(entry.payload for entry in reader.read(None, 1 << 63) if hasattr(entry, "payload"))

    report("read the journal", len(events), read)
    decoded = report("decode the record", len(events), lambda: [decode(each) for each in payloads])
    arrivals = report("fan out", len(events), lambda: [fan_out(each, PLAN).arrival for each in decoded])
    store = SqliteEventStore(data.root / "store" / "bench.db", same=same_event)
    now = time.time_ns()

    def add() -> None:
        for start in range(0, len(arrivals), 500):
            store.add(arrivals[start : start + 500], {}, now)

    report("add to the store (500)", len(events), add)
    report("sync the store", len(events), store.sync)
    claims: list[list[object]] = []

    def claim() -> None:
        while batch := store.claim(ROUTE, 32, 3_600_000, now, now + HOUR):
            claims.append(list(batch))

    report("claim (32)", len(events), claim)
    flat = [each for batch in claims for each in batch]
    typer = Typer(len(flat))
    report("type the payload", len(events), lambda: [typer.of(each.event) for each in flat])  # type: ignore[attr-defined]
    built = report("build the message", len(events), lambda: [build(each, typer.of(each.event)) for each in flat])  # type: ignore[arg-type, attr-defined]
    messages = [each for each in built if isinstance(each, Built)]

    def serialise() -> None:
        for start in range(0, len(messages), 32):
            request_of(messages[start : start + 32])

    report("join (32)", len(events), serialise)

    def settle() -> None:
        for start in range(0, len(flat), 256):
            store.settle(
                [Settlement(one.delivery_id, one.fence, Delivered(), None) for one in flat[start : start + 256]],  # type: ignore[attr-defined]
                now,
            )

    report("settle (256)", len(events), settle)
    store.close()


def report(name: str, events: int, work: Callable[[], object]) -> list:  # type: ignore[type-arg]
    """Do *work*, print what an event cost."""
    started = time.process_time(), time.perf_counter()
    result = work()
    cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
    print(f"  {name:<26} {wall / events * 1e6:7.1f}   (cpu {cpu / events * 1e6:6.1f})")
    return result if isinstance(result, list) else []


async def journal_all(events: Sequence[Event], root: Path) -> None:
    """Put *events* into one journal whose writer is gone."""
    journal = SegmentJournal.open(root)
    for start in range(0, len(events), 256):
        await asyncio.gather(*(journal.append(encode(each)) for each in events[start : start + 256]))
    await journal.close()


def together(events: Sequence[Event], data: DataFolder, batch: int, raw: bool) -> None:
    """The forwarder's process: carry, then deliver."""
    asyncio.run(journal_all(events, data.journal))
    payload = Handler.PAYLOAD_FORM_RAW if raw else Handler.PAYLOAD_FORM_TYPED
    data.route(a_subscription(a_route(batch=batch, max_in_flight=256, paused=True, payload=payload)))
    handler = subprocess.Popen(
        [sys.executable, __file__], env=os.environ | {"BENCH_HANDLER": "1"}, stdout=subprocess.PIPE
    )
    assert handler.stdout is not None
    address, counts = handler.stdout.readline().decode().strip(), data.root / "counts"
    data.endpoints(notifier=[address])
    environment = os.environ | {
        "HOOKLINE_FORWARDER_DATA_DIR": str(data.root),
        "HOOKLINE_FORWARDER_OPS_BIND": "",
        "HOOKLINE_FORWARDER_LOG_LEVEL": "WARNING",
    }
    counts.touch()
    forwarder = subprocess.Popen([sys.executable, "-m", "hookline_receiver.forwarder"], env=environment)
    try:
        wait(lambda: not os.listdir(data.journal))
        before, started = cpu_of(forwarder.pid), time.perf_counter()
        data.route(a_subscription(a_route(batch=batch, max_in_flight=256, payload=payload)))
        latencies: list[float] = []
        for _ in range(len(events)):
            latencies.append(float(handler.stdout.readline()))
        wall, cpu = time.perf_counter() - started, cpu_of(forwarder.pid) - before
        name = f"claim, call, settle ({batch}{', raw' if raw else ''})"
        print(f"  {name:<26} {wall / len(events) * 1e6:7.1f}   (cpu {cpu / len(events) * 1e6:6.1f}, the forwarder's)")
        print(f"  {'':<26} {len(events) / wall:7.0f} events/s, {memory_of(forwarder.pid)} MiB")
    finally:
        for process in (forwarder, handler):
            process.send_signal(signal.SIGTERM)
            process.wait(30)


async def serve() -> None:
    """A handler that takes everything and prints a line for each event."""
    import grpc

    from support import forwarder
    from support.forwarder import accept, serving

    def count(request: pb.DeliverRequest) -> pb.DeliverResponse:
        os.write(1, b"0\n" * len(request.deliveries))
        return accept(request)

    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    handler = forwarder.Handler(count)
    handler.requests = _Forgetful()
    async with serving(handler) as server:
        print(server.address, flush=True)
        await end.wait()
    assert grpc


class _Forgetful(list):  # type: ignore[type-arg]
    """Remembers nothing."""

    def append(self, item: object) -> None:
        """Forget it."""


def wait(holds: Callable[[], bool]) -> None:
    """Until *holds*, at most two minutes."""
    deadline = time.monotonic() + 120
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("it takes too long")
        time.sleep(0.01)


def cpu_of(pid: int) -> float:
    """Seconds of CPU that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> int:
    """MiB that it holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() >> 20


if __name__ == "__main__":
    assert statistics
    assert UUID
    main()
