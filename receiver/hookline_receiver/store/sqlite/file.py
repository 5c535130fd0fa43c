"""
One SQLite file and its owner: lock, create, open, transactions, sync.

Durability (https://sqlite.org/pragma.html#pragma_synchronous, https://sqlite.org/wal.html): in WAL mode with
`synchronous=NORMAL` a commit is consistent but not durable; SQLite flushes the WAL before a checkpoint copies it into the
database, flushes the database after it, and flushes the WAL's header before it is begun anew. So everything committed is
either in the flushed database or in the WAL as it is now, and flushing the WAL file makes it durable: that is `sync()`.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hookline_receiver.store.port import StoreUnavailable
from hookline_receiver.store.sqlite.migrations import APPLICATION_ID, Migration

_OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables."""


class StoreRefused(Exception):
    """The store can't be opened, and trying again won't help: a person is needed. The message says what to do."""


class StoreLocked(StoreRefused):
    """Another process has the store."""


class StoreTooNew(StoreRefused):
    """A later release wrote the store in a format that this one can't read."""


class StoreCorrupt(StoreRefused):
    """The file does not hold what was written. It is left as it is, for rescue."""


class DatabaseFile:
    """
    The file, opened by its only owner.

    Used by one thread at a time, which may be another one than made it. `locking_mode=EXCLUSIVE` keeps the WAL's index in
    memory: no `-shm` file, which on a full disk could end the process by SIGBUS.
    """

    def __init__(
        self, path: Path, migrations: Sequence[Migration], *, cache_bytes: int, flush: Callable[[int], None]
    ) -> None:
        self.path = path
        self._flush = flush
        self._unsynced = True
        self._closed = False
        self._lock = _lock(path)
        try:
            _create_if_missing(path, migrations)
            self.connection = _open(path, cache_bytes)
            try:
                self._wal = self._settle_in(migrations)
            except BaseException:
                self.connection.close()
                raise
        except sqlite3.Error as error:
            os.close(self._lock)
            raise translated(path, error) from error
        except BaseException:
            os.close(self._lock)
            raise

    def _settle_in(self, migrations: Sequence[Migration]) -> int:
        """Make sure the WAL is there, under its name for good, before anything is migrated; returns it, open."""
        _check(self.connection, self.path, migrations)
        self.connection.execute("BEGIN IMMEDIATE").connection.execute("COMMIT")
        wal = os.open(f"{self.path}-wal", os.O_RDWR)
        try:
            _flush_folder(self.path.parent)
            _migrate(self.connection, migrations)
        except BaseException:
            os.close(wal)
            raise
        return wal

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: commits on leaving, rolls back on any exception."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.execute("COMMIT")
            self._unsynced = True
        except BaseException as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise translated(self.path, error) from error
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Questions; none of them changes anything."""
        try:
            yield self.connection
        except sqlite3.Error as error:
            raise translated(self.path, error) from error

    def sync(self) -> None:
        """Return once everything committed so far is on stable storage."""
        if not self._unsynced:
            return
        try:
            self._flush(self._wal)
        except OSError as error:
            raise StoreUnavailable(f"event store {self.path}: flush failed: {error.strerror}") from error
        self._unsynced = False

    def close(self) -> None:
        """Checkpoint, close and unlock; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self.connection.close()
        os.close(self._wal)
        os.close(self._lock)

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors (disk full, I/O).
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except sqlite3.Error:
                if self.connection.in_transaction:
                    raise


def translated(path: Path, error: sqlite3.Error) -> Exception:
    """What *error* means to the caller: try again, call a person, or mend our code."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _corrupt(path, f"{error} ({name})")
    if isinstance(error, sqlite3.OperationalError):
        return StoreUnavailable(f"event store {path}: {error} ({name}, {_free(path)} bytes free)")
    return error


def _corrupt(path: Path, what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"event store {path} is corrupt: {what}. It was left as it is. Stop the forwarder, keep a copy of {path.name}*, then "
        f"restore a backup or rescue what can be read with `sqlite3 {path} .recover`; moving the file away starts an empty "
        f"store, and every event in it is then lost"
    )


def _free(path: Path) -> int:
    try:
        status = os.statvfs(path.parent)
    except OSError:
        return -1
    return status.f_bavail * status.f_frsize


def _lock(path: Path) -> int:
    lock = path.with_name(f"{path.name}.lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreLocked(f"event store {path} is in use by process {owner}, which holds {lock.name}") from error
    except OSError as error:
        # A full disk: the process id is for people only, and the lock is held.
        if error.errno is None:
            raise
    return descriptor


def _create_if_missing(path: Path, migrations: Sequence[Migration]) -> None:
    """
    Make an empty store under another name, then give it its own: a store that is there is always a whole one.

    An empty or half-made file is so never ours to overwrite.
    """
    if path.exists():
        return
    if Path(f"{path}-wal").exists():
        raise _corrupt(path, f"the database is missing, but {path.name}-wal is there")
    new = path.with_name(f"{path.name}.new")
    for leftover in (new, Path(f"{new}-journal")):
        leftover.unlink(missing_ok=True)
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _migrate(connection, migrations)
    finally:
        connection.close()
    new.rename(path)
    _flush_folder(path.parent)


def _open(path: Path, cache_bytes: int) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreRefused(f"event store {path} needs SQLite 3.37 or later, this Python has {sqlite3.sqlite_version}")
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        for pragma in (
            "locking_mode = EXCLUSIVE",
            "busy_timeout = 2000",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            f"cache_size = -{cache_bytes // 1024}",
            "temp_store = MEMORY",
            "foreign_keys = ON",
            "trusted_schema = OFF",
            # Pages that are rewritten anyway are wiped of what was deleted; no further writes for it.
            "secure_delete = FAST",
            "wal_autocheckpoint = 2000",
            "journal_size_limit = 67108864",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    known = migrations[-1].version
    application_id = _pragma(connection, "application_id")
    if application_id != APPLICATION_ID:
        raise _corrupt(
            path, f"application_id is {application_id:#x}, not {APPLICATION_ID:#x}: not an event store of ours"
        )
    version = _pragma(connection, "user_version")
    needed = connection.execute("SELECT value FROM state WHERE name = 'compatible_since'").fetchone()[0]
    if version > known and needed > known:
        raise StoreTooNew(
            f"event store {path} has format {version}, which releases that know format {needed} or later can open; this one "
            f"knows format {known}: run the newer release"
        )


def _migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    version = _pragma(connection, "user_version")
    for step in migrations:
        if step.version <= version:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in step.statements:
                connection.execute(statement)
            connection.execute("UPDATE state SET value = ? WHERE name = 'compatible_since'", [step.compatible_since])
            connection.execute(f"PRAGMA user_version = {step.version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
