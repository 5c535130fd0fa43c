"""
The files that the agent writes: parts, and the indexes that name them, replaced whole.

Parts are on stable storage before the index that names them, and removed a while after the last one that did.
"""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from google.protobuf.message import DecodeError

from hookline.routing.v1.snapshot_pb2 import EndpointTable, ForwarderSnapshot, Part, ReceiverSnapshot
from hookline_receiver.forwarder.files import make_folder, replace_file
from hookline_receiver.parts import PartUnreadable, part_file, part_name, parts_folder, read_part
from hookline_receiver.tag_keys import TagKeys

FORMAT = 2

KEPT_SECONDS = 60.0
"""How long a part stays that no index names any more: somebody may have read that index and not yet the part."""

log = logging.getLogger(__name__)

IndexMessage = type[ReceiverSnapshot | ForwarderSnapshot | EndpointTable]


@dataclass(frozen=True, slots=True)
class NamedPart:
    """A part as an index names it; its place is the shard's index."""

    name: str
    revision: int


@dataclass(frozen=True, slots=True)
class Index:
    """What an index says."""

    parts: tuple[NamedPart, ...]
    hostnames: tuple[str, ...] = ()
    tags: TagKeys = field(default_factory=TagKeys)
    version: str = ""
    """"" in what is to be compared or written: it is the hash of the rest."""

    @property
    def names(self) -> frozenset[str]:
        """Of all its parts."""
        return frozenset(part.name for part in self.parts)

    def identity(self) -> str:
        """The version of an index with this content."""
        digest = hashlib.sha256(hashlib.sha256(self.tags.key).digest())
        for key in self.tags.further:
            digest.update(b"key %s\n" % hashlib.sha256(key).hexdigest().encode())
        if self.tags.incomplete:
            digest.update(b"incomplete\n")
        for part in self.parts:
            digest.update(f"{part.name} {part.revision}\n".encode())
        for hostname in self.hostnames:
            digest.update(f"{hostname}\n".encode())
        return digest.hexdigest()[:32]


class SnapshotFile:
    """One index and the folder of its parts."""

    def __init__(self, path: Path, message: IndexMessage, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._message = message
        self._clock = clock
        self._lock = threading.Lock()
        self._good: set[str] = set()
        self._unflushed: set[str] = set()
        self._unnamed: dict[str, float] = {}
        self.current: Index | None = None
        """What is in the file; None: nothing that can be used."""
        self.written = 0

    def open(self) -> None:
        """Make the folders, and take over what was written before, if all of it is there. Raises OSError."""
        make_folder(parts_folder(self.path))
        self.current = self._read()
        if self.current is not None:
            self._good = set(self.current.names)

    def put(self, content: bytes) -> str:
        """
        Write a part, if it is not there already, and return its name. Raises OSError.

        PERF: it is flushed with the index that names it: 128 parts one by one take longer than to receive and read them.
        """
        name = part_name(content)
        with self._lock:
            self._unnamed.pop(name, None)
            if name not in self._good and not self._is_good(name):
                replace_file(part_file(self.path, name), content, durable=False)
                self._unflushed.add(name)
                self.written += 1
            self._good.add(name)
        return name

    def read(self, name: str) -> bytes:
        """The content of a part. Raises PartUnreadable: it is no part without entries, nothing may be made of it."""
        try:
            return read_part(self.path, name)
        except PartUnreadable:
            with self._lock:
                self._good.discard(name)  # written again if it comes again
            raise

    def write(self, index: Index) -> bool:
        """Replace the index by one with the same content as *index*, unless it is there already. Raises OSError."""
        version = index.identity()
        if self.current is not None and self.current.version == version:
            return False
        with self._lock:
            self._flush(index.names)
        replace_file(self.path, self._encoded(index, version))
        self.current = replace(index, version=version)
        return True

    def prune(self, wanted: Collection[str]) -> int:
        """Remove parts that neither the index names nor *wanted* does, a while after they last were; how many."""
        removed = 0
        with self._lock:
            keep = set(wanted) | (self.current.names if self.current else frozenset())
            now = self._clock()
            for file in parts_folder(self.path).iterdir():
                name = file.name.removesuffix(".binpb")
                if name in keep:
                    self._unnamed.pop(name, None)
                elif now - self._unnamed.setdefault(name, now) >= KEPT_SECONDS:
                    with suppress(OSError):
                        os.unlink(file)
                    self._good.discard(name)
                    del self._unnamed[name]
                    removed += 1
        return removed

    def _flush(self, names: Collection[str]) -> None:
        flushed = self._unflushed & set(names)
        for name in flushed:
            _sync(part_file(self.path, name))
        if flushed:
            _sync(parts_folder(self.path))
            self._unflushed -= flushed

    def _is_good(self, name: str) -> bool:
        try:
            read_part(self.path, name)
        except PartUnreadable:
            return False
        return True

    def _encoded(self, index: Index, version: str) -> bytes:
        parts = [Part(name=one.name, shard=shard, revision=one.revision) for shard, one in enumerate(index.parts)]
        message = self._message(format=FORMAT, parts=parts)
        if not isinstance(message, EndpointTable):
            message.version = version
        if isinstance(message, ReceiverSnapshot):
            message.hostnames.extend(index.hostnames)
            message.tag_key = index.tags.key
            message.further_tag_keys.extend(index.tags.further)
            message.tags_incomplete = index.tags.incomplete
        return message.SerializeToString(deterministic=True)

    def _read(self) -> Index | None:
        try:
            message = self._message.FromString(self.path.read_bytes())
        except (OSError, DecodeError) as error:
            level = logging.INFO if isinstance(error, FileNotFoundError) else logging.ERROR
            log.log(level, "there is no last good snapshot", extra={"file": str(self.path), "reason": str(error)})
            return None
        if message.format != FORMAT or not self._all_there(message.parts):
            log.error("the last snapshot is not whole", extra={"file": str(self.path), "format": message.format})
            return None
        parts = tuple(NamedPart(part.name, part.revision) for part in message.parts)
        index = Index(parts)
        if isinstance(message, ReceiverSnapshot):
            tags = TagKeys(message.tag_key, tuple(message.further_tag_keys), message.tags_incomplete)
            index = Index(parts, tuple(message.hostnames), tags)
        return replace(index, version=index.identity())

    def _all_there(self, parts: Sequence[Part]) -> bool:
        return [part.shard for part in parts] == list(range(len(parts))) and all(
            map(self._is_good, {part.name for part in parts})
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
