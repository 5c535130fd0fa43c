"""A real file system that is full, or read-only."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline_receiver.journal.port import JournalUnavailable
from hookline_receiver.journal.writer import SegmentJournal
from support.journal import damages, eventually_async, everything, only_reader, payloads, small, there

pytestmark = pytest.mark.needs_root

SIZE = 8 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "hookline-test", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def fill(journal: SegmentJournal) -> list[bytes]:
    """Append until it is refused; what was acknowledged."""
    done: list[bytes] = []
    while len(done) < 1000:
        record = b"%d " % len(done) * 20_000
        try:
            await journal.append(record)
        except JournalUnavailable:
            return done
        done.append(record)
    raise AssertionError("the disk never filled up")


@pytest.mark.parametrize("reserve", [0, 2**20], ids=["at-the-last-byte", "with-a-reserve"])
async def test_a_full_disk_refuses_keeps_and_resumes(small_disk: Path, reserve: int) -> None:
    """503, everything acknowledged readable, and back to work when space returns."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2 * 2**20))
    journal = SegmentJournal.open(small_disk / "journal", small(reserve_bytes=reserve))

    done = await fill(journal)
    with pytest.raises(JournalUnavailable, match="bytes free"):
        await journal.append(b"x" * 2**20)
    reader = only_reader(small_disk / "journal")
    assert payloads(everything(reader)) == done
    assert damages(everything(reader)) == []
    filler.unlink()
    await eventually_async(lambda: journal.probe() is None)
    await journal.append(b"after")

    assert payloads(everything(reader)) == [*done, b"after"]
    await journal.close()
    assert payloads(everything(reader)) == [*done, b"after"]
    assert damages(everything(reader)) == []


async def test_a_full_disk_answers_every_concurrent_caller_rightly(small_disk: Path) -> None:
    """A group commit that hits the end of the disk is acknowledged whole or not at all."""
    journal = SegmentJournal.open(small_disk / "journal", small())
    done: set[bytes] = set()

    async def call(caller: int) -> None:
        for index in range(200):
            record = b"%d-%d " % (caller, index) * 1000
            try:
                await journal.append(record)
            except JournalUnavailable:
                return
            done.add(record)

    await asyncio.gather(*(call(caller) for caller in range(16)))

    found = payloads(there(small_disk / "journal"))
    assert done <= set(found)
    assert len(done) > 100
    await journal.close()


async def test_a_read_only_disk_refuses_and_a_start_on_it_says_so(small_disk: Path) -> None:
    """What file systems do after an error of their own."""
    journal = SegmentJournal.open(small_disk / "journal", small())
    await journal.append(b"before")
    # A file system can't be made read-only while a file is open for writing, unless by force of itself.
    await journal.close()
    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,ro", small_disk], check=True)

    with pytest.raises(JournalUnavailable, match="Read-only file system"):
        SegmentJournal.open(small_disk / "journal", small())

    assert payloads(there(small_disk / "journal")) == [b"before"]
