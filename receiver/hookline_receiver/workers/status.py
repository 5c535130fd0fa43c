"""What each worker tells the others of itself, in its place, and what they make of it together."""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from zlib import crc32

from hookline_receiver.workers.shared_memory import share
from hookline_receiver.workers.slot import all_slots, is_taken

STALE_SECONDS = 5.0
"""A worker that has not written for so long counts as stuck; it writes every second."""

FILE = "status"
BOARD_BYTES = 32 * 1024
_HEAD = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker at one moment."""

    pid: int
    at: float
    """Seconds since the epoch."""
    not_ready: str
    """Why it could not make an event durable now; "" if it could."""
    version: str
    """Of the routes it serves; "" before it has any."""
    routes_trouble: str
    """Why the newest routes are not the ones served; "" if they are."""
    above_half_share: Mapping[str, int] = field(default_factory=dict)
    """Bytes pending of subscriptions above 50 % of their share, by uid; at most 100."""
    above_most_share: int = 0
    """How many subscriptions are above 80 %."""


class StatusBoard:
    """Where one worker writes its status: shared memory, so that a full disk does not make it look dead."""

    def __init__(self, folder: Path) -> None:
        self._memory = share(folder / FILE, BOARD_BYTES)

    def publish(self, status: WorkerStatus) -> None:
        """Tell the others. One that does not fit is not told, which can't be with what is documented of it."""
        document = json.dumps(asdict(status)).encode()
        if len(document) <= BOARD_BYTES - _HEAD.size:
            self._memory[: _HEAD.size + len(document)] = _HEAD.pack(crc32(document), len(document)) + document

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()


def living(workers: Path) -> Sequence[WorkerStatus]:
    """The workers that live and have told of themselves."""
    return [status for folder in all_slots(workers) if is_taken(folder) and (status := _read(folder)) is not None]


def not_ready(statuses: Iterable[WorkerStatus], now: float) -> str:
    """
    Why this pod could not make every event durable now; "" if it could.

    One worker that can't is enough: the kernel gives connections to all of them.
    """
    for status in statuses:
        if status.not_ready:
            return f"worker {status.pid}: {status.not_ready}"
        if now - status.at > STALE_SECONDS:
            return f"worker {status.pid}: it has not been heard of for {now - status.at:.0f} s"
    return ""


def _read(folder: Path) -> WorkerStatus | None:
    for _ in range(3):  # it may be read while it is written
        try:
            board = (folder / FILE).read_bytes()
            checksum, length = _HEAD.unpack_from(board)
            document = board[_HEAD.size : _HEAD.size + length]
            if length and crc32(document) == checksum:
                return WorkerStatus(**json.loads(document))
        except (OSError, ValueError, TypeError, struct.error):
            return None
    return None
