"""Waiting with an end."""

import asyncio
import time

import pytest

from hookline_receiver.patience import Patience


def impatient(seconds: float = 0.05) -> Patience:
    return Patience(seconds, time.monotonic)


async def test_what_comes_in_time_is_given() -> None:
    """And leaves nothing behind."""
    patience = impatient(5)

    async def soon() -> int:
        await asyncio.sleep(0)
        return 7

    assert [await patience.wait(soon()) for _ in range(3)] == [7, 7, 7]
    assert patience._due == {}


async def test_what_does_not_come_ends() -> None:
    """Each wait by its own beginning."""
    patience = impatient(0.2)
    began = time.monotonic()

    async def one(delay: float) -> float:
        await asyncio.sleep(delay)
        with pytest.raises(TimeoutError):
            await patience.wait(asyncio.Event().wait())
        return time.monotonic() - began - delay

    waits = await asyncio.gather(*(one(n * 0.05) for n in range(5)))

    assert all(0.19 < wait < 1 for wait in waits), waits


async def test_the_task_goes_on_after_it() -> None:
    """The end of the wait is not the end of the request: it must be answered."""
    patience = impatient()
    with pytest.raises(TimeoutError):
        await patience.wait(asyncio.Event().wait())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_who_is_cancelled_by_another_is_cancelled() -> None:
    """A connection that is lost must not look like a slow disk."""
    patience = impatient(5)
    task = asyncio.create_task(patience.wait(asyncio.Event().wait()))
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_failures_are_handed_on() -> None:
    """As they are."""

    async def broken() -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        await impatient().wait(broken())


async def test_the_timer_rests_while_nobody_waits() -> None:
    """An idle receiver does not wake up for nothing."""
    patience = impatient(5)
    await patience.wait(asyncio.sleep(0))
    deadline = time.monotonic() + 5
    while patience._timer is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
