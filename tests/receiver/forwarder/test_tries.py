"""Batches that fail are taken apart until the event at fault is alone."""

from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.forwarder.tries import Tries
from hookline_receiver.store.port import Claimed
from support.forwarder import a_claim

EVENT = a_claim()


def claims(ids: list[int]) -> list[Claimed]:
    """Deliveries with these ids."""
    return [a_claim(EVENT.event, delivery_id=each) for each in ids]


@given(st.integers(2, 64), st.data())
def test_one_poison_event_is_alone_after_as_many_rounds_as_halvings(size: int, data: st.DataObject) -> None:
    """Innocent events must get through, and the guilty one must not take new ones with it."""
    poison = data.draw(st.integers(1, size))
    tries, waiting, delivered, rounds = Tries(), list(range(1, size + 1)), set[int](), 0
    while len(waiting) > 1:
        rounds += 1
        calls = [[one.delivery_id for one in call] for call in tries.arrange(claims(waiting))]
        for call in calls:
            if poison in call:
                tries.failed(call, split=len(call) > 1)
            else:
                tries.forget(call)
                delivered |= set(call)
        waiting = [each for each in waiting if each not in delivered]

    assert waiting == [poison]
    assert rounds <= (size - 1).bit_length() + 1
    newcomers = tries.arrange(claims([poison, size + 1, size + 2]))
    assert [[one.delivery_id for one in call] for call in newcomers] == [[poison], [size + 1, size + 2]]


def test_failures_in_a_row_are_counted_until_an_answer() -> None:
    """The backoff grows by them."""
    tries = Tries()
    for _ in range(3):
        tries.failed([1, 2], split=False)

    tries.forget([2])

    assert (tries.failures(1), tries.failures(2), tries.failures(3)) == (3, 0, 0)


def test_a_call_that_was_not_the_events_fault_keeps_the_groups() -> None:
    """A poison event found yesterday stays alone through an outage of its handler."""
    tries = Tries()
    tries.failed([1, 2], split=True)

    tries.failed([1], split=False)

    assert [len(call) for call in tries.arrange(claims([1, 2, 3]))] == [1, 1, 1]


def test_its_memory_is_bounded() -> None:
    """A million failing deliveries must not fill the forwarder."""
    tries = Tries(limit=10)

    for each in range(100):
        tries.failed([each], split=False)

    assert len(tries) == 10
    assert (tries.failures(99), tries.failures(0)) == (1, 0)
