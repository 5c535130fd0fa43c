"""Several real worker processes: killed at any moment, and merged in order."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from hookline_receiver.journal.port import Damage, Entry
from hookline_receiver.journal.reader import SegmentJournals
from support.journal import ALL, Merger, damages, payloads
from support.journal_process import name_of

TESTS = Path(__file__).parents[2]
SMALL_SEGMENT = 200_000


@contextmanager
def a_worker(
    root: Path, tag: str, *, callers: int, count: int | None = None, segment_bytes: int = SMALL_SEGMENT
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that appends to a journal in *root*; killed at the end."""
    command = [sys.executable, "-m", "support.journal_process", str(root), tag, str(callers), str(segment_bytes)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    said = root.parent / f"{tag}.said"
    asked = root.parent / f"{tag}.asked"
    with said.open("wb") as out, asked.open("wb") as err:
        process = subprocess.Popen(
            [*command, *([str(count)] if count else [])], stdout=out, stderr=err, env=environment
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def names(root: Path, tag: str, kind: str) -> set[str]:
    """What a worker has printed: the names it "said" were acknowledged, or "asked" for."""
    text = (root.parent / f"{tag}.{kind}").read_text()
    return set(text[: text.rfind("\n") + 1].split())


def wait_for(root: Path, tag: str, count: int) -> None:
    """Until a worker has acknowledged *count* records."""
    deadline = time.monotonic() + 20
    while len(names(root, tag, "said")) < count:
        assert time.monotonic() < deadline, f"{tag} did not acknowledge {count} records in 20 s"
        time.sleep(0.001)


def test_every_acknowledged_record_outlives_a_kill_at_any_moment(tmp_path: Path) -> None:
    """kill -9 in the middle of appending, rotating, flushing: 200 means kept, and nothing is made up."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    root = tmp_path / "journal"
    said: set[str] = set()
    asked: set[str] = set()

    for round_number in range(8):
        tag = f"w{round_number}"
        with a_worker(root, tag, callers=rng.choice([1, 10, 100])):
            wait_for(root, tag, rng.randrange(1, 3000))
        said |= names(root, tag, "said")
        asked |= names(root, tag, "asked")

    with closing(SegmentJournals(root)) as journals:
        readers = journals.discover()
        assert len(readers) == 8
        assert all(reader.abandoned() for reader in readers)
        items = [item for reader in readers for item in reader.read(None, ALL)]
    found = [name_of(payload) for payload in payloads(items)]
    assert said <= set(found)
    assert set(found) <= asked
    assert len(found) == len(set(found))
    assert damages(items) == []


def test_what_several_workers_append_is_merged_in_order_of_stamp(tmp_path: Path) -> None:
    """The order that handlers get is the order of acceptance in this pod, whichever worker it was."""
    root = tmp_path / "journal"
    merged: list[Entry | Damage] = []
    deadline = time.monotonic() + 60
    with closing(Merger(root)) as merger, ExitStack() as running:
        workers = [
            running.enter_context(a_worker(root, tag, callers=callers, count=900 // callers))
            for tag, callers in (("a", 1), ("b", 50), ("c", 3))
        ]
        while not merged:
            assert time.monotonic() < deadline
            merged += merger.poll()
        workers.append(running.enter_context(a_worker(root, "late", callers=5, count=180)))
        while any(worker.poll() is None for worker in workers):
            assert time.monotonic() < deadline
            merged += merger.poll()
        merged += merger.poll()

    stamps = [item.stamp for item in merged if isinstance(item, Entry)]
    assert len(stamps) == 4 * 900
    assert stamps == sorted(stamps)
    assert damages(merged) == []
    assert all(worker.returncode == 0 for worker in workers)


@pytest.mark.parametrize("tag", ["killed", "stopped"])
def test_a_worker_that_is_gone_holds_nobody_up(tmp_path: Path, tag: str) -> None:
    """Killed in the middle of a flush it leaves a pending stamp that nobody will clear."""
    root = tmp_path / "journal"
    with closing(Merger(root)) as merger, a_worker(root, "live", callers=2):
        with a_worker(root, tag, callers=100, count=None if tag == "killed" else 5) as worker:
            wait_for(root, tag, 100)
            if tag == "stopped":
                worker.wait(20)
        wait_for(root, "live", 10)
        final = names(root, tag, "said")
        found: set[str] = set()
        deadline = time.monotonic() + 20
        while not final <= found:
            assert time.monotonic() < deadline
            found |= {name_of(payload) for payload in payloads(merger.poll())}
