"""Who has which mail address: a file here, in your company the service that knows."""

import json
import logging
from pathlib import Path
from threading import Lock
from typing import Protocol

log = logging.getLogger("notifications")


class Directory(Protocol):
    """Knows mail addresses."""

    def address(self, uid: str) -> str | None:
        """The mail address of a user; None: there is none, or it is not to be used."""


class BadDirectory(Exception):
    """The file is not a directory. The message names the file and what is wrong."""


class FileDirectory:
    """A JSON object {"uid": "address"}; read again whenever the file has changed. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Read *path*; raises BadDirectory."""
        self._path = path
        self._lock = Lock()
        self._stamp = self._stamp_now()
        self._addresses = read_directory(path)

    def address(self, uid: str) -> str | None:
        """The mail address of a user, by the file as it is now."""
        with self._lock:
            self._renew()
            return self._addresses.get(uid)

    def _renew(self) -> None:
        """A file that can't be read leaves what was read before in force."""
        stamp = self._stamp_now()
        if stamp in (self._stamp, None):
            return
        self._stamp = stamp
        try:
            self._addresses = read_directory(self._path)
        except BadDirectory as error:
            log.error("directory can't be read, the old one stays in force", extra={"error": str(error)})

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size


def read_directory(path: Path) -> dict[str, str]:
    """The file's content; raises BadDirectory. No address is quoted in the message."""
    try:
        read = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadDirectory(f"{path}: {type(error).__name__}: not a readable JSON file") from error
    if not isinstance(read, dict) or not all(isinstance(address, str) for address in read.values()):
        raise BadDirectory(f'{path}: not a JSON object of addresses by uid, as in {{"uid": "name@example.com"}}')
    return read
