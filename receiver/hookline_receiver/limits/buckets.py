"""
Token buckets that all workers of a pod share, so that together they hold each subscription's limit.

Splitting the limit by the number of workers would be simpler and wrong: a sender's few kept-alive connections may all
belong to one worker, which would then refuse a tenant at a fraction of what it may send.

The file is a table of fixed slots in shared memory: 8 bytes to tell the subscription by, 8 bytes for the moment its
bucket is full again. A full bucket says nothing, so its slot is free for anybody: the table needs no cleaning.
"""

import fcntl
import hashlib
import math
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hookline_receiver.limits.rate import Allowed, Limited, RateLimit, take
from hookline_receiver.workers.shared_memory import share

SLOTS = 65_536
"""Subscriptions with a bucket that is not full, at once: 1 MiB, six times the largest gateway that is planned for."""

PATIENCE = 0.05
"""Seconds to wait for a worker that stands still in the middle of a decision; a decision takes microseconds."""

_WAIT_AGAIN = 1.0
"""Seconds after a wait in vain in which there is no other: each one stops the loop, for all tenants."""

_RETRY = 0.0002
_PROBES = 16
_SLOT = struct.Struct("<QQ")


class Buckets:
    """The shared table, as one worker sees it. Only subscriptions with a limit are ever looked up in it."""

    def __init__(self, file: Path, clock: Callable[[], int], patience: float = PATIENCE) -> None:
        self._clock = clock
        self._patience = patience
        self._waits_from = 0.0
        self._table = share(file, SLOTS * _SLOT.size)
        self._fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)

    def take(self, uid: str, limit: RateLimit) -> float:
        """0 if the subscription *uid* may send now (and a token is gone), else seconds until it may."""
        key = int.from_bytes(hashlib.blake2b(uid.encode(), digest_size=8).digest()) or 1
        start = key % SLOTS
        locked = self._lock(start)
        try:
            return self._take(key, start, limit, self._clock())
        finally:
            if locked:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, start)

    def close(self) -> None:
        """Let go of the table; it stays for the others."""
        self._table.close()
        os.close(self._fd)

    def _take(self, key: int, start: int, limit: RateLimit, now: int) -> float:
        offset, full_at = self._find(key, start, now)
        match take(limit, full_at, now):
            case Allowed(full_at):
                _SLOT.pack_into(self._table, offset, key, full_at)
                return 0.0
            case Limited(wait):
                return wait if math.isfinite(wait) else 3600.0

    def _find(self, key: int, start: int, now: int) -> tuple[int, int]:
        """Where the key's bucket is, or may be put, and when it is full; a crowded table forgets the fullest one."""
        best, best_full_at = start * _SLOT.size, 1 << 64
        for probe in range(_PROBES):
            offset = (start + probe) % SLOTS * _SLOT.size
            found, full_at = _SLOT.unpack_from(self._table, offset)
            if found == key:
                return offset, full_at
            if full_at < best_full_at:
                best, best_full_at = offset, full_at
            if found == 0:
                break
        return best, now

    def _lock(self, slot: int) -> bool:
        """
        Keep other workers from the bucket for the microseconds that a decision takes.

        A worker that stands still while it holds the lock (stopped, or without a processor) must not stop the others'
        loops: after PATIENCE the decision is made without it, and may let requests through that another one counted. At
        worst the one that stood still writes down what it read before: what the others took meanwhile, one burst at
        most, may be taken again.
        """
        began = time.monotonic()
        deadline = began + self._patience if began >= self._waits_from else began
        while True:
            with suppress(BlockingIOError, PermissionError):
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
                return True
            if (now := time.monotonic()) >= deadline:
                if deadline > began:
                    self._waits_from = now + _WAIT_AGAIN
                return False
            time.sleep(_RETRY)
