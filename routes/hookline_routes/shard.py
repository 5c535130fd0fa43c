"""
The form in which operator and agents exchange a shard: split into the objects that carry it, and joined again. Pure.

    for chunk in split(plane, index, shards, revision, content): publish(chunk.name, spec_of(chunk))
    content = join(chunk_of(object["spec"]) for each object of the shard)

*content* is a `RouteShard` or `EndpointTable`, serialized. The same content gives the same hash, whatever packed it.
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ROUTE_SHARDS = 64
"""Of a shared plane's routes; a dedicated plane has one."""

ENDPOINT_SHARDS = 16
"""Of a shared plane's endpoints; a dedicated plane has one."""

CHUNK_BYTES = 512 * 1024
"""Compressed bytes in one object: 683 KiB in base64, where etcd takes 1.5 MiB for an object and its request."""

MAX_CHUNKS = 10
"""Numbers of chunks have one digit: no two tables get the same name."""

MAX_SHARD_BYTES = 64 * 1024 * 1024
"""Uncompressed; a reader unpacks no more, whatever it is given."""

_NAME_LIMIT, _NAME_KEPT, _NAME_HASH = 40, 30, 10
_LEVEL = 6


class ShardUnreadable(Exception):
    """What was published is not whole, or not what its hash says; the message says what is wrong."""


class ShardTooLarge(Exception):
    """The shard can't be published; the message says its size and the limit."""


@dataclass(frozen=True, slots=True)
class TableChunk:
    """`spec` of one RouteTable or EndpointTable."""

    plane: str
    index: int
    shards: int
    revision: int
    chunk: int
    chunks: int
    hash: str
    """SHA-256 of the whole uncompressed shard, hex."""
    data: str
    """base64."""

    @property
    def name(self) -> str:
        """Of the object."""
        return table_name(self.plane, self.index, self.chunk)


def shard_of(key: str, shards: int) -> int:
    """The shard that *key* (a subscription's uid, or "namespace/service") belongs to, of *shards*."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % shards


def plane_label(plane: str) -> str:
    """*plane* as a label's value and as the beginning of names: shortened, and told apart by a hash, where it is long."""
    if len(plane) <= _NAME_LIMIT:
        return plane
    return f"{plane[:_NAME_KEPT].rstrip('-.')}-{hashlib.sha256(plane.encode()).hexdigest()[:_NAME_HASH]}"


def table_name(plane: str, index: int, chunk: int = 0) -> str:
    """Name of the object that carries *chunk* of shard *index*."""
    name = f"{plane_label(plane)}-{index:02d}"
    return f"{name}-{chunk}" if chunk else name


def content_hash(content: bytes) -> str:
    """By which published shards are compared."""
    return hashlib.sha256(content).hexdigest()


def split(plane: str, index: int, shards: int, revision: int, content: bytes) -> tuple[TableChunk, ...]:
    """The chunks that carry *content*, one at least; raises ShardTooLarge."""
    packed = zlib.compress(content, _LEVEL)
    pieces = [packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES)]
    if len(pieces) > MAX_CHUNKS or len(content) > MAX_SHARD_BYTES:
        raise ShardTooLarge(
            f"shard {index} of plane {plane} has {len(content)} bytes, {len(packed)} compressed; "
            f"the limits are {MAX_SHARD_BYTES} and {MAX_CHUNKS * CHUNK_BYTES}"
        )
    digest = content_hash(content)
    return tuple(
        TableChunk(plane, index, shards, revision, number, len(pieces), digest, base64.b64encode(piece).decode("ascii"))
        for number, piece in enumerate(pieces)
    )


def join(chunks: Iterable[TableChunk]) -> bytes:
    """The content that *chunks*, all of one revision and in any order, carry; raises ShardUnreadable."""
    ordered = sorted(chunks, key=lambda each: each.chunk)
    if not ordered:
        raise ShardUnreadable("there is no chunk")
    first = ordered[0]
    state = (first.plane, first.index, first.shards, first.revision, first.chunks, first.hash)
    for each in ordered:
        if (each.plane, each.index, each.shards, each.revision, each.chunks, each.hash) != state:
            raise ShardUnreadable(f"chunks {first.chunk} and {each.chunk} are not of one revision")
    if [each.chunk for each in ordered] != list(range(first.chunks)):
        raise ShardUnreadable(f"it has chunks {[each.chunk for each in ordered]}, not 0 to {first.chunks - 1}")
    content = _unpacked(b"".join(map(_decoded, ordered)))
    if content_hash(content) != first.hash:
        raise ShardUnreadable(f"its content is not what its hash {first.hash} says")
    return content


def spec_of(chunk: TableChunk) -> dict[str, object]:
    """*chunk* as `spec` of the object."""
    return {
        "plane": chunk.plane,
        "index": chunk.index,
        "shards": chunk.shards,
        "revision": chunk.revision,
        "chunk": chunk.chunk,
        "chunks": chunk.chunks,
        "hash": chunk.hash,
        "data": chunk.data,
    }


def chunk_of(spec: Mapping[str, object]) -> TableChunk:
    """The chunk that an object's *spec* holds; raises ShardUnreadable where a field is missing or can't be."""
    chunk = TableChunk(
        plane=_text(spec, "plane"),
        index=_number(spec, "index"),
        shards=_number(spec, "shards"),
        revision=_number(spec, "revision"),
        chunk=_number(spec, "chunk", 0),
        chunks=_number(spec, "chunks", 1),
        hash=_text(spec, "hash"),
        data=_text(spec, "data"),
    )
    if not (0 <= chunk.index < chunk.shards <= ROUTE_SHARDS and 0 <= chunk.chunk < chunk.chunks <= MAX_CHUNKS):
        raise ShardUnreadable(
            f"shard {chunk.index} of {chunk.shards}, chunk {chunk.chunk} of {chunk.chunks} can't be: "
            f"there are at most {ROUTE_SHARDS} shards and {MAX_CHUNKS} chunks"
        )
    return chunk


def _decoded(chunk: TableChunk) -> bytes:
    try:
        return base64.b64decode(chunk.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ShardUnreadable(f"chunk {chunk.chunk} is not base64: {error}") from error


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, MAX_SHARD_BYTES)
    except zlib.error as error:
        raise ShardUnreadable(f"it can't be unpacked: {error}") from error
    if not unpacker.eof:
        raise ShardUnreadable(f"it ends in the middle, or unpacks to more than {MAX_SHARD_BYTES} bytes")
    return content


def _text(spec: Mapping[str, object], name: str) -> str:
    value = spec.get(name)
    if not isinstance(value, str):
        raise ShardUnreadable(f"spec.{name} is not a string")
    return value


def _number(spec: Mapping[str, object], name: str, default: int | None = None) -> int:
    value = spec.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ShardUnreadable(f"spec.{name} is not a whole number")
    return value
