"""What the store needs now and then, and what receivers are told of it."""

from pathlib import Path

import pytest

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.carrying.routebook import RouteBook
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import SubscriptionRef
from hookline_receiver.forwarder.breaker import BreakerState
from hookline_receiver.forwarder.metrics import Metrics
from hookline_receiver.forwarder.share import Share, ShareFile
from hookline_receiver.forwarder.upkeep import Upkeep, UpkeepLimits
from hookline_receiver.store.memory import MemoryEventStore
from hookline_receiver.store.port import Filter
from support.forwarder import CHAT, SECOND, a_book, a_route, a_subscription, an_event
from support.loop import NOON, LoopRig, settle


class Rig(LoopRig):
    """A loop's rig, with upkeep."""

    def __init__(self, book: RouteBook, **limits: int) -> None:
        super().__init__(book)
        self.healthy = True
        self.elapsed = 0
        self.upkeep = Upkeep(
            lambda: self.book, lambda: self.healthy, self.clock.now, UpkeepLimits(**limits), lambda: self.elapsed
        )

    def reasons(self) -> list[str]:
        """Why what is dead died."""
        return [letter.reason for letter in self.store.dead_letters(Filter(), 1000)]


async def test_deliveries_die_of_age_even_if_nobody_calls_their_handler() -> None:
    """A dead handler's breaker holds its route: nothing of it is claimed, and `maxAge` still holds."""
    rig = Rig(a_book(a_subscription(a_route("a", max_age=60), a_route("b", max_age=600))))
    rig.add(an_event(), an_event())

    rig.clock.time += 59 * SECOND
    assert rig.upkeep.round(rig.store).ended == 0
    rig.clock.time += 2 * SECOND
    assert rig.upkeep.round(rig.store).ended == 2
    assert rig.reasons() == ["Expired"] * 2


async def test_a_route_that_goes_away_leaves_dead_letters() -> None:
    """Nothing vanishes: a person can see what was not delivered."""
    rig = Rig(a_book(a_subscription(a_route("a"), a_route("b"))))
    rig.add(an_event())
    rig.upkeep.round(rig.store)
    assert rig.reasons() == []

    rig.book = a_book(a_subscription(a_route("b")))
    rig.upkeep.round(rig.store)

    assert rig.reasons() == ["RouteRemoved"]


async def test_a_table_that_can_not_be_read_retires_nothing() -> None:
    """A half-written or missing file must not kill every tenant's backlog."""
    rig = Rig(a_book(a_subscription(a_route("a"))))
    rig.add(an_event())
    rig.book = a_book()
    rig.healthy = False

    rig.upkeep.round(rig.store)

    assert rig.reasons() == []


async def test_the_age_of_a_paused_route_stands_still() -> None:
    """A tenant who pauses over a weekend must not come back to dead letters."""
    rig = Rig(a_book(a_subscription(a_route(paused=True, max_age=60))))
    event = an_event()
    rig.upkeep.round(rig.store)
    rig.add(event)
    rig.clock.time += 3600 * SECOND
    rig.upkeep.round(rig.store)

    rig.book = a_book(a_subscription(a_route(max_age=60)))
    found = rig.upkeep.round(rig.store)
    assert found.released
    async with rig.running():
        await settle()
        assert rig.states([event]) == ["Delivered"]


async def test_what_was_delivered_is_kept_as_long_as_the_subscription_says() -> None:
    """And not for ever: the volume is finite. It counts from when no duplicate of it can come any more."""
    rig = Rig(a_book(a_subscription(a_route(), keep=600, window=60)))
    event = an_event()
    async with rig.running():
        rig.add(event)
        await settle()
    rig.clock.time += 650 * SECOND
    rig.upkeep.round(rig.store)
    assert rig.states([event]) == ["Delivered"]

    rig.clock.time += 20 * SECOND
    rig.upkeep.round(rig.store)

    assert rig.states([event]) == []


async def test_a_round_ends_when_its_time_is_over_and_the_next_goes_on() -> None:
    """Claims wait for the same thread: ten thousand routes are not looked through at once."""
    routes = [a_route(f"r{number}", max_age=60) for number in range(10)]
    rig = Rig(a_book(a_subscription(*routes)), budget=3)
    rig.add(an_event())
    rig.clock.time += 61 * SECOND

    class Ticking:
        def __call__(self) -> int:
            rig.elapsed += 1
            return rig.elapsed

    rig.upkeep = Upkeep(lambda: rig.book, lambda: True, rig.clock.now, UpkeepLimits(budget=3), Ticking())
    rounds = [rig.upkeep.round(rig.store).ended for _ in range(10)]

    assert sum(rounds) == 10
    assert max(rounds) <= 3


def test_receivers_are_told_what_waits(tmp_path: Path) -> None:
    """That is what a tenant's share of the storage is measured by."""
    path = tmp_path / "share" / "pending.binpb"
    share = ShareFile(path)
    other = SubscriptionRef("uid-other", "acme", "other")

    share.write({CHAT: 700, other: 0}, 5, anew=False)

    table = routing.PendingTable.FromString(path.read_bytes())
    assert (table.format, table.carried_until) == (1, 5)
    assert [(one.uid, one.bytes) for one in table.subscriptions] == [("uid-chat", 700)]


def test_the_table_is_written_again_after_something_was_carried(tmp_path: Path) -> None:
    """Receivers add what they took since the last table: without a new one, what was delivered would count for ever."""
    path = tmp_path / "pending.binpb"
    share = Share(ShareFile(path))
    store = MemoryEventStore(same=same_event)

    def told(carried_until: int) -> int:
        share.look(store, carried_until)
        share.tell()
        return routing.PendingTable.FromString(path.read_bytes()).carried_until

    assert [told(1), told(2)] == [1, 1]
    share.carried += 1
    assert [told(3), told(4)] == [3, 3]


def test_a_table_that_could_not_be_written_is_written_the_next_time(tmp_path: Path) -> None:
    """A full disk must not leave receivers with sums of long ago."""
    (tmp_path / "share").write_text("in the way")
    path = tmp_path / "share" / "pending.binpb"
    share = Share(ShareFile(path))
    store = MemoryEventStore(same=same_event)
    share.carried += 1
    share.look(store, 7)
    with pytest.raises(OSError, match="share"):
        share.tell()

    (tmp_path / "share").unlink()
    share.look(store, 8)
    share.tell()

    assert routing.PendingTable.FromString(path.read_bytes()).carried_until == 8


@pytest.mark.parametrize(("took", "pause"), [(0.0001, 0.2), (0.01, 0.5), (3.0, 1.0)], ids=["small", "large", "slow"])
def test_tables_that_take_long_are_written_rarely(tmp_path: Path, took: float, pause: float) -> None:
    """Ten thousand subscriptions must not keep the forwarder busy with writing down what waits."""
    clock = iter([0.0, took / 2, 10.0, 10.0 + took / 2])
    share = Share(ShareFile(tmp_path / "pending.binpb"), lambda: next(clock))

    share.look(MemoryEventStore(same=same_event), 0)

    assert share.tell() == pytest.approx(pause)


async def test_metrics_do_not_grow_with_the_number_of_subscriptions() -> None:
    """Ten thousand tenants must not cost ten thousand time series each; the worst are named, all are counted."""
    subscriptions = [SubscriptionRef(f"uid-{number}", "acme", f"s{number}") for number in range(50)]
    rig = Rig(a_book(*(a_subscription(a_route(), ref=ref) for ref in subscriptions)))
    metrics = Metrics(routes=5)
    for ref in subscriptions:
        rig.add(an_event(subscription=ref))
        rig.clock.time += SECOND
    for _ in range(3):
        metrics.backlog(rig.store.backlog(Filter()), rig.clock.time)
    metrics.breakers({BreakerState.OPEN: 2, BreakerState.HALF_OPEN: 0})

    page = metrics.page().decode()

    assert "hookline_forwarder_pending_deliveries 50.0" in page
    assert "hookline_forwarder_oldest_pending_seconds 50.0" in page
    assert page.count("hookline_forwarder_route_pending_deliveries{") == 5
    assert (
        'hookline_forwarder_route_oldest_pending_seconds{namespace="acme",route="notify",subscription="s0"} 50.0'
        in page
    )
    assert 'hookline_forwarder_breakers{state="Open"} 2.0' in page
    assert rig.clock.time > NOON
