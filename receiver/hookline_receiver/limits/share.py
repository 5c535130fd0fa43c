"""
How much of the storage each subscription holds, against its share.

The forwarder writes what is pending to `share/pending.binpb`, a few times a second while it changes, and up to which
moment of acceptance its sums go. What this worker appended since then is added: delivered or not, nobody knows yet. So
that no sender is refused for events that were delivered long ago, the first `SLACK` bytes of these are not counted: a
subscription may pass its share by as much in each worker until the next table says so, and no further while there is no
next table. What was being appended at the table's moment is counted from the next table on.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError

from hookline.routing.v1.snapshot_pb2 import PendingTable

FORMAT = 1
POLL_SECONDS = 0.1

SLACK = 4 << 20
"""Bytes of one subscription that a worker takes between two tables without holding them against it: more than the 2,500
events of 1 KiB of half a second, and little beside a usual share (1 GiB)."""

_SPAN = 100_000_000
_SPANS = 64

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Span:
    """What was appended in a while; counted until a table goes past all of it."""

    first: int
    last: int
    sizes: dict[str, int] = field(default_factory=dict)

    def take(self, other: "_Span") -> None:
        """Add what was appended in *other*, the span after this one."""
        self.last = max(self.last, other.last)
        for uid, size in other.sizes.items():
            self.sizes[uid] = self.sizes.get(uid, 0) + size


class Shares:
    """Bytes pending by subscription, as far as this worker knows."""

    def __init__(self, slack: int = SLACK) -> None:
        self._slack = slack
        self._table: Mapping[str, int] = {}
        self._until = 0
        self._since: dict[str, int] = {}
        self._spans: list[_Span] = []
        self._length = _SPAN

    def pending(self, uid: str) -> int:
        """Bytes of the subscription's events that have a delivery without an end, and of those appended since."""
        return self._table.get(uid, 0) + max(0, self._since.get(uid, 0) - self._slack)

    def appended(self, uid: str, size: int, began: int) -> None:
        """Count an event of *size* bytes whose append *began* then, in nanoseconds of the machine's monotonic clock."""
        if began < self._until:
            return
        self._since[uid] = self._since.get(uid, 0) + size
        if not self._spans or began - self._spans[-1].first >= self._length:
            self._begin_span(began)
        span = self._spans[-1]
        span.last = max(span.last, began)
        span.sizes[uid] = span.sizes.get(uid, 0) + size

    def renew(self, table: Mapping[str, int], until: int) -> None:
        """The forwarder has written *table*, in which everything is that was accepted before *until*."""
        self._table, self._until = table, until
        kept = [span for span in self._spans if span.last >= until]
        if len(kept) == len(self._spans):
            return
        self._spans, total = kept, _Span(0, 0)
        for span in kept:
            total.take(span)
        self._since = total.sizes
        if not kept:
            self._length = _SPAN

    def above(self, part: float, limits: Mapping[str, int]) -> Mapping[str, int]:
        """Subscriptions that hold more than *part* of their limit, with their bytes."""
        held = {uid: self.pending(uid) for uid in {*self._table, *self._since}}
        return {uid: size for uid, size in held.items() if uid in limits and size > part * limits[uid]}

    def _begin_span(self, now: int) -> None:
        """A new one; where they become too many since the forwarder is away, each two neighbours become one."""
        if len(self._spans) == _SPANS:
            for one, other in zip(self._spans[::2], self._spans[1::2], strict=True):
                one.take(other)
            self._spans = self._spans[::2]
            self._length *= 2
        self._spans.append(_Span(now, now))


class PendingFile:
    """Reads the forwarder's table into *shares* when it changes; while there is none, only our own appends count."""

    def __init__(self, file: Path, shares: Shares, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._file = file
        self._shares = shares
        self._clock = clock
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
        # A moment that is yet to come is of an earlier boot's clock.
        until = table.carried_until if table.carried_until <= self._clock() else 0
        self._shares.renew({entry.uid: entry.bytes for entry in table.subscriptions}, until)
        return True

    async def follow(self) -> None:
        """Poll until cancelled."""
        while True:
            self.poll()
            await asyncio.sleep(POLL_SECONDS)
