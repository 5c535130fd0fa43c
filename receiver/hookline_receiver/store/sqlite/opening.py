"""How a store's file comes into one process's hands: lock it, make it if there is none, open, check and migrate it."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from hookline_receiver.store.sqlite.errors import StoreLocked, StoreRefused, StoreTooNew, corrupt
from hookline_receiver.store.sqlite.migrations import APPLICATION_ID, Migration

_OLDEST_SQLITE = (3, 38, 0)
"""The first with STRICT tables and `->>`."""

PAGE_BYTES = 4096

_CHECKED_BYTES = 64 << 20
"""Files up to this size are read through at start (under a second); in larger ones damage shows when it is met."""

_REWRITTEN_BYTES = 1 << 20


def lock(path: Path) -> int:
    """
    Take the store for this process, or raise StoreLocked; returns the descriptor that holds the lock.

    A lock of our own beside SQLite's: taken before anything is looked at, and its message names the owner.
    """
    name = path.with_name(f"{path.name}.lock")
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreLocked(f"event store {path} is in use by process {owner}, which holds {name}") from error
    with contextlib.suppress(OSError):  # on a full disk the lock is held all the same, the number is for people
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def create_if_missing(path: Path, migrations: Sequence[Migration]) -> None:
    """
    Make an empty store under another name, then give it its own: a store that is there is always a whole one.

    So an empty or cut off file was never ours to fill: `check` refuses it.
    """
    if path.exists():
        return
    if Path(f"{path}-wal").exists():
        raise corrupt(path, f"the database is missing, but {path.name}-wal is there")
    new = path.with_name(f"{path.name}.new")
    for leftover in (new, Path(f"{new}-journal"), Path(f"{new}-wal")):
        leftover.unlink(missing_ok=True)
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrate(connection, migrations)
        # Here and not under its own name: the switch would leave a rollback journal's name there for a moment.
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        connection.close()
    new.rename(path)
    flush_folder(path.parent)


def connect(path: Path, cache_bytes: int) -> sqlite3.Connection:
    """
    A connection that any one thread may use.

    `locking_mode=EXCLUSIVE` keeps the WAL's index in memory: no `-shm` file, which on a full disk could end the process
    by SIGBUS.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        needed = ".".join(map(str, _OLDEST_SQLITE))
        raise StoreRefused(
            f"event store {path} needs SQLite {needed} or later, this Python has {sqlite3.sqlite_version}"
        )
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    for pragma in (
        "locking_mode = EXCLUSIVE",
        "busy_timeout = 2000",
        "synchronous = NORMAL",
        f"cache_size = -{cache_bytes // 1024}",
        "temp_store = MEMORY",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        # Pages that are rewritten anyway are wiped of what was deleted; no further writes for it.
        "secure_delete = FAST",
        # After a transaction larger than any other the WAL shrinks again.
        "journal_size_limit = 33554432",
        # Checkpoints are made by `DatabaseFile`, which sees their errors.
        "wal_autocheckpoint = 0",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def check(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Refuse what is not a store of ours, is damaged, or is of a later release that this one can't follow."""
    application_id = _number(connection, "PRAGMA application_id")
    if application_id != APPLICATION_ID:
        raise corrupt(path, f"its application_id is {application_id:#x}, an event store's is {APPLICATION_ID:#x}")
    if path.stat().st_size <= _CHECKED_BYTES:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise corrupt(path, found)
    known = migrations[-1].version
    version = _number(connection, "PRAGMA user_version")
    needed = _number(connection, "SELECT value FROM state WHERE name = 'compatible_since'")
    if needed > known:
        raise StoreTooNew(
            f"event store {path} has format {version}, for releases that know format {needed} or later; this release "
            f"knows format {known}: run the later release, or one in between"
        )


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Bring the tables up to date, step by step, each step whole or not at all."""
    version = _number(connection, "PRAGMA user_version")
    for step in migrations:
        if step.version <= version:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in step.statements:
                connection.execute(statement)
            connection.execute("UPDATE state SET value = ? WHERE name = 'compatible_since'", (step.compatible_since,))
            connection.execute(f"PRAGMA user_version = {step.version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def rewrite(descriptor: int) -> None:
    """
    Write a file's own bytes over it, so that the next flush really writes them.

    After a failed flush the kernel holds the pages for clean, and a second flush reports success without writing anything.
    Needs no space.
    """
    size = os.fstat(descriptor).st_size
    for offset in range(0, size, _REWRITTEN_BYTES):
        os.pwrite(descriptor, os.pread(descriptor, _REWRITTEN_BYTES, offset), offset)


def rewrite_left_wal(path: Path, flush: Callable[[int], None]) -> None:
    """Make the WAL of a process that died truly durable: its last flush may have failed, and nobody is left to know."""
    try:
        descriptor = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rewrite(descriptor)
        flush(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Make names in *folder* durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _number(connection: sqlite3.Connection, question: str) -> int:
    value: int = connection.execute(question).fetchone()[0]
    return value
