"""A journal in memory: both ends in one object, for tests of what writes to one or carries one. Nothing is durable."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from uuid import uuid4

from hookline_receiver.journal.port import Damage, Entry, JournalUnavailable, Position

_CLOCK = time.monotonic_ns


class MemoryJournal:
    """Both ends of one journal; a test may make it unavailable, damage it, or end it."""

    def __init__(self, name: str = "", clock: Callable[[], int] = _CLOCK, *, earlier_boot: bool = False) -> None:
        self.unavailable: str | None = None
        """While set, `append` raises JournalUnavailable with it."""
        self.removed = False
        """Whether `remove` was called."""
        self.released: Position | None = None
        """What `release` was called with last."""
        self._name = name or str(uuid4())
        self._clock = clock
        self._earlier_boot = earlier_boot
        self._records: list[tuple[int, bytes | str]] = []
        self._closed = False
        self._stamp = 0

    @property
    def name(self) -> str:
        """Unique for ever."""
        return self._name

    @property
    def boot(self) -> str:
        """Names the boot that its stamps are of."""
        return "earlier" if self._earlier_boot else "this"

    @property
    def earlier_boot(self) -> bool:
        """As it was made."""
        return self._earlier_boot

    @property
    def payloads(self) -> Sequence[bytes]:
        """Everything that was appended."""
        return [payload for _, payload in self._records if isinstance(payload, bytes)]

    async def append(self, payload: bytes) -> None:
        """Keep *payload*."""
        if (refusal := self.probe()) is not None:
            raise JournalUnavailable(refusal)
        self._stamp = max(self._clock(), self._stamp + 1)
        self._records.append((self._stamp, payload))

    def probe(self) -> str | None:
        """What `append` would raise."""
        return f"journal {self.name} is closed" if self._closed else self.unavailable

    async def close(self) -> None:
        """The writer is gone."""
        self._closed = True

    def damage(self, reason: str = "payload is damaged") -> None:
        """Let the next place hold what can't be read."""
        self._records.append((self._stamp, reason))

    def read(self, position: Position | None, until: int) -> Iterator[Entry | Damage]:
        """Records from *position* on whose stamp is below *until*."""
        start = position.offset if position is not None else 0
        for index, (stamp, content) in enumerate(itertools.islice(self._records, start, None), start):
            if isinstance(content, str):
                yield Damage(self.name, Position(1, index), 1, content)
            elif stamp >= until:
                return
            else:
                yield Entry(content, stamp, Position(1, index + 1))

    def watermark(self, now: int) -> int:
        """An append is visible at once."""
        return now

    def abandoned(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def release(self, position: Position) -> None:
        """Nothing to unlink."""
        self.released = position

    def remove(self) -> None:
        """It is gone from its `MemoryJournals`."""
        if not self._closed:
            raise RuntimeError(f"journal {self.name} is not abandoned")
        self.removed = True


class MemoryJournals:
    """Where a test puts its journals."""

    def __init__(self, *journals: MemoryJournal, clock: Callable[[], int] = _CLOCK) -> None:
        self.journals = list(journals)
        self._clock = clock

    def now(self) -> int:
        """The clock that stamps are of."""
        return self._clock()

    def discover(self) -> Sequence[MemoryJournal]:
        """Those that were not removed, those of earlier boots first."""
        there = [journal for journal in self.journals if not journal.removed]
        return sorted(there, key=lambda journal: not journal.earlier_boot)
