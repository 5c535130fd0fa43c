"""What is found after the worst: torn tails, flipped bits, forged records, foreign files, half-made journals."""

import asyncio
import contextlib
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from hookline_receiver.journal.disk import OsDisk
from hookline_receiver.journal.folder import DAMAGED, GOING, MAKING, FolderLock, segment_name
from hookline_receiver.journal.format import COPY_AT, FIRST, FORMAT, HEAD_SIZE, Framing, Header, _prefix, decode_header
from hookline_receiver.journal.port import Damage, Entry, Position
from hookline_receiver.journal.reader import SegmentJournalReader, SegmentJournals
from hookline_receiver.journal.writer import SegmentJournal
from support.journal import ALL, BreakableDisk, after, damages, everything, left, only_reader, payloads, segments, small

OTHER_BOOT = b"another boot's."


def written(root: Path, *batches: list[bytes], segment_bytes: int = 64 * 2**20, close: bool = True) -> Path:
    """The folder of a dead worker's journal, each of *batches* made durable on its own."""

    async def write() -> Path:
        journal = SegmentJournal.open(root, small(segment_bytes=segment_bytes))
        for batch in batches:
            await asyncio.gather(*(journal.append(payload) for payload in batch))
        copy = root.with_name(f"{root.name}-killed")
        if not close:  # as it is on disk before anything of an orderly end
            shutil.copytree(root, copy)
        await journal.close()
        if not close:
            shutil.rmtree(root)
            copy.rename(root)
        return root / journal.name

    return asyncio.run(write())


RECORDS = [[b"first"], [b"second" * 20], [b""], [b"fourth" * 5, b"fifth", b"sixth" * 9], [b"last" * 3]]
ALL_PAYLOADS = [payload for batch in RECORDS for payload in batch]


def starts(folder: Path) -> list[int]:
    """Where each record of the only segment begins, and where the last one ends."""
    items = left(folder)
    return [FIRST, *(item.after.offset for item in items if isinstance(item, Entry))]


@pytest.mark.parametrize("boot", [None, OTHER_BOOT], ids=["killed", "power-failed"])
def test_a_tail_torn_at_any_byte_ends_the_journal_without_alarm(tmp_path: Path, boot: bytes | None) -> None:
    """It is what a kill in the middle of a write leaves; nobody was told that it was durable."""
    folder = written(tmp_path, *RECORDS, close=False)
    segment = folder / segment_name(1)
    whole, places = segment.read_bytes(), starts(folder)

    for size in range(FIRST, len(whole)):
        segment.write_bytes(whole[:size])
        items = left(folder, boot=boot)
        assert payloads(items) == ALL_PAYLOADS[: sum(place <= size for place in places[1:])]
        assert damages(items) == []


def test_a_tail_that_a_power_failure_left_as_zeros_or_noise_ends_the_journal_without_alarm(tmp_path: Path) -> None:
    """A file system may have made the file longer and not have written what stands there."""
    folder = written(tmp_path, *RECORDS, close=False)
    segment = folder / segment_name(1)
    whole, last = segment.read_bytes(), starts(folder)[-2]

    for tail in (bytes(500), random.Random(1).randbytes(500), whole[last : last + 20] + bytes(100)):
        segment.write_bytes(whole[:last] + tail)
        items = left(folder, boot=OTHER_BOOT)
        assert payloads(items) == ALL_PAYLOADS[:-1]
        assert damages(items) == []


def test_blocks_of_an_unanswered_batch_may_be_missing_in_its_middle(tmp_path: Path) -> None:
    """Blocks reach the disk in any order: what of the batch is whole is given, the rest is no damage."""
    batch = [b"%d" % number * 300 for number in range(10)]
    folder = written(tmp_path, [b"before"], batch, close=False)
    segment = folder / segment_name(1)
    places = starts(folder)
    data = bytearray(segment.read_bytes())
    data[places[4] : places[6] - 7] = bytes(places[6] - 7 - places[4])
    segment.write_bytes(data)

    items = left(folder, boot=OTHER_BOOT)

    assert payloads(items) == [b"before", *batch[:3], *batch[5:]]
    assert damages(items) == []


def test_a_flipped_bit_at_any_byte_costs_one_record_at_most_and_is_reported(tmp_path: Path) -> None:
    """Never a wrong payload, never an exception, all other records found."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    folder = written(tmp_path, *RECORDS)
    segment = folder / segment_name(1)
    whole, places = segment.read_bytes(), starts(folder)

    for at in [*range(150), *range(COPY_AT, COPY_AT + 150), *range(FIRST, places[-1])]:
        data = bytearray(whole)
        data[at] ^= 1 << rng.randrange(8)
        segment.write_bytes(data)
        items = left(folder, boot=rng.choice([None, OTHER_BOOT]))
        hit = sum(place <= at for place in places) - 1
        assert payloads(items) == [payload for index, payload in enumerate(ALL_PAYLOADS) if index != hit], at
        assert [(found.position.offset, found.length) for found in damages(items)] == (
            [(places[hit], places[hit + 1] - places[hit])] if hit >= 0 else []
        ), at


def test_any_garbling_of_several_segments_loses_only_what_it_hit(tmp_path: Path) -> None:
    """Disks lose blocks, not bits."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    sent = [b"%d-" % number + rng.randbytes(rng.randrange(900)) for number in range(60)]
    folder = written(tmp_path / "journal", *([payload] for payload in sent), segment_bytes=FIRST + 5000)
    kept = {path: path.read_bytes() for path in segments(folder)}
    places = where(folder)
    assert len(kept) > 3

    for _ in range(300):
        path = rng.choice(list(kept))
        size = len(kept[path])
        start = rng.randrange(FIRST, size)
        end = min(size, start + rng.choice([1, 10, 512, 4096]))
        data = bytearray(kept[path])
        data[start:end] = rng.choice([bytes(end - start), rng.randbytes(end - start)])
        path.write_bytes(data)
        found = payloads(left(folder))
        number = int(path.stem)
        hit = {p for p, (segment, low, high) in places.items() if segment == number and low < end and start < high}
        expected = [payload for payload in sent if payload not in hit]
        assert [payload for payload in found if payload not in hit] == expected
        assert set(found) <= set(sent)
        path.write_bytes(kept[path])


def where(folder: Path) -> dict[bytes, tuple[int, int, int]]:
    """Segment, start and end of each record."""
    places = {}
    start = Position(1, FIRST)
    for item in left(folder):
        assert isinstance(item, Entry)
        if item.after.segment != start.segment:
            start = Position(item.after.segment, FIRST)
        places[item.payload] = (item.after.segment, start.offset, item.after.offset)
        start = item.after
    return places


def test_a_body_full_of_forged_records_gives_none_behind_damage(tmp_path: Path) -> None:
    """Whoever may send an event for one tenant must not be able to make one for another."""
    forged = b"".join(Framing(os.urandom(16)).encode([(5, b"forged")], FIRST))
    body = forged * 5000
    folder = written(tmp_path, [b"before"], [body], [b"after"])
    segment = folder / segment_name(1)
    data = bytearray(segment.read_bytes())
    data[starts(folder)[1]] ^= 1  # the body's own head: now it is searched for a record
    segment.write_bytes(data)

    items = left(folder)

    assert payloads(items) == [b"before", b"after"]
    assert len(damages(items)) == 1


def test_a_live_segment_is_not_called_damaged_before_it_is_sure(tmp_path: Path) -> None:
    """What can't be read at the end of a live one may be on its way."""

    async def run() -> None:
        journal = SegmentJournal.open(tmp_path, small())
        await journal.append(b"first")
        await journal.append(b"second")
        segment = tmp_path / journal.name / segment_name(1)
        at = FIRST + HEAD_SIZE + len(b"first")
        with segment.open("r+b") as file:
            file.seek(at)
            file.write(b"garbage")
        reader = only_reader(tmp_path)
        assert payloads(everything(reader)) == [b"first"]
        assert damages(everything(reader)) == []

        await journal.append(b"third")

        items = everything(reader)
        assert payloads(items) == [b"first", b"third"]
        assert [(item.position, item.length) for item in damages(items)] == [(Position(1, at), HEAD_SIZE + 6)]
        await journal.close()

    asyncio.run(run())


def test_reading_goes_on_from_behind_damage(tmp_path: Path) -> None:
    """The carrier remembers where damage ends, as it does for records."""
    folder = written(tmp_path, [b"first"], [b"second"], [b"third"])
    segment = folder / segment_name(1)
    data = bytearray(segment.read_bytes())
    data[starts(folder)[1] + HEAD_SIZE] ^= 1
    segment.write_bytes(data)
    (damage,) = damages(left(folder))

    rest = left(folder, after(damage))

    assert damage.reason == "payload is damaged"
    assert payloads(rest) == [b"third"]


def rotated(root: Path) -> tuple[Path, list[bytes]]:
    """A dead worker's journal of several segments, and what is in it."""
    sent = [b"%d" % number * 700 for number in range(10)]
    folder = written(root, *([payload] for payload in sent), segment_bytes=FIRST + 1500)
    assert len(segments(folder)) == 4
    return folder, sent


def test_segments_follow_one_another(tmp_path: Path) -> None:
    """The reader does not notice where one ends."""
    folder, sent = rotated(tmp_path)

    items = left(folder)

    assert payloads(items) == sent
    assert damages(items) == []


def test_a_missing_segment_is_damage(tmp_path: Path) -> None:
    """Somebody deleted it, or a file system check did: events are gone, and that must be said."""
    folder, sent = rotated(tmp_path)
    (folder / segment_name(2)).unlink()

    items = left(folder)

    assert payloads(items) == [sent[0], *payloads(items)[1:]]
    assert len(payloads(items)) == 7
    assert [(item.position.segment, item.reason) for item in damages(items)] == [(2, "segments 2 to 2 are missing")]


def test_a_segment_without_a_header_is_damage_as_a_whole_and_kept(tmp_path: Path) -> None:
    """Its salt is lost, so nothing in it can be believed; the others are read."""
    folder, _ = rotated(tmp_path)
    path = folder / segment_name(2)
    path.write_bytes(bytes(path.stat().st_size))

    items = left(folder)

    assert len(payloads(items)) == 7
    assert [(item.position.segment, item.length) for item in damages(items)] == [(2, path.stat().st_size)]
    assert list(tmp_path.glob(f"{DAMAGED}*"))


def test_an_end_that_is_cut_off_before_the_next_segment_is_damage(tmp_path: Path) -> None:
    """The next segment says how far it went: that much was acknowledged."""
    folder, sent = rotated(tmp_path)
    path = folder / segment_name(1)
    os.truncate(path, path.stat().st_size - 1)

    items = left(folder)

    assert payloads(items) == [payload for payload in sent if payload not in sent[2:3]]
    assert [item.reason for item in damages(items)] == ["cut short"]


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 20000, b"SQLite format 3\0" * 600])
def test_a_foreign_file_as_first_segment_does_not_stop_the_others(tmp_path: Path, content: bytes) -> None:
    """A corrupt file at the start must not keep the events of all other workers from being delivered."""
    root = tmp_path / "journal"
    folder, _ = rotated(root)
    (folder / segment_name(1)).write_bytes(content)
    other = written(root, [b"from another worker"])
    journals = SegmentJournals(root)

    found = {reader.name: everything(reader) for reader in journals.discover()}

    assert payloads(found[other.name]) == [b"from another worker"]
    assert len(payloads(found[folder.name])) == 7
    assert bool(damages(found[folder.name])) == bool(content)
    journals.close()


def test_a_segment_of_another_journal_is_not_read_as_ones_own(tmp_path: Path) -> None:
    """A restored backup, a file moved by hand: the carrier's positions mean something else there."""
    folder = written(tmp_path / "a", [b"mine"])
    other = written(tmp_path / "b", [b"other"])
    shutil.copy(other / segment_name(1), folder / segment_name(1))

    items = left(folder)

    assert payloads(items) == []
    assert len(damages(items)) == 1


def a_newer(path: Path) -> None:
    """Make the segment one of a later release."""
    data = bytearray(path.read_bytes())
    for at in (0, COPY_AT):
        data[at : at + 16] = _prefix(FORMAT + 1, 500)
    path.write_bytes(data)


def test_a_later_releases_segment_is_left_for_it_and_reported_once(tmp_path: Path) -> None:
    """After a rollback nothing of it may be skipped or removed."""
    folder, sent = rotated(tmp_path)
    a_newer(folder / segment_name(3))
    reader = SegmentJournalReader(folder)

    items = everything(reader)
    again = everything(reader)

    assert payloads(items) == payloads(again) == sent[: len(payloads(items))]
    assert len(payloads(items)) == 6
    assert [(item.position.segment, item.length) for item in damages(items)] == [(3, 0)]
    assert "a later release wrote it" in damages(items)[0].reason
    assert damages(again) == []
    assert not reader.abandoned()
    with pytest.raises(RuntimeError):
        reader.remove()


def test_damaged_segments_are_kept_for_a_person_but_not_without_end(tmp_path: Path) -> None:
    """What could still be saved by hand must not go with the next release of space."""
    root = tmp_path / "journal"
    for _ in range(20):
        folder = written(root, [b"first"], [b"second"])
        path = folder / segment_name(1)
        data = bytearray(path.read_bytes())
        data[FIRST] ^= 1
        path.write_bytes(data)
        reader = SegmentJournalReader(folder)
        assert len(damages(everything(reader))) == 1
        reader.remove()

    assert [path.name[: len(DAMAGED)] for path in root.iterdir()] == [DAMAGED] * 16


def test_release_unlinks_what_was_carried_and_keeps_the_rest(tmp_path: Path) -> None:
    """Disk space comes back segment by segment, and the last one stays with its writer."""
    folder, sent = rotated(tmp_path)
    reader = SegmentJournalReader(folder)
    items = everything(reader)
    ends = [item.after for item in items if isinstance(item, Entry)]

    reader.release(ends[3])
    assert [path.name for path in segments(folder)] == [segment_name(number) for number in (2, 3, 4)]
    assert payloads(everything(reader, ends[3])) == sent[4:]
    reader.release(ends[5])  # the last record of the second one
    assert [path.name for path in segments(folder)] == [segment_name(number) for number in (3, 4)]
    assert payloads(everything(reader, ends[5])) == sent[6:]
    reader.release(ends[-1])
    assert [path.name for path in segments(folder)] == [segment_name(4)]
    assert everything(reader, ends[-1]) == []
    reader.close()
    assert left(folder, ends[-1]) == []


def test_segments_that_come_back_after_a_power_failure_are_passed_over(tmp_path: Path) -> None:
    """Unlinking is not flushed; the position is."""
    folder, sent = rotated(tmp_path)
    ends = [item.after for item in left(folder) if isinstance(item, Entry)]
    reader = SegmentJournalReader(folder)

    assert payloads(everything(reader, ends[6])) == sent[7:]
    reader.release(ends[6])

    assert segments(folder)[0].name == segment_name(ends[6].segment)


def test_removing_takes_the_name_durably_before_anything_else(tmp_path: Path) -> None:
    """Half a journal under its name would be carried again once the position is forgotten."""
    folder, _ = rotated(tmp_path)
    calls: list[str] = []

    class Watching(OsDisk):
        def rename(self, old: Path, new: Path) -> None:
            calls.append(f"rename {new.name[: len(GOING)]}")
            super().rename(old, new)

        def sync_folder(self, path: Path) -> None:
            calls.append(f"sync {path.name}")
            super().sync_folder(path)

        def unlink(self, path: Path) -> None:
            calls.append("unlink")
            super().unlink(path)

    reader = SegmentJournalReader(folder, Watching())

    reader.remove()

    assert calls[:3] == [f"rename {GOING}", f"sync {tmp_path.name}", "unlink"]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[SegmentJournals]:
    """The journals of tmp_path."""
    journals = SegmentJournals(tmp_path)
    yield journals
    journals.close()


def test_what_dead_makers_and_removers_left_is_cleaned_up(tmp_path: Path, journals: SegmentJournals) -> None:
    """Each kill would cost a folder else."""
    old = time.time() - 3600
    for name in (f"{MAKING}{uuid4()}", f"{GOING}{uuid4()}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
        (tmp_path / name / segment_name(1)).write_bytes(b"x")
        os.utime(tmp_path / name, (old, old))
    young, living = tmp_path / f"{MAKING}{uuid4()}", tmp_path / f"{MAKING}{uuid4()}"
    young.mkdir()
    living.mkdir()
    lock = FolderLock(living)
    lock.make()
    os.utime(living, (old, old))

    assert journals.discover() == []

    assert sorted(tmp_path.iterdir()) == sorted([young, living])
    lock.release()


def test_what_is_no_journal_is_left_alone_and_does_not_disturb(tmp_path: Path, journals: SegmentJournals) -> None:
    """People put things in folders."""
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "lost+found").mkdir()
    folder = written(tmp_path, [b"x"])

    assert [reader.name for reader in journals.discover()] == [folder.name]
    assert [reader.name for reader in journals.discover()] == [folder.name]

    assert (tmp_path / "notes.txt").exists()
    assert (tmp_path / "lost+found").exists()


def test_a_folder_that_does_not_exist_yet_has_no_journals(tmp_path: Path) -> None:
    """The forwarder may start before the first worker."""
    assert SegmentJournals(tmp_path / "later").discover() == []


def test_a_journal_with_nothing_but_its_name_left_is_carried_to_its_end_and_removed(
    tmp_path: Path, journals: SegmentJournals
) -> None:
    """A power failure may leave a folder without lock, stamp or segment."""
    folder = tmp_path / str(uuid4())
    folder.mkdir()
    (reader,) = journals.discover()

    assert reader.abandoned()
    assert everything(reader) == []
    reader.remove()

    assert journals.discover() == []


def test_journals_of_earlier_boots_come_first_and_the_oldest_first_among_them(tmp_path: Path) -> None:
    """Their stamps are of a clock that has started anew since."""
    old = [written(tmp_path, [b"%d" % number]) for number in range(3)]
    for folder, created in zip(old, (300, 100, 200), strict=True):
        as_of_another_boot(folder / segment_name(1), created)
    new = written(tmp_path, [b"new"])
    journals = SegmentJournals(tmp_path)

    readers = journals.discover()

    assert [reader.name for reader in readers] == [folder.name for folder in (old[1], old[2], old[0], new)]
    assert [reader.earlier_boot for reader in readers] == [True, True, True, False]
    journals.close()


def as_of_another_boot(path: Path, created_at: int) -> None:
    """Rewrite a segment's header."""
    from hookline_receiver.journal.format import encode_header

    data = path.read_bytes()
    header = decode_header(data)
    assert isinstance(header, Header)
    fresh = Header(header.journal, header.number, created_at, b"o" * 16, header.salt, header.previous)
    path.write_bytes(encode_header(fresh) + data[FIRST:])


def test_an_abandoned_journal_does_not_hold_others_up(tmp_path: Path) -> None:
    """A worker killed in the middle of a flush leaves its stamp of what was pending."""
    folder = written(tmp_path, [b"x"])
    (folder / "pending").write_bytes((5).to_bytes(8, "little"))

    with contextlib.closing(SegmentJournalReader(folder)) as reader:
        assert reader.watermark(1000) == 1000


def test_records_longer_than_a_window_are_read_whole(tmp_path: Path) -> None:
    """Bodies may be larger than what is read at once."""
    sent = [os.urandom(size) for size in (2**20 - HEAD_SIZE, 2**20, 1, 3 * 2**20, 2**20 - 5)]
    folder = written(tmp_path, *([payload] for payload in sent))

    assert payloads(left(folder)) == sent
    found: list[Entry | Damage] = []
    with contextlib.closing(SegmentJournalReader(folder)) as reader:
        for _ in sent:
            found.append(next(iter(reader.read(after(found[-1]) if found else None, ALL))))
    assert payloads(found) == sent


@pytest.mark.parametrize("bad", [0, COPY_AT, FIRST, FIRST + 2 * 4096, FIRST + 4 * 4096])
def test_a_block_that_can_not_be_read_costs_what_is_in_it_and_no_more(tmp_path: Path, bad: int) -> None:
    """A bad sector answers with an error for ever; the events behind it must not wait for ever."""
    sent = [b"%02d" % number * 500 for number in range(20)]
    folder = written(tmp_path / "journal", *([payload] for payload in sent))
    places = where(folder)
    disk = BreakableDisk()
    disk.bad_blocks = {bad}

    with contextlib.closing(SegmentJournalReader(folder, disk, patience=0)) as reader:
        items = everything(reader)

    assert payloads(items) == [one for one in sent if places[one][2] <= bad or places[one][1] >= bad + 4096]
    assert len(damages(items)) == (bad >= FIRST)


def test_a_read_that_fails_is_tried_again_before_anything_is_given_up(tmp_path: Path) -> None:
    """A volume that is away for a moment must not cost an event."""
    folder = written(tmp_path / "journal", [b"first"], [b"second"])
    disk = BreakableDisk()
    disk.bad_blocks = {FIRST}

    with contextlib.closing(SegmentJournalReader(folder, disk, patience=60)) as reader:
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output error"):
                everything(reader)
        disk.bad_blocks = set()
        items = everything(reader)

    assert payloads(items) == [b"first", b"second"]
    assert damages(items) == []
