"""
Files that never change, named after their content: what the index of a snapshot names, and what is kept of them.

`receiver.parts/{name}.binpb` stands beside `receiver.binpb`. A new index names mostly parts that are known already: only
the others are read.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_NAME_DIGITS = 32
_NAME = re.compile(r"[0-9a-f]{32}")


class PartUnreadable(Exception):
    """A part that an index names is not there, or not what its name says; the message names it."""


def part_name(content: bytes) -> str:
    """The name of a part with *content*."""
    return hashlib.sha256(content).hexdigest()[:_NAME_DIGITS]


def parts_folder(index: Path) -> Path:
    """Where the parts are that *index* names."""
    return index.with_suffix(".parts")


def part_file(index: Path, name: str) -> Path:
    """The file of the part *name*; PartUnreadable if that is no name of a part."""
    # SECURITY: a name is not to lead anywhere else.
    if not _NAME.fullmatch(name):
        raise PartUnreadable(f"{name!r} is not the name of a part")
    return parts_folder(index) / f"{name}.binpb"


def read_part(index: Path, name: str) -> bytes:
    """The content of the part *name*, which is what its name says; PartUnreadable otherwise."""
    file = part_file(index, name)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PartUnreadable(f"part {file}: {error}") from error
    if part_name(content) != name:
        raise PartUnreadable(f"part {file}: its {len(content)} bytes are not what its name says")
    return content


class Parts(Generic[T]):
    """What was read of the parts of one index."""

    def __init__(self, index: Path, parse: Callable[[bytes], T]) -> None:
        """*parse* may raise what it likes: the parts that are known stay so."""
        self._index = index
        self._parse = parse
        self._known: Mapping[str, T] = {}

    def load(self, names: Iterable[str]) -> Mapping[str, T]:
        """The parts *names*, in their order; those that are known are not read again, and all others forgotten."""
        known = self._known
        loaded = {
            name: known[name] if name in known else self._parse(read_part(self._index, name))
            for name in dict.fromkeys(names)
        }
        self._known = loaded
        return loaded
