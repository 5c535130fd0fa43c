"""
One SQLite file in its owner's hands: transactions, sync, checkpoints.

Durability (https://sqlite.org/pragma.html#pragma_synchronous, https://sqlite.org/wal.html): in WAL mode with
`synchronous=NORMAL` a commit is whole but not durable. SQLite flushes the WAL before a checkpoint copies it into the
database, the database after that, and the WAL's new header before the WAL is written over. So everything committed is in
the flushed database or in the WAL as it is now, and flushing the WAL makes it durable: that is `sync()`. The descriptor for
it is kept open from the beginning, so that the kernel tells it of every failed write-back, SQLite's own flushes included.

A checkpoint leaves the WAL file as long as it is: what it holds on the disk is there for the next transactions, whoever else
fills the volume.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hookline_receiver.store.port import StoreUnavailable
from hookline_receiver.store.sqlite import opening
from hookline_receiver.store.sqlite.errors import translated, unavailable
from hookline_receiver.store.sqlite.migrations import Migration
from hookline_receiver.store.sqlite.space import Space, free_bytes

log = logging.getLogger(__name__)

_WAL_HEADER = 32
_WAL_FRAME = 24 + opening.PAGE_BYTES


class DatabaseFile:
    """Used by one thread at a time, which may be another one than made it."""

    def __init__(
        self, path: Path, migrations: Sequence[Migration], *, cache_bytes: int, flush: Callable[[int], None]
    ) -> None:
        self.path = path
        self._flush = flush
        self._unsynced = True
        self._doubtful = False
        with ExitStack() as held, self._errors():
            held.callback(os.close, opening.lock(path))
            self._space = Space.of(path.parent)
            self._checkpoint_at = self._space.wal_bytes
            opening.create_if_missing(path, migrations)
            opening.rewrite_left_wal(path, flush)
            self.connection = opening.connect(path, cache_bytes)
            held.callback(self.connection.close)
            self._wal = self._begin(migrations)
            held.callback(os.close, self._wal)
            opening.migrate(self.connection, migrations)
            self._held = held.pop_all()

    def _begin(self, migrations: Sequence[Migration]) -> int:
        """
        Start the WAL; returns it, open.

        Its name is flushed by SQLite, before the first frame is in it (the power-loss tests show that this is missed).
        """
        opening.check(self.connection, self.path, migrations)
        self.connection.execute("PRAGMA journal_mode = WAL").fetchall()
        self.connection.execute("BEGIN IMMEDIATE").connection.execute("COMMIT")
        return os.open(f"{self.path}-wal", os.O_RDWR | os.O_CLOEXEC)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: commits on leaving, rolls back on any exception."""
        self._keep_wal_small()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self._unsynced = True
            self.connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise translated(self.path, error) from error
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Questions; none of them changes anything."""
        with self._errors():
            yield self.connection

    def sync(self) -> None:
        """Return once everything committed so far is on stable storage, else raise StoreUnavailable."""
        if not self._unsynced:
            return
        try:
            if self._doubtful:
                opening.rewrite(self._wal)
            self._doubtful = True
            self._flush(self._wal)
        except OSError as error:
            raise unavailable(self.path, f"its WAL could not be flushed: {error.strerror}") from error
        self._unsynced = self._doubtful = False

    def close(self) -> None:
        """Checkpoint, close and unlock; a second time does nothing."""
        if self._doubtful:
            with suppress(StoreUnavailable):
                self.sync()
        self._held.close()

    def require_room(self) -> None:
        """Raise StoreUnavailable if so little is free that what is there could soon not be worked off."""
        free = free_bytes(self.path.parent)
        if free >= self._space.reserve_bytes:
            return
        with self._errors():
            pages = self.connection.execute("PRAGMA freelist_count").fetchone()[0]
            if free + pages * opening.PAGE_BYTES >= self._space.reserve_bytes:
                return
            self._checkpoint()
        raise unavailable(self.path, f"{self._space.reserve_bytes} bytes are kept for working off what is there")

    def _keep_wal_small(self) -> None:
        if self._doubtful:
            self.sync()
        if self._wal_reaches(self._checkpoint_at):
            self._checkpoint()

    def _checkpoint(self) -> None:
        """
        Carry the WAL into the database; never on top of a failed flush.

        A checkpoint over a WAL that is not durable could leave the database ahead of it, which is corruption.
        """
        self.sync()
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._checkpoint_at = self._space.wal_bytes
        except sqlite3.Error as error:
            # Everything stays in the WAL, which is as good a place; the next try is due when it has grown again.
            self._checkpoint_at += self._space.wal_bytes
            log.warning("checkpoint failed", extra={"file": str(self.path), "error": str(error)})

    def _wal_reaches(self, size: int) -> bool:
        """
        Whether the WAL in use is as large as *size*: whether the frame there bears the salt of its header.

        The file's own length does not tell: older frames stay behind the new ones (https://sqlite.org/fileformat2.html#walformat).
        """
        frame = _WAL_HEADER + size // _WAL_FRAME * _WAL_FRAME
        salt = os.pread(self._wal, 8, 16)
        return len(salt) == 8 and os.pread(self._wal, 8, frame + 8) == salt

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors (disk full, I/O).
        if self.connection.in_transaction:
            with self._errors():
                self.connection.execute("ROLLBACK")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            meant = translated(self.path, error)
            if meant is error:
                raise
            raise meant from error
