"""Token buckets: the arithmetic, and shared between workers."""

import math
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.limits.buckets import SLOTS, Buckets
from hookline_receiver.limits.rate import Allowed, Limited, RateLimit, take

SECOND = 1_000_000_000


def allowed(limit: RateLimit, moments: list[int]) -> list[int]:
    """Which of the requests at *moments* get a token."""
    full_at, passed = 0, []
    for now in moments:
        match take(limit, full_at, now):
            case Allowed(full_at):
                passed.append(now)
    return passed


def test_a_burst_passes_and_then_the_rate() -> None:
    """As the manifest says: 10 a second, 5 at once."""
    moments = [SECOND] * 8 + [SECOND + n * SECOND // 10 for n in range(1, 4)]

    assert allowed(RateLimit(10, 5), moments) == [SECOND] * 5 + moments[8:]


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.integers(0, 2 * SECOND), max_size=200),
)
def test_no_window_holds_more_than_burst_and_rate(rate: float, burst: int, gaps: list[int]) -> None:
    """What a token bucket promises, for every stretch of time."""
    moments = [SECOND]
    for gap in gaps:
        moments.append(moments[-1] + gap)

    passed = allowed(RateLimit(rate, burst), moments)

    for first in range(0, len(passed), 7):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + rate * (passed[last] - passed[first]) / SECOND + 0.001 + 1e-6


@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 50), now=st.integers(0, 10**18))
def test_who_waits_as_told_is_let_in(rate: float, burst: int, now: int) -> None:
    """Retry-After is a promise."""
    full_at = 0
    for _ in range(burst):
        match take(RateLimit(rate, burst), full_at, now):
            case Allowed(full_at):
                pass
    refused = take(RateLimit(rate, burst), full_at, now)

    assert isinstance(refused, Limited)
    assert isinstance(take(RateLimit(rate, burst), full_at, now + math.ceil(refused.wait * 1e9)), Allowed)


def test_a_bucket_of_another_clock_is_empty_and_no_worse() -> None:
    """After a restart of the machine, or with a lower limit, nobody waits for a day."""
    refused = take(RateLimit(10, 5), 10**18, SECOND)

    assert isinstance(refused, Limited)
    assert refused.wait == pytest.approx(0.1)


def test_a_rate_of_nothing_lets_nothing_through() -> None:
    """No division by zero."""
    assert isinstance(take(RateLimit(0, 5), 0, SECOND), Limited)


def test_retries_cost_nothing() -> None:
    """A refused request takes no token: hammering does not prolong the wait."""
    waits = [take(RateLimit(1, 1), 2 * SECOND, SECOND) for _ in range(3)]

    assert all(one == other for one, other in pairwise(waits))


class Moment:
    """A clock that stands still."""

    now = SECOND

    def __call__(self) -> int:
        return self.now


def test_subscriptions_have_buckets_of_their_own(tmp_path: Path) -> None:
    """One tenant's burst is not another's."""
    buckets = Buckets(tmp_path / "rates", Moment())
    limit = RateLimit(1, 1)

    assert [buckets.take(uid, limit) > 0 for uid in ("a", "b", "a", "b", "c")] == [False, False, True, True, False]
    buckets.close()


def test_workers_hold_a_limit_together(tmp_path: Path) -> None:
    """A limit divided by the workers would refuse a sender whose connections all belong to one of them."""
    file = tmp_path / "rates"

    workers = [subprocess.Popen([sys.executable, "-c", TAKE_MANY, str(file)], stdout=subprocess.PIPE) for _ in range(3)]
    passed = [int(worker.communicate(timeout=30)[0]) for worker in workers]

    assert sum(passed) == 500
    one = Buckets(file, Moment())
    assert one.take("uid", RateLimit(0.001, 500)) > 0
    one.close()


TAKE_MANY = """
import sys
from pathlib import Path
from hookline_receiver.limits.buckets import Buckets
from hookline_receiver.limits.rate import RateLimit

# A busy machine may take the processor away from a worker in the middle of a decision, for longer than a receiver waits.
buckets = Buckets(Path(sys.argv[1]), lambda: 1_000_000_000, patience=30)
print(sum(buckets.take("uid", RateLimit(0.001, 500)) == 0 for _ in range(400)))
"""
"""A worker: how many of 400 requests it lets through."""


def test_a_worker_that_stands_still_stops_nobody(tmp_path: Path) -> None:
    """It may hold the lock of a bucket for as long as it is stopped; the others decide without it."""
    file = tmp_path / "rates"
    holding = "import sys, time\n" + HOLD
    with subprocess.Popen([sys.executable, "-c", holding, str(file)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        buckets = Buckets(file, Moment(), patience=0.01)

        answers = [buckets.take("uid", RateLimit(0.001, 2)) > 0 for _ in range(3)]

        holder.kill()
    assert answers == [False, False, True]
    buckets.close()


def test_a_wait_in_vain_is_not_repeated_for_each_request(tmp_path: Path) -> None:
    """Each one stops the loop: a tenant who goes on sending would slow down everybody for as long as a worker stands."""
    file = tmp_path / "rates"
    holding = "import sys, time\n" + HOLD
    with subprocess.Popen([sys.executable, "-c", holding, str(file)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        buckets = Buckets(file, Moment(), patience=0.5)

        began = time.monotonic()
        for _ in range(60):
            buckets.take("uid", RateLimit(0.001, 2))
        took = time.monotonic() - began

        holder.kill()
    assert 0.5 <= took < 15, "60 waits in vain are 30 s"
    buckets.close()


HOLD = """
import fcntl, os
from pathlib import Path
from hookline_receiver.limits.buckets import Buckets

buckets = Buckets(Path(sys.argv[1]), lambda: 1)
fcntl.lockf(buckets._fd, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""
"""A worker that stands still with every bucket's lock."""


def test_a_restart_keeps_the_bucket(tmp_path: Path) -> None:
    """A worker that crashes must not give its tenants a fresh burst each time."""
    first = Buckets(tmp_path / "rates", Moment())
    first.take("uid", RateLimit(1, 1))
    first.close()

    second = Buckets(tmp_path / "rates", Moment())

    assert second.take("uid", RateLimit(1, 1)) > 0
    second.close()


def test_full_buckets_make_room(tmp_path: Path) -> None:
    """The table needs no cleaning, however many subscriptions come and go."""
    clock = Moment()
    buckets = Buckets(tmp_path / "rates", clock)
    for n in range(SLOTS + 1000):
        assert buckets.take(f"old{n}", RateLimit(10, 1)) == 0
    clock.now += 10 * SECOND

    refused = [
        n
        for n in range(1000)
        if buckets.take(f"new{n}", RateLimit(10, 1)) or not buckets.take(f"new{n}", RateLimit(10, 1))
    ]

    assert refused == []
    buckets.close()
