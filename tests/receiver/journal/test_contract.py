"""What every journal promises, on files and in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hookline_receiver.journal.memory import MemoryJournal, MemoryJournals
from hookline_receiver.journal.port import Entry, Journal, JournalReader, Journals, JournalUnavailable
from hookline_receiver.journal.reader import SegmentJournals
from hookline_receiver.journal.writer import SegmentJournal
from support.journal import ALL, everything, payloads, small


@dataclass
class Ends:
    """A journal and where its reader is found."""

    journal: Journal
    journals: Journals

    @property
    def reader(self) -> JournalReader:
        """The only one."""
        (reader,) = self.journals.discover()
        return reader


@pytest.fixture(params=["memory", "segments"])
async def ends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ends]:
    """Both ends of one journal."""
    if request.param == "memory":
        memory = MemoryJournal()
        yield Ends(memory, MemoryJournals(memory))
    else:
        journal = SegmentJournal.open(tmp_path / "journal", small())
        journals = SegmentJournals(tmp_path / "journal")
        yield Ends(journal, journals)
        await journal.close()
        journals.close()


async def test_what_was_appended_is_read_byte_for_byte_and_in_order(ends: Ends) -> None:
    """Handlers may hash what CometChat sent, and conversations have an order."""
    sent = [b"", b"\0" * 5000, b'{"trigger": "message_sent"}', bytes(range(256)), b"x" * (3 * 2**20)]

    for payload in sent:
        await ends.journal.append(payload)

    assert payloads(everything(ends.reader)) == sent


async def test_concurrent_appends_are_all_there_once(ends: Ends) -> None:
    """Requests share a flush, none of them may get lost in it."""
    sent = [f"{number}".encode() for number in range(500)]

    await asyncio.gather(*(ends.journal.append(payload) for payload in sent))

    assert sorted(payloads(everything(ends.reader))) == sorted(sent)


async def test_stamps_rise_and_are_of_the_clock_that_readers_have(ends: Ends) -> None:
    """The carrier merges journals by them."""
    before = ends.journals.now()
    for _ in range(20):
        await ends.journal.append(b"x")

    stamps = [item.stamp for item in everything(ends.reader) if isinstance(item, Entry)]

    assert stamps == sorted(set(stamps))
    assert before <= stamps[0]
    assert stamps[-1] <= ends.journals.now()


async def test_reading_goes_on_where_it_was_left(ends: Ends) -> None:
    """The position is in the event store, the reader may be another process by then."""
    for number in range(10):
        await ends.journal.append(b"%d" % number)
    items = everything(ends.reader)
    assert isinstance(items[3], Entry)

    rest = everything(ends.reader, items[3].after)

    assert payloads(rest) == [b"%d" % number for number in range(4, 10)]


async def test_reading_at_the_end_finds_what_comes_later(ends: Ends) -> None:
    """The carrier polls a live journal for ever."""
    await ends.journal.append(b"early")
    (first,) = everything(ends.reader)
    assert isinstance(first, Entry)
    assert everything(ends.reader, first.after) == []

    await ends.journal.append(b"late")

    assert payloads(everything(ends.reader, first.after)) == [b"late"]


async def test_until_leaves_out_itself_and_what_is_younger(ends: Ends) -> None:
    """Younger records wait for other journals' older ones."""
    for number in range(5):
        await ends.journal.append(b"%d" % number)
    stamps = [item.stamp for item in everything(ends.reader) if isinstance(item, Entry)]

    assert payloads(ends.reader.read(None, stamps[2])) == [b"0", b"1"]


async def test_an_iterator_may_be_dropped(ends: Ends) -> None:
    """The carrier takes as much as makes a batch."""
    for number in range(5):
        await ends.journal.append(b"%d" % number)

    first = next(iter(ends.reader.read(None, ALL)))

    assert isinstance(first, Entry)
    assert payloads(everything(ends.reader, first.after)) == [b"1", b"2", b"3", b"4"]


async def test_an_idle_journal_holds_nobody_up(ends: Ends) -> None:
    """Else a worker without requests would delay all others' events."""
    await ends.journal.append(b"x")

    now = ends.journals.now()

    assert ends.reader.watermark(now) == now


async def test_the_watermark_is_never_past_now(ends: Ends) -> None:
    """What will be appended a moment after now must not be overtaken."""
    assert ends.reader.watermark(5) == 5


async def test_a_journal_is_abandoned_once_closed_and_not_before(ends: Ends) -> None:
    """Only then may it be removed."""
    await ends.journal.append(b"x")
    assert not ends.reader.abandoned()

    await ends.journal.close()

    assert ends.reader.abandoned()
    assert payloads(everything(ends.reader)) == [b"x"]


async def test_a_live_journal_is_not_removed(ends: Ends) -> None:
    """Its next record would be gone with it."""
    with pytest.raises(RuntimeError, match="not abandoned"):
        ends.reader.remove()


async def test_a_removed_journal_is_gone(ends: Ends) -> None:
    """Each worker that ever was would leave one else."""
    await ends.journal.append(b"x")
    await ends.journal.close()

    ends.reader.remove()

    assert ends.journals.discover() == []


async def test_release_keeps_what_was_not_carried(ends: Ends) -> None:
    """Whatever granularity space comes back in."""
    for number in range(10):
        await ends.journal.append(b"%d" % number)
    items = everything(ends.reader)
    assert isinstance(items[4], Entry)

    ends.reader.release(items[4].after)

    assert payloads(everything(ends.reader, items[4].after)) == [b"5", b"6", b"7", b"8", b"9"]


async def test_appending_to_a_closed_journal_is_refused(ends: Ends) -> None:
    """A request that comes while the worker stops gets 503, not silence."""
    await ends.journal.close()

    with pytest.raises(JournalUnavailable, match="closed"):
        await ends.journal.append(b"x")

    assert ends.journal.probe() is not None


async def test_closing_twice_is_harmless(ends: Ends) -> None:
    """Stopping has several causes."""
    await ends.journal.close()
    await ends.journal.close()


async def test_a_cancelled_caller_does_not_take_the_record_back(ends: Ends) -> None:
    """The sender hung up, but what is on its way to disk is an event."""
    task = asyncio.ensure_future(ends.journal.append(b"hung up"))
    await asyncio.sleep(0)
    task.cancel()
    await ends.journal.append(b"next")

    assert payloads(everything(ends.reader)) == [b"hung up", b"next"]


async def test_the_same_journal_has_the_same_reader(ends: Ends) -> None:
    """The reader keeps its place and its files."""
    assert ends.reader is ends.reader


async def test_a_healthy_journal_has_nothing_against_readiness(ends: Ends) -> None:
    """Readiness says: an event could be made durable now."""
    assert ends.journal.probe() is None
    assert not ends.reader.earlier_boot
