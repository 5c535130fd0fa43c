"""Journals as tests need them: small, on disks that break on order, and read to the end."""

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hookline_receiver.journal.disk import OsDisk
from hookline_receiver.journal.log import JournalLimits
from hookline_receiver.journal.port import Damage, Entry, JournalReader, Position
from hookline_receiver.journal.reader import SegmentJournalReader, SegmentJournals

ALL = 2**63
"""An `until` that leaves nothing out."""


def small(
    segment_bytes: int = 64 * 2**20,
    reserve_bytes: int = 0,
    waiting_bytes: int = 64 * 2**20,
    batch_bytes: int = 8 * 2**20,
    stall: float = 2.0,
    retry: float = 0.01,
) -> JournalLimits:
    """Limits that keep nothing in reserve and look after a failure at once."""
    return JournalLimits(segment_bytes, reserve_bytes, waiting_bytes, batch_bytes, stall, retry)


class BreakableDisk(OsDisk):
    """The real disk, until told otherwise."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        """What was asked of it."""
        self.free_bytes: int | None = None
        """What `free` says instead of the truth."""
        self.bad_blocks: set[int] = set()
        """Offsets of blocks that can't be read, in every file."""
        self._faults: dict[str, deque[OSError | int | None]] = {}
        self._always: dict[str, OSError] = {}
        self._gate = threading.Event()
        self._gate.set()

    def fail(self, call: str, error: int = errno.EIO, *, after: int = 0, times: int = 1) -> None:
        """Let *times* calls fail, after *after* good ones."""
        self._faults[call] = deque([None] * after + [OSError(error, os.strerror(error))] * times)

    def fail_always(self, call: str, error: int = errno.EIO) -> None:
        """Let every call fail until `mend`."""
        self._always[call] = OSError(error, os.strerror(error))

    def short_write(self, taken: int, *, after: int = 0) -> None:
        """Let a write take only its first *taken* bytes, and the next one find the disk full."""
        self._faults["write"] = deque([None] * after + [taken, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])

    def take_less(self, *sizes: int) -> None:
        """Let the next writes take only so many bytes each, without an error."""
        self._faults["write"] = deque(sizes)

    def mend(self) -> None:
        """Let everything work again."""
        self._faults.clear()
        self._always.clear()
        self.free_bytes = None

    def hang(self) -> None:
        """Let flushes wait for `go_on`."""
        self._gate.clear()

    def go_on(self) -> None:
        """Let flushes through again."""
        self._gate.set()

    def create(self, path: Path) -> int:
        """See Disk."""
        self._fault("create")
        return super().create(path)

    def write(self, descriptor: int, data: bytes) -> int:
        """See Disk."""
        taken = self._fault("write")
        return super().write(descriptor, data if taken is None else data[:taken])

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """See Disk; fails where it touches `bad_blocks`."""
        if any(block < offset + size and offset < block + 4096 for block in self.bad_blocks):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(descriptor, size, offset)

    def sync(self, descriptor: int) -> None:
        """See Disk."""
        self._gate.wait(30)
        self._fault("sync")
        super().sync(descriptor)

    def sync_folder(self, path: Path) -> None:
        """See Disk."""
        self._fault("sync_folder")
        super().sync_folder(path)

    def rename(self, old: Path, new: Path) -> None:
        """See Disk."""
        self._fault("rename")
        super().rename(old, new)

    def make_folder(self, path: Path) -> None:
        """See Disk."""
        self._fault("make_folder")
        super().make_folder(path)

    def unlink(self, path: Path) -> None:
        """See Disk."""
        self._fault("unlink")
        super().unlink(path)

    def free(self, path: Path) -> int:
        """See Disk."""
        self._fault("free")
        return super().free(path) if self.free_bytes is None else self.free_bytes

    def _fault(self, call: str) -> int | None:
        self.calls.append(call)
        if call in self._always:
            raise self._always[call]
        queue = self._faults.get(call)
        fault = queue.popleft() if queue else None
        if isinstance(fault, OSError):
            raise fault
        return fault


def only_reader(root: Path, boot: bytes | None = None) -> SegmentJournalReader:
    """The one journal that is in *root*."""
    (folder,) = (path for path in root.iterdir() if not path.name.startswith("."))
    return SegmentJournalReader(folder, boot=boot)


def left(folder: Path, position: Position | None = None, *, boot: bytes | None = None) -> list[Entry | Damage]:
    """All that a dead worker left in *folder*."""
    with contextlib.closing(SegmentJournalReader(folder, boot=boot)) as reader:
        assert reader.abandoned() or reader._newer
        return everything(reader, position)


def there(root: Path) -> list[Entry | Damage]:
    """All that the one journal in *root* has now."""
    with contextlib.closing(only_reader(root)) as reader:
        return everything(reader)


def everything(reader: JournalReader, position: Position | None = None) -> list[Entry | Damage]:
    """All that *reader* has now."""
    return list(reader.read(position, ALL))


def payloads(items: Iterable[Entry | Damage]) -> list[bytes]:
    """What the records of *items* hold."""
    return [item.payload for item in items if isinstance(item, Entry)]


def damages(items: Iterable[Entry | Damage]) -> list[Damage]:
    """What of *items* is damage."""
    return [item for item in items if isinstance(item, Damage)]


def after(item: Entry | Damage) -> Position:
    """Where reading goes on behind *item*."""
    if isinstance(item, Entry):
        return item.after
    return Position(item.position.segment, item.position.offset + item.length)


class Merger:
    """Reads all journals of a folder in order, as the carrier does."""

    def __init__(self, root: Path) -> None:
        self._journals = SegmentJournals(root)
        self._positions: dict[str, Position] = {}

    def poll(self) -> list[Entry | Damage]:
        """What can be had in order now."""
        now = self._journals.now()
        readers = self._journals.discover()
        until = min((reader.watermark(now) for reader in readers), default=now)
        found: list[Entry | Damage] = []
        for reader in readers:
            items = list(reader.read(self._positions.get(reader.name), until))
            if items:
                self._positions[reader.name] = after(items[-1])
            found += items
        return sorted(found, key=lambda item: item.stamp if isinstance(item, Entry) else 0)

    def close(self) -> None:
        """Let go of all files."""
        self._journals.close()


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until *condition* holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.002)


async def eventually_async(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until *condition* holds, the event loop running."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.002)


def segments(folder: Path) -> Sequence[Path]:
    """The segment files of a journal's folder."""
    return sorted(folder.glob("*.seg"))
