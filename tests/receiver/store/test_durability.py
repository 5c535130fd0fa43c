"""Killed, full, failing: what was committed stays, what was not never was, and work resumes."""

import errno
import os
import random
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hookline_receiver.journal.port import Position
from hookline_receiver.store.port import EventFilter, Filter, Retention, StoreUnavailable, Walk
from hookline_receiver.store.sqlite import SqliteEventStore
from support.store import (
    HOUR,
    MIB,
    NOON,
    NOTIFY,
    an_arrival,
    an_ingest_id,
    claim_all,
    dead,
    delivered,
    equal_bodies,
)

EVERYTHING = Filter()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def open_store(path: Path, flush: Callable[[int], None] = os.fdatasync) -> SqliteEventStore:
    return SqliteEventStore(path, same=equal_bodies, flush=flush)


class Flush:
    """Flushes, and fails when told so."""

    def __init__(self) -> None:
        self.failing = False
        self.done = 0
        self.written_at: list[int] = []

    def __call__(self, descriptor: int) -> None:
        self.written_at.append(os.fstat(descriptor).st_mtime_ns)
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.done += 1
        os.fdatasync(descriptor)


class TestSync:
    def test_a_failed_flush_is_told_and_made_good_later(self, path: Path) -> None:
        """Journals may be unlinked after a sync that returned, and only then."""
        flush = Flush()
        store = open_store(path, flush)
        store.add([an_arrival()], {}, NOON)
        flush.failing = True

        with pytest.raises(StoreUnavailable, match="could not be flushed: Input/output error"):
            store.sync()
        with pytest.raises(StoreUnavailable):
            store.sync()

        flush.failing = False
        store.sync()
        assert len(claim_all(store)) == 1
        store.close()

    def test_what_a_failed_flush_held_is_written_again_before_the_next(self, path: Path) -> None:
        """The kernel holds pages that it gave up for clean: flushing them again reports success and does nothing."""
        flush = Flush()
        store = open_store(path, flush)
        store.add([an_arrival()], {}, NOON)
        flush.failing = True
        with pytest.raises(StoreUnavailable):
            store.sync()
        content = Path(f"{path}-wal").read_bytes()
        flush.failing = False

        store.sync()

        assert flush.written_at[-1] > flush.written_at[-2]
        assert Path(f"{path}-wal").read_bytes() == content
        store.close()

    def test_nothing_is_committed_on_top_of_a_failed_flush(self, path: Path) -> None:
        """A checkpoint over a log that is not on the disk could leave the database ahead of it: corruption."""
        flush = Flush()
        store = open_store(path, flush)
        store.add([an_arrival()], {"j": Position(1, 1)}, NOON)
        flush.failing = True
        with pytest.raises(StoreUnavailable):
            store.sync()

        with pytest.raises(StoreUnavailable):
            store.add([an_arrival()], {"j": Position(1, 2)}, NOON)

        flush.failing = False
        assert store.positions() == {"j": Position(1, 1)}
        store.add([an_arrival()], {"j": Position(1, 2)}, NOON)
        assert len(claim_all(store)) == 2
        store.close()

    def test_nothing_new_is_not_flushed_again(self, path: Path) -> None:
        """The carrier asks every time round."""
        flush = Flush()
        store = open_store(path, flush)
        store.add([an_arrival()], {}, NOON)
        store.sync()
        done = flush.done

        store.sync()

        assert flush.done == done
        store.close()

    def test_a_redrive_is_durable_on_return(self, path: Path) -> None:
        """A person was told that it is done."""
        flush = Flush()
        store = open_store(path, flush)
        store.add([an_arrival()], {}, NOON)
        store.settle([dead(one) for one in claim_all(store)], NOON)
        done = flush.done

        store.redrive(EVERYTHING, 10, NOON, dry_run=False, keep=[NOTIFY])

        assert flush.done == done + 1
        flush.failing = True
        store.settle([dead(one) for one in claim_all(store)], NOON)
        with pytest.raises(StoreUnavailable):
            store.redrive(EVERYTHING, 10, NOON, dry_run=False, keep=[NOTIFY])
        flush.failing = False
        store.close()

    def test_a_replay_and_an_erasure_are_durable_on_return(self, path: Path) -> None:
        """A person was told that it is done."""
        flush = Flush()
        store = open_store(path, flush)
        store.add([an_arrival(unrouted=True)], {}, NOON)
        done = flush.done

        store.replay(EventFilter(), Walk(1), lambda event: an_arrival(event), NOON, dry_run=False)
        assert flush.done == done + 1

        store.erase(EventFilter(), Walk(1), None, NOON, dry_run=False)
        assert flush.done == done + 2
        store.close()

    def test_the_log_is_carried_into_the_database_before_it_grows_large(self, path: Path) -> None:
        """It is what a start after a crash has to read, and space that nobody else can use."""
        store = open_store(path)
        for _ in range(30):
            store.add([an_arrival(body=bytes(4 * MIB))], {}, NOON)

        store.add([], {}, NOON)

        assert os.path.getsize(f"{path}-wal") < 40 * MIB
        store.close()
        assert not Path(f"{path}-wal").exists()


class TestSpace:
    def test_space_is_given_back_after_a_purge_in_small_steps(self, path: Path) -> None:
        """The journal lives on the same volume."""
        store = open_store(path)
        for _ in range(16):
            store.add([an_arrival(body=bytes(4 * MIB), window=0)], {}, NOON)
        store.settle([delivered(one) for one in claim_all(store)], NOON)
        store.close()
        full = path.stat().st_size
        store = open_store(path)

        for _ in range(40):
            store.purge({}, Retention(0, 0), 10, NOON)
        store.close()

        assert full > 64 * MIB
        assert path.stat().st_size < 32 * MIB


@pytest.mark.needs_root
class TestFullDisk:
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 8 MiB, 2 of them taken by the file `filler`."""
        place = tmp_path / "disk"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "hookline-test", place], check=True)
        (place / "filler").write_bytes(bytes(2 * MIB))
        yield place
        subprocess.run(["umount", "-l", place], check=True)

    def fill(self, store: SqliteEventStore) -> int:
        """Add until it is refused; how many were added."""
        for stored in range(1000):
            try:
                store.add([an_arrival(body=bytes(50_000), window=0)], {"j": Position(1, stored + 1)}, NOON)
            except StoreUnavailable:
                return stored
        raise AssertionError("the disk never filled up")

    def test_a_full_disk_refuses_keeps_and_resumes(self, disk: Path) -> None:
        """Nothing half stored, nothing lost, and back to work when space returns, without a restart."""
        store = open_store(disk / "store.db")

        stored = self.fill(store)

        with pytest.raises(StoreUnavailable, match=r"bytes are kept for working off what is there, .* bytes free"):
            store.add([an_arrival()], {}, NOON)
        assert stored > 20
        assert store.positions() == {"j": Position(1, stored)}
        assert [one.pending for one in store.backlog(EVERYTHING)] == [stored]
        (disk / "filler").unlink()
        store.add([an_arrival(body=bytes(50_000))], {"j": Position(1, stored + 1)}, NOON)
        store.sync()
        store.close()
        store = open_store(disk / "store.db")
        assert store.positions() == {"j": Position(1, stored + 1)}
        assert len(claim_all(store)) == stored + 1
        store.close()

    def test_a_full_disk_does_not_stop_what_empties_it(self, disk: Path) -> None:
        """Delivering and purging make room: if they stopped too, only a person could help."""
        store = open_store(disk / "store.db")
        stored = self.fill(store)

        for _ in range(stored):
            store.settle([delivered(one) for one in store.claim(NOTIFY, 1, MIB, NOON, NOON + HOUR)], NOON)
            store.sync()
        assert store.purge({}, Retention(0, 0), 1000, NOON) == stored

        assert self.fill(store) > 20
        store.close()

    def test_at_the_last_byte_deliveries_still_end_for_a_while(self, disk: Path, tmp_path: Path) -> None:
        """Others may fill the volume: what was in the log is in the database, and the log's blocks are there, empty."""
        store = open_store(disk / "store.db")
        stored = self.fill(store)
        shutil.copy(disk / "store.db", tmp_path / "without its log")
        copy = open_store(tmp_path / "without its log")
        assert len(claim_all(copy)) == stored
        copy.close()
        claimed = store.claim(NOTIFY, 4, MIB, NOON, NOON + HOUR)
        free = os.statvfs(disk)
        (disk / "rest").write_bytes(bytes(free.f_bavail * free.f_frsize))

        settled = [store.settle([delivered(one)], NOON) for one in claimed]

        assert settled == [[one.delivery_id] for one in claimed]
        store.sync()
        store.close()

    def test_running_into_the_very_end_rolls_back_and_resumes(self, disk: Path) -> None:
        """Somebody else may fill the volume past what we keep free."""
        store = open_store(disk / "store.db")
        store.add([an_arrival()], {"j": Position(1, 1)}, NOON)
        free = os.statvfs(disk)
        (disk / "rest").write_bytes(bytes(free.f_bavail * free.f_frsize - 600_000))

        with pytest.raises(StoreUnavailable, match=r"database or disk is full \(SQLITE_FULL\), \d+ bytes free"):
            store.add([an_arrival(body=bytes(2 * MIB))], {"j": Position(1, 2)}, NOON)

        assert store.positions() == {"j": Position(1, 1)}
        (disk / "rest").unlink()
        store.add([an_arrival(body=bytes(2 * MIB))], {"j": Position(1, 2)}, NOON)
        assert len(claim_all(store)) == 2
        store.close()

    def test_no_room_for_a_store_is_said(self, disk: Path) -> None:
        """And the next start makes it, when there is room."""
        (disk / "rest").write_bytes(bytes(6 * MIB - 20_000))

        with pytest.raises(StoreUnavailable, match=r"database or disk is full|No space left"):
            open_store(disk / "store.db")

        (disk / "rest").unlink()
        open_store(disk / "store.db").close()

    def test_a_read_only_disk_is_said(self, disk: Path) -> None:
        """As after an I/O error, when the kernel remounts it."""
        open_store(disk / "store.db").close()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

        with pytest.raises(StoreUnavailable, match=r"[Rr]ead-?only"):
            open_store(disk / "store.db")


def test_kill_9_at_any_moment_leaves_events_and_positions_agreeing(path: Path) -> None:
    """The carrier goes on at the position: an event too few is a loss, one too many a second delivery."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    told = 0
    for _ in range(8):
        told = max(told, killed_after(path, chance.randrange(1, 40)))

        store = open_store(path)
        carried = store.positions()["j"].offset
        assert carried >= told
        there = [bool(store.story(str_id(number))) for number in range(1, carried + 20)]
        assert there == [True] * carried + [False] * 19
        assert sum(one.pending for one in store.backlog(EVERYTHING)) + ended(store) == carried
        store.close()
    assert told > 50


def killed_after(path: Path, lines: int) -> int:
    """Start a carrier and a forwarder on the store, kill them after so many lines; the last position that was told."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WORK, str(path), str(Path(__file__).parents[2])], stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    told = b"0"
    for _ in range(lines):
        ready, _, _ = select.select([worker.stdout], [], [], 20)
        assert ready, "the worker went silent"
        told = worker.stdout.readline()
    worker.kill()
    rest, _ = worker.communicate()
    whole = re.findall(rb"(\d+)\n", told + rest)
    return int(whole[-1])


def ended(store: SqliteEventStore) -> int:
    """Deliveries that were settled as delivered."""
    carried = store.positions()["j"].offset
    stories = [story for number in range(1, carried + 1) for story in store.story(str_id(number))]
    return sum(delivery.state == "Delivered" for story in stories for delivery in story.deliveries)


def str_id(number: int) -> str:
    return an_ingest_id(number).hex()


WORK = """
import sys
from pathlib import Path
from hookline_receiver.journal.port import Position
from hookline_receiver.store.sqlite import SqliteEventStore
sys.path.insert(0, sys.argv[2])
from support.store import NOON, an_arrival, an_ingest_id, claim_all, delivered
store = SqliteEventStore(Path(sys.argv[1]), same=bytes.__eq__)
carried = store.positions().get("j", Position(1, 0)).offset
store.release_leases(NOON)
while True:
    batch = [an_arrival(ingest_id=an_ingest_id(carried + n), body=b"x" * 3000) for n in range(1, 8)]
    carried += 7
    store.add(batch, {"j": Position(1, carried)}, NOON)
    print(carried, flush=True)
    store.settle([delivered(one) for one in claim_all(store)[:3]], NOON)
    store.sync()
"""


def test_the_log_of_a_killed_process_is_made_durable_at_start(path: Path) -> None:
    """Its last flush may have failed, and the kernel may hold what was not written for clean: nobody is left to know."""
    killed_after(path, 3)
    written_at = os.stat(f"{path}-wal").st_mtime_ns
    flush = Flush()
    flush.failing = True

    with pytest.raises(StoreUnavailable, match="Input/output error"):
        open_store(path, flush)

    assert flush.written_at[0] > written_at
    flush.failing = False
    store = open_store(path, flush)
    assert flush.done == 1
    assert store.expired(NOTIFY, HOUR, 1, NOON + 2 * HOUR) == 1
    store.close()
