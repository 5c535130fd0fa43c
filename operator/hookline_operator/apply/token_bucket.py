"""How often something may be done: so many at once, so many a second."""

import asyncio
import time
from collections.abc import Callable


class TokenBucket:
    """Full at the start. For one event loop."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """*rate* tokens a second, at most *burst* saved up."""
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._at = float(burst), clock()

    def take_now(self) -> bool:
        """Whether there was a token; it is taken."""
        self._fill()
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    async def take(self) -> None:
        """A token, as soon as there is one; who asks first gets the first."""
        self._fill()
        self._tokens -= 1.0
        if self._tokens < 0.0:
            await asyncio.sleep(-self._tokens / self._rate)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(float(self._burst), self._tokens + (now - self._at) * self._rate)
        self._at = now
