"""
A worker that appends as fast as it can and prints what was acknowledged: something to kill.

python -m support.journal_process FOLDER TAG CALLERS SEGMENT_BYTES [COUNT]
"""

import asyncio
import os
import sys
from hashlib import blake2b
from pathlib import Path

from hookline_receiver.journal.writer import SegmentJournal
from support.journal import small


def payload_of(name: str, seed: int) -> bytes:
    """A payload that names itself and whose body is of its name."""
    body = blake2b(name.encode(), digest_size=64).digest() * (1 + seed % 40)
    return name.encode() + b"\n" + body


def name_of(payload: bytes) -> str:
    """The name in *payload*; fails if the payload is not what was made under that name."""
    name = payload.partition(b"\n")[0].decode()
    assert payload == payload_of(name, int(name.rpartition("-")[2])), f"{name} came back as something else"
    return name


async def run(root: Path, tag: str, callers: int, segment_bytes: int, count: int) -> None:
    """Append *count* records from each of *callers*, printing each name once it is acknowledged."""
    journal = SegmentJournal.open(root, small(segment_bytes=segment_bytes))

    async def call(caller: int) -> None:
        for index in range(count):
            name = f"{tag}-{caller}-{index}"
            os.write(2, f"{name}\n".encode())
            await journal.append(payload_of(name, index))
            os.write(1, f"{name}\n".encode())

    await asyncio.gather(*(call(caller) for caller in range(callers)))
    await journal.close()


if __name__ == "__main__":
    _, folder, tag, callers, size, *rest = sys.argv
    asyncio.run(run(Path(folder), tag, int(callers), int(size), int(rest[0]) if rest else 10**9))
