"""
The published endpoint shards: read once a term, written on the condition of what was read.

A shard is one EndpointTable, or several chunks of one revision (`hookline_routes.shard`). Revisions only grow, also over
what a killed writer left half done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hookline_operator.resource_types import ENDPOINT_TABLES, ResourceType
from hookline_routes.shard import ENDPOINT_SHARDS, ShardUnreadable, TableChunk, chunk_of, plane_label, spec_of, split

Json = dict[str, Any]

MANAGED_BY = {"app.kubernetes.io/managed-by": "hookline-operator"}
SELECTOR = "app.kubernetes.io/managed-by=hookline-operator"
PLANE_LABEL = "hookline.dev/plane"


class Listed(Protocol):
    """A consistent list."""

    @property
    def items(self) -> tuple[Json, ...]:
        """The objects."""


class TableApi(Protocol):
    """The part of `api.Api` that is used here."""

    async def list(self, kind: ResourceType, namespace: str = "", *, labels: str = "") -> Listed:
        """All of them."""

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Json | None:
        """The object; None if it is not there."""

    async def create(self, kind: ResourceType, namespace: str, body: Mapping[str, Any]) -> Json:
        """As stored; Conflict if it is there."""

    async def replace(self, kind: ResourceType, namespace: str, name: str, body: Mapping[str, Any]) -> Json:
        """As stored; Conflict if metadata.resourceVersion is not the stored one's."""

    async def delete(self, kind: ResourceType, namespace: str, name: str) -> bool:
        """Whether it was there."""


@dataclass(frozen=True, slots=True, order=True)
class ShardKey:
    """Names a shard."""

    plane: str
    index: int

    @property
    def shards(self) -> int:
        """Of its plane: gateways' names have no dot, those of dedicated planes do."""
        return shards_of(self.plane)


def shards_of(plane: str) -> int:
    """How many endpoint shards *plane* has."""
    return 1 if "." in plane else ENDPOINT_SHARDS


@dataclass(frozen=True, slots=True)
class PublishedShard:
    """What is there of a shard."""

    hash: str = ""
    """Of its content; "" if it is not whole."""
    revision: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    """resourceVersion of each of its objects, by name."""


class EndpointTables:
    """The EndpointTables of the operator's namespace."""

    def __init__(self, api: TableApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def read(self) -> dict[ShardKey, PublishedShard]:
        """All shards that are there."""
        listing = await self._api.list(ENDPOINT_TABLES, self._namespace, labels=SELECTOR)
        by_shard: dict[ShardKey, list[Json]] = {}
        for each in listing.items:
            spec = each.get("spec") or {}
            by_shard.setdefault(ShardKey(str(spec.get("plane", "")), int(spec.get("index", 0))), []).append(each)
        return {key: _published(objects) for key, objects in by_shard.items()}

    async def reread(self, published: PublishedShard, key: ShardKey) -> PublishedShard:
        """What is there now of one shard: after a conflict."""
        names = {*published.versions, TableChunk(key.plane, key.index, key.shards, 1, 0, 1, "", "").name}
        found = [await self._api.get(ENDPOINT_TABLES, self._namespace, name) for name in sorted(names)]
        return _published([each for each in found if each is not None])

    async def write(
        self, key: ShardKey, content: bytes, published: PublishedShard, owners: tuple[Json, ...]
    ) -> PublishedShard:
        """
        Publish *content* in place of *published*; owned by *owners*.

        Raises Conflict if somebody else has written since, ShardTooLarge if it does not fit.
        """
        chunks = split(key.plane, key.index, key.shards, published.revision + 1, content)
        versions: dict[str, str] = {}
        for chunk in chunks:
            versions[chunk.name] = await self._put(chunk, published.versions.get(chunk.name, ""), owners)
        for name in published.versions.keys() - versions.keys():
            await self._api.delete(ENDPOINT_TABLES, self._namespace, name)
        return PublishedShard(chunks[0].hash, published.revision + 1, versions)

    async def remove(self, published: PublishedShard) -> None:
        """Delete what there is of a shard."""
        for name in published.versions:
            await self._api.delete(ENDPOINT_TABLES, self._namespace, name)

    async def _put(self, chunk: TableChunk, version: str, owners: tuple[Json, ...]) -> str:
        metadata: Json = {
            "name": chunk.name,
            "namespace": self._namespace,
            "labels": {**MANAGED_BY, PLANE_LABEL: plane_label(chunk.plane)},
        }
        if owners:
            metadata["ownerReferences"] = list(owners)
        body: Json = {
            "apiVersion": ENDPOINT_TABLES.api_version,
            "kind": ENDPOINT_TABLES.kind,
            "metadata": metadata,
            "spec": spec_of(chunk),
        }
        if version:
            metadata["resourceVersion"] = version
            stored = await self._api.replace(ENDPOINT_TABLES, self._namespace, chunk.name, body)
        else:
            stored = await self._api.create(ENDPOINT_TABLES, self._namespace, body)
        return str(stored["metadata"]["resourceVersion"])


def _published(objects: list[Json]) -> PublishedShard:
    versions = {str(each["metadata"]["name"]): str(each["metadata"]["resourceVersion"]) for each in objects}
    try:
        chunks = [chunk_of(each.get("spec") or {}) for each in objects]
    except ShardUnreadable:
        revisions = [(each.get("spec") or {}).get("revision", 0) for each in objects]
        return PublishedShard("", max((each for each in revisions if isinstance(each, int)), default=0), versions)
    revision = max((each.revision for each in chunks), default=0)
    one = {(each.revision, each.hash, each.chunks) for each in chunks}
    whole = len(one) == 1 and {each.chunk for each in chunks} == set(range(chunks[0].chunks))
    return PublishedShard(chunks[0].hash if whole else "", revision, versions)
