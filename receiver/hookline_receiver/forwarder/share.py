"""
Tells receivers how much waits for each subscription, by which they hold it to its share of the storage.

What waits is looked up in the store's thread and written to `share/pending.binpb` elsewhere, a few times a second.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from hookline.routing.v1.snapshot_pb2 import PendingBytes, PendingTable
from hookline_receiver.carrying.routebook import FORMAT
from hookline_receiver.event import SubscriptionRef
from hookline_receiver.forwarder.files import replace_file

_SOONEST, _LATEST = 0.2, 1.0
"""Seconds between two tables: a handler that is back is believed so late."""
_PART = 50
"""At most one part in so many of the time goes into tables: ten thousand subscriptions take some milliseconds."""


class Pending(Protocol):
    """What is asked of the store."""

    def pending_bytes(self) -> Mapping[SubscriptionRef, int]:
        """Bytes of events with a delivery without an end, by subscription."""


class ShareFile:
    """The table of pending bytes, replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: Mapping[SubscriptionRef, int] | None = None

    def write(self, pending: Mapping[SubscriptionRef, int], carried_until: int, *, anew: bool) -> None:
        """
        Write *pending* if it changed, or with *anew*; raises OSError.

        *carried_until*: what was accepted before it is in *pending*. Receivers add to the table what they accepted
        since, so it is written *anew*, unchanged, after everything that was carried: what was delivered meanwhile would
        count for ever else.
        """
        if pending == self._written and not anew:
            return
        rows = sorted((ref.uid, size) for ref, size in pending.items() if size > 0)
        table = PendingTable(
            format=FORMAT,
            subscriptions=[PendingBytes(uid=uid, bytes=size) for uid, size in rows],
            carried_until=carried_until,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, table.SerializeToString(deterministic=True), durable=False)
        self._written = dict(pending)


class Share:
    """Looks in the store's thread and tells in another, in turns."""

    def __init__(self, file: ShareFile, clock: Callable[[], float] = time.perf_counter) -> None:
        self.carried = 0
        """Records carried so far: whoever carries counts them."""
        self._file = file
        self._clock = clock
        self._found: tuple[Mapping[SubscriptionRef, int], int] = ({}, 0)
        self._seen, self._told = 0, -1
        self._took = 0.0

    def look(self, store: Pending, carried_until: int) -> None:
        """Look up what waits, everything accepted before *carried_until* included; raises StoreUnavailable."""
        began = self._clock()
        self._seen = self.carried
        self._found = store.pending_bytes(), carried_until
        self._took = self._clock() - began

    def tell(self) -> float:
        """Write what was found; seconds until it is time to look again. Raises OSError: the next one writes all."""
        began = self._clock()
        self._file.write(*self._found, anew=self._seen != self._told)
        self._told = self._seen
        took = self._took + self._clock() - began
        return min(_LATEST, max(_SOONEST, _PART * took))
