"""
From objects to whole shards: pure, and the same whatever order the objects come in.

What is not whole, or not what its hash says, gives no shard, and a reason: the shard of before stays in force.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hookline_routes.shard import ShardUnreadable, TableChunk, chunk_of, join, table_name


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard as it was published, whole."""

    index: int
    shards: int
    """Of the plane."""
    revision: int
    content: bytes


class Collector:
    """Takes the objects of one kind."""

    def __init__(self, plane: str) -> None:
        self._plane = plane
        self._chunks: dict[int, dict[int, TableChunk]] = {}
        self._whole: dict[int, tuple[int, str, int]] = {}
        self._troubles: dict[str, str] = {}
        self._missing: tuple[str, ...] = ()

    @property
    def troubles(self) -> Mapping[str, str]:
        """What is wrong, by name of the object or of its shard's first one."""
        return {**self._troubles, **{name: f"{name} is missing" for name in self._missing}}

    def take(self, name: str, thing: Mapping[str, Any]) -> Shard | None:
        """The shard that *thing*, the object *name*, makes whole; None: there is none, or nothing new in it."""
        self._troubles.pop(name, None)
        try:
            chunk = self._chunk(thing)
        except ShardUnreadable as error:
            self._troubles[name] = f"{name}: {error}"
            return None
        self._missing = tuple(each for each in self._missing if each != name)
        if self._whole.get(chunk.index) == (chunk.revision, chunk.hash, chunk.shards):
            self._settled(chunk)
            return None
        return self._complete(chunk)

    def reject(self, shard: Shard, reason: str) -> None:
        """The *shard* was whole, but there is something in it that can't be read."""
        name = table_name(self._plane, shard.index)
        self._whole.pop(shard.index, None)
        self._troubles[name] = f"{name}: {reason}"

    def listed(self, names: Collection[str]) -> None:
        """These objects are all there are: a shard that was published before and is not among them is missing."""
        shards = max((count for _, _, count in self._whole.values()), default=0)
        expected = (table_name(self._plane, index) for index in range(shards))
        self._missing = tuple(name for name in expected if name not in names)
        for name in [name for name in self._troubles if name not in names]:
            del self._troubles[name]

    def deleted(self, name: str) -> None:
        """An object is gone: its shard stays in force. A surplus chunk may go; the first of a shard is missed."""
        self._troubles.pop(name, None)
        if any(name == table_name(self._plane, index) for index in self._whole):
            self._missing = (*self._missing, name)

    def _chunk(self, thing: Mapping[str, Any]) -> TableChunk:
        spec = thing.get("spec")
        if not isinstance(spec, Mapping):
            raise ShardUnreadable("it has no spec")
        chunk = chunk_of(spec)
        if chunk.plane != self._plane:
            raise ShardUnreadable(f"it is of plane {chunk.plane!r}, not {self._plane!r}")
        return chunk

    def _complete(self, chunk: TableChunk) -> Shard | None:
        chunks = self._chunks.setdefault(chunk.index, {})
        chunks[chunk.chunk] = chunk
        same = [each for each in chunks.values() if (each.revision, each.hash) == (chunk.revision, chunk.hash)]
        first = table_name(self._plane, chunk.index)
        if len(same) < chunk.chunks:
            if not self._is_surplus(chunk):
                count = f"{len(same)} of {chunk.chunks} chunks of revision {chunk.revision} are there"
                self._troubles[first] = f"{first}: {count}"
            return None
        try:
            content = join(same)
        except ShardUnreadable as error:
            self._troubles[first] = f"{first}: revision {chunk.revision}: {error}"
            return None
        self._whole[chunk.index] = (chunk.revision, chunk.hash, chunk.shards)
        self._settled(chunk)
        return Shard(chunk.index, chunk.shards, chunk.revision, content)

    def _settled(self, chunk: TableChunk) -> None:
        """The shard of *chunk* is whole; chunks of a later revision may be there already."""
        later = {n: each for n, each in self._chunks.pop(chunk.index, {}).items() if each.revision > chunk.revision}
        if later:
            self._chunks[chunk.index] = later
        self._troubles.pop(table_name(self._plane, chunk.index), None)

    def _is_surplus(self, chunk: TableChunk) -> bool:
        """Whether it is left over from a revision before the one that is whole, which needs fewer chunks."""
        whole = self._whole.get(chunk.index)
        return whole is not None and chunk.chunk > 0 and chunk.revision < whole[0]
