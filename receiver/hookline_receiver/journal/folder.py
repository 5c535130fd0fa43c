"""
A journal's folder: its names, its lock, and what goes on between processes that never talk to each other.

    journal/{uuid}/lock            flock'ed as long as the writer lives; whoever can take it knows that nobody writes here
                  /pending         see `PendingStamp`
                  /00000001.seg …  see `format`
                  /.00000002.seg   a segment being made
    journal/.new-{uuid}/           a journal being made
           /.gone-{uuid}/          a journal being removed
           /.damaged-{uuid}-{n}    a second name for a segment in which damage was found
"""

import contextlib
import fcntl
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

from hookline_receiver.journal.disk import Disk

LOCK = "lock"
PENDING = "pending"
MAKING = ".new-"
GOING = ".gone-"
DAMAGED = ".damaged-"
KEPT_DAMAGED = 16
"""How many damaged segments are kept for a person to look at; further ones are not."""
_SUFFIX = ".seg"
_ABANDONED_AFTER = 60.0
"""Seconds after which a journal that is still in the making belongs to a dead process: making one takes milliseconds."""


def segment_name(number: int) -> str:
    """The file name of segment *number*."""
    return f"{number:08d}{_SUFFIX}"


def segment_numbers(folder: Path) -> list[int]:
    """The segments that *folder* has, in order."""
    names = (name[: -len(_SUFFIX)] for name in os.listdir(folder) if name.endswith(_SUFFIX))
    return sorted(int(name) for name in names if name.isdecimal())


def boot_id() -> bytes:
    """16 bytes that tell this boot of the machine from others; zeros where the system does not say."""
    try:
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        else:
            text = Path("/proc/sys/kernel/random/boot_id").read_text()
        return UUID(text.strip()).bytes
    except (OSError, ValueError, subprocess.CalledProcessError):
        return bytes(16)


class FolderLock:
    """An flock on a journal's `lock` file: held until let go of, or until the process is gone, however it went."""

    def __init__(self, folder: Path) -> None:
        """Of *folder*'s; not taken yet."""
        self._folder = folder
        self._descriptor = -1
        self.held = False
        """Whether it is ours."""

    def make(self) -> None:
        """Make and take the lock of a new folder. Raises OSError."""
        self._descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT, 0o660)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.held = True

    def take(self) -> bool:
        """Take it if the writer is gone. False: it lives, or the folder does not let us know."""
        if not self.held:
            self.held = self._take()
        return self.held

    def _take(self) -> bool:
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._folder / LOCK, os.O_RDONLY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            # The lock is made before the folder gets its name: without one it did not outlive a power failure.
            return self._folder.is_dir()
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Let go of it."""
        self.held = False
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class PendingStamp:
    """
    The stamp of the oldest record that is not readable yet, 0 if there is none: 8 bytes that writer and reader share.

    One aligned store or load of the machine's word, so never half a value. It is worth nothing after the processes
    are gone, and never flushed.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """
        Share *path*, with *create* as its writer. Raises OSError, or ValueError if it has no 8 bytes.

        The bytes are written before they are mapped: a store into a hole of a full disk would kill the process.
        """
        if create:
            path.write_bytes(bytes(8))
        descriptor = os.open(path, os.O_RDWR if create else os.O_RDONLY)
        try:
            self._map = mmap.mmap(descriptor, 8, access=mmap.ACCESS_WRITE if create else mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        self._word = memoryview(self._map).cast("Q")

    @property
    def value(self) -> int:
        """What it is now."""
        return self._word[0]

    def store(self, stamp: int) -> None:
        """Let readers see *stamp*."""
        self._word[0] = stamp

    def close(self) -> None:
        """Let go of it."""
        self._word.release()
        self._map.close()


def make_root(root: Path, disk: Disk) -> None:
    """Make *root* and the folders above it, durably. Raises OSError."""
    if not root.parent.is_dir():
        make_root(root.parent, disk)
    with contextlib.suppress(FileExistsError):
        disk.make_folder(root)
    # Also if it is there: another process may have made it a moment ago.
    disk.sync_folder(root.parent)


def remove_journal(folder: Path, disk: Disk) -> None:
    """
    Remove *folder*; when this returns it does not come back. Raises OSError.

    First it loses its name, at once and durably: a power failure must not leave half a journal to be read.
    """
    gone = folder.with_name(GOING + folder.name)
    disk.rename(folder, gone)
    disk.sync_folder(folder.parent)
    remove_tree(gone, disk)


def remove_tree(folder: Path, disk: Disk) -> None:
    """Remove *folder* and its files. Raises OSError."""
    for name in os.listdir(folder):
        disk.unlink(folder / name)
    disk.remove_folder(folder)


def left_behind(folder: Path, *, now: float | None = None) -> bool:
    """Whether a hidden folder is what a dead process left of making or removing a journal."""
    if folder.name.startswith(GOING):
        return True
    age = (time.time() if now is None else now) - folder.stat().st_mtime
    if not folder.name.startswith(MAKING) or age < _ABANDONED_AFTER:
        return False
    lock = FolderLock(folder)
    dead = lock.take()
    lock.release()
    return dead
