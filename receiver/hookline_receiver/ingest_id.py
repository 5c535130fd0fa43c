"""Ids of our own for each acceptance: UUIDv7 (RFC 9562), so that they sort by time."""

import os
from collections.abc import Callable

_COUNTER_BITS = 74
_FRESH_BITS = 73  # the top bit starts empty, so that a millisecond's ids can't run over
_STEP_BYTES = 4
_FRESH_BYTES = 10
_DRAWN_BYTES = 4096  # at once: a system call for each id would take longer than the id


class IngestIds:
    """
    Makes ids that only go up within this process and are unique among all.

    74 random bits a millisecond, counted up by random steps within it (RFC 9562, 6.2, method 2). A clock that steps back
    does not make them go down: the last time is kept until the clock has passed it. Not safe across fork: make one in
    each worker.
    """

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._drawn = b""
        self._at = 0
        self._last_ms = 0
        self._counter = 0

    def new(self, now_ns: int) -> bytes:
        """The next id, 16 bytes, for something that happens at *now_ns* (nanoseconds since the epoch)."""
        now_ms = now_ns // 1_000_000
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            self._counter = self._chance(_FRESH_BYTES) & ((1 << _FRESH_BITS) - 1)
        else:
            self._counter += 1 + self._chance(_STEP_BYTES)
            if self._counter >> _COUNTER_BITS:
                self._last_ms += 1
                self._counter &= (1 << _FRESH_BITS) - 1
        high = self._counter >> 62
        low = self._counter & ((1 << 62) - 1)
        return (self._last_ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low).to_bytes(16)

    def _chance(self, count: int) -> int:
        at = self._at
        if at + count > len(self._drawn):
            self._drawn, at = self._random(_DRAWN_BYTES), 0
        self._at = at + count
        return int.from_bytes(self._drawn[at : at + count])
