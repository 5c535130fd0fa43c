"""How many mails a minute."""

from collections.abc import Callable
from threading import Lock


class Rate:
    """A bucket of tokens: so many at once, and so many a minute in the long run. Safe to use from several threads."""

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float]) -> None:
        """*clock* counts seconds and never goes back."""
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._tokens = float(burst)
        self._then = clock()
        self._lock = Lock()

    def take(self) -> bool:
        """Whether one more may go now."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._then) * self._per_second)
            self._then = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
