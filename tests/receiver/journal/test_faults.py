"""A disk that fails: no answer without durability, nothing acknowledged is lost, service resumes by itself."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hookline_receiver.journal.port import JournalUnavailable
from hookline_receiver.journal.writer import SegmentJournal
from support.journal import (
    BreakableDisk,
    damages,
    eventually_async,
    payloads,
    segments,
    small,
    there,
)


@pytest.fixture
def disk() -> BreakableDisk:
    """The journal's disk."""
    return BreakableDisk()


@pytest.fixture
async def journal(tmp_path: Path, disk: BreakableDisk) -> AsyncIterator[SegmentJournal]:
    """A journal on that disk."""
    journal = SegmentJournal.open(tmp_path, small(), disk)
    yield journal
    disk.mend()
    disk.go_on()
    await journal.close()


async def appended(journal: SegmentJournal, *records: bytes) -> list[bytes]:
    """Those of *records* that were acknowledged."""
    done = []
    for record in records:
        try:
            await journal.append(record)
            done.append(record)
        except JournalUnavailable:
            pass
    return done


@pytest.mark.parametrize("call", ["write", "sync"])
async def test_a_failed_flush_seals_the_segment_and_goes_on_in_a_new_one(
    tmp_path: Path, journal: SegmentJournal, disk: BreakableDisk, call: str
) -> None:
    """A second flush of the same file reports success for pages that were lost."""
    await journal.append(b"before")
    disk.fail(call)
    disk.calls.clear()

    await journal.append(b"unanswered")
    await journal.append(b"after")

    folder = tmp_path / journal.name
    assert [path.name for path in segments(folder)] == ["00000001.seg", "00000002.seg"]
    items = there(tmp_path)
    assert payloads(items) == [b"before", b"unanswered", b"after"]
    assert damages(items) == []


async def test_a_file_is_never_flushed_again_after_a_failed_flush(
    tmp_path: Path, journal: SegmentJournal, disk: BreakableDisk
) -> None:
    """The kernel marks pages that it could not write as clean: the next flush would call them durable."""
    disk.fail_always("sync")
    with pytest.raises(JournalUnavailable):
        await journal.append(b"lost")
    disk.mend()
    disk.calls.clear()

    await journal.append(b"kept")

    # One of the new segment's header and one of its record; none of what failed.
    assert [call for call in disk.calls if call in ("create", "sync")] == ["create", "sync", "sync"]
    assert b"kept" in payloads(there(tmp_path))


@pytest.mark.parametrize("call", ["write", "sync", "create", "rename", "sync_folder"])
async def test_when_the_new_segment_fails_too_the_sender_hears_of_it(
    tmp_path: Path, journal: SegmentJournal, disk: BreakableDisk, call: str
) -> None:
    """Nothing was promised, so it will be sent again."""
    await journal.append(b"before")
    disk.fail_always(call, errno.EIO)
    disk.fail_always("sync", errno.EIO)

    with pytest.raises(JournalUnavailable, match=r"journal .*\.seg: Input/output error \(\d+ bytes free\)"):
        await journal.append(b"refused")

    assert journal.probe() is not None
    assert payloads(there(tmp_path))[:1] == [b"before"]


@pytest.mark.parametrize("call", ["write", "sync", "create", "rename", "sync_folder"])
async def test_service_resumes_by_itself(
    tmp_path: Path, journal: SegmentJournal, disk: BreakableDisk, call: str
) -> None:
    """Nobody sends to a worker that is not ready, so it must find out without being asked to append."""
    await journal.append(b"before")
    disk.fail_always(call)
    disk.fail_always("sync")
    with pytest.raises(JournalUnavailable):
        await journal.append(b"refused")

    disk.mend()
    await eventually_async(lambda: journal.probe() is None)
    await journal.append(b"after")

    items = there(tmp_path)
    assert [payload for payload in payloads(items) if payload != b"refused"] == [b"before", b"after"]
    assert damages(items) == []


async def test_unpublished_segments_do_not_pile_up(
    tmp_path: Path, journal: SegmentJournal, disk: BreakableDisk
) -> None:
    """A night of failing flushes of the folder must not end with the disk full of headers."""
    disk.fail_always("sync_folder")
    disk.fail("sync")
    for _ in range(20):
        await appended(journal, b"refused")

    assert len(list((tmp_path / journal.name).iterdir())) == 3


@pytest.mark.parametrize("taken", [1, 31, 32, 33, 100, 131])
async def test_a_short_write_leaves_no_acknowledged_record_behind_garbage(
    tmp_path: Path, journal: SegmentJournal, disk: BreakableDisk, taken: int
) -> None:
    """ENOSPC comes in the middle of a record."""
    await journal.append(b"before")
    disk.short_write(taken)

    await journal.append(b"x" * 100)
    await journal.append(b"after")

    items = there(tmp_path)
    assert payloads(items) == [b"before", b"x" * 100, b"after"]
    assert damages(items) == []


async def test_a_write_that_takes_less_but_does_not_fail_is_continued(
    tmp_path: Path, journal: SegmentJournal, disk: BreakableDisk
) -> None:
    """POSIX allows it any time."""
    disk.take_less(5, 1, 40)

    await journal.append(b"x" * 100)

    assert payloads(there(tmp_path)) == [b"x" * 100]
    assert len(segments(tmp_path / journal.name)) == 1


async def test_below_the_reserve_nothing_is_taken_and_the_message_says_why(tmp_path: Path, disk: BreakableDisk) -> None:
    """The store needs room itself to make room."""
    journal = SegmentJournal.open(tmp_path, small(reserve_bytes=1000), disk)
    await journal.append(b"before")
    disk.free_bytes = 999
    disk.calls.clear()

    with pytest.raises(JournalUnavailable, match=r"00000001\.seg: 999 bytes free, 1000 are kept in reserve"):
        await journal.append(b"refused")

    assert "write" not in disk.calls
    assert (
        journal.probe() == f"journal {tmp_path / journal.name}/00000001.seg: 999 bytes free, 1000 are kept in reserve"
    )
    disk.free_bytes = 10**9
    assert journal.probe() is None
    await journal.append(b"after")
    assert payloads(there(tmp_path)) == [b"before", b"after"]
    assert len(segments(tmp_path / journal.name)) == 1
    await journal.close()


@pytest.mark.parametrize("free", [1000, 1000 + 1023], ids=["exactly-the-reserve", "less-than-a-usual-record-above"])
async def test_it_is_unready_before_records_are_refused(tmp_path: Path, disk: BreakableDisk, free: int) -> None:
    """Ready and refusing everything would keep a pod in its Service that answers 503 for ever."""
    journal = SegmentJournal.open(tmp_path, small(reserve_bytes=1000), disk)
    disk.free_bytes = free

    refused = await appended(journal, b"x" * 1024) == []

    assert refused
    assert journal.probe() is not None
    await journal.close()


async def test_all_callers_of_a_failed_flush_hear_of_it(
    tmp_path: Path, journal: SegmentJournal, disk: BreakableDisk
) -> None:
    """Group commit must not answer some of a group as if it had been written."""
    disk.fail_always("sync")

    answers = await asyncio.gather(*(journal.append(b"%d" % number) for number in range(50)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {JournalUnavailable}


async def test_a_hung_disk_does_not_eat_the_memory(tmp_path: Path, disk: BreakableDisk) -> None:
    """Requests keep coming while the disk does nothing."""
    journal = SegmentJournal.open(tmp_path, small(waiting_bytes=1000), disk)
    disk.hang()
    waiting = [asyncio.ensure_future(journal.append(b"x" * 300)) for _ in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(JournalUnavailable, match="900 bytes wait for the disk, the limit is 1000"):
        await journal.append(b"x" * 300)

    disk.go_on()
    await asyncio.gather(*waiting)
    await journal.append(b"x" * 300)
    await journal.close()


async def test_a_flush_that_takes_too_long_makes_the_worker_unready_until_it_ends(
    tmp_path: Path, disk: BreakableDisk
) -> None:
    """The sender gives up after two seconds: it is better served by another pod."""
    journal = SegmentJournal.open(tmp_path, small(stall=0.05), disk)
    disk.hang()
    waiting = asyncio.ensure_future(journal.append(b"slow"))

    await eventually_async(lambda: "a flush takes" in (journal.probe() or ""))
    assert not waiting.done()
    disk.go_on()
    await waiting

    assert journal.probe() is None
    await journal.close()


async def test_a_journal_that_was_deleted_under_the_worker_takes_nothing(
    tmp_path: Path, journal: SegmentJournal
) -> None:
    """A file without a name flushes without error, and is gone with the process."""
    await journal.append(b"before")
    for path in (tmp_path / journal.name).iterdir():
        path.unlink()
    (tmp_path / journal.name).rmdir()

    with pytest.raises(JournalUnavailable):
        await journal.append(b"lost")

    assert journal.probe() is not None


async def test_a_segment_that_can_not_be_made_does_not_stop_a_healthy_one(tmp_path: Path, disk: BreakableDisk) -> None:
    """Rotation gives space back; it is no reason to refuse."""
    journal = SegmentJournal.open(tmp_path, small(segment_bytes=9000), disk)
    disk.fail_always("create", errno.EMFILE)

    sent = [b"%d" % number * 300 for number in range(30)]
    done = await appended(journal, *sent)

    assert done == sent
    disk.mend()
    await appended(journal, *sent)
    assert len(segments(tmp_path / journal.name)) > 1
    assert payloads(there(tmp_path)) == sent + sent
    await journal.close()


async def test_a_name_that_may_not_last_ends_the_old_segment_all_the_same(tmp_path: Path, disk: BreakableDisk) -> None:
    """After a power failure the new segment may be there and say where the old one ends: nothing may follow there."""
    journal = SegmentJournal.open(tmp_path, small(segment_bytes=9000), disk)
    sent = [b"%d" % number * 300 for number in range(10)]
    disk.fail_always("unlink")  # so that the failed segment stays, as after a power failure
    disk.fail("sync_folder", times=2)

    done = await appended(journal, *sent)

    items = there(tmp_path)
    assert set(done) <= set(payloads(items))
    assert damages(items) == []
    assert len(done) >= len(sent) - 1
    await journal.close()


@pytest.mark.parametrize("call", ["make_folder", "create", "write", "sync", "rename", "sync_folder"])
async def test_a_journal_that_can_not_be_made_is_a_refused_start_with_a_reason(
    tmp_path: Path, disk: BreakableDisk, call: str
) -> None:
    """Instead of a worker that answers everything with 503."""
    disk.fail_always(call, errno.EROFS)

    with pytest.raises(JournalUnavailable, match="Read-only file system"):
        SegmentJournal.open(tmp_path / "journal", small(), disk)

    assert not list(tmp_path.glob("journal/.new-*"))


async def test_close_answers_what_waits(tmp_path: Path, journal: SegmentJournal, disk: BreakableDisk) -> None:
    """Stopping finishes what is in flight."""
    disk.hang()
    waiting = asyncio.ensure_future(journal.append(b"in flight"))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(journal.close())
    await asyncio.sleep(0)

    disk.go_on()
    await closing

    await waiting
    assert payloads(there(tmp_path)) == [b"in flight"]
