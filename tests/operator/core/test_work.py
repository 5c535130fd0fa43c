"""The work queue: each key once, fair, urgent ones first, failed ones after a while."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hookline_operator.work import Backoff, WorkQueue

Key = tuple[str, int]


class Clock:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_queue(clock: Callable[[], float] | None = None, chance: float = 0.5, **backoff: float) -> WorkQueue[Key]:
    return WorkQueue(lambda key: key[0], backoff=Backoff(**backoff), clock=clock or Clock(), chance=lambda: chance)


def test_a_key_added_often_is_handed_out_once() -> None:
    """A tenant that changes an object a hundred times a second costs one look at it."""
    queue = a_queue()

    for _ in range(100):
        queue.add([("acme", 1)])

    assert queue.take_now(10) == (("acme", 1),)
    assert queue.take_now(10) == ()


def test_a_key_added_while_it_is_worked_on_comes_again_afterwards() -> None:
    """The work may have read the object before it changed."""
    queue = a_queue()
    queue.add([("acme", 1)])
    queue.take_now()

    queue.add([("acme", 1)])

    assert queue.take_now() == ()
    queue.done(("acme", 1))
    assert queue.take_now() == (("acme", 1),)
    queue.done(("acme", 1))
    assert queue.take_now() == ()


def test_namespaces_take_turns() -> None:
    """Ten thousand keys of one tenant stand before one key of another only once."""
    queue = a_queue()
    queue.add([("loud", number) for number in range(10_000)])
    queue.add([("quiet", 1)])

    assert ("quiet", 1) in queue.take_now(2)


def test_urgent_keys_go_first_and_make_waiting_ones_urgent() -> None:
    """What takes access away must not wait behind what gives it."""
    queue = a_queue()
    queue.add([("a", 1), ("b", 1), ("c", 1)])
    queue.add([("c", 1)], urgent=True)

    assert queue.has_urgent()
    assert queue.take_now() == (("c", 1),)
    assert not queue.has_urgent()
    assert queue.take_now(9) == (("a", 1), ("b", 1))


def test_a_flood_of_urgent_keys_leaves_room_for_others() -> None:
    """Deleting is urgent and free to any tenant: it must not stop all other work."""
    queue = a_queue()
    queue.add([("loud", number) for number in range(1000)], urgent=True)
    queue.add([("quiet", 1)])

    assert ("quiet", 1) in queue.take_now(4)


def test_failures_wait_longer_each_time_up_to_the_limit() -> None:
    """What fails for good must not be tried ten times a second, nor never again."""
    clock = Clock()
    queue = a_queue(clock, chance=1 - 1e-9, first=1, most=5)
    queue.add([("acme", 1)])
    waited = []
    for _ in range(5):
        assert queue.take_now() == (("acme", 1),)
        waited.append(round(queue.failed(("acme", 1)), 3))
        clock.now += waited[-1] - 0.01
        assert queue.take_now() == ()
        clock.now += 0.02

    assert waited == [1, 2, 4, 5, 5]


def test_success_forgets_failures() -> None:
    """The next failure is a first one."""
    clock = Clock()
    queue = a_queue(clock, chance=1 - 1e-9, first=1)
    queue.add([("acme", 1)])
    queue.take_now()
    queue.failed(("acme", 1))
    clock.now += 2
    queue.take_now()
    queue.done(("acme", 1))
    queue.add([("acme", 1)])
    queue.take_now()

    assert queue.failed(("acme", 1)) == pytest.approx(1)


def test_what_fails_stays_urgent() -> None:
    """A revocation that could not be written is still one."""
    clock = Clock()
    queue = a_queue(clock)
    queue.add([("acme", 1)], urgent=True)
    queue.take_now()
    queue.failed(("acme", 1))
    queue.add([("b", 1)])
    clock.now += 60

    assert queue.take_now() == (("acme", 1),)


def test_a_change_ends_the_wait_of_what_failed() -> None:
    """It may be the very change that mends it."""
    queue = a_queue()
    queue.add([("acme", 1)])
    queue.take_now()
    queue.failed(("acme", 1))

    queue.add([("acme", 1)])

    assert queue.take_now() == (("acme", 1),)


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_a_delay_is_spread_within_its_bound(failures: int, chance: float) -> None:
    """Many that failed together must not come back together; no number of failures is too many."""
    backoff = Backoff(first=0.5, most=60)

    bound = min(60, 0.5 * 2.0 ** min(failures - 1, 60))

    assert bound / 10 <= backoff.delay(failures, chance) <= bound


async def test_take_waits_until_there_is_something() -> None:
    """A lane without work sleeps; it does not look again and again."""
    queue: WorkQueue[Key] = WorkQueue(lambda key: key[0])
    taking = asyncio.create_task(queue.take(5))
    await asyncio.sleep(0)

    queue.add([("acme", 1)])

    assert await asyncio.wait_for(taking, 5) == (("acme", 1),)


async def test_take_wakes_for_what_was_put_off() -> None:
    """Nobody adds the key a second time."""
    queue: WorkQueue[Key] = WorkQueue(lambda key: key[0], backoff=Backoff(first=0.05, most=0.05))
    queue.add([("acme", 1)])
    await queue.take()
    queue.failed(("acme", 1))

    assert await asyncio.wait_for(queue.take(), 5) == (("acme", 1),)


def test_the_age_is_that_of_the_one_that_waits_longest() -> None:
    """What makes a metric of being late."""
    clock = Clock()
    queue = a_queue(clock)
    assert queue.oldest_age() == 0
    queue.add([("acme", 1)])
    clock.now += 7
    queue.add([("acme", 2)], urgent=True)

    assert queue.oldest_age() == 7


class AnyOrder(RuleBasedStateMachine):
    """Whatever is done in whatever order: no key twice at once, none lost, none handed out that nobody wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue = a_queue(self.clock, first=1, most=8)
        self.working: set[Key] = set()
        self.wanted: set[Key] = set()
        """To be handed out at some time."""

    @rule(
        keys=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=5),
        urgent=st.booleans(),
        after=st.sampled_from([0.0, 0.0, 3.0]),
    )
    def add(self, keys: list[Key], urgent: bool, after: float) -> None:
        self.queue.add(keys, urgent=urgent, after=after)
        self.wanted |= set(keys)

    @rule(most=st.integers(1, 4))
    def take(self, most: int) -> None:
        taken = self.queue.take_now(most)
        assert len(taken) <= most
        assert max(Counter(taken).values(), default=1) == 1
        assert not self.working & set(taken)
        assert set(taken) <= self.wanted
        self.working |= set(taken)
        self.wanted -= set(taken)

    @precondition(lambda self: self.working)
    @rule(which=st.integers(0, 100), well=st.booleans())
    def finish(self, which: int, well: bool) -> None:
        key = sorted(self.working)[which % len(self.working)]
        self.working.discard(key)
        if well:
            self.queue.done(key)
        else:
            self.queue.failed(key)
            self.wanted.add(key)

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def counts_agree(self) -> None:
        assert self.queue.working == len(self.working)
        assert self.queue.oldest_age() >= 0

    def teardown(self) -> None:
        for key in sorted(self.working):
            self.queue.done(key)
        self.clock.now += 1000
        assert set(self.queue.take_now(100)) == self.wanted


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
