"""Many events in one transaction, and one bad event among them."""

import asyncio
import threading

import pytest

from analytics.together import Together


class Work:
    """Notes its calls; can be held, and fails on "bad"."""

    def __init__(self):
        self.calls = []
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, items):
        self.may_go.wait(10)
        self.calls.append(list(items))
        if "bad" in items:
            raise ValueError("bad")


async def test_what_arrives_during_a_call_goes_into_the_next_together():
    """A hundred events cost two flushes of the disk, not a hundred."""
    work = Work()
    together = Together(work)
    work.may_go.clear()
    first = asyncio.create_task(together.give("0"))
    await asyncio.sleep(0)
    rest = [asyncio.create_task(together.give(str(number))) for number in range(1, 100)]
    await asyncio.sleep(0)
    work.may_go.set()

    await asyncio.gather(first, *rest)

    assert work.calls == [["0"], [str(number) for number in range(1, 100)]]


async def test_a_call_takes_no_more_than_the_limit():
    """One transaction must not hold the file for seconds."""
    work = Work()
    together = Together(work, limit=10)

    await asyncio.gather(*(together.give(str(number)) for number in range(25)))

    assert [len(call) for call in work.calls] == [10, 10, 5]


async def test_one_bad_item_fails_alone():
    """Or it would take 499 good ones along, again and again."""
    together = Together(Work())

    results = await asyncio.gather(*(together.give(item) for item in ("a", "bad", "b")), return_exceptions=True)

    assert results[0] is results[2] is None
    assert isinstance(results[1], ValueError)


async def test_who_gives_up_waiting_disturbs_nobody():
    """A call that the gateway cancelled."""
    work = Work()
    together = Together(work)
    work.may_go.clear()
    patient, gone = (asyncio.create_task(together.give(item)) for item in ("a", "b"))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    work.may_go.set()

    await patient
    await together.give("c")

    assert [item for call in work.calls for item in call] == ["a", "b", "c"]
