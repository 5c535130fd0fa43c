"""
The forwarder's carrier and event store, whose file-system calls are recorded.

python -m support.powerloss.forwarder DATA WAL_BYTES
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from hookline_receiver.carrying.carrier import Carrier, CarrierLimits
from hookline_receiver.event import RouteRef
from hookline_receiver.forwarder.aside import AsideFolder
from hookline_receiver.forwarder.process import open_sqlite
from hookline_receiver.forwarder.settings import Settings
from hookline_receiver.journal.reader import SegmentJournals
from hookline_receiver.ops.logs import Throttle
from hookline_receiver.store.sqlite import SqliteEventStore
from support.carrier import Counts, FixedRoutes
from support.forwarder import a_book, a_route, a_subscription
from support.powerloss.events import CHAT
from support.powerloss.flushes import OURS
from support.store import delivered


def flush(descriptor: int) -> None:
    """As the store does it, but said to be ours."""
    tell = ctypes.CDLL(None).powerloss_flushing
    tell(OURS.encode())
    try:
        os.fdatasync(descriptor)
    finally:
        tell(b"")


def forward(data: Path, wal_bytes: int) -> None:
    """Carry, claim and settle until told to stop; a checkpoint whenever the WAL has *wal_bytes*."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    store = open_sqlite(Settings(data_dir=data))
    assert isinstance(store, SqliteEventStore)
    store._file._flush = flush
    journals = SegmentJournals(data / "journal")
    carrier = a_carrier(data, journals, store, sync_interval=20_000_000)
    route = RouteRef(CHAT, "notify")
    while not stopping:
        store._file._checkpoint_at = wal_bytes
        step = carrier.step()
        now = time.time_ns()
        claimed = store.claim(route, 3, 1 << 20, now, now + 10**10)
        store.settle([delivered(claim) for claim in claimed], now)
        if step.carried:
            os.write(1, b".")
        time.sleep(0.005)
    journals.close()
    store.close()


def a_carrier(data: Path, journals: SegmentJournals, store: SqliteEventStore, sync_interval: int) -> Carrier:
    """The product's, in small batches."""
    return Carrier(
        journals,
        store,
        FixedRoutes(a_book(a_subscription(a_route()))),
        AsideFolder(data / "aside"),
        Counts(),
        time.time_ns,
        Throttle(time.monotonic),
        CarrierLimits(batch_events=20, sync_interval=sync_interval),
    )


if __name__ == "__main__":
    forward(Path(sys.argv[1]), int(sys.argv[2]))
