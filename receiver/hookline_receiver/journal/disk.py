"""
The file-system calls that durability hangs on, as a port: what a test breaks, delays or counts.

Everything that decides whether an acknowledged record is there after a power failure, or can be read, goes through here;
what is only for the running processes (locks, `pending`) does not.
"""

import fcntl
import os
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """What a journal asks of the file system. Every method raises OSError."""

    def create(self, path: Path) -> int:
        """A descriptor for writing the new file *path*."""

    def write(self, descriptor: int, data: bytes) -> int:
        """How many bytes of *data* were taken, from its start; may be fewer than all."""

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Up to *size* bytes from *offset* on; fewer at the end of the file only."""

    def sync(self, descriptor: int) -> None:
        """Return once the file's data and length are on stable storage."""

    def sync_folder(self, path: Path) -> None:
        """Return once the names in *path* are on stable storage."""

    def close(self, descriptor: int) -> None:
        """Let go of it."""

    def make_folder(self, path: Path) -> None:
        """Make *path* in an existing folder."""

    def rename(self, old: Path, new: Path) -> None:
        """Give *old* the name *new*, at once."""

    def link(self, old: Path, new: Path) -> None:
        """Give the file *old* a second name."""

    def unlink(self, path: Path) -> None:
        """Remove the file's name."""

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""

    def free(self, path: Path) -> int:
        """Bytes that we may still write to *path*'s file system."""

    def linked(self, descriptor: int) -> bool:
        """Whether the file still has a name: what is written to one without is gone with the process."""


class OsDisk:
    """The operating system's."""

    def create(self, path: Path) -> int:
        """A descriptor for writing the new file *path*."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)

    def write(self, descriptor: int, data: bytes) -> int:
        """How many bytes of *data* were taken."""
        return os.write(descriptor, data)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Up to *size* bytes from *offset* on."""
        return os.pread(descriptor, size, offset)

    def sync(self, descriptor: int) -> None:
        """Data and length on stable storage; on macOS past the drive's cache too, where fsync stops."""
        if hasattr(fcntl, "F_FULLFSYNC"):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Names in *path* on stable storage."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self, descriptor: int) -> None:
        """Let go of it."""
        os.close(descriptor)

    def make_folder(self, path: Path) -> None:
        """Make *path*."""
        os.mkdir(path, 0o770)

    def rename(self, old: Path, new: Path) -> None:
        """Give *old* the name *new*."""
        os.rename(old, new)

    def link(self, old: Path, new: Path) -> None:
        """Give the file *old* a second name."""
        os.link(old, new)

    def unlink(self, path: Path) -> None:
        """Remove the file's name."""
        os.unlink(path)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        os.rmdir(path)

    def free(self, path: Path) -> int:
        """Bytes that an unprivileged process may still write."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    def linked(self, descriptor: int) -> bool:
        """Whether the file still has a name."""
        return os.fstat(descriptor).st_nlink > 0
