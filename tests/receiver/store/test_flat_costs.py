"""What is parked costs nothing: the work of the hot calls is counted, and every statement's plan is looked at."""

import sqlite3
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from hookline_receiver.event import RouteRef, SubscriptionRef
from hookline_receiver.store.port import Arrival, Claimed, EventFilter, Filter, Retention, Target, Walk
from hookline_receiver.store.sqlite import SqliteEventStore
from support.store import (
    ANALYTICS,
    HOUR,
    MINUTE,
    NOON,
    NOTIFY,
    SUBSCRIPTION,
    an_arrival,
    an_event,
    claim_all,
    connection_of,
    dead,
    delivered,
    equal_bodies,
    retry,
)

TOMORROW = NOON + 24 * HOUR
PARKED = 25_000
"""Deliveries of each kind: pending later, waiting, dead, paused; 100,000 in all."""
PAUSED = RouteRef(SUBSCRIPTION, "paused")
HELD = RouteRef(SUBSCRIPTION, "held")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteEventStore]:
    """A store with nothing parked."""
    store = SqliteEventStore(tmp_path_factory.mktemp("empty") / "store.db", same=equal_bodies)
    yield store
    store.close()


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteEventStore]:
    """A store in which so many deliveries of the same route and of others are parked."""
    store = SqliteEventStore(tmp_path_factory.mktemp("crowded") / "store.db", same=equal_bodies)
    for _ in range(PARKED // 1000):
        store.add([many(NOTIFY)], {}, NOON)
        assert store.retire([], 1000, NOON) == 1000
    store.pause([PAUSED], NOON)
    store.hold(HELD, TOMORROW)
    for _ in range(PARKED // 1000):
        store.add([many(NOTIFY), many(NOTIFY, "busy"), many(HELD), many(PAUSED)], {}, TOMORROW)
    yield store
    store.close()


def many(route: RouteRef, ordering_key: str | None = None) -> Arrival:
    """An event with 1,000 deliveries: the quickest way to park as many."""
    event = an_event(received_at=TOMORROW)
    return Arrival(event, [Target(route, ordering_key)] * 1000, "", event.received_at_ns)


def steps(store: SqliteEventStore, work: Callable[[], object]) -> int:
    """Instructions that SQLite's machine runs during *work*."""
    counter = count()
    connection = connection_of(store)
    connection.set_progress_handler(lambda: next(counter) and 0, 1)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 1)
    return next(counter)


def line(store: SqliteEventStore) -> dict[str, int]:
    """The steps of each hot call, over 32 events of the crowded route."""
    route_of = [NOTIFY, ANALYTICS]
    arrivals = [an_arrival(None, *route_of, ordering_key=f"k{number}", window=0) for number in range(32)]
    counted = {"add": steps(store, lambda: store.add(arrivals, {}, NOON))}
    claimed: list[Claimed] = []
    counted["claim"] = steps(store, lambda: claimed.extend(store.claim(NOTIFY, 16, 1 << 30, NOON, NOON + MINUTE)))
    assert len(claimed) == 16
    done = [retry(claimed[0], NOON), dead(claimed[1]), *[delivered(one) for one in claimed[2:]]]
    counted["settle"] = steps(store, lambda: store.settle(done, NOON))
    counted["due_routes"] = steps(store, lambda: store.due_routes(1))
    counted["expired"] = steps(store, lambda: store.expired(NOTIFY, HOUR, 100, NOON + MINUTE))
    counted["pending_bytes"] = steps(store, store.pending_bytes)
    counted["backlog"] = steps(store, lambda: store.backlog(Filter(route="notify")))
    counted["purge"] = steps(store, lambda: store.purge({}, Retention(2 * HOUR, 2 * HOUR), 10, NOON))
    counted["letters"] = steps(store, lambda: store.dead_letters(Filter(route="analytics"), 10))
    return counted


def test_what_is_parked_costs_nothing(empty: SqliteEventStore, crowded: SqliteEventStore) -> None:
    """A dead handler's backlog of a week must not slow down anybody, itself included."""
    parked = sum(one.pending + one.dead for one in crowded.backlog(Filter()))
    assert parked >= 4 * PARKED

    bare, full = line(empty), line(crowded)

    assert min(full[step] for step in ("add", "claim", "settle")) > 100
    # A handful of steps more: routes and subscriptions are looped over, of which the crowded store has a few.
    assert {step: full[step] - bare[step] for step in full if full[step] > bare[step] + 80} == {}


def test_no_statement_reads_through_a_table_that_grows(tmp_path: Path) -> None:
    """A forgotten index shows only when it is too late: so every statement of a store's life is asked for its plan."""
    store = SqliteEventStore(tmp_path / "store.db", same=equal_bodies)
    seen: set[str] = set()
    connection_of(store).set_trace_callback(seen.add)
    live_through_everything(store)
    connection_of(store).set_trace_callback(None)
    statements = {sql for sql in seen if sql.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE")}

    slow = {sql: plan for sql in statements if (plan := reads_all(connection_of(store), sql))}

    assert len(statements) > 40
    assert slow == {}
    store.close()


GROWING = ("events", "bodies", "identities", "deliveries", "attempts", "ended", "e", "b", "d", "i")
"""Tables that grow with events, and what statements call them."""


def reads_all(connection: sqlite3.Connection, sql: str) -> list[str]:
    """The parts of a statement's plan that read a whole table or sort."""
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    return [part for part in plan if part.split()[0] == "SCAN" and part.split()[1] in GROWING]


def live_through_everything(store: SqliteEventStore) -> None:
    """Call everything that is called all the time, with something to do."""
    other = SubscriptionRef("uid-2", "acme", "other")
    key = bytes(16)
    store.add(
        [an_arrival(None, NOTIFY, ANALYTICS, ordering_key="k", key=key, body=body) for body in (b"1", b"2")], {}, NOON
    )
    store.add([an_arrival(key=key, body=b"1"), an_arrival(window=0)], {}, NOON)
    store.add([an_arrival(an_event(subscription=other), RouteRef(other, "notify"))], {}, NOON)
    store.pause([ANALYTICS], NOON)
    store.pause([], NOON)
    store.hold(ANALYTICS, NOON)
    store.due_routes(10)
    claimed = claim_all(store)
    store.settle([dead(claimed[0]), *[delivered(one) for one in claimed[1:]]], NOON)
    store.settle([retry(one, NOON) for one in claim_all(store)], NOON)
    store.expired(ANALYTICS, HOUR, 10, NOON + 2 * HOUR)
    store.retire([NOTIFY, ANALYTICS], 10, NOON)
    store.redrive(Filter(), 1, NOON, dry_run=False, keep=[NOTIFY])
    store.redrive(Filter(ingest_ids=[key]), 1, NOON, dry_run=False, keep=[NOTIFY])
    store.dead_letters(Filter(), 10)
    store.story(key.hex())
    for walk in (Walk(10), Walk(10, newest_first=True)):
        store.find(EventFilter(), walk)
        store.find(EventFilter(ingest_ids=[key]), walk)
    targets = [Target(ANALYTICS, "k"), Target(HELD, None)]
    store.replay(EventFilter(), Walk(1), lambda event: Arrival(event, targets, "", 0), NOON, dry_run=False)
    store.erase(EventFilter(), Walk(1), lambda _: True, NOON, dry_run=False)
    store.erasures()
    store.backlog(Filter())
    store.pending_bytes()
    assert store.purge({}, Retention(0, 0), 10, NOON + 24 * HOUR) > 0


def test_attempts_that_are_no_longer_told_are_no_longer_there(tmp_path: Path) -> None:
    """A handler that is down for a week must not fill the disk."""
    store = SqliteEventStore(tmp_path / "store.db", same=equal_bodies)
    store.add([an_arrival()], {}, NOON)
    for _ in range(55):
        store.settle([retry(one, NOON) for one in claim_all(store)], NOON)

    rows = connection_of(store).execute("SELECT count(*), max(number) FROM attempts").fetchone()

    assert rows == (50, 55)
    store.close()
