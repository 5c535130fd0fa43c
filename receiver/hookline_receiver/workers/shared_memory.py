"""Files of fixed size that processes share as memory."""

import logging
import mmap
import os
from pathlib import Path

log = logging.getLogger(__name__)


def share(file: Path, size: int) -> mmap.mmap:
    """
    *size* bytes of memory that every process sees that shares *file*; zeros where nobody has written yet.

    Every byte is written before it is mapped: a store into a hole of a file on a full disk would kill the process. Where
    that can't be done the memory is this process's own: worse numbers are better than no receiver.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            missing = size - os.fstat(descriptor).st_size
            if missing > 0:
                _write_zeros(descriptor, size - missing, missing)
            return mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
    except OSError as exc:
        log.error("file can't be shared, this worker goes on alone", extra={"file": str(file), "error": str(exc)})
        return mmap.mmap(-1, size)


def _write_zeros(descriptor: int, offset: int, length: int) -> None:
    zeros = bytes(length)
    while length > 0:
        written = os.pwrite(descriptor, zeros[:length], offset)
        offset, length = offset + written, length - written
