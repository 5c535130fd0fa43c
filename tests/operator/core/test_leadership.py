"""Who leads: never two at once, soon another, and the Lease given back at the end."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hookline_operator.apply.api import NotLeading
from hookline_operator.leadership import Election, LeaseTimings, suspended_clock
from support.lease_server import LeaseServer, Seat
from support.waiting import until

QUICK = LeaseTimings(duration=1.0, held=0.7, renew=0.1, look=0.05)


class Replica:
    """A candidate that counts its terms."""

    def __init__(self, server: LeaseServer, name: str, clock: Callable[[], float] = suspended_clock) -> None:
        self.seat: Seat = server.seat()
        self.election = Election(self.seat, "hookline", "op", name, timings=QUICK, clock=clock)  # type: ignore[arg-type]
        self.terms: list[int] = []
        self.ended: list[int] = []
        self.fails: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    async def lead(self, term: int) -> None:
        self.terms.append(term)
        try:
            if self.fails:
                raise self.fails
            await asyncio.Event().wait()
        finally:
            self.ended.append(term)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Replica"]:
        self._task = asyncio.create_task(self.election.run(self.lead))
        try:
            yield self
        finally:
            await self.stop()

    async def stop(self) -> None:
        """As at SIGTERM."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait((self._task,))

    def leads(self) -> bool:
        return self.election.is_leading()


async def test_the_first_one_leads_and_the_other_waits() -> None:
    """Two that act at once would undo each other's work."""
    server = LeaseServer()
    async with Replica(server, "a").running() as first:
        await until(first.leads)
        async with Replica(server, "b").running() as second:
            await asyncio.sleep(QUICK.duration * 1.5)

            assert first.leads()
            assert not second.leads()
            assert second.terms == []


async def test_one_that_stops_gives_the_lease_back() -> None:
    """A planned end must not cost the time of a crash."""
    server = LeaseServer()
    async with Replica(server, "a").running() as first, Replica(server, "b").running() as second:
        await until(lambda: first.leads() or second.leads())
        leader, other = (first, second) if first.leads() else (second, first)
        began = suspended_clock()

        await leader.stop()

        assert leader.ended == [1]
        assert not leader.leads()
        await until(other.leads, within=QUICK.duration * 0.8)
        assert suspended_clock() - began < QUICK.duration * 0.8
        await until(lambda: other.terms == [2])


async def test_one_that_is_cut_off_stops_before_another_begins() -> None:
    """Its view of the cluster ages, and it can't be told to stop."""
    server = LeaseServer()
    async with Replica(server, "a").running() as first:
        await until(first.leads)
        async with Replica(server, "b").running() as second:
            first.seat.cut_off = True
            ended_first = False
            while not second.leads():
                ended_first = ended_first or bool(first.ended)
                assert not (first.leads() and second.leads())
                await asyncio.sleep(0.005)

            assert ended_first
            await until(lambda: second.terms == [2])
            first.seat.cut_off = False
            await asyncio.sleep(QUICK.look * 3)
            assert not first.leads()


async def test_one_that_lost_the_lease_leads_again_when_it_is_free() -> None:
    """It goes on as one that waits; nobody has to start it again."""
    server = LeaseServer()
    async with Replica(server, "a").running() as first:
        await until(first.leads)
        first.seat.cut_off = True
        await until(lambda: bool(first.ended))

        first.seat.cut_off = False

        await until(lambda: first.terms == [1, 2])


async def test_a_renewal_whose_answer_was_lost_costs_no_term() -> None:
    """The stored version is its own; the conflict that follows is with itself."""
    server = LeaseServer()
    async with Replica(server, "a").running() as first:
        await until(first.leads)
        writes = first.seat.writes
        first.seat.loses_answers = 1
        await until(lambda: first.seat.writes > writes + 3)

        assert first.leads()
        assert first.terms == [1]


async def test_one_that_slept_does_not_take_itself_for_the_leader() -> None:
    """SIGSTOP, a paused machine: the first thing after waking must not be a write."""
    now = suspended_clock()
    shift = 0.0
    server = LeaseServer()
    replica = Replica(server, "a", lambda: now + shift)
    async with replica.running():
        await until(replica.leads)

        shift = QUICK.held + 0.01

        assert not replica.leads()
        assert replica.election.remaining() == 0


@pytest.mark.parametrize("error", [RuntimeError("a bug"), NotLeading("lost")], ids=["bug", "not-leading"])
async def test_a_term_that_fails_lets_the_other_replica_go_first(error: Exception) -> None:
    """What fails here may work there; and a replica that can't act must not hold the Lease."""
    server = LeaseServer()
    first = Replica(server, "a")
    first.fails = error
    async with first.running():
        await until(lambda: bool(first.ended))
        async with Replica(server, "b").running() as second:
            await until(second.leads)

            assert not first.leads()


async def test_a_conflict_that_cannot_be_looked_at_is_tried_again_with_a_pause() -> None:
    """An API server in trouble is not asked thousands of times a second by its operator, whose other work would wait too."""
    server = LeaseServer()
    async with Replica(server, "a").running() as first:
        await until(first.leads)
        first.seat.fails_reads = True
        server.touch()
        before = first.seat.calls

        await until(lambda: bool(first.ended))

        rounds = QUICK.held / (QUICK.renew / 4)
        assert 2 < first.seat.calls - before <= 2 * (rounds + 2)
        first.seat.fails_reads = False
        await until(first.leads)


async def test_two_never_lead_at_once_whatever_happens() -> None:
    """Replicas are cut off, slowed and stopped by chance; at no moment do two count the Lease as theirs."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    server = LeaseServer()
    replicas = [Replica(server, name) for name in "abc"]
    tasks = [asyncio.create_task(each.election.run(each.lead)) for each in replicas]
    led: set[str] = set()
    back: dict[Replica, float] = {}
    """Until when each is cut off."""
    deadline = suspended_clock() + 5
    try:
        while suspended_clock() < deadline or (len(led) < 2 and suspended_clock() < deadline + 60):
            leading = [each for each in replicas if each.leads()]
            assert len(leading) <= 1
            led |= {each.election.identity for each in leading}
            now = suspended_clock()
            if chance.random() < 0.004:
                back[chance.choice(leading or replicas)] = now + chance.uniform(0.1, 1.5)
            if chance.random() < 0.01:
                chance.choice(replicas).seat.loses_answers = 1
            for each in replicas:
                each.seat.cut_off = back.get(each, 0) > now
            await asyncio.sleep(0.003)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert len(led) > 1


@pytest.mark.parametrize(
    "wrong",
    [{"held": 5.9}, {"renew": 3.0}, {"look": 0.0}],
    ids=["held-as-long-as-duration", "renews-too-seldom", "look"],
)
def test_timings_that_could_make_two_leaders_are_refused(wrong: dict[str, Any]) -> None:
    """Two settings that are fine alone can be wrong together."""
    with pytest.raises(ValueError, match="must be"):
        LeaseTimings(**wrong)
