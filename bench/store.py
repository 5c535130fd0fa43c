"""
What the event store (engine `sqlite`) costs per event: add, claim, settle, beside bare inserts of the same bytes.

One run, all figures interleaved in rounds, medians of the rounds. Per event, so divide a million by their sum for events/s
of one core. With backlog: so many deliveries of the same route are parked meanwhile, due tomorrow; the columns should not
differ.

    python bench/store.py [--events 4000] [--batch 128] [--body 1200] [--backlog 0 10000 100000]
"""

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import count
from pathlib import Path
from uuid import UUID

from hookline_receiver.event import Envelope, Event, Identity, RouteRef, SubscriptionRef
from hookline_receiver.journal.port import Position
from hookline_receiver.store.port import Arrival, Attempt, Claimed, Delivered, RetryAt, Settlement, Target
from hookline_receiver.store.sqlite import SqliteEventStore

SUBSCRIPTION = SubscriptionRef("7d6b0a52-0a0f-4a44-9d5e-1f2f6f1e7a11", "acme", "chat")
ROUTE = RouteRef(SUBSCRIPTION, "notify")
SECOND = 1_000_000_000
STEPS = ("bare inserts", "add", "claim", "settle", "sync")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure."""

    events: int
    batch: int
    body: int
    rounds: int
    ordered: bool


@dataclass(slots=True)
class Lane:
    """One store with its backlog, and what was measured on it."""

    backlog: int
    store: SqliteEventStore
    bare: sqlite3.Connection
    carried: int = 0
    figures: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})

    def next_position(self) -> dict[str, Position]:
        """The carrier's, which is stored with each batch."""
        self.carried += 1
        return {"journal": Position(1, self.carried)}

    def measure(self, step: str, events: int, work: Callable[[], object]) -> None:
        """Time *work*, which concerns so many events."""
        began = time.perf_counter()
        work()
        self.figures[step].append((time.perf_counter() - began) / events * 1e6)


class Sender:
    """Makes arrivals that look like a busy subscription's."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._numbers = count(1)

    def batch(self, size: int) -> list[Arrival]:
        """So many new ones."""
        return [self._one(next(self._numbers)) for _ in range(size)]

    def _one(self, number: int) -> Arrival:
        now = time.time_ns()
        ingest_id = UUID(int=((now // 1_000_000) << 80) | (7 << 76) | (2 << 62) | number).bytes
        conversation = f"group_{number % 200}"
        identity = Identity(blake2b(ingest_id, digest_size=16).digest(), True, conversation, f"message/{number}", 0)
        body = (b'{"trigger":"message_sent","data":{"message":{"id":"%d","text":"' % number).ljust(
            self._plan.body, b"x"
        )
        envelope = Envelope("message_sent", "message", "26753af2c0d24b10", "group")
        event = Event(ingest_id, SUBSCRIPTION, now, body, envelope, identity, "")
        targets = [Target(ROUTE, conversation if self._plan.ordered else None)]
        return Arrival(event, targets, "", now + 3600 * SECOND)


def lane(folder: Path, backlog: int, sender: Sender) -> Lane:
    """A store with so many deliveries parked, and a bare table beside it."""
    folder.mkdir()
    store = SqliteEventStore(folder / "store.db", same=bytes.__eq__)
    for start in range(0, backlog, 1000):
        now = time.time_ns()
        store.add(sender.batch(min(1000, backlog - start)), {}, now)
        claimed = store.claim(ROUTE, 1000, 1 << 40, now, now + SECOND)
        parked = [Settlement(one.delivery_id, one.fence, RetryAt(now + 86400 * SECOND), None) for one in claimed]
        store.settle(parked, now)
    store.sync()
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    for statement in ("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL"):
        bare.execute(statement).fetchall()
    bare.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, ingest_id BLOB, body BLOB)")
    return Lane(backlog, store, bare)


def play(one: Lane, plan: Plan, sender: Sender) -> None:
    """One round: a stretch of batches through the store."""
    for _ in range(0, plan.events, plan.batch):
        arrivals = sender.batch(plan.batch)
        one.measure("bare inserts", plan.batch, partial(insert, one.bare, arrivals))
        one.measure("add", plan.batch, partial(one.store.add, arrivals, one.next_position(), time.time_ns()))
    while claimed := claim(one, plan):
        one.measure("settle", len(claimed), partial(one.store.settle, taken(claimed), time.time_ns()))
    one.measure("sync", plan.events, one.store.sync)


def taken(claimed: list[Claimed]) -> list[Settlement]:
    """The handler took all of them, each with the record of its attempt."""
    now = time.time_ns()
    attempt = Attempt(now, now, "Accepted", "", "10.0.0.7:9000", True)
    return [Settlement(one.delivery_id, one.fence, Delivered(), attempt) for one in claimed]


def claim(one: Lane, plan: Plan) -> list[Claimed]:
    """Claim a batch; a claim of nothing is not counted."""
    now = time.time_ns()
    began = time.perf_counter()
    claimed = list(one.store.claim(ROUTE, plan.batch, 1 << 30, now, now + 60 * SECOND))
    if claimed:
        one.figures["claim"].append((time.perf_counter() - began) / len(claimed) * 1e6)
    return claimed


def insert(bare: sqlite3.Connection, arrivals: list[Arrival]) -> None:
    """What SQLite costs without us: one table, one statement, one transaction."""
    bare.execute("BEGIN IMMEDIATE")
    rows = [(arrival.event.ingest_id, arrival.event.body) for arrival in arrivals]
    bare.executemany("INSERT INTO bare (ingest_id, body) VALUES (?, ?)", rows)
    bare.execute("COMMIT")


def report(lanes: list[Lane]) -> None:
    """A table: a step a line, a backlog a column."""
    print(f"{'µs per event':<16}" + "".join(f"{f'backlog {one.backlog:,}':>18}" for one in lanes))
    for step in STEPS:
        print(f"{step:<16}" + "".join(f"{statistics.median(one.figures[step]):>18.1f}" for one in lanes))
    sums = [sum(statistics.median(one.figures[step]) for step in STEPS[1:]) for one in lanes]
    print(f"{'the store':<16}" + "".join(f"{total:>18.1f}" for total in sums))
    print(f"{'events/s':<16}" + "".join(f"{1e6 / total:>18,.0f}" for total in sums))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2000, help="events a round")
    parser.add_argument("--batch", type=int, default=128, help="events a transaction")
    parser.add_argument("--body", type=int, default=1200, help="bytes of a body")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backlog", type=int, nargs="+", default=[0, 10_000, 100_000])
    parser.add_argument("--ordered", action="store_true", help="an ordering key a conversation, 200 of them")
    parser.add_argument("--folder", type=Path, default=None, help="on which disk")
    options = parser.parse_args()
    plan = Plan(options.events, options.batch, options.body, options.rounds, options.ordered)
    sender = Sender(plan)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        lanes = [lane(Path(folder) / str(backlog), backlog, sender) for backlog in options.backlog]
        for _ in range(plan.rounds):
            for one in lanes:
                play(one, plan, sender)
        report(lanes)
        for one in lanes:
            one.store.close()
            one.bare.close()
    print(
        f"{plan.events * plan.rounds} events, batches of {plan.batch}, bodies of {plan.body} bytes, SQLite "
        f"{sqlite3.sqlite_version}, {os.cpu_count()} CPUs"
    )


if __name__ == "__main__":
    main()
