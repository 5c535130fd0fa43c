"""What a receiver needs of a journal, and what the carrier needs of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


class JournalUnavailable(Exception):
    """
    The record could not be made durable.

    Nothing was promised: the sender gets 503 and will try again. The message names the file, the error and the free
    space.
    """


class Journal(Protocol):
    """The writing end: one writer, in one worker process."""

    async def append(self, payload: bytes) -> None:
        """
        Return once *payload* is on stable storage, else raise JournalUnavailable.

        Concurrent callers share one flush. Cancelling the caller does not take the record back.
        """

    def probe(self) -> str | None:
        """Why a record could not be made durable now, or None: what readiness says. Cheap, writes nothing."""

    async def close(self) -> None:
        """Flush what is unanswered, seal the last segment and let go of the lock."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in one journal: everything before it has been carried."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as the carrier sees it."""

    payload: bytes
    stamp: int
    """Orders the records of all journals of this boot: nanoseconds of the machine's monotonic clock, at acceptance."""
    after: Position
    """Where to go on once this record has been carried."""


@dataclass(frozen=True, slots=True)
class Damage:
    """
    Bytes of a journal that no longer hold what was written: skipped, counted, reported, never guessed at.

    Reading goes on at *position* plus *length*.
    """

    journal: str
    position: Position
    length: int
    reason: str


class JournalReader(Protocol):
    """The reading end of one journal: a live worker's, or one that a dead worker left."""

    @property
    def name(self) -> str:
        """Unique for ever: a new worker makes a new journal."""

    @property
    def earlier_boot(self) -> bool:
        """Whether its stamps are of an earlier boot's clock, so that all its records come before this boot's."""

    @property
    def boot(self) -> str:
        """Names the boot whose clock its stamps are of: stamps compare only between journals of one boot."""

    def read(self, position: Position | None, until: int) -> Iterator[Entry | Damage]:
        """
        Records from *position* (None: the beginning) on whose stamp is below *until*, in order of stamp.

        A record whose sender got no answer may be among them. The iterator may be dropped at any point.
        """

    def watermark(self, now: int) -> int:
        """
        No record that becomes visible after this call has a stamp below the returned one. At most *now*.

        *now* is `Journals.now()`, taken before `Journals.discover()`: a journal made later has later stamps only.
        """

    def abandoned(self) -> bool:
        """
        Whether the writer is gone for good: then everything readable may be carried and the journal removed.

        Ask before the `read` that is to be the last: what was written between the two would be missed else.
        """

    def release(self, position: Position) -> None:
        """Unlink sealed segments that lie wholly before *position*; the caller has made their events durable elsewhere."""

    def remove(self) -> None:
        """
        Remove an abandoned journal that was carried to its end; the caller has made its events durable elsewhere.

        Durable on return: only afterwards may the caller forget the position. The reader is of no more use.
        """


class Journals(Protocol):
    """Where the journals of all workers of this data folder are found."""

    def now(self) -> int:
        """The clock that stamps are of."""

    def discover(self) -> Sequence[JournalReader]:
        """
        Every journal there is, those of earlier boots first and the oldest first among them.

        Cheap enough for every poll. A journal that was seen before is given as the same reader.
        """
