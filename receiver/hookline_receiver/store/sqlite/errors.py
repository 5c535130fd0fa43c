"""What an error of SQLite or of the file system means to the caller: try again, call a person, or mend our code."""

import sqlite3
from pathlib import Path

from hookline_receiver.store.port import StoreUnavailable
from hookline_receiver.store.sqlite.space import free_bytes


class StoreRefused(Exception):
    """The store can't be used, and trying again won't help: a person is needed. The message says what to do."""


class StoreLocked(StoreRefused):
    """Another process has the store."""


class StoreTooNew(StoreRefused):
    """A later release wrote the store in a format that this one can't read."""


class StoreCorrupt(StoreRefused):
    """The file does not hold what was written. It is left as it is, for rescue."""


_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PASSING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}


def translated(path: Path, error: Exception) -> Exception:
    """*error* as one of ours; what is neither the disk's nor the file's fault is a bug and comes back as it is."""
    if isinstance(error, OSError):
        return unavailable(path, f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror))
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    what = f"{error} ({getattr(error, 'sqlite_errorname', '')})"
    if code in _CORRUPT:
        return corrupt(path, what)
    return unavailable(path, what) if code in _PASSING else error


def unavailable(path: Path, what: str) -> StoreUnavailable:
    """Not now; names the file, what happened and the free space, since a full disk has many faces."""
    return StoreUnavailable(f"event store {path}: {what}, {_free(path)} bytes free")


def corrupt(path: Path, what: str) -> StoreCorrupt:
    """A person is needed; names the file and the ways out."""
    return StoreCorrupt(
        f"event store {path} is corrupt: {what}. It was not replaced. Stop the forwarder and keep a copy of {path.name}*; "
        f"then restore a backup, or rescue what can be read with `sqlite3 {path} .recover`. Moving {path.name}* away starts "
        f"an empty store: every event in it is lost then"
    )


def _free(path: Path) -> int | str:
    try:
        return free_bytes(path.parent)
    except OSError:
        return "unknown"
