"""The routes in force: `routes/receiver.binpb` and its parts, swapped in when the file changes."""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hookline_receiver.parts import Parts, PartUnreadable
from hookline_receiver.routes import Routes, SnapshotUnreadable, read_part, read_snapshot

POLL_SECONDS = 0.05
"""How long a change may go unseen; a look costs 3 µs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    inode: int
    mtime_ns: int
    size: int


class RouteFile:
    """
    The routes that are in force, from a file that is replaced whole.

    What can't be read leaves the last good routes in force: a half-written or newer file must not refuse everybody.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._parts = Parts(file, read_part)
        self._seen: _Seen | None = None
        self.current: Routes | None = None
        """None: nothing was ever loaded."""
        self.trouble = f"{file} was not read yet"
        """Why the file as it is now is not the one in force; "" if it is."""

    def poll(self) -> bool:
        """Look at the file; whether other routes are in force now. Never raises."""
        try:
            stat = os.stat(self._file)
            seen = _Seen(stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return False
            routes = read_snapshot(self._file.read_bytes(), self._parts.load)
        except FileNotFoundError:
            return self._failed(None, f"{self._file} does not exist")
        except (OSError, SnapshotUnreadable, PartUnreadable) as exc:
            # A part that is missing now may be there at the next look.
            return self._failed(seen if isinstance(exc, SnapshotUnreadable) else None, f"{self._file}: {exc}")
        self._seen, self.current, self.trouble = seen, routes, ""
        log.info("routes loaded", extra={"version": routes.version, "endpoints": routes.count})
        return True

    async def follow(self, changed: Callable[[], None]) -> None:
        """Poll until cancelled; *changed* is called when other routes are in force."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self.poll():
                changed()

    def _failed(self, seen: _Seen | None, trouble: str) -> bool:
        self._seen = seen
        if trouble != self.trouble:
            log.error(
                "routes can't be loaded, the last good ones stay in force",
                extra={"trouble": trouble, "version": self.current.version if self.current else ""},
            )
        self.trouble = trouble
        return False
