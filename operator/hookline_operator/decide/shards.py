"""
Shards of routes: from compiled subscriptions to the bytes that are published, and back from what is published. Pure.

The same entries give the same bytes, in whatever order they came. What can't be read back is not there: it is published
anew, and its verifiers are made anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline.routing.v1.table_pb2 import RouteEntry, RouteShard, VerifierSource
from hookline_routes.compile import Entry
from hookline_routes.inputs import VerifierKey
from hookline_routes.shard import (
    MAX_CHUNKS,
    ROUTE_SHARDS,
    ShardUnreadable,
    TableChunk,
    chunk_of,
    content_hash,
    join,
    shard_of,
    table_name,
)

FORMAT = 1
_ENTRY_TAG = 0x12
"""Field 2 of RouteShard, length-delimited."""


@dataclass(frozen=True, slots=True, order=True)
class ShardName:
    """A shard of a plane's routes."""

    plane: str
    index: int

    @property
    def shards(self) -> int:
        """How many the plane has."""
        return shards_of(self.plane)

    def __str__(self) -> str:
        return table_name(self.plane, self.index)


@dataclass(frozen=True, slots=True)
class Stored:
    """A RouteTable as it is stored."""

    name: str
    resource_version: str
    revision: int
    """0 where that can't be read."""
    shard: ShardName | None
    """Which one it carries a part of, or should; None where that can't be said."""
    chunk: TableChunk | None
    """None: it can't be read."""


@dataclass(frozen=True, slots=True)
class PublishedShard:
    """What is published of a shard."""

    revision: int
    """The highest that any of its objects has had; 0: none."""
    hash: str = ""
    """Of the content; "": there is none that can be read."""
    entries: Mapping[str, bytes] = field(default_factory=dict)
    """By uid."""
    since: Mapping[str, int] = field(default_factory=dict)
    """The revision since which each entry is what it is, or one of which that is surely so."""

    def followed_by(self, revision: int, content_hash: str, entries: Mapping[str, bytes]) -> "PublishedShard":
        """What is published once this has been written over it."""
        since = {
            uid: self.since.get(uid, revision) if self.entries.get(uid) == data else revision
            for uid, data in entries.items()
        }
        return PublishedShard(revision, content_hash, entries, since)


NOTHING = PublishedShard(0)


def is_dedicated(plane: str) -> bool:
    """Whether it is a subscription's own: "{gateway}.{namespace}.{name}", where a gateway's name has no dot."""
    return "." in plane


def shards_of(plane: str) -> int:
    """How many the plane has."""
    return 1 if is_dedicated(plane) else ROUTE_SHARDS


def shards_in(plane: str) -> tuple[ShardName, ...]:
    """All of the plane's."""
    return tuple(ShardName(plane, index) for index in range(shards_of(plane)))


def shard_with(plane: str, uid: str) -> ShardName:
    """The one that the subscription belongs to."""
    return ShardName(plane, shard_of(uid, shards_of(plane)))


def whole_entry(entry: Entry) -> bytes:
    """All of a compiled subscription."""
    sources = [VerifierSource(**_source(key)) for key in entry.sources]
    message = RouteEntry(endpoint=entry.endpoint, subscription=entry.subscription, verifier_sources=sources)
    return message.SerializeToString(deterministic=True)


def content_of(entries: Mapping[str, bytes], hostnames: Iterable[str], tag_key_id: bytes) -> bytes:
    """A RouteShard, serialized: put together of its entries' bytes, as that is what canonical bytes are."""
    parts = [RouteShard(format=FORMAT).SerializeToString(deterministic=True)]
    for _, data in sorted(entries.items()):
        parts += (bytes((_ENTRY_TAG,)), _varint(len(data)), data)
    tail = RouteShard(hostnames=sorted(set(hostnames)), tag_key_id=tag_key_id)
    parts.append(tail.SerializeToString(deterministic=True))
    return b"".join(parts)


def stored(body: Mapping[str, object]) -> Stored:
    """A RouteTable as the API server has it; tolerates anything in its spec."""
    metadata, spec = _mapping(body.get("metadata")), _mapping(body.get("spec"))
    name, plane = str(metadata.get("name", "")), str(spec.get("plane", ""))
    try:
        chunk = chunk_of(spec)
    except ShardUnreadable:
        chunk = None
    if chunk and (chunk.name != name or chunk.shards != shards_of(chunk.plane)):
        chunk = None
    shard = ShardName(plane, _number(spec, "index", -1))
    named = shard.index >= 0 and name in {table_name(plane, shard.index, each) for each in range(MAX_CHUNKS)}
    version = str(metadata.get("resourceVersion", ""))
    return Stored(name, version, max(0, _number(spec, "revision", 0)), shard if named else None, chunk)


def published(tables: Iterable[Stored]) -> PublishedShard:
    """What the tables of one shard say; without content where that is not whole, or damaged."""
    every = list(tables)
    revision = max((each.revision for each in every), default=0)
    try:
        content = join([each.chunk for each in every if each.chunk])
        shard = RouteShard.FromString(content)
    except (ShardUnreadable, DecodeError):
        return PublishedShard(revision)
    entries = {entry.subscription.ref.uid: entry.SerializeToString(deterministic=True) for entry in shard.entries}
    return PublishedShard(revision, content_hash(content), entries, dict.fromkeys(entries, revision))


def verifiers_in(tables: Iterable[Stored], tag_key_id: bytes) -> dict[VerifierKey, routing.Verifier]:
    """What verifiers the tables of one shard hold, and what they were made of; none if they are of another tag key."""
    try:
        shard = RouteShard.FromString(join([each.chunk for each in tables if each.chunk]))
    except (ShardUnreadable, DecodeError):
        return {}
    if shard.tag_key_id != tag_key_id:
        return {}
    return {
        VerifierKey(source.secret_uid, source.resource_version, source.username_key, source.password_key): verifier
        for entry in shard.entries
        for source, verifier in zip(entry.verifier_sources, entry.endpoint.verifiers, strict=False)
        if source.secret_uid and source.resource_version
    }


def _source(key: VerifierKey) -> dict[str, str]:
    return {
        "secret_uid": key.secret,
        "resource_version": key.version,
        "username_key": key.username_key,
        "password_key": key.password_key,
    }


def _number(spec: Mapping[str, object], name: str, default: int) -> int:
    value = spec.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
