"""
The RouteTables as they are stored: read, written on the condition of what was read, and what is known of them.

A shard's chunks are written from the last to the first and surplus ones deleted afterwards; readers take a shard only when
all its chunks are of one revision, so that a writer that is killed in between changes nothing for them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_operator.apply.api import Json, Listing
from hookline_operator.decide.shards import NOTHING, PublishedShard, ShardName, Stored, published, stored, verifiers_in
from hookline_operator.resource_types import ROUTE_TABLES, ResourceType
from hookline_routes.inputs import VerifierKey
from hookline_routes.shard import MAX_CHUNKS, TableChunk, content_hash, plane_label, spec_of, split, table_name

MANAGER_LABEL, MANAGER = "app.kubernetes.io/managed-by", "hookline-operator"
PLANE_LABEL = "hookline.dev/plane"
_SMALL = 64 * 1024
"""Bytes that are packed within a millisecond; more is packed in a thread."""


class TablesApi(Protocol):
    """The calls that are made; `apply.api.Api` has them. Each may raise ApiError; writes NotLeading."""

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Json | None:
        """The object; None if it is not there."""

    async def list(
        self,
        kind: ResourceType,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> Listing:
        """All of them as of one moment."""

    async def create(self, kind: ResourceType, namespace: str, body: Mapping[str, Any]) -> Json:
        """The object as stored; Conflict if its name is taken."""

    async def replace(self, kind: ResourceType, namespace: str, name: str, body: Mapping[str, Any]) -> Json:
        """The object as stored; Conflict if somebody has written it since."""

    async def delete(
        self, kind: ResourceType, namespace: str, name: str, *, uid: str = "", resource_version: str = ""
    ) -> bool:
        """Whether it was there; Conflict if it is another version by now."""


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of a shard."""

    foreign: bool
    """Whether anybody else has written it since it was read or written here."""
    verifiers: Mapping[VerifierKey, routing.Verifier]


@dataclass(frozen=True, slots=True)
class Strange:
    """What a look at all tables found to be otherwise than it is known."""

    shards: frozenset[ShardName]
    """Somebody has written them, or deleted some of their tables."""
    orphans: Mapping[str, str]
    """Tables of no shard that there is, by name: their resource versions."""


class RouteTables:
    """What is published of all shards."""

    def __init__(self, api: TablesApi, namespace: str, tag_key_id: bytes = b"") -> None:
        """Verifiers are read of shards with that *tag_key_id* only."""
        self._api = api
        self._namespace = namespace
        self._tag_key_id = tag_key_id
        self._versions: dict[str, str] = {}
        """Resource versions by name."""
        self._names: defaultdict[ShardName, set[str]] = defaultdict(set)
        self._attempts: dict[ShardName, tuple[int, str]] = {}
        """Revision and hash of what was written last, whether or not that was answered."""
        self.published: dict[ShardName, PublishedShard] = {}

    async def read_all(self) -> dict[VerifierKey, routing.Verifier]:
        """Read all tables anew; the verifiers that they hold."""
        listing = await self._api.list(ROUTE_TABLES, self._namespace, labels=f"{MANAGER_LABEL}={MANAGER}")
        tables = [stored(item) for item in listing.items]
        self._versions = {each.name: each.resource_version for each in tables}
        self._names.clear()
        self._attempts.clear()
        self.published = {}
        verifiers: dict[VerifierKey, routing.Verifier] = {}
        for shard, several in _by_shard(tables).items():
            self._names[shard] = {each.name for each in several}
            self.published[shard] = published(several)
            verifiers |= verifiers_in(several, self._tag_key_id)
            await asyncio.sleep(0)
        return verifiers

    def get(self, shard: ShardName) -> PublishedShard:
        """What is known to be published of it."""
        return self.published.get(shard, NOTHING)

    async def read(self, shard: ShardName) -> Read:
        """Read the shard's tables anew."""
        tables = await self._tables_of(shard)
        known = {name: self._versions.get(name) for name in self._names[shard]}
        attempt = self._attempts.get(shard)
        foreign = any(
            each.resource_version != known.get(each.name)
            and not (each.chunk and (each.revision, each.chunk.hash) == attempt)
            for each in tables
        )
        there = {each.name for each in tables}
        lost = known.keys() - there
        if attempt:
            # Surplus chunks of an earlier revision may have been deleted by the very write that was not answered.
            lost -= {name for name in lost if name != str(shard)}
        for name in known.keys() - there:
            self._versions.pop(name, None)
        self._versions |= {each.name: each.resource_version for each in tables}
        self._names[shard] = there
        before = self.get(shard)
        now = published(tables)
        revision = max(before.revision, now.revision)
        self.published[shard] = (
            before.followed_by(revision, now.hash, now.entries) if now.hash else PublishedShard(revision)
        )
        return Read(foreign or bool(lost), verifiers_in(tables, self._tag_key_id))

    async def write(self, shard: ShardName, content: bytes, entries: Mapping[str, bytes]) -> PublishedShard:
        """Publish *content*; raises ApiError: then the shard is to be read again, and ShardTooLarge."""
        before = self.get(shard)
        revision = before.revision + 1
        arguments = (shard.plane, shard.index, shard.shards, revision, content)
        chunks = split(*arguments) if len(content) < _SMALL else await asyncio.to_thread(split, *arguments)
        self._attempts[shard] = (revision, chunks[0].hash)
        # Until all of it is there, what is published can't be said; the revision is used up in any case.
        self.published[shard] = PublishedShard(before.revision, "", before.entries, before.since)
        for chunk in reversed(chunks):
            await self._write(shard, chunk)
        for name in sorted(self._names[shard] - {chunk.name for chunk in chunks}):
            await self.delete(name, self._versions.get(name, ""))
        after = self.published[shard] = before.followed_by(revision, content_hash(content), entries)
        return after

    async def delete(self, name: str, resource_version: str) -> None:
        """Delete a table as it was seen; raises ApiError."""
        await self._api.delete(ROUTE_TABLES, self._namespace, name, resource_version=resource_version)
        self._versions.pop(name, None)
        for names in self._names.values():
            names.discard(name)

    async def look(self, wanted: Collection[ShardName], kept_planes: Collection[str]) -> Strange:
        """
        Hold all tables against what is known of them; *wanted* shards there should be, *kept_planes* are left alone.

        With a gateway's shared plane those of its subscriptions are, also where they have no pods now.
        """
        labels = f"{MANAGER_LABEL}={MANAGER}"
        listing = await self._api.list(ROUTE_TABLES, self._namespace, labels=labels, metadata_only=True)
        there = {str(item["metadata"]["name"]): item["metadata"] for item in listing.items}
        kept = {plane_label(plane) for plane in kept_planes}
        kept |= {plane_label(shard.plane) for shard in self._names if shard.plane.partition(".")[0] in kept_planes}
        by_name = {name: shard for shard in wanted for name in (str(shard), *self._names[shard])}
        changed = {
            shard
            for name, shard in by_name.items()
            if (there[name]["resourceVersion"] if name in there else None) != self._versions.get(name)
        }
        orphans = {
            name: str(metadata["resourceVersion"])
            for name, metadata in there.items()
            if name not in by_name and (metadata.get("labels") or {}).get(PLANE_LABEL) not in kept
        }
        return Strange(frozenset(changed), orphans)

    async def _tables_of(self, shard: ShardName) -> list[Stored]:
        tables: list[Stored] = []
        for chunk in range(MAX_CHUNKS):
            name = table_name(shard.plane, shard.index, chunk)
            body = await self._api.get(ROUTE_TABLES, self._namespace, name)
            if body:
                tables.append(stored(body))
            elif not any(
                table_name(shard.plane, shard.index, later) in self._versions for later in range(chunk, MAX_CHUNKS)
            ):
                break
        return tables

    async def _write(self, shard: ShardName, chunk: TableChunk) -> None:
        version = self._versions.get(chunk.name)
        metadata: Json = {
            "name": chunk.name,
            "namespace": self._namespace,
            "labels": {MANAGER_LABEL: MANAGER, PLANE_LABEL: plane_label(chunk.plane)},
        }
        body: Json = {
            "apiVersion": ROUTE_TABLES.api_version,
            "kind": ROUTE_TABLES.kind,
            "metadata": metadata,
            "spec": spec_of(chunk),
        }
        if version is None:
            answer = await self._api.create(ROUTE_TABLES, self._namespace, body)
        else:
            metadata["resourceVersion"] = version
            answer = await self._api.replace(ROUTE_TABLES, self._namespace, chunk.name, body)
        self._versions[chunk.name] = str(answer["metadata"]["resourceVersion"])
        self._names[shard].add(chunk.name)


def _by_shard(tables: list[Stored]) -> dict[ShardName, list[Stored]]:
    found: dict[ShardName, list[Stored]] = {}
    for each in tables:
        if each.shard:
            found.setdefault(each.shard, []).append(each)
    return found
