"""
`SegmentJournal`: the writing end, on files.

`append` stamps a record and queues it; one thread of the journal's own takes what has queued up, writes and flushes it
(so that the event loop never waits for a disk), and answers all of it at once.
"""

import asyncio
import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from uuid import UUID, uuid4

from hookline_receiver.journal.disk import Disk, OsDisk
from hookline_receiver.journal.folder import MAKING, PENDING, FolderLock, PendingStamp, boot_id, make_root
from hookline_receiver.journal.format import MAX_PAYLOAD
from hookline_receiver.journal.log import JournalLimits, SegmentLog
from hookline_receiver.journal.port import JournalUnavailable

PROBED_BYTES = 64 * 1024
"""A record that `probe` asks room for: larger than nearly all, so that unready comes before the first refusal."""

log = logging.getLogger(__name__)

_Waiting = tuple[int, bytes, asyncio.Future[None]]
"""Stamp, payload, and whom to answer."""


class SegmentJournal:
    """A worker's journal; all its appends come from one event loop."""

    def __init__(
        self,
        segments: SegmentLog,
        lock: FolderLock,
        pending: PendingStamp,
        limits: JournalLimits,
        clock: Callable[[], int],
    ) -> None:
        """Use `open`. *clock*: nanoseconds of the machine's monotonic clock, the same for all processes."""
        self._log = segments
        self._lock = lock
        self._pending = pending
        self._limits = limits
        self._clock = clock
        self._queue: list[_Waiting] = []
        self._queued_bytes = 0
        self._flushing_bytes = 0
        self._flushing = False
        self._stamp = 0
        self._flush_began = 0
        self._idle = False
        self._closing = False
        self._closed: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._mutex = threading.Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    @classmethod
    def open(
        cls,
        root: Path,
        limits: JournalLimits = JournalLimits(),  # noqa: B008 - frozen
        disk: Disk | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> "SegmentJournal":
        """
        A new journal in the folder *root* (made if missing); blocks for a few flushes.

        Raises JournalUnavailable if it can't be made durable.
        """
        disk = disk or OsDisk()
        try:
            make_root(root, disk)
            segments, lock, pending = _make(root, limits, disk)
        except OSError as error:
            raise JournalUnavailable(f"journal in {root} can't be made: {error}") from error
        journal = cls(segments, lock, pending, limits, clock)
        journal._thread.start()
        return journal

    @property
    def name(self) -> str:
        """The journal's name, as readers know it."""
        return self._log.folder.name

    async def append(self, payload: bytes) -> None:
        """Return once *payload* is on stable storage, else raise JournalUnavailable (ValueError above MAX_PAYLOAD)."""
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a journal record may have {MAX_PAYLOAD} bytes, got {len(payload)}")
        answer = asyncio.get_running_loop().create_future()
        with self._mutex:
            if self._closing or self._queued_bytes + self._flushing_bytes + len(payload) > self._limits.waiting_bytes:
                raise JournalUnavailable(self._refusal(len(payload)))
            if not self._queue and not self._flushing:
                # Before the stamp is taken: else a reader could overtake the record.
                self._pending.store(self._clock())
            self._stamp = max(self._clock(), self._stamp + 1)
            self._queue.append((self._stamp, payload, answer))
            self._queued_bytes += len(payload)
            self._rouse()
        await answer

    def probe(self) -> str | None:
        """Why a record could not be made durable now, or None."""
        began = self._flush_began
        if began and (took := (self._clock() - began) / 1e9) > self._limits.stall:
            return f"journal {self._log.file}: a flush takes {took:.1f} s, over {self._limits.stall:g} s"
        return self._refusal(0) or self._log.failure or self._log.shortage(PROBED_BYTES)

    async def close(self) -> None:
        """Flush what is unanswered, seal the last segment and let go of the lock."""
        if self._closed is None:
            loop = asyncio.get_running_loop()
            self._closed = (loop, loop.create_future())
            with self._mutex:
                self._closing = True
                self._rouse()
        await asyncio.shield(self._closed[1])

    def _refusal(self, size: int) -> str | None:
        if self._closing:
            return f"journal {self.name} is closed"
        waiting = self._queued_bytes + self._flushing_bytes
        if waiting + size <= self._limits.waiting_bytes:
            return None
        return f"journal {self._log.file}: {waiting} bytes wait for the disk, the limit is {self._limits.waiting_bytes}"

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                self._settle(batch, self._write(batch))
            else:
                self._log.heal()
        self._log.seal()
        self._lock.release()
        self._pending.close()
        if self._closed is not None:
            _call(self._closed[0], _resolve, [self._closed[1]], None)

    def _rouse(self) -> None:
        """With the mutex held: let the thread look, if it waits."""
        if self._idle:
            self._idle = False
            self._wake.put(None)

    def _next_batch(self) -> list[_Waiting] | None:
        """What to write next; [] if it is time to look after a failure, None at the end."""
        while True:
            with self._mutex:
                if self._queue:
                    return self._take()
                if self._closing:
                    return None
                self._idle = True
            try:
                # PERF: a condition costs a lock and several Python frames for each wait.
                self._wake.get(timeout=self._limits.retry if self._log.failure else None)
            except Empty:
                return []

    def _take(self) -> list[_Waiting]:
        batch, self._queue = self._queue, []
        if self._queued_bytes > self._limits.batch_bytes:
            batch, self._queue = _split(batch, self._limits.batch_bytes)
        self._flushing_bytes = sum(len(payload) for _, payload, _ in batch)
        self._queued_bytes -= self._flushing_bytes
        self._flushing = True
        self._flush_began = self._clock()
        return batch

    def _write(self, batch: Sequence[_Waiting]) -> JournalUnavailable | None:
        try:
            self._log.write([(stamp, payload) for stamp, payload, _ in batch])
        except JournalUnavailable as error:
            return error
        except Exception as error:  # the thread must live on and everybody must get an answer
            log.exception("journal failed unexpectedly", extra={"journal": self.name})
            return JournalUnavailable(f"journal {self.name}: {error!r}")
        return None

    def _settle(self, batch: Sequence[_Waiting], error: JournalUnavailable | None) -> None:
        with self._mutex:
            self._flush_began = 0
            self._flushing_bytes = 0
            self._flushing = False
            self._pending.store(self._queue[0][0] if self._queue else 0)
        answers = [answer for _, _, answer in batch]
        _call(answers[0].get_loop(), _resolve, answers, error)


def _split(waiting: list[_Waiting], size: int) -> tuple[list[_Waiting], list[_Waiting]]:
    """As many of *waiting* as have *size* bytes, one at least, and the rest."""
    count = 1
    room = size - len(waiting[0][1])
    while count < len(waiting) and (room := room - len(waiting[count][1])) >= 0:
        count += 1
    return waiting[:count], waiting[count:]


def _call(
    loop: asyncio.AbstractEventLoop,
    function: Callable[[Sequence[asyncio.Future[None]], JournalUnavailable | None], None],
    answers: Sequence[asyncio.Future[None]],
    error: JournalUnavailable | None,
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(function, answers, error)


def _resolve(answers: Sequence[asyncio.Future[None]], error: JournalUnavailable | None) -> None:
    for answer in answers:
        if not answer.done():
            if error is None:
                answer.set_result(None)
            else:
                answer.set_exception(JournalUnavailable(*error.args))


def _make(root: Path, limits: JournalLimits, disk: Disk) -> tuple[SegmentLog, FolderLock, PendingStamp]:
    identity = uuid4()
    making = root / f"{MAKING}{identity}"
    disk.make_folder(making)
    try:
        return _furnish(root, making, identity, limits, disk)
    except OSError:
        shutil.rmtree(making, ignore_errors=True)
        raise


def _furnish(
    root: Path, making: Path, identity: UUID, limits: JournalLimits, disk: Disk
) -> tuple[SegmentLog, FolderLock, PendingStamp]:
    lock = FolderLock(making)
    try:
        lock.make()
        pending = PendingStamp(making / PENDING, create=True)
        segments = SegmentLog(making, identity, boot_id(), limits, disk)
        segments.begin()
        segments.folder = root / str(identity)
        disk.rename(making, segments.folder)
        disk.sync_folder(root)
    except OSError:
        lock.release()
        raise
    return segments, lock, pending
