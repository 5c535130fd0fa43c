"""
What one worker writes, segment after segment: the blocking half of a journal, used by one thread.

Order is what makes it safe. A segment is made under a hidden name, its header flushed, then named, then its folder
flushed, before a record in it counts. A record counts once the file was flushed after it. After a failed write or flush
the file is left alone for good: the system may have dropped the pages and would call the next flush a success. The
next segment's header says where the acknowledged part of the old one ends, and the unanswered records are written anew.
"""

import contextlib
import errno
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from hookline_receiver.journal.disk import Disk
from hookline_receiver.journal.folder import segment_name
from hookline_receiver.journal.format import FIRST, HEAD_SIZE, Framing, Header, encode_header, usable
from hookline_receiver.journal.port import JournalUnavailable, Position

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """Sizes and times of one worker's journal."""

    segment_bytes: int = 64 * 2**20
    """A segment that has reached this is followed by a new one. Carried segments are what disk space comes back from."""
    reserve_bytes: int = 64 * 2**20
    """Free bytes below which nothing is taken any more: the store, which makes room, needs some itself."""
    waiting_bytes: int = 64 * 2**20
    """Bytes that may be unanswered at once: a disk that hangs must not eat the memory."""
    batch_bytes: int = 8 * 2**20
    """Bytes of one flush (one record always fits)."""
    stall: float = 2.0
    """Seconds of one flush after which the journal is reported unavailable: the sender's patience."""
    retry: float = 1.0
    """Seconds between attempts to go on after a failure, while nobody asks."""


class SegmentLog:
    """The segments of one journal."""

    def __init__(self, folder: Path, journal: UUID, boot: bytes, limits: JournalLimits, disk: Disk) -> None:
        self.folder = folder
        """Where the segments are; follows the folder when it is renamed."""
        self.failure: str | None = None
        """Why the last write failed, until one succeeds or `heal` did."""
        self._journal = journal
        self._boot = boot
        self._limits = limits
        self._disk = disk
        self._number = 0
        self._end = Position(0, 0)
        self._descriptor: int | None = None
        self._framing = Framing(bytes(16))
        self._rotate_at = 0

    @property
    def file(self) -> Path:
        """The segment written last."""
        return self.folder / segment_name(self._number)

    def begin(self) -> None:
        """Make the first segment. Raises OSError."""
        self._next_segment()

    def write(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Return once the (stamp, payload) *records* are on stable storage, else raise JournalUnavailable."""
        self._keep_reserve(HEAD_SIZE * len(records) + sum(len(payload) for _, payload in records))
        self._rotate_if_due()
        try:
            self._flush(records)
        except OSError as error:
            log.warning(
                "journal segment failed, going on in a new one",
                extra={"file": str(self.file), "error": str(error), "records": len(records)},
            )
            self._flush_elsewhere(records)
        self.failure = None

    def heal(self) -> None:
        """Try to be able to write again."""
        if self._descriptor is None:
            try:
                self._next_segment()
            except OSError as error:
                self.failure = self._describe(error)
                return
        self.failure = None

    def shortage(self, size: int) -> str | None:
        """Why the disk has no room for *size* more bytes, or None."""
        try:
            free = self._disk.free(self.folder)
        except OSError as error:
            return f"journal {self.file}: {error.strerror}"
        if free - size >= self._limits.reserve_bytes:
            return None
        return f"journal {self.file}: {free} bytes free, {self._limits.reserve_bytes} are kept in reserve"

    def seal(self) -> None:
        """End in good order; what was written is already on stable storage, so that this may be lost."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._disk.write(self._descriptor, self._framing.seal(self._end.offset))
            self._let_go()

    def _keep_reserve(self, size: int) -> None:
        if (shortage := self.shortage(size)) is not None:
            raise JournalUnavailable(shortage)

    def _rotate_if_due(self) -> None:
        if self._descriptor is None or self._end.offset < self._rotate_at:
            return
        try:
            self._next_segment()
        except OSError as error:
            # While the old segment is healthy and not yet followed, it can as well be a little longer.
            self._rotate_at = self._end.offset + self._limits.segment_bytes // 8
            log.warning("journal segment could not be made", extra={"file": str(self.file), "error": str(error)})

    def _flush(self, records: Sequence[tuple[int, bytes]]) -> None:
        if self._descriptor is None:
            raise OSError(errno.EIO, "no segment to write to after an earlier failure")
        data = b"".join(self._framing.encode(records, self._end.offset))
        try:
            self._write_whole(self._descriptor, data)
            self._disk.sync(self._descriptor)
            if not self._disk.linked(self._descriptor):
                raise OSError(errno.ENOENT, "the segment was removed under the journal")
        except OSError:
            self._let_go()
            raise
        self._end = Position(self._number, self._end.offset + len(data))

    def _flush_elsewhere(self, records: Sequence[tuple[int, bytes]]) -> None:
        try:
            self._next_segment()
            self._flush(records)
        except OSError as error:
            self.failure = self._describe(error)
            raise JournalUnavailable(self.failure) from error

    def _write_whole(self, descriptor: int, data: bytes) -> None:
        while data:
            taken = self._disk.write(descriptor, data)
            if taken <= 0:
                raise OSError(errno.EIO, "the file system took nothing")
            data = data[taken:]

    def _next_segment(self) -> None:
        number = self._number + 1
        final = self.folder / segment_name(number)
        making = final.with_name("." + final.name)
        header = Header(self._journal.bytes, number, time.time_ns(), self._boot, _salt(), self._end)
        descriptor = self._make_file(making, header)
        # From here on the name may be found after a power failure, and says that its predecessor has ended.
        self._let_go()
        self._number = number
        try:
            self._disk.rename(making, final)
            self._disk.sync_folder(self.folder)
        except OSError:
            self._discard(descriptor, making, final)
            raise
        self._descriptor = descriptor
        self._framing = Framing(header.salt)
        self._end = Position(number, FIRST)
        self._rotate_at = self._limits.segment_bytes

    def _make_file(self, path: Path, header: Header) -> int:
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(path)
        descriptor = self._disk.create(path)
        try:
            self._write_whole(descriptor, encode_header(header))
            self._disk.sync(descriptor)
        except OSError:
            self._discard(descriptor, path)
            raise
        return descriptor

    def _discard(self, descriptor: int, *paths: Path) -> None:
        self._close(descriptor)
        for path in paths:
            with contextlib.suppress(OSError):
                self._disk.unlink(path)

    def _let_go(self) -> None:
        if self._descriptor is not None:
            self._close(self._descriptor)
            self._descriptor = None

    def _close(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):
            self._disk.close(descriptor)

    def _describe(self, error: OSError) -> str:
        try:
            free = f"{self._disk.free(self.folder)} bytes free"
        except OSError:
            free = "free space unknown"
        return f"journal {self.file}: {error.strerror or error} ({free})"


def _salt() -> bytes:
    while not usable(salt := os.urandom(16)):
        pass
    return salt
