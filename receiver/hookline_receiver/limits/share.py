"""
How much of the storage each subscription holds, against its share.

The forwarder writes what is pending to `share/pending.binpb` when it changes and after each carrying; what this worker
appended since is added to it. A worker counts its own appends only, and an append is counted until the second table after
it, or until `SETTLED_SECONDS` after the first: a share is held within what all workers take in meanwhile.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from google.protobuf.message import DecodeError

from hookline.routing.v1.snapshot_pb2 import PendingTable

FORMAT = 1
POLL_SECONDS = 0.5

SETTLED_SECONDS = 5.0
"""After a table: when what was appended before it is in it for sure. Without this, whoever fills his share in one burst
and is refused from then on might wait for a second table that nothing gives rise to."""

log = logging.getLogger(__name__)


class Shares:
    """Bytes pending by subscription, as far as this worker knows."""

    def __init__(self) -> None:
        self._table: Mapping[str, int] = {}
        self._before: dict[str, int] = {}
        self._since: dict[str, int] = {}

    def pending(self, uid: str) -> int:
        """Bytes of the subscription's events that have a delivery without an end, and of those just appended."""
        return self._table.get(uid, 0) + self._before.get(uid, 0) + self._since.get(uid, 0)

    def appended(self, uid: str, size: int) -> None:
        """Count an event of *size* bytes that was just taken."""
        self._since[uid] = self._since.get(uid, 0) + size

    def renew(self, table: Mapping[str, int]) -> None:
        """The forwarder has written *table*: what was appended before its last one is in it by now."""
        self._table = table
        self._before, self._since = self._since, {}

    def settle(self) -> None:
        """The last table is old enough to hold all that was appended before it."""
        self._before = {}

    def above(self, part: float, limits: Mapping[str, int]) -> Mapping[str, int]:
        """Subscriptions that hold more than *part* of their limit, with their bytes."""
        held = {uid: self.pending(uid) for uid in {*self._table, *self._before, *self._since}}
        return {uid: size for uid, size in held.items() if uid in limits and size > part * limits[uid]}


class PendingFile:
    """Reads the forwarder's table into *shares* when it changes; while there is none, only our own appends count."""

    def __init__(self, file: Path, shares: Shares) -> None:
        self._file = file
        self._shares = shares
        self._seen: tuple[int, int, int] | None = None

    def poll(self) -> bool:
        """Look at the file; whether a new table was read. Never raises."""
        try:
            stat = os.stat(self._file)
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return False
            self._seen = seen
            table = PendingTable.FromString(self._file.read_bytes())
        except FileNotFoundError:
            return False
        except (OSError, DecodeError) as exc:
            log.error("pending table can't be read", extra={"file": str(self._file), "error": str(exc)})
            return False
        if table.format > FORMAT:
            log.error("pending table is newer than this release", extra={"format": table.format, "limit": FORMAT})
            return False
        self._shares.renew({entry.uid: entry.bytes for entry in table.subscriptions})
        return True

    async def follow(self) -> None:
        """Poll until cancelled."""
        unchanged = 0.0
        while True:
            unchanged = 0.0 if self.poll() else unchanged + POLL_SECONDS
            if unchanged >= SETTLED_SECONDS:
                self._shares.settle()
            await asyncio.sleep(POLL_SECONDS)
