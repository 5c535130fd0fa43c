"""
A worker that journals events as fast as it can and prints the ingest id of each that was acknowledged: to be killed.

python -m support.event_writer FOLDER CALLERS
"""

import asyncio
import os
import sys
from pathlib import Path
from uuid import UUID

from hookline_receiver.journal.log import JournalLimits
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.record import encode
from support.forwarder import an_event


async def run(root: Path, callers: int) -> None:
    """Append for ever from each of *callers*."""
    journal = SegmentJournal.open(root, JournalLimits(segment_bytes=256 << 10, reserve_bytes=0))

    async def call() -> None:
        while True:
            event = an_event(partition_key=f"group_{os.getpid()}")
            await journal.append(encode(event))
            os.write(1, f"{UUID(bytes=event.ingest_id)}\n".encode())
            await asyncio.sleep(0.002)

    await asyncio.gather(*(call() for _ in range(callers)))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
