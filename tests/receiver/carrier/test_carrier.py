"""From journals into the store: in order, once, and let go of only when it is safe."""

import random
from dataclasses import replace
from uuid import UUID

import pytest

from hookline_receiver.carrying.carrier import CarrierLimits
from hookline_receiver.event import SubscriptionRef
from hookline_receiver.record import encode
from hookline_receiver.store.port import StoreUnavailable
from support.carrier import Rig, stored_ids
from support.forwarder import a_book, a_route, a_subscription, an_event


async def test_records_of_all_workers_are_carried_in_the_order_of_their_acceptance() -> None:
    """Two messages of one conversation may be accepted by two workers; their order must survive that."""
    rig = Rig()
    workers = [rig.worker("a"), rig.worker("b"), rig.worker("c")]
    events = [an_event() for _ in range(30)]
    for number, event in enumerate(events):
        await rig.append(workers[number * 7 % 3], encode(event))

    rig.carry()

    assert stored_ids(rig.store) == [event.ingest_id for event in events]


async def test_nothing_is_carried_past_a_record_that_a_live_worker_has_not_finished() -> None:
    """The unfinished one was accepted earlier: it must not arrive behind what was accepted later."""
    rig = Rig()
    slow, quick = rig.worker("slow"), rig.worker("quick")
    first, second, third = an_event(), an_event(), an_event()
    await rig.append(quick, encode(first))
    slow.incomplete_from = rig.ticks.now + 1
    rig.ticks.now += 1
    await rig.append(quick, encode(third))

    rig.carry()
    assert stored_ids(rig.store) == [first.ingest_id]
    assert rig.counts.behind > 0

    slow._records.append((slow.incomplete_from, encode(second)))
    slow.incomplete_from = None
    rig.carry()
    assert stored_ids(rig.store) == [first.ingest_id, second.ingest_id, third.ingest_id]


async def test_it_says_up_to_which_stamp_everything_is_in_the_store() -> None:
    """Receivers stop counting by it what they took: said too early it counts for nothing, too late it counts twice."""
    rig = Rig(limits=CarrierLimits(batch_events=4))
    before = rig.worker("before", earlier_boot=True)
    workers = [rig.worker("a"), rig.worker("b")]
    rig.ticks.now = 1_000_000
    for _ in range(6):
        await rig.append(before, encode(an_event()))
    rig.ticks.now = 100
    stamps = {}
    for number in range(20):
        event = an_event()
        await rig.append(workers[number * 5 % 2], encode(event))
        stamps[event.ingest_id] = rig.ticks.now
    workers[0].incomplete_from = 118
    rig.ticks.now += 1

    more, said = True, [rig.carrier.carried_until]
    while more:
        more = rig.carrier.step().more
        said.append(rig.carrier.carried_until)
        stored = set(stored_ids(rig.store))
        assert stored.issuperset(one for one, stamp in stamps.items() if stamp < said[-1])
        assert said[-1] <= max([0, *(stamp for one, stamp in stamps.items() if one in stored)]) + 1

    assert said == sorted(said)
    assert said[0] == said[1] == 0
    assert said[-1] == 118
    assert len(set(said)) > 4


async def test_an_idle_worker_holds_nobody_up() -> None:
    """Most workers are idle most of the time, and write nothing then."""
    rig = Rig()
    rig.worker("idle")
    busy = rig.worker("busy")
    await rig.append(busy, encode(an_event()))

    rig.carry()

    assert len(rig.store.events) == 1


async def test_journals_of_an_earlier_boot_go_first() -> None:
    """Their stamps are of a clock that began anew: bigger numbers, earlier events."""
    rig = Rig()
    old_a, old_b = rig.worker("old-a", earlier_boot=True), rig.worker("old-b", earlier_boot=True)
    rig.ticks.now = 10**15
    old = [an_event() for _ in range(4)]
    for number, event in enumerate(old):
        await rig.append([old_a, old_b][number % 2], encode(event))
    await old_a.close()
    await old_b.close()
    rig.ticks.now = 5
    fresh, event = rig.worker("fresh"), an_event()
    await rig.append(fresh, encode(event))

    rig.carry()

    assert stored_ids(rig.store) == [*(one.ingest_id for one in old), event.ingest_id]


async def test_a_dead_workers_journal_is_removed_only_after_the_store_was_synced() -> None:
    """Commits of the store are not durable one by one: unlinked before, a power failure would lose the events."""
    rig = Rig()
    worker = rig.worker("gone")
    await rig.append(worker, encode(an_event()))
    await worker.close()

    rig.carry()
    assert not worker.removed or "sync" in rig.story
    rig.carry()
    rig.let_time_pass()
    rig.let_time_pass()

    assert worker.removed
    assert rig.story.index("sync") < rig.story.index("remove gone") < rig.story.index("forget gone")
    assert rig.store.positions() == {}


async def test_a_dead_workers_journal_stays_while_an_earlier_record_of_a_live_one_is_on_its_way() -> None:
    """Its last records would be carried out of order, or removed before they were carried."""
    rig = Rig()
    gone, live = rig.worker("gone"), rig.worker("live")
    live.incomplete_from = rig.ticks.now + 1
    rig.ticks.now += 1
    await rig.append(gone, encode(an_event()))
    await gone.close()

    for _ in range(3):
        rig.let_time_pass()
    assert (gone.removed, rig.store.events) == (False, [])

    live.incomplete_from = None
    for _ in range(3):
        rig.let_time_pass()
    assert gone.removed
    assert len(rig.store.events) == 1


async def test_segments_are_let_go_of_after_a_sync_and_not_for_each_batch() -> None:
    """A sync is a flush of the disk: one a second is enough, none before an unlink is too few."""
    rig = Rig(limits=CarrierLimits(batch_events=10))
    worker = rig.worker("a")
    rig.let_time_pass()
    for _ in range(100):
        await rig.append(worker, encode(an_event()))

    rig.carry()
    during = list(rig.story)
    rig.let_time_pass()

    assert during.count("sync") <= 1
    assert rig.story[-2:] == ["sync", "release a 100"]
    assert "sync" in rig.story[: rig.story.index("release a 100")]


async def test_batches_are_bounded_by_number_and_bytes() -> None:
    """A batch keeps the store's thread from claims, and its bodies are all in memory."""
    rig = Rig(limits=CarrierLimits(batch_events=10, batch_bytes=50_000))
    worker = rig.worker("a")
    for _ in range(25):
        await rig.append(worker, encode(an_event()))
    for _ in range(4):
        await rig.append(worker, encode(an_event(b"x" * 30_000)))

    rig.carry()

    assert sum(rig.store.batches) == 29
    assert rig.store.batches[:2] == [10, 10]
    assert max(rig.store.batches[3:]) <= 2


async def test_damage_is_counted_and_passed_once() -> None:
    """What is behind it was acknowledged too; and the same damage must not be reported every ten milliseconds."""
    rig = Rig()
    worker = rig.worker("a")
    before, after = an_event(), an_event()
    await rig.append(worker, encode(before))
    worker.damage()
    await rig.append(worker, encode(after))
    worker.damage()

    rig.carry()
    rig.carry()
    rig.carrier = rig.make_carrier()
    rig.carry()

    assert stored_ids(rig.store) == [before.ingest_id, after.ingest_id]
    assert rig.counts.damage == [1, 1]


async def test_a_record_that_cannot_be_read_is_kept_aside_and_blocks_nothing() -> None:
    """A bug or a newer release wrote it; a person may still make sense of it."""
    rig = Rig()
    worker = rig.worker("a")
    await rig.append(worker, b"\xff\xff not a record")
    event = an_event()
    await rig.append(worker, encode(event))

    rig.carry()

    assert stored_ids(rig.store) == [event.ingest_id]
    assert rig.aside.records == [("a", b"\xff\xff not a record")]
    assert rig.counts.unreadable_records == 1


class _Tripping:
    """A match with a mistake of ours in it."""

    def matches(self, facts: object, payload: object) -> bool:
        """Never answers."""
        raise ZeroDivisionError("text of the event")


async def test_an_event_that_trips_a_mistake_is_kept_unrouted_and_stops_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The carrier would meet it again after every restart, and nothing behind it would ever be delivered."""
    book = a_book(a_subscription(a_route()))
    [(uid, plan)] = book.subscriptions.items()
    tripping = replace(plan, routes=tuple(replace(route, match=_Tripping()) for route in plan.routes))
    rig = Rig(book=replace(book, subscriptions={uid: tripping}))
    worker = rig.worker("a")
    await rig.append(worker, encode(an_event()))

    rig.carry()

    assert [one.unrouted for one in rig.store.arrived] == ["InternalError: ZeroDivisionError"]
    assert "kept unrouted" in caplog.text
    assert "text of the event" not in caplog.text


async def test_without_a_route_table_nothing_is_carried() -> None:
    """Stored now, every event would be unrouted for ever, for want of a file that is a second late."""
    rig = Rig()
    book = rig.routes._book
    rig.routes._book = None
    worker = rig.worker("a")
    await rig.append(worker, encode(an_event()))

    rig.carry()
    assert rig.store.events == []

    rig.routes._book = book
    rig.carry()
    assert [len(one.targets) for one in rig.store.arrived] == [1]


async def test_before_a_subscription_counts_as_gone_a_newer_table_is_looked_for() -> None:
    """The receiver may have learned of a subscription a moment before the forwarder did."""
    rig = Rig()
    fresh = SubscriptionRef("uid-new", "acme", "new")
    rig.routes.newer = a_book(a_subscription(a_route()), a_subscription(a_route("fresh"), ref=fresh))
    worker = rig.worker("a")
    await rig.append(worker, encode(an_event(subscription=fresh)))

    rig.carry()

    assert [target.route.name for target in rig.store.arrived[0].targets] == ["fresh"]


async def test_an_event_without_subscription_is_kept_unrouted_and_counted() -> None:
    """Its sender got a 200."""
    rig = Rig()
    worker = rig.worker("a")
    await rig.append(worker, encode(an_event(subscription=SubscriptionRef("uid-gone", "acme", "gone"))))

    rig.carry()

    assert [one.unrouted for one in rig.store.arrived] == ["SubscriptionRemoved"]
    assert rig.counts.reasons == ["SubscriptionRemoved"]


async def test_while_the_store_is_unavailable_journals_are_kept() -> None:
    """A full volume must cost time, not events."""
    rig = Rig()
    worker = rig.worker("a")
    events = [an_event() for _ in range(3)]
    for event in events:
        await rig.append(worker, encode(event))
    rig.store.fail_before = 2
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            rig.carrier.step()
    assert rig.story == []

    rig.carry()

    assert stored_ids(rig.store) == [event.ingest_id for event in events]


async def test_whenever_the_carrier_dies_everything_is_carried_once_and_in_order() -> None:
    """Positions are committed with the events: neither a repetition nor a gap, whatever the moment of the crash."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(30):
        rig = Rig(limits=CarrierLimits(batch_events=chance.randint(1, 7)))
        workers = [rig.worker(f"w{number}") for number in range(3)]
        appended: list[bytes] = []
        for _ in range(120):
            match chance.randrange(6):
                case 0 | 1 | 2:
                    event = an_event()
                    await rig.append(chance.choice(workers), encode(event))
                    appended.append(event.ingest_id)
                case 3:
                    _step(rig, chance)
                case 4:
                    rig.carrier = rig.make_carrier()
                case _:
                    rig.let_time_pass(chance.random() * 3)
                    if chance.random() < 0.3:
                        number = chance.randrange(3)
                        await workers[number].close()
                        workers[number] = rig.worker(f"w{len(rig.journals.journals)}")
        # The first ends what was begun, the second finds what came since.
        rig.carry()
        rig.carry()
        assert stored_ids(rig.store) == appended


def _step(rig: Rig, chance: random.Random) -> None:
    """A step that may fail, or after which the carrier dies."""
    kind = chance.randrange(4)
    rig.store.fail_before, rig.store.die_after = int(kind == 1), int(kind == 2)
    rig.ticks.now += 1
    try:
        rig.carrier.step()
    except StoreUnavailable:
        pass
    except KeyboardInterrupt:
        rig.carrier = rig.make_carrier()
    rig.store.fail_before = rig.store.die_after = 0


async def test_a_record_that_comes_twice_is_stored_once() -> None:
    """A worker may write the same record to two segments when a flush fails; it is one acceptance."""
    rig = Rig()
    a, b = rig.worker("a"), rig.worker("b")
    event = an_event()
    await rig.append(a, encode(event))
    await rig.append(b, encode(event))

    rig.carry()

    assert len(rig.store.story(str(UUID(bytes=event.ingest_id)))) == 1
    assert rig.counts.stored == 1
