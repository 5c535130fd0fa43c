"""What each namespace may have written on its account: nobody's changes have tables rewritten without end."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RationLimits:
    """Of one namespace."""

    per_second: float = 2.0 * 1024 * 1024
    """Bytes."""
    burst: float = 48.0 * 1024 * 1024
    """Bytes: all tables of ten thousand subscriptions of a usual size, once."""
    each: int = 64 * 1024
    """Bytes that a write counts for beside its content: every pod hears of it."""


class Ration:
    """An account for each namespace. A write that several have caused waits for none that has something left."""

    def __init__(self, limits: RationLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits or RationLimits(), clock
        self._full_at: dict[str, float] = {}
        """When the account of a namespace is full again; those that are full are left out."""

    def wait(self, causes: Collection[str]) -> float:
        """Seconds until something that these namespaces have caused may be written; nobody's are written at once."""
        now, span = self._clock(), self._limits.burst / self._limits.per_second
        return max(0.0, min((self._full_at.get(each, now) - span - now for each in causes), default=0.0))

    def charge(self, causes: Collection[str], size: int) -> None:
        """So many bytes were written because of these."""
        now = self._clock()
        seconds = (size + self._limits.each) / self._limits.per_second / max(1, len(causes))
        for each in causes:
            self._full_at[each] = max(now, self._full_at.get(each, now)) + seconds
        for each in [each for each, at in self._full_at.items() if at <= now]:
            del self._full_at[each]
