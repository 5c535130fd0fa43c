"""One segment as a reader sees it: what can be read of it now, and what bytes that are no record mean."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from hookline_receiver.journal.disk import Disk
from hookline_receiver.journal.format import (
    FIRST,
    HEAD_SIZE,
    Broken,
    Cut,
    Framing,
    Header,
    Record,
    Unreadable,
    decode_header,
)

WINDOW = 2**20
"""Bytes that are read at once."""
BLOCK = 4096
"""Bytes that are given up at once where the disk can't read them."""


class Hole(Enum):
    """What bytes are that should be a record and are none."""

    DAMAGE = "once acknowledged, now lost"
    TORN = "never acknowledged: what a power failure or a kill left of an unanswered batch"
    UNKNOWN = "the writer may still be at it"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known around a hole that begins at *start*."""

    start: int
    ended: bool
    """Whether the next segment says where this one ends: up to there all was acknowledged."""
    final: bool
    """Whether nothing more will be written here."""
    power_failed: bool
    """Whether the machine was started anew since: only then may bytes be wrong that the process had written."""
    cut: bool
    """Whether the file just ends within the record."""
    followed: bool
    """Whether there is a record behind it."""
    synced: int
    """How much was on stable storage when the records behind it were written, by the most that one of them says."""


def judge(hole: Surroundings) -> Hole:
    """What a hole is."""
    if hole.ended or hole.synced > hole.start:
        return Hole.DAMAGE
    if not hole.final:
        return Hole.UNKNOWN
    if hole.power_failed or (hole.cut and not hole.followed):
        return Hole.TORN
    return Hole.DAMAGE


@dataclass(frozen=True, slots=True)
class Gap:
    """Damage from *start* up to *end*."""

    start: int
    end: int
    reason: str


class Patience:
    """
    How long a read that fails is tried again before what can't be read counts as damage.

    A volume that is away for a moment must not cost events; a bad sector must not stop all others for ever.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._since: float | None = None

    def lost(self) -> bool:
        """A read failed: whether that has gone on for too long."""
        now = self._clock()
        if self._since is None:
            self._since = now
        return now - self._since >= self._seconds

    def renew(self) -> None:
        """A read succeeded."""
        self._since = None


class SegmentFile:
    """An open segment."""

    def __init__(self, path: Path, journal: bytes, number: int, disk: Disk, patience: Patience) -> None:
        """Open it. Raises OSError."""
        self.number = number
        self.path = path
        self._disk = disk
        self._patience = patience
        self.followed = False
        """Whether there is a later segment, so that nothing more is written here."""
        self.end: int | None = None
        """Where what was acknowledged ends, once the next segment says so."""
        self.stuck: tuple[int, int, bool] | None = None
        """Offset, size and state at which nothing could be said: not to be looked at again until one has changed."""
        self._descriptor = os.open(self.path, os.O_RDONLY)
        try:
            self.header = _expected(decode_header(self._read(FIRST, 0)), journal, number)
        except OSError:
            self.close()
            raise
        self.framing = Framing(self.header.salt) if isinstance(self.header, Header) else None
        self._window = b""
        self._window_at = 0
        self._vouched = (0, 0)
        """Size up to which all records were asked in vain, and the most that one said: so holes are judged once."""

    def follow(self, successor: Header | Unreadable) -> None:
        """Learn of the next segment."""
        self.followed = True
        if isinstance(successor, Header) and successor.previous.segment <= self.number:
            # One that names an earlier predecessor says: nothing was ever acknowledged here.
            self.end = successor.previous.offset if successor.previous.segment == self.number else FIRST

    def size(self) -> int:
        """Bytes that may be read: up to its end, or all there are now."""
        size = os.fstat(self._descriptor).st_size
        return size if self.end is None else min(size, self.end)

    def window(self, offset: int, limit: int, least: int) -> tuple[bytes, int]:
        """Bytes with *least* from *offset* on among them, unless *limit* comes first; and where they begin."""
        end = self._window_at + len(self._window)
        if not self._window_at <= offset <= end or end < min(limit, offset + least):
            self._window = self._read(min(max(WINDOW, least), limit - offset), offset)
            self._window_at = offset
            self._patience.renew()
        return self._window, self._window_at

    def _read(self, size: int, offset: int) -> bytes:
        """Bytes of the file, zeros for what can't be read once patience is lost. Raises OSError until then."""
        try:
            return self._disk.read(self._descriptor, size, offset)
        except OSError as error:
            if error.errno != errno.EIO or not self._patience.lost():
                raise
            ends = range(offset - offset % BLOCK + BLOCK, offset + size + BLOCK, BLOCK)
            starts = (offset, *ends)
            return b"".join(
                self._read_block(min(end, offset + size) - start, start)
                for start, end in zip(starts, ends, strict=False)
                if start < offset + size
            )

    def _read_block(self, size: int, offset: int) -> bytes:
        try:
            return self._disk.read(self._descriptor, size, offset)
        except OSError:
            return bytes(max(0, min(size, os.fstat(self._descriptor).st_size - offset)))

    def forget_window(self) -> None:
        """Read anew next time."""
        self._window = b""

    def find(self, offset: int, limit: int) -> tuple[int, int] | None:
        """Offset and *synced* of the first record's head from *offset* on."""
        while self.framing is not None and limit - offset >= HEAD_SIZE:
            data, base = self.window(offset, limit, HEAD_SIZE)
            if (found := self.framing.find(data, offset - base, base)) is not None:
                return base + found[0], found[1]
            offset = max(offset + 1, base + len(data) - HEAD_SIZE + 1)
        return None

    def vouched(self, head: tuple[int, int] | None, start: int, limit: int) -> int:
        """What the records from *head* on say was on stable storage; 0 if none of them says more than *start*."""
        at, most = self._vouched
        if most > start or at == limit:
            return most
        synced = 0
        while head is not None and synced <= start:
            offset, synced = head
            head = self.find(offset + HEAD_SIZE, limit)
        self._vouched = (limit, 0) if synced <= start else (0, synced)
        return self._vouched[1]

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _expected(header: Header | Unreadable, journal: bytes, number: int) -> Header | Unreadable:
    if isinstance(header, Header) and (header.journal, header.number) != (journal, number):
        return Unreadable(f"header is of segment {header.number} of another place")
    return header


class Scan:
    """Goes through a segment from *offset* on; where it has stopped it can be continued."""

    def __init__(self, segment: SegmentFile, offset: int, *, final: bool, power_failed: bool) -> None:
        self.offset = max(offset, FIRST)
        """Where to go on."""
        self._segment = segment
        self._final = final
        self._power_failed = power_failed

    def items(self) -> Iterator[Record | Gap]:
        """What can be said now. `offset` stands behind an item when it is given."""
        segment, framing = self._segment, self._segment.framing
        limit = segment.size()
        least = HEAD_SIZE
        while framing is not None and self.offset < limit:
            data, base = segment.window(self.offset, limit, least)
            found = framing.decode(data, self.offset - base, base)
            if isinstance(found, Record):
                least = HEAD_SIZE
                self.offset += found.size
                if found.seals:
                    return
                yield found
            elif isinstance(found, Cut) and base + len(data) < min(limit, self.offset + found.size):
                least = found.size
            elif segment.stuck == (self.offset, limit, self._ends):
                return
            else:
                least = HEAD_SIZE
                yield from self._pass(found, limit)

    @property
    def _ends(self) -> bool:
        return self._final or self._segment.followed

    def _pass(self, found: Cut | Broken, limit: int) -> Iterator[Gap]:
        start, segment = self.offset, self._segment
        # A body is not searched while its record's head stands: what follows it is known to follow it.
        following = None if isinstance(found, Cut) else segment.find(start + (found.size or 1), limit)
        end = limit if following is None else following[0]
        hole = Surroundings(
            start,
            ended=segment.end is not None,
            final=self._ends,
            power_failed=self._power_failed,
            cut=isinstance(found, Cut),
            followed=following is not None,
            synced=segment.vouched(following, start, limit),
        )
        match judge(hole):
            case Hole.UNKNOWN:
                segment.stuck = (start, limit, self._ends)
                segment.forget_window()
            case Hole.TORN:
                self.offset = end
            case Hole.DAMAGE:
                self.offset = end
                yield Gap(start, end, "cut short" if isinstance(found, Cut) else found.reason)
