"""Reads what `shim.c` recorded."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<cQQI")


class Kind(Enum):
    """What was done."""

    CREATE = b"c"
    WRITE = b"w"
    TRUNCATE = b"t"
    RENAME = b"r"
    LINK = b"l"
    UNLINK = b"u"
    MKDIR = b"m"
    RMDIR = b"d"
    FLUSH_BEGIN = b"f"
    FLUSH_END = b"F"
    FOLDER_BEGIN = b"g"
    FOLDER_END = b"G"
    MAPPED = b"M"
    UNSEEN = b"X"
    MARK = b"!"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done."""

    kind: Kind
    inode: int
    number: int
    """Offset of a write, size of a truncation; else the process that did it."""
    text: str
    """The path, below the recorded folder; of a mark what it says."""
    data: bytes

    @property
    def other(self) -> str:
        """New path of a rename, what the program says of a flush."""
        return self.data.decode()


def read_trace(path: Path) -> Iterator[Step]:
    """All steps, in the order in which they happened."""
    content = path.read_bytes()
    at = 0
    while at < len(content):
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        kind, inode, number, text_length = _HEAD.unpack_from(content, at)
        start = at + _HEAD.size
        end = at + length
        text = content[start : start + text_length].decode()
        yield Step(Kind(kind), inode, number, text, content[start + text_length : end])
        at = end
