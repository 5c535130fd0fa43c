"""
A place that a worker has among the others of its pod: `run/workers/{number}/`, told as taken by a lock on a file in it.

A worker takes the first free place, and with it what its last owner left there: counters go on, they do not begin anew,
and nobody has to sum up the dead. A lock goes with its process, whatever ends it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MAX_WORKERS = 256


class NoWorkerSlot(Exception):
    """More workers at once than there are places; the message names the folder and the limit."""


class WorkerSlot:
    """A place that is taken as long as this object lives, or until `release`."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock: int | None = lock

    @property
    def number(self) -> int:
        """Of the place, from 0: small, and used again."""
        return int(self.folder.name)

    def release(self) -> None:
        """Let another worker have the place."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def take_slot(workers: Path) -> WorkerSlot:
    """The first free place in the folder *workers*; NoWorkerSlot if there is none, OSError if it can't be written to."""
    for number in range(MAX_WORKERS):
        folder = workers / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return WorkerSlot(folder, lock)
    raise NoWorkerSlot(f"{workers}: all {MAX_WORKERS} places are taken")


def all_slots(workers: Path) -> Iterator[Path]:
    """The folders of all places that were ever taken, in the order of their numbers."""
    with suppress(FileNotFoundError):
        yield from sorted((f for f in workers.iterdir() if f.name.isdigit()), key=lambda f: int(f.name))


def is_taken(folder: Path) -> bool:
    """Whether a living worker has the place at *folder*."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
