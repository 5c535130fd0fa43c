"""Slow hashes, one at a time in a thread of their own, in an order that lets nobody keep others waiting."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass


class SlowHashesBusy(Exception):
    """Too many slow hashes wait already: to queue one more would answer nobody within the sender's patience."""


@dataclass(frozen=True, slots=True)
class _Job:
    key: bytes
    work: Callable[[], bool]
    done: asyncio.Future[bool]


class SlowHashes:
    """
    A bounded queue before one thread.

    One thread, since a hash takes tens of MiB and the core of somebody who is being answered. Lanes (one a path) take
    turns, so that a crowd on one path costs another path one hash of delay and not the crowd's. Equal keys in flight
    share one computation.
    """

    def __init__(self, max_waiting: int, max_waiting_per_lane: int) -> None:
        self._max_waiting = max_waiting
        self._max_waiting_per_lane = max_waiting_per_lane
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="slow-hash")
        self._lanes: OrderedDict[bytes, deque[_Job]] = OrderedDict()
        self._in_flight: dict[bytes, asyncio.Future[bool]] = {}
        self._pump: asyncio.Task[None] | None = None

    async def run(self, key: bytes, lane: bytes, work: Callable[[], bool]) -> bool:
        """What *work* returns, computed off the loop; SlowHashesBusy if the queue, or the lane's part of it, is full."""
        done = self._in_flight.get(key)
        if done is None:
            done = self._enqueue(key, lane, work)
        return await asyncio.shield(done)

    def close(self) -> None:
        """Give up what waits; a hash under way is finished in its thread."""
        if self._pump is not None:
            self._pump.cancel()
        for done in self._in_flight.values():
            done.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _enqueue(self, key: bytes, lane: bytes, work: Callable[[], bool]) -> asyncio.Future[bool]:
        jobs = self._lanes.get(lane)
        if len(self._in_flight) >= self._max_waiting or (jobs is not None and len(jobs) >= self._max_waiting_per_lane):
            raise SlowHashesBusy
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()
        done.add_done_callback(_consumed)
        self._in_flight[key] = done
        self._lanes.setdefault(lane, deque()).append(_Job(key, work, done))
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._work_off(), name="slow-hashes")
        return done

    async def _work_off(self) -> None:
        loop = asyncio.get_running_loop()
        while self._lanes:
            job = self._next()
            try:
                result = await loop.run_in_executor(self._executor, job.work)
            except Exception as exc:  # noqa: BLE001 - handed on to whoever waits
                _settle(job.done, exc)
            else:
                _settle(job.done, result)
            finally:
                self._in_flight.pop(job.key, None)

    def _next(self) -> _Job:
        lane, jobs = self._lanes.popitem(last=False)
        job = jobs.popleft()
        if jobs:
            self._lanes[lane] = jobs  # to the end: the others' turn first
        return job


def _settle(done: asyncio.Future[bool], result: bool | Exception) -> None:
    if done.done():
        return
    if isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)


def _consumed(done: asyncio.Future[bool]) -> None:
    """Nobody may be left to look at the outcome; asyncio complains of an exception that nobody has seen."""
    if not done.cancelled():
        done.exception()
