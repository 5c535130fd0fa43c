"""
What is still to be done: each key at most once, in turns by namespace, urgent ones first, failed ones after a while.

A lane adds the keys of what may have changed, takes some, works them off, and says of each whether it is done or failed.
A key that is added while it is worked on is handed out again afterwards, never twice at once.
"""

import asyncio
import heapq
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

URGENT_IN_A_ROW = 3
"""Of four keys handed out one is not urgent if there is one: nobody's flood of urgent keys holds up all others."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a key waits after its nth failure in a row: anything up to min(most, first * 2**(n-1)), by chance."""

    first: float = 0.5
    """Seconds."""
    most: float = 60.0
    """Seconds."""

    def delay(self, failures: int, chance: float) -> float:
        """Seconds to wait after that many failures, at least a tenth of the bound; *chance* is within [0, 1)."""
        bound = min(self.most, self.first * 2.0 ** min(failures - 1, 60))
        return bound * (0.1 + 0.9 * chance)


class WorkQueue(Generic[K]):
    """The keys of one lane. For one event loop; nothing but `take` waits."""

    def __init__(
        self,
        namespace_of: Callable[[K], str],
        *,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._backoff = backoff or Backoff()
        self._clock, self._chance = clock, chance
        self._urgent, self._usual = _Turns(namespace_of), _Turns(namespace_of)
        self._working: dict[K, bool] = {}
        self._again: dict[K, tuple[bool, float]] = {}
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, tuple[float, bool]] = {}
        self._failures: dict[K, int] = {}
        self._numbers = 0
        self._in_a_row = 0
        self._changed = asyncio.Event()

    def add(self, keys: Iterable[K], *, urgent: bool = False, after: float = 0.0) -> None:
        """
        To be handed out, at once or *after* seconds; at most once each, however often they are added.

        Adding a key that waits, for its backoff too, hands it out at once: something about it has changed. What it waited
        for is forgotten then: who works it off says anew when it is to be looked at again.
        """
        now = self._clock()
        for key in keys:
            if after > 0:
                self._postpone(key, now + after, urgent)
            elif key in self._working:
                was_urgent, since = self._again.get(key, (False, now))
                self._again[key] = (urgent or was_urgent, since)
            else:
                self._ready(key, urgent, now)
        self._changed.set()

    async def take(self, most: int = 1) -> tuple[K, ...]:
        """Up to *most* keys, at least one, as soon as there are any. Each is to be `done` or `failed` afterwards."""
        while True:
            self._changed.clear()
            if keys := self.take_now(most):
                return keys
            wait = None if not self._later else max(0.0, self._later[0][0] - self._clock())
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def take_now(self, most: int = 1) -> tuple[K, ...]:
        """Those of them that are ready now; may be none."""
        self._wake()
        taken: list[K] = []
        while len(taken) < most and (self._urgent or self._usual):
            urgent = self._is_urgent_next()
            key = (self._urgent if urgent else self._usual).pop()
            self._working[key] = urgent
            taken.append(key)
        return tuple(taken)

    def done(self, key: K) -> None:
        """Worked off; forgets its failures."""
        self._failures.pop(key, None)
        self._working.pop(key, None)
        self._resume(key)

    def failed(self, key: K) -> float:
        """To be tried again after a while (given back, in seconds), longer each time; at once if it was added meanwhile."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures, self._chance())
        urgent = self._working.pop(key, False)
        if not self._resume(key):
            self._postpone(key, self._clock() + delay, urgent)
        self._changed.set()
        return delay

    def failures(self, key: K) -> int:
        """In a row."""
        return self._failures.get(key, 0)

    def clear(self) -> None:
        """Forget everything: for the end of a term. Keys that are worked on then may still be `done` or `failed`."""
        self._urgent.clear()
        self._usual.clear()
        self._working.clear()
        self._again.clear()
        self._later.clear()
        self._due.clear()
        self._failures.clear()

    def has_urgent(self) -> bool:
        """Whether one that is ready is urgent."""
        return bool(self._urgent)

    def __len__(self) -> int:
        """Keys that are ready."""
        return len(self._urgent) + len(self._usual)

    @property
    def waiting(self) -> int:
        """Keys that are to be handed out later."""
        return len(self._due)

    @property
    def working(self) -> int:
        """Keys that are worked on."""
        return len(self._working)

    def oldest_age(self) -> float:
        """Seconds for which the one that has been ready for the longest time has waited; 0 without one."""
        since = min((turns.oldest() for turns in (self._urgent, self._usual) if turns), default=None)
        return 0.0 if since is None else max(0.0, self._clock() - since)

    def _is_urgent_next(self) -> bool:
        if self._urgent and (not self._usual or self._in_a_row < URGENT_IN_A_ROW):
            self._in_a_row += 1
            return True
        self._in_a_row = 0
        return False

    def _ready(self, key: K, urgent: bool, since: float) -> None:
        self._due.pop(key, None)
        if key in self._urgent:
            return
        if not urgent:
            self._usual.put(key, since)
            return
        earlier = self._usual.drop(key)
        self._urgent.put(key, since if earlier is None else earlier)

    def _resume(self, key: K) -> bool:
        again = self._again.pop(key, None)
        if again is None:
            return False
        self._ready(key, *again)
        self._changed.set()
        return True

    def _postpone(self, key: K, due: float, urgent: bool) -> None:
        if key in self._urgent or key in self._usual or key in self._again:
            return
        known = self._due.get(key)
        if known and known[0] <= due:
            self._due[key] = (known[0], known[1] or urgent)
            return
        self._due[key] = (due, urgent or bool(known and known[1]))
        self._numbers += 1
        heapq.heappush(self._later, (due, self._numbers, key))

    def _wake(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            known = self._due.get(key)
            if known is None or known[0] != due:
                continue
            del self._due[key]
            if key in self._working:
                self._again.setdefault(key, (known[1], now))
            else:
                self._ready(key, known[1], now)


class _Turns(Generic[K]):
    """Keys by namespace, first come first served within one; the namespaces take turns."""

    def __init__(self, namespace_of: Callable[[K], str]) -> None:
        self._namespace_of = namespace_of
        self._namespaces: OrderedDict[str, OrderedDict[K, float]] = OrderedDict()
        self._since: OrderedDict[K, float] = OrderedDict()

    def put(self, key: K, since: float) -> None:
        if key not in self._since:
            self._since[key] = since
            self._namespaces.setdefault(self._namespace_of(key), OrderedDict())[key] = since

    def pop(self) -> K:
        namespace, keys = self._namespaces.popitem(last=False)
        key, _ = keys.popitem(last=False)
        if keys:
            self._namespaces[namespace] = keys
        del self._since[key]
        return key

    def drop(self, key: K) -> float | None:
        since = self._since.pop(key, None)
        if since is not None:
            namespace = self._namespace_of(key)
            keys = self._namespaces[namespace]
            del keys[key]
            if not keys:
                del self._namespaces[namespace]
        return since

    def oldest(self) -> float:
        return next(iter(self._since.values()))

    def clear(self) -> None:
        self._namespaces.clear()
        self._since.clear()

    def __contains__(self, key: K) -> bool:
        return key in self._since

    def __len__(self) -> int:
        return len(self._since)
