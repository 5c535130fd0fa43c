"""
A loss of power at any moment: what had its 200 is there.

kill -9 does not show it, since the page cache outlives it. So real processes (workers that append, the forwarder's carrier
and event store) run with every write, rename, unlink and flush recorded; then, for many moments, the disk is rebuilt as a
loss of power at that moment may leave it, and a start on it must find everything that was acknowledged, invent nothing
and cry no false alarm. That this finds what is wrong is shown by taking each flush out.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from support.powerloss.disk import Disk, File, Folder
from support.powerloss.flushes import Flush, flush_of
from support.powerloss.recording import DATA, FRESH, Recorder, build_shim, mapped, record_a_life, whole
from support.powerloss.recovery import losses, recover
from support.powerloss.trace import Step

pytestmark = [pytest.mark.needs_cc, pytest.mark.filterwarnings("error")]

CUTS = 1000
"""Moments at which power is lost, each with a disk of its own."""
TRIES = 300
"""How many moments are looked at before a flush that was taken out is said not to be missed."""
SHOWN = [flush for flush in Flush if flush not in (Flush.NOTHING, Flush.SQLITE)]
"""SQLite's others are its own affair."""

Life = Sequence[Step]


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """A whole life on one data folder, recorded."""
    folder = tmp_path_factory.mktemp("powerloss")
    recorder = Recorder(build_shim(folder), folder)
    seed = int(os.environ.get("HOOKLINE_TEST_SEED", random.randrange(2**32)))
    print(f"seed of the life {seed}")
    try:
        record_a_life(recorder, Random(seed))
    finally:
        recorder.end()
    return recorder


@pytest.fixture(scope="module")
def life(recorder: Recorder) -> Life:
    """What was recorded."""
    return recorder.steps()


def test_the_recording_misses_nothing(recorder: Recorder, life: Life) -> None:
    """Replayed without a loss of power it makes the folder that there is, byte for byte."""
    shared = {path for path in whole(life) if path.endswith("/pending")}

    assert {path: content for path, content in whole(life).items() if path not in shared} == {
        path: content for path, content in recorder.actual().items() if path not in shared
    }
    assert all(path.endswith("/pending") for path in mapped(life))
    assert {made.flush for made in flushes(life)} >= set(SHOWN)


def test_what_was_acknowledged_outlasts_a_loss_of_power_at_any_moment(life: Life, scratch: Path) -> None:
    """Pending, delivered, or known as a duplicate; nothing is invented, altered or called damaged."""
    seed = int(os.environ.get("HOOKLINE_TEST_SEED", random.randrange(2**32)))
    print(f"seed of the cuts {seed}")
    rng = Random(seed)
    cuts = sorted(rng.sample(range(len(life) + 1), CUTS))

    wrong = [found for found in losses(life, cuts, rng, scratch, Disk([DATA, FRESH]), recover) if found[1]]

    assert wrong == []


@pytest.mark.parametrize("flush", SHOWN, ids=lambda flush: flush.name.lower())
def test_each_flush_is_missed_when_it_is_taken_out(life: Life, scratch: Path, flush: Flush) -> None:
    """One that is not would be useless, or this test too weak."""
    seed = int(os.environ.get("HOOKLINE_TEST_SEED", random.randrange(2**32)))
    print(f"seed of the cuts {seed}")
    rng = Random(seed)
    places = windows(life, flush)
    cuts = sorted(cut_within(rng.choice(places), rng) for _ in range(TRIES))
    disk = Disk([DATA, FRESH], ignore=lambda step, node: flush_of(step, node) is flush)

    assert any(wrong for _, wrong in losses(life, cuts, rng, scratch, disk, recover)), f"nobody misses: {flush.value}"


@dataclass(frozen=True, slots=True)
class Flushed:
    """A flush in a life."""

    flush: Flush
    at: int
    """Steps done before its end."""
    process: int
    node: File | Folder


def flushes(life: Life) -> list[Flushed]:
    """All of them, in order."""
    found: list[Flushed] = []

    def note(step: Step, node: File | Folder) -> bool:
        found.append(Flushed(flush_of(step, node), disk.number, step.number, node))
        return False

    disk = Disk([DATA, FRESH], ignore=note)
    for step in life:
        disk.do(step)
    return found


def windows(life: Life, flush: Flush) -> list[range]:
    """For each time that *flush* is made, the moments up to when another line of code flushes the same thing."""
    made = flushes(life)
    return [
        range(one.at, next((other.at for other in made[index + 1 :] if makes_good(other, one)), len(life)))
        for index, one in enumerate(made)
        if one.flush is flush
    ]


def makes_good(other: Flushed, missed: Flushed) -> bool:
    """Whether *other* flushes what *missed* should have."""
    if other.node is not missed.node or other.flush is missed.flush:
        return False
    # The same process at the same line once more, with nothing left to do if the first time counts.
    return other.flush is not Flush.NOTHING or other.process != missed.process


def cut_within(window: range, rng: Random) -> int:
    """A moment in *window*, often soon."""
    return window.start + rng.randrange(min(len(window), 40) if rng.random() < 0.3 else len(window)) + 1
