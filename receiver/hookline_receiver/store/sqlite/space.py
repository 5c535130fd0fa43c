"""How large the WAL may grow, and what is kept free so that a full disk stops arrivals only, never what works them off."""

import os
from dataclasses import dataclass
from pathlib import Path

_LARGEST_WAL = 16 << 20
_SMALLEST_WAL = 256 << 10


@dataclass(frozen=True, slots=True)
class Space:
    """Bounds for one volume."""

    wal_bytes: int
    """
    From this size on the WAL is carried into the database: 16 MiB, less on a volume below 1 GiB.

    It is what a start after a crash has to read; a larger one saves writes of pages that change often.
    """
    reserve_bytes: int
    """
    With less than this free nothing is added: twice the WAL, as it may grow and be carried over.

    Less than the journal's own reserve (64 MiB), so that a journal that has stopped for want of space can still be carried.
    """

    @classmethod
    def of(cls, folder: Path) -> "Space":
        """Bounds for the volume that *folder* is on."""
        status = os.statvfs(folder)
        wal_bytes = max(_SMALLEST_WAL, min(_LARGEST_WAL, status.f_blocks * status.f_frsize // 64))
        return cls(wal_bytes, 2 * wal_bytes)


def free_bytes(folder: Path) -> int:
    """What this process may still write on the volume of *folder*."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
