"""The SQLite engine beside the one in memory: whatever is done to both, nobody can tell them apart."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.journal.port import Position
from hookline_receiver.store.memory import MemoryEventStore
from hookline_receiver.store.port import (
    Arrival,
    Claimed,
    Dead,
    DeadReason,
    Delivered,
    EventFilter,
    EventStore,
    Filter,
    Retention,
    RetryAt,
    Settlement,
    State,
    Target,
    Walk,
)
from hookline_receiver.store.sqlite import SqliteEventStore
from support.store import HOUR, MINUTE, NOON, SECOND, SUBSCRIPTION, an_attempt, an_event, an_ingest_id

OTHER = SubscriptionRef("uid-other", "globex", "chat")
ROUTES = [RouteRef(SUBSCRIPTION, "notify"), RouteRef(SUBSCRIPTION, "analytics"), RouteRef(OTHER, "notify")]
KEYS = [b"", bytes(16), bytes(15) + b"\x01"]
DURATIONS = st.sampled_from([0, 1, SECOND, 10 * SECOND, MINUTE, 10 * MINUTE])
RESULTS = st.sampled_from(["delivered", "retry", "dead"])
LIMITS = st.sampled_from([1, 2, 100])
ROUTE = st.sampled_from(ROUTES)
SOME_ROUTES = st.lists(ROUTE, unique=True)


def same(first: bytes, later: bytes) -> bool:
    """Bodies agree but for their last byte, which stands for what changes in a retry."""
    return first[:-1] == later[:-1]


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """What an arrival is made of."""
    subscription = draw(st.sampled_from([SUBSCRIPTION, OTHER]))
    routes = [route for route in ROUTES if route.subscription == subscription]
    return {
        "number": draw(st.integers(1, 30)),
        "subscription": subscription,
        "targets": draw(st.lists(st.sampled_from(routes), unique=True)),
        "ordering_key": draw(st.sampled_from([None, "k", "l"])),
        "key": draw(st.sampled_from(KEYS)),
        "strong": draw(st.booleans()),
        "body": draw(st.sampled_from([b"", b"a1", b"a2", b"b1"])),
        "ago": draw(DURATIONS),
        "window": draw(DURATIONS),
    }


def arrival(plan: dict[str, Any], now: int) -> Arrival:
    """The arrival of this plan."""
    received_at = now - plan["ago"]
    event = an_event(
        plan["body"],
        ingest_id=an_ingest_id(plan["number"]),
        subscription=plan["subscription"],
        received_at=received_at,
        key=plan["key"],
        strong=plan["strong"],
        trigger=("message_sent", "group_created")[plan["number"] % 2],
    )
    targets = [Target(route, plan["ordering_key"]) for route in plan["targets"]]
    return Arrival(event, targets, "" if targets else "no route matches", received_at + plan["window"])


@st.composite
def filters(draw: st.DrawFn) -> EventFilter:
    """What events are asked for by; mostly little, so that something is found."""
    given = draw(st.sampled_from(["", "subscription", "route", "state", "unrouted", "time", "ids"]))
    return {
        "": EventFilter(),
        "subscription": EventFilter(namespace=draw(st.sampled_from(["acme", "globex"])), trigger="message_sent"),
        "route": EventFilter(route="notify", state=draw(st.sampled_from(["", "Pending", "Dead"]))),
        "state": EventFilter(state=draw(st.sampled_from(list(State))).value),
        "unrouted": EventFilter(unrouted=True),
        "time": EventFilter(since=NOON + draw(DURATIONS), until=NOON + MINUTE),
        "ids": EventFilter(ingest_ids=[an_ingest_id(draw(st.integers(1, 30))) for _ in range(2)]),
    }[given]


class Engines(RuleBasedStateMachine):
    """Does the same to both and compares what comes back, and after each step everything that can be asked."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model = MemoryEventStore(same=same)
        self.store = self.open()
        self.now = NOON
        self.ids: set[bytes] = set()

    def open(self) -> SqliteEventStore:
        return SqliteEventStore(self.folder / "store.db", same=same)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def both(self, work: Callable[[EventStore], Any]) -> Any:
        expected = work(self.model)
        assert work(self.store) == expected
        return expected

    @rule(by=DURATIONS)
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule()
    def the_clock_is_set_back(self) -> None:
        self.now -= SECOND

    @rule(batch=st.lists(plans(), min_size=1, max_size=4), segment=st.integers(1, 3), offset=st.integers(0, 9))
    def add(self, batch: list[dict[str, Any]], segment: int, offset: int) -> None:
        arrivals = [arrival(plan, self.now) for plan in batch]
        self.ids |= {one.event.ingest_id for one in arrivals}
        position = {"journal": Position(segment, offset)}
        self.both(lambda store: added(store.add(arrivals, position, self.now)))

    @rule(route=ROUTE, limit=LIMITS, max_bytes=st.sampled_from([1, 3, 100]), lease=DURATIONS, target=claims)
    def claim(self, route: RouteRef, limit: int, max_bytes: int, lease: int) -> Any:
        claimed = self.both(lambda store: list(store.claim(route, limit, max_bytes, self.now, self.now + lease)))
        return multiple(*claimed)

    @rule(route=ROUTE, result=RESULTS)
    def work_off(self, route: RouteRef, result: str) -> None:
        """Everything due, with one result: what most of a store's life is, and rarely comes about by single steps."""
        lease = self.now + MINUTE
        claimed = self.both(lambda store: list(store.claim(route, 100, 100, self.now, lease)))
        settlements = [
            Settlement(one.delivery_id, one.fence, self.become(result, SECOND), an_attempt()) for one in claimed
        ]
        self.both(lambda store: sorted(store.settle(settlements, self.now)))

    def become(self, result: str, delay: int) -> Delivered | RetryAt | Dead:
        results = {
            "delivered": Delivered(),
            "retry": RetryAt(self.now + delay),
            "dead": Dead(DeadReason.REJECTED, "no"),
        }
        return results[result]

    @rule(
        chosen=st.lists(claims, min_size=1, max_size=4, unique_by=lambda claim: claim.delivery_id),
        result=RESULTS,
        code=st.sampled_from(["", "answered", "unanswered"]),
        delay=DURATIONS,
    )
    def settle(self, chosen: list[Claimed], result: str, code: str, delay: int) -> None:
        attempt = an_attempt(code, answered=code == "answered", started_at=self.now) if code else None
        become = self.become(result, delay)
        settlements = [Settlement(claim.delivery_id, claim.fence, become, attempt) for claim in chosen]
        self.both(lambda store: sorted(store.settle(settlements, self.now)))

    @rule()
    def release_leases(self) -> None:
        self.both(lambda store: store.release_leases(self.now))

    @rule(routes=SOME_ROUTES)
    def pause(self, routes: list[RouteRef]) -> None:
        self.both(lambda store: store.pause(routes, self.now))

    @rule(route=ROUTE, by=DURATIONS)
    def hold(self, route: RouteRef, by: int) -> None:
        self.both(lambda store: store.hold(route, self.now + by))

    @rule(route=ROUTE, max_age=DURATIONS, limit=LIMITS)
    def expire(self, route: RouteRef, max_age: int, limit: int) -> None:
        self.both(lambda store: store.expired(route, max_age, limit, self.now))

    @rule(keep=SOME_ROUTES, limit=LIMITS)
    def retire(self, keep: list[RouteRef], limit: int) -> None:
        """To its end: in which order routes are retired is not promised."""
        self.both(lambda store: in_steps(limit, lambda: store.retire(keep, limit, self.now)))

    @rule(trigger=st.sampled_from(["", "message_sent"]), limit=LIMITS, keep=SOME_ROUTES, dry_run=st.booleans())
    def redrive(self, trigger: str, limit: int, keep: list[RouteRef], dry_run: bool) -> None:
        which = Filter(trigger=trigger)
        self.both(lambda store: store.redrive(which, limit, self.now, dry_run=dry_run, keep=keep))

    @rule(number=st.integers(1, 30), keep=SOME_ROUTES)
    def redrive_one(self, number: int, keep: list[RouteRef]) -> None:
        which = Filter(ingest_ids=[an_ingest_id(number), an_ingest_id(number + 1)])
        self.both(lambda store: store.redrive(which, 100, self.now, dry_run=False, keep=keep))

    @rule(which=filters(), limit=LIMITS, examined=LIMITS, newest_first=st.booleans())
    def find(self, which: EventFilter, limit: int, examined: int, newest_first: bool) -> None:
        """On its way to the end, step by step."""
        place = 0
        for _ in range(1000):
            walk = Walk(limit, examined, place, newest_first)
            found = self.both(lambda store, walk=walk: store.find(which, walk))  # type: ignore[misc]
            if not (place := found.next):
                return
        raise AssertionError("never done")

    @rule(
        which=filters(),
        limit=LIMITS,
        examined=LIMITS,
        routes=SOME_ROUTES,
        key=st.sampled_from([None, "k", "l"]),
        unrouted=st.sampled_from(["", "one failed"]),
        dry_run=st.booleans(),
    )
    def replay(
        self,
        which: EventFilter,
        limit: int,
        examined: int,
        routes: list[RouteRef],
        key: str | None,
        unrouted: str,
        dry_run: bool,
    ) -> None:
        def fan_out(event: Event) -> Arrival:
            targets = [Target(route, key) for route in routes if route.subscription == event.subscription]
            return Arrival(event, targets, unrouted, 0)

        self.both(lambda store: store.replay(which, Walk(limit, examined), fan_out, self.now, dry_run=dry_run))

    @rule(which=filters(), limit=LIMITS, body=st.sampled_from([None, b"a1"]), dry_run=st.booleans())
    def erase(self, which: EventFilter, limit: int, body: bytes | None, dry_run: bool) -> None:
        def holds(event: Event) -> bool:
            return event.body == body

        chosen = None if body is None else holds
        self.both(lambda store: store.erase(which, Walk(limit), chosen, self.now, dry_run=dry_run))

    @rule(delivered=DURATIONS, dead=DURATIONS, default=DURATIONS, limit=LIMITS)
    def purge(self, delivered: int, dead: int, default: int, limit: int) -> None:
        """To its end: in which order events are purged is not promised."""
        retention = {SUBSCRIPTION: Retention(delivered, dead)}
        rest = Retention(default, default)
        self.both(lambda store: in_steps(limit, lambda: store.purge(retention, rest, limit, self.now)))

    @rule()
    def purge_all(self) -> None:
        """Everything that has ended."""
        later = self.now + 2 * HOUR
        self.both(lambda store: in_steps(100, lambda: store.purge({}, Retention(0, 0), 100, later)))

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    @rule()
    def forget_journal(self) -> None:
        self.both(lambda store: store.forget_journal("journal"))

    @invariant()
    def nobody_can_tell_them_apart(self) -> None:
        self.both(lambda store: store.positions())
        self.both(lambda store: sorted(store.due_routes(100), key=repr))
        self.both(lambda store: store.pending_bytes())
        self.both(lambda store: list(store.dead_letters(Filter(), 100)))
        self.both(lambda store: store.find(EventFilter(), Walk(100)))
        self.both(lambda store: store.erasures())
        self.both(lambda store: sorted(store.backlog(Filter()), key=repr))
        for ident in [*(str(UUID(bytes=one)) for one in self.ids), *(key.hex() for key in KEYS)]:
            self.both(lambda store, ident=ident: list(store.story(ident)))  # type: ignore[misc]

    @invariant()
    def what_is_kept_ready_is_what_would_be_counted(self) -> None:
        """Sums and queues are kept beside the rows they stand for: they must never part."""
        connection = self.store._file.connection
        for question in (COUNTED_ROUTES, COUNTED_SUBSCRIPTIONS, COUNTED_ENDED):
            assert connection.execute(question).fetchall() == []


def added(result: Any) -> tuple[int, list[bytes], set[RouteRef]]:
    """An `Added` that can be compared."""
    return result.stored, list(result.duplicates), set(result.routes)


def in_steps(limit: int, work: Callable[[], int]) -> int:
    """Until nothing is left to do, never more than *limit* at once."""
    total = 0
    for _ in range(1000):
        done = work()
        assert done <= limit
        total += done
        if done == 0:
            return total
    raise AssertionError("never done")


COUNTED_ROUTES = """
    SELECT id FROM routes AS r WHERE (unended, dead, deliveries) IS NOT (
        SELECT count(*) FILTER (WHERE state <= 2), count(*) FILTER (WHERE state = 4), count(*)
        FROM deliveries WHERE route = r.id
    ) OR next_due IS NOT (SELECT min(due_at) FROM deliveries WHERE route = r.id AND state <= 1)
"""
COUNTED_SUBSCRIPTIONS = """
    SELECT id FROM subscriptions AS s WHERE (events, pending_bytes) IS NOT (
        SELECT count(*), coalesce(sum(size) FILTER (
            WHERE EXISTS (SELECT 1 FROM deliveries WHERE id / 1024 = sequence AND state <= 2)
        ), 0) FROM events WHERE subscription = s.id
    )
"""
COUNTED_ENDED = """
    SELECT sequence FROM events WHERE
        (SELECT count(*) FROM ended WHERE ended.sequence = events.sequence)
        <> NOT EXISTS (SELECT 1 FROM deliveries WHERE id / 1024 = events.sequence AND state <= 2)
    UNION SELECT sequence FROM ended WHERE sequence NOT IN (SELECT sequence FROM events)
    UNION SELECT sequence FROM identities WHERE sequence NOT IN (SELECT sequence FROM events)
    UNION SELECT sequence FROM bodies WHERE sequence NOT IN (SELECT sequence FROM events)
"""

Engines.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestEngines = Engines.TestCase
