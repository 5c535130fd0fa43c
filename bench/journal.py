"""
Durable appends per second: plain segments beside SQLite and beside bare write and fdatasync of the same bytes.

Every way gets the same records from the same number of concurrent callers on one event loop, flushes in one thread and
answers all callers of a flush at once. The ways take turns, so that a noisy machine is noisy for all of them; what
counts is the ratio of a round, not the figure.

    python bench/journal.py [--rounds 5] [--seconds 1.5] [--callers 1 16 128] [--bytes 1200] [--folder DIR] [--uvloop] [--core N]
"""

import argparse
import asyncio
import os
import queue
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from hookline_receiver.journal.log import JournalLimits
from hookline_receiver.journal.writer import SegmentJournal


class Appender(Protocol):
    """A way to make a record durable."""

    async def append(self, payload: bytes) -> None:
        """Return once it is."""

    async def close(self) -> None:
        """Let go."""


Figures = tuple[float, float, float, float]
Waiting = tuple[bytes, asyncio.Future[None]]


class Grouped:
    """Group commit with the least there can be to it: one thread takes what has queued up."""

    def __init__(self, commit: Callable[[Sequence[bytes]], None], end: Callable[[], None], start: Callable[[], None]):
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._commit, self._end, self._start = commit, end, start
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    async def append(self, payload: bytes) -> None:
        """Return once it is committed."""
        answer = asyncio.get_running_loop().create_future()
        self._queue.put((payload, answer))
        await answer

    async def close(self) -> None:
        """End the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        self._start()
        while (first := self._queue.get()) is not None:
            batch = [first]
            while not self._queue.empty() and (following := self._queue.get()) is not None:
                batch.append(following)
            self._commit([payload for payload, _ in batch])
            batch[0][1].get_loop().call_soon_threadsafe(resolve, [answer for _, answer in batch])
        self._end()


def resolve(answers: Sequence[asyncio.Future[None]]) -> None:
    """Answer all of a flush."""
    for answer in answers:
        answer.set_result(None)


def segments(folder: Path) -> Appender:
    """The journal as it is."""
    return SegmentJournal.open(folder, JournalLimits(reserve_bytes=0))


def bare(folder: Path) -> Appender:
    """Nothing but the bytes and a flush: no lengths, no checksums, no way to read them again. The limit."""
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT)

    def commit(payloads: Sequence[bytes]) -> None:
        os.write(descriptor, b"".join(payloads))
        os.fdatasync(descriptor)

    return Grouped(commit, lambda: os.close(descriptor), lambda: None)


def sqlite(folder: Path) -> Appender:
    """WAL, synchronous=FULL, one transaction a flush, checkpoints as SQLite makes them."""
    connections: list[sqlite3.Connection] = []

    def start() -> None:
        connection = sqlite3.connect(folder / "journal.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE record (position INTEGER PRIMARY KEY, stamp INTEGER, payload BLOB)")
        connections.append(connection)

    def commit(payloads: Sequence[bytes]) -> None:
        stamp = time.monotonic_ns()
        connections[0].execute("BEGIN IMMEDIATE")
        connections[0].executemany("INSERT INTO record (stamp, payload) VALUES (?, ?)", ((stamp, p) for p in payloads))
        connections[0].execute("COMMIT")

    return Grouped(commit, lambda: connections[0].close(), start)


WAYS = {"segments": segments, "sqlite": sqlite, "bare": bare}


async def measure(
    way: Callable[[Path], Appender], folder: Path, payload: bytes, callers: int, seconds: float
) -> Figures:
    """Appends per second, CPU µs per append, p99 ms, bytes that went to the disk per byte of payload."""
    appender = way(folder)
    end = time.perf_counter() + seconds
    waits: list[float] = []

    async def call() -> None:
        while (began := time.perf_counter()) < end:
            await appender.append(payload)
            waits.append(time.perf_counter() - began)

    began, cpu, disk = time.perf_counter(), time.process_time(), written()
    await asyncio.gather(*(call() for _ in range(callers)))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    await appender.close()
    disk = written() - disk
    waits.sort()
    count = len(waits)
    return count / took, cpu / count * 1e6, waits[int(count * 0.99)] * 1e3, disk / (count * len(payload))


def written() -> int:
    """Bytes that this process has sent to a disk; 0 where the system does not count them."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def run(arguments: argparse.Namespace) -> None:
    """All ways in turn, round after round."""
    payload = os.urandom(arguments.bytes)
    runner = asyncio.run
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    if arguments.uvloop:
        import uvloop

        runner = uvloop.run
    print(f"{arguments.bytes} bytes a record, {arguments.rounds} rounds of {arguments.seconds} s, median of rounds")
    print(f"{'callers':>8} {'way':>10} {'appends/s':>12} {'to bare':>9} {'µs CPU':>8} {'p99 ms':>8} {'written':>8}")
    for callers in arguments.callers:
        results: dict[str, list[Figures]] = {name: [] for name in WAYS}
        for _ in range(arguments.rounds):
            for name, way in WAYS.items():
                with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                    results[name].append(runner(measure(way, Path(folder), payload, callers, arguments.seconds)))
        for name, figures in results.items():
            ratios = [mine[0] / limit[0] for mine, limit in zip(figures, results["bare"], strict=True)]
            rate, cpu, late, disk = (statistics.median(column) for column in zip(*figures, strict=True))
            ratio = statistics.median(ratios)
            print(f"{callers:>8} {name:>10} {rate:>12.0f} {ratio:>9.2f} {cpu:>8.1f} {late:>8.2f} {disk:>8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16, 128])
    parser.add_argument("--bytes", type=int, default=1200)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--core", type=int, default=None, help="stay on this core, as a worker with one core would")
    parser.add_argument("--uvloop", action="store_true")
    run(parser.parse_args())
