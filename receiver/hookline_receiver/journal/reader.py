"""
`SegmentJournalReader`: the reading end of one journal, on files; `SegmentJournals`: where all of them are found.

Reading goes segment by segment. Where one ends is said by the header of the next; in the last one it is what can be
read now. Behind bytes that are no record it looks for the next one, and `segment.judge` says whether they are damage.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

from hookline_receiver.journal.disk import Disk, OsDisk
from hookline_receiver.journal.folder import (
    DAMAGED,
    KEPT_DAMAGED,
    PENDING,
    FolderLock,
    PendingStamp,
    boot_id,
    left_behind,
    remove_journal,
    remove_tree,
    segment_name,
    segment_numbers,
)
from hookline_receiver.journal.format import FIRST, Header, Unreadable
from hookline_receiver.journal.port import Damage, Entry, Position
from hookline_receiver.journal.segment import Gap, Patience, Scan, SegmentFile

log = logging.getLogger(__name__)

VISIBLE_AFTER = 50_000
"""Nanoseconds after which a store by one core is seen by all others, with much to spare: see `watermark`."""

PATIENCE = 60.0
"""Seconds for which a read that fails is tried again, OSError going to the caller, before it counts as damage."""


class SegmentJournalReader:
    """One journal, live or left behind."""

    def __init__(
        self, folder: Path, disk: Disk | None = None, boot: bytes | None = None, patience: float = PATIENCE
    ) -> None:
        """Read *folder*, whose name is the journal's UUID; *boot*: this boot's id; *patience* with reads that fail."""
        self._folder = folder
        self._journal = UUID(folder.name).bytes
        self._disk = disk or OsDisk()
        self._boot = boot_id() if boot is None else boot
        self._patience = Patience(patience, time.monotonic)
        self._lock = FolderLock(folder)
        self._pending: PendingStamp | None = None
        self._segment: SegmentFile | None = None
        self._refused: set[int] = set()
        self._newer: bool | None = None
        self._header: Header | None = None

    @property
    def name(self) -> str:
        """Unique for ever."""
        return self._folder.name

    @property
    def boot(self) -> str:
        """Names the boot that its stamps are of."""
        return self.boot_id.hex()

    @property
    def boot_id(self) -> bytes:
        """16 bytes: the boot that its stamps are of; zeros if that is not known."""
        header = self._any_header()
        return header.boot if header is not None else bytes(16)

    @property
    def created_at(self) -> int:
        """When its first remaining segment was made: nanoseconds since the epoch; 0 if that is not known."""
        header = self._any_header()
        return header.created_at if header is not None else 0

    @property
    def earlier_boot(self) -> bool:
        """Whether a dead worker of an earlier boot left it."""
        return self._writer_gone() and self.boot_id != self._boot

    def abandoned(self) -> bool:
        """Whether the writer is gone for good, and all that it left can be read by this release."""
        if self._writer_gone() and self._newer is None:
            self._newer = any(self._is_newer(number) for number in segment_numbers(self._folder))
        return self._newer is False

    def watermark(self, now: int) -> int:
        """No record that becomes visible after this call has a stamp below the returned one."""
        if self._writer_gone():
            return now
        # The writer stores `pending` and then reads the clock, we read the clock and then load `pending`: right on
        # condition that its store has reached us, which no core keeps back for longer than this.
        if 0 < (wait := now + VISIBLE_AFTER - time.monotonic_ns()) <= VISIBLE_AFTER:
            time.sleep(wait / 1e9)
        try:
            if self._pending is None:
                self._pending = PendingStamp(self._folder / PENDING)
        except (OSError, ValueError):
            return now if self._writer_gone() else 0
        return min(now, self._pending.value or now)

    def read(self, position: Position | None, until: int) -> Iterator[Entry | Damage]:
        """Records from *position* on whose stamp is below *until*, and the damage between them."""
        place = position or Position(0, 0)
        final = self._writer_gone()
        while (segment := self._open_from(place)) is not None:
            if segment.number > place.segment:
                yield from self._missing(segment, place)
                place = Position(segment.number, 0)
            if isinstance(segment.header, Unreadable):
                yield from self._unreadable(segment, segment.header, place.offset, final)
                if segment.header.newer:
                    return
            else:
                scan = self._scan(segment, place.offset, final)
                for item in scan.items():
                    if isinstance(item, Gap):
                        yield self._damage(segment, item)
                    elif item.stamp >= until:
                        return
                    else:
                        yield Entry(item.payload, item.stamp, Position(segment.number, scan.offset))
                place = Position(segment.number, scan.offset)
            if segment.followed:
                place = Position(segment.number + 1, 0)
            elif not self._follow(segment):
                return

    def release(self, position: Position) -> None:
        """Unlink sealed segments that lie wholly before *position*."""
        # No flush: a segment that a power failure brings back lies before the position, and is unlinked again.
        for number in segment_numbers(self._folder):
            if number < position.segment or (number == position.segment and self._wholly_before(number, position)):
                self._drop(number)
                with contextlib.suppress(FileNotFoundError):
                    self._disk.unlink(self._folder / segment_name(number))

    def remove(self) -> None:
        """Remove an abandoned journal that was carried to its end. Raises OSError."""
        if not self.abandoned():
            raise RuntimeError(f"journal {self.name} is not abandoned")
        self._drop(None)
        remove_journal(self._folder, self._disk)
        self.close()

    def close(self) -> None:
        """Let go of open files, and of the lock."""
        self._drop(None)
        if self._pending is not None:
            self._pending.close()
            self._pending = None
        self._lock.release()

    def _writer_gone(self) -> bool:
        return self._lock.take()

    def _is_newer(self, number: int) -> bool:
        with contextlib.closing(self._open(number)) as segment:
            return isinstance(segment.header, Unreadable) and segment.header.newer

    def _any_header(self) -> Header | None:
        if self._header is None:
            with contextlib.suppress(OSError):
                self._header = next(self._headers(segment_numbers(self._folder)), None)
        return self._header

    def _headers(self, numbers: Sequence[int]) -> Iterator[Header]:
        for number in numbers:
            with contextlib.closing(self._open(number)) as segment:
                if isinstance(segment.header, Header):
                    yield segment.header

    def _open(self, number: int) -> SegmentFile:
        path = self._folder / segment_name(number)
        return SegmentFile(path, self._journal, number, self._disk, self._patience)

    def _open_from(self, place: Position) -> SegmentFile | None:
        """The segment that holds *place*, or the next one that there is."""
        if self._segment is not None and self._segment.number == place.segment:
            return self._segment
        number = next((number for number in segment_numbers(self._folder) if number >= place.segment), None)
        self._drop(None)
        if number is not None:
            self._segment = self._open(number)
            self._follow(self._segment)
        return self._segment

    def _follow(self, segment: SegmentFile) -> bool:
        """Look for the segment after *segment*."""
        number = next((number for number in segment_numbers(self._folder) if number > segment.number), None)
        if number is None:
            return False
        with contextlib.closing(self._open(number)) as successor:
            segment.follow(successor.header)
        return True

    def _drop(self, number: int | None) -> None:
        if self._segment is not None and number in (None, self._segment.number):
            self._segment.close()
            self._segment = None

    def _wholly_before(self, number: int, position: Position) -> bool:
        with contextlib.closing(self._open(number)) as segment:
            return self._follow(segment) and position.offset >= segment.size()

    def _scan(self, segment: SegmentFile, offset: int, final: bool) -> Scan:
        assert isinstance(segment.header, Header)
        boot = segment.header.boot
        return Scan(segment, offset, final=final, power_failed=boot != self._boot or not any(boot))

    def _missing(self, segment: SegmentFile, place: Position) -> Iterator[Damage]:
        if not isinstance(segment.header, Header):
            return
        last = segment.header.previous
        start = max(place, Position(last.segment, FIRST))
        if place.segment <= last.segment < segment.number and start < last:
            reason = f"segments {max(place.segment, 1)} to {last.segment} are missing"
            length = last.offset - start.offset
            yield self._report(Damage(self.name, start, length, reason))

    def _unreadable(self, segment: SegmentFile, header: Unreadable, offset: int, final: bool) -> Iterator[Damage]:
        size = segment.size()
        if segment.number in self._refused or (segment.end is not None and segment.end <= FIRST) or offset >= size:
            return
        if header.newer:
            self._refused.add(segment.number)
            yield self._report(Damage(self.name, Position(segment.number, offset), 0, header.reason))
        elif final or segment.followed:
            self._keep(segment)
            yield self._report(Damage(self.name, Position(segment.number, offset), size - offset, header.reason))

    def _damage(self, segment: SegmentFile, gap: Gap) -> Damage:
        self._keep(segment)
        return self._report(Damage(self.name, Position(segment.number, gap.start), gap.end - gap.start, gap.reason))

    def _report(self, damage: Damage) -> Damage:
        log.error(
            "journal is damaged",
            extra={
                "journal": damage.journal,
                "segment": damage.position.segment,
                "offset": damage.position.offset,
                "length": damage.length,
                "reason": damage.reason,
            },
        )
        return damage

    def _keep(self, segment: SegmentFile) -> None:
        """Give a damaged segment a second name: it will be unlinked, and a person may want to look at it."""
        root = self._folder.parent
        try:
            if sum(name.startswith(DAMAGED) for name in os.listdir(root)) < KEPT_DAMAGED:
                self._disk.link(segment.path, root / f"{DAMAGED}{self.name}-{segment.number:08d}")
        except FileExistsError:
            pass
        except OSError as error:
            log.warning("damaged segment can't be kept", extra={"file": str(segment.path), "error": str(error)})


class SegmentJournals:
    """The journals in a folder."""

    def __init__(
        self,
        root: Path,
        disk: Disk | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        boot: bytes | None = None,
    ) -> None:
        """Journals are in *root*, which need not exist yet; *clock* is the one that writers of this *boot* stamp by."""
        self._root = root
        self._disk = disk or OsDisk()
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        self._readers: dict[str, SegmentJournalReader] = {}
        self._passed_over: set[str] = set()

    def now(self) -> int:
        """The clock that stamps are of: nanoseconds."""
        return self._clock()

    def discover(self) -> Sequence[SegmentJournalReader]:
        """Every journal there is, those of earlier boots first and the oldest first among them."""
        try:
            names = os.listdir(self._root)
        except FileNotFoundError:
            names = []
        for gone in self._readers.keys() - set(names):
            self._readers.pop(gone).close()
        for name in names:
            if name not in self._readers and name not in self._passed_over:
                self._meet(name)
        return sorted(self._readers.values(), key=_rank)

    def close(self) -> None:
        """Let go of all open files."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _meet(self, name: str) -> None:
        folder = self._root / name
        try:
            if name.startswith("."):
                if left_behind(folder):
                    remove_tree(folder, self._disk)
            elif str(UUID(name)) == name and folder.is_dir():
                self._readers[name] = SegmentJournalReader(folder, self._disk, self._boot)
            else:
                self._pass_over(name, "not a journal")
        except FileNotFoundError:
            pass  # made or removed by another process just now
        except (OSError, ValueError) as error:
            self._pass_over(name, str(error))

    def _pass_over(self, name: str, reason: str) -> None:
        self._passed_over.add(name)
        log.warning("no journal, left alone", extra={"path": str(self._root / name), "reason": reason})


def _rank(reader: SegmentJournalReader) -> tuple[bool, int, str]:
    earlier = reader.earlier_boot
    return not earlier, reader.created_at if earlier else 0, reader.name


def discover(root: Path) -> Sequence[SegmentJournalReader]:
    """The journals in *root*, once; whoever asks again and again keeps a `SegmentJournals`."""
    return SegmentJournals(root).discover()
