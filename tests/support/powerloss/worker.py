"""
A worker whose file-system calls are recorded.

python -m support.powerloss.worker DATA TAG CALLERS COUNT PAUSE [raw]
"""

import asyncio
import ctypes
import os
import sys
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from hookline_receiver.journal.format import FIRST
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.record import encode
from support.journal import small
from support.powerloss.events import an_event

SEGMENT_BYTES = FIRST + 6000
"""Small, so that there is much rotating."""


def mark(text: str) -> None:
    """Say something in the trace."""
    data = text.encode()
    ctypes.CDLL(None).powerloss_mark(data, ctypes.c_size_t(len(data)))


async def work(data: Path, tag: str, callers: int, count: int, pause: float, *, raw: bool) -> None:
    """Append events, some of them again, with *raw* some that nobody can read; mark each answer."""
    journal = SegmentJournal.open(data / "journal", small(segment_bytes=SEGMENT_BYTES))

    async def call(caller: int) -> None:
        original = UUID(int=0)
        for index in range(count):
            ident = UUID(bytes=sha256(f"{tag}-{caller}-{index}".encode()).digest()[:16], version=4)
            if index % 7 == 3:
                kind, payload = f"again:{original}", encode(an_event(ident, original))
            elif raw and index % 10 == 5:
                kind, payload = "raw", b"\xff" + ident.bytes
            else:
                original = ident
                kind, payload = "event", encode(an_event(ident, ident))
            mark(f"sent {ident} {kind}")
            await journal.append(payload)
            mark(f"200 {ident} {kind}")
            os.write(1, b".")
            await asyncio.sleep(pause)

    await asyncio.gather(*(call(caller) for caller in range(callers)))
    await journal.close()


if __name__ == "__main__":
    _, data, tag, callers, count, pause, *rest = sys.argv
    asyncio.run(work(Path(data), tag, int(callers), int(count), float(pause), raw=rest == ["raw"]))
