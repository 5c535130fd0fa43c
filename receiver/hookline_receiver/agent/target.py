"""
What is to be served: the tables as they were published, stored as parts, shard by shard.

A shard that is missing or can't be read counts as it was before: in this process, or in the files that the last one left.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hookline_receiver.agent.api import Event, Object
from hookline_receiver.agent.collect import Collector, Shard
from hookline_receiver.agent.contents import (
    ContentUnreadable,
    credentials_of,
    endpoint_content,
    endpoint_uids,
    route_contents,
    subscription_uids,
)
from hookline_receiver.agent.snapshots import NamedPart, SnapshotFile

ROUTES, ENDPOINTS = "routetables", "endpointtables"
"""Plural names of the kinds."""

_NOT_WRITTEN = "it can't be written to disk"

Stored = TypeVar("Stored")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RouteParts:
    """One shard of routes, stored."""

    revision: int
    receiver: str
    """Name of its part."""
    forwarder: str
    hostnames: tuple[str, ...] = ()
    tag_key_id: bytes | None = None
    """Names the key of its tags; None: one of those in the file that the last process left."""


@dataclass(frozen=True, slots=True)
class Files:
    """The three files that the agent writes."""

    receiver: SnapshotFile
    forwarder: SnapshotFile
    endpoints: SnapshotFile


@dataclass(slots=True)
class _Known:
    """What was published, by index of shard, and how many shards there are."""

    routes: dict[int, RouteParts] = field(default_factory=dict)
    endpoints: dict[int, NamedPart] = field(default_factory=dict)
    route_shards: int = 0
    endpoint_shards: int = 0


class Target:
    """Takes what the watches bring."""

    def __init__(self, plane: str, files: Files, changed: Callable[[], None]) -> None:
        self._files = files
        self._changed = changed
        self._collectors = {ROUTES: Collector(plane), ENDPOINTS: Collector(plane)}
        self._known = _Known()
        self._before = _Known()
        self._uids: dict[str, frozenset[str]] = {}
        self._credentials: dict[str, Mapping[str, tuple[str, ...]]] = {}
        self._listed: set[str] = set()

    def open(self) -> None:
        """Take over what the files hold; raises OSError."""
        files = self._files
        for file in (files.receiver, files.forwarder, files.endpoints):
            file.open()
        receiver, forwarder, endpoints = files.receiver.current, files.forwarder.current, files.endpoints.current
        if receiver is not None and forwarder is not None and len(receiver.parts) == len(forwarder.parts):
            pairs = zip(receiver.parts, forwarder.parts, strict=True)
            self._before.routes = {
                index: RouteParts(one.revision, one.name, other.name) for index, (one, other) in enumerate(pairs)
            }
            self._before.route_shards = len(receiver.parts)
            self._before.routes[0] = RouteParts(
                receiver.parts[0].revision, receiver.parts[0].name, forwarder.parts[0].name, receiver.hostnames
            )
        if endpoints is not None:
            self._before.endpoints = dict(enumerate(endpoints.parts))
            self._before.endpoint_shards = len(endpoints.parts)

    # --- what there is

    @property
    def routes(self) -> Sequence[RouteParts] | None:
        """Every shard, in order; None: they were never all known."""
        return _all(self._known.routes, self._known.route_shards, self._before.routes, self._before.route_shards)

    @property
    def endpoints(self) -> Sequence[NamedPart] | None:
        """Every shard, in order; None: they were never all known."""
        known, before = self._known, self._before
        return _all(known.endpoints, known.endpoint_shards, before.endpoints, before.endpoint_shards)

    @property
    def complete(self) -> bool:
        """Whether both kinds were listed whole since the start."""
        return len(self._listed) == len(self._collectors)

    @property
    def troubles(self) -> Sequence[str]:
        """What is wrong with tables, for people."""
        return [text for collector in self._collectors.values() for text in collector.troubles.values()]

    def endpoint_uids(self, part: str) -> frozenset[str]:
        """Subscriptions in a part of the receiver's. Raises PartUnreadable."""
        if part not in self._uids:
            self._uids[part] = endpoint_uids(self._files.receiver.read(part))
        return self._uids[part]

    def subscription_uids(self, part: str) -> frozenset[str]:
        """Subscriptions in a part of the forwarder's. Raises PartUnreadable."""
        if part not in self._uids:
            self._uids[part] = subscription_uids(self._files.forwarder.read(part))
        return self._uids[part]

    def opened_by(self, credential: str) -> Sequence[str]:
        """The subscriptions that *credential* opens, by uid. Raises PartUnreadable."""
        return [uid for part in self.routes or () for uid in self._credentials_of(part.receiver).get(credential, ())]

    def forget(self) -> int:
        """Let go of what no index and no shard names any more, files too; how many files. Raises OSError."""
        routes = self.routes or ()
        stored = [*self._known.routes.values(), *self._before.routes.values(), *routes]
        receiver, forwarder = {each.receiver for each in stored}, {each.forwarder for each in stored}
        endpoints = {part.name for part in (*self._known.endpoints.values(), *self._before.endpoints.values())}
        files = self._files
        for one in (files.receiver, files.forwarder):
            stored_names = one.current.names if one.current else frozenset[str]()
            (receiver if one is files.receiver else forwarder).update(stored_names)
        # Copied at once: threads that store what the watches bring add to them meanwhile.
        uids, credentials = self._uids.copy(), self._credentials.copy()
        self._uids = {name: known for name, known in uids.items() if name in receiver or name in forwarder}
        self._credentials = {name: held for name, held in credentials.items() if name in receiver}
        return files.receiver.prune(receiver) + files.forwarder.prune(forwarder) + files.endpoints.prune(endpoints)

    # --- what the watches bring

    async def page(self, plural: str, objects: Sequence[Object]) -> None:
        """Some of what a list says; raises OSError where it can't be stored."""
        await self._take(plural, objects)

    async def listed(self, plural: str, names: frozenset[str]) -> None:
        """A list has ended: these are all."""
        self._collectors[plural].listed(names)
        if plural not in self._listed:
            self._listed.add(plural)
            log.info("tables listed", extra={"kind": plural, "tables": len(names)})
        self._changed()

    async def changed(self, plural: str, event: Event) -> None:
        """One table was written or deleted; raises OSError where it can't be stored."""
        if event.type == "DELETED":
            name = str(event.object["metadata"]["name"])
            self._collectors[plural].deleted(name)
            log.warning("a table was deleted, what it said stays in force", extra={"kind": plural, "table": name})
        else:
            await self._take(plural, [event.object])
        self._changed()

    async def _take(self, plural: str, objects: Sequence[Object]) -> None:
        collector = self._collectors[plural]
        before = set(collector.troubles.values())
        taken = [collector.take(str(thing["metadata"]["name"]), thing) for thing in objects]
        whole = [shard for shard in taken if shard is not None]
        refused = await asyncio.to_thread(self._store, plural, whole) if whole else []
        for shard, reason in refused:
            collector.reject(shard, reason)
        for trouble in collector.troubles.values():
            if trouble not in before:
                log.error("a table can't be used, what was there before stays in force", extra={"reason": trouble})
        if any(reason == _NOT_WRITTEN for _, reason in refused):
            raise OSError(_NOT_WRITTEN)

    def _store(self, plural: str, shards: Sequence[Shard]) -> Sequence[tuple[Shard, str]]:
        """Those that could not be stored, and why."""
        store = self._store_routes if plural == ROUTES else self._store_endpoints
        refused: list[tuple[Shard, str]] = []
        for shard in shards:
            try:
                store(shard)
            except ContentUnreadable as error:
                refused.append((shard, str(error)))
            except OSError as error:
                log.error("a table can't be written to disk", extra={"reason": str(error)})
                refused.append((shard, _NOT_WRITTEN))
        return refused

    def _store_routes(self, shard: Shard) -> None:
        contents = route_contents(shard.content)
        receiver = self._files.receiver.put(contents.receiver)
        forwarder = self._files.forwarder.put(contents.forwarder)
        self._uids.setdefault(receiver, endpoint_uids(contents.receiver))
        self._uids.setdefault(forwarder, subscription_uids(contents.forwarder))
        self._known.routes[shard.index] = RouteParts(
            shard.revision, receiver, forwarder, contents.hostnames, contents.tag_key_id
        )
        self._known.route_shards = shard.shards

    def _store_endpoints(self, shard: Shard) -> None:
        name = self._files.endpoints.put(endpoint_content(shard.content))
        self._known.endpoints[shard.index] = NamedPart(name, shard.revision)
        self._known.endpoint_shards = shard.shards

    def _credentials_of(self, part: str) -> Mapping[str, tuple[str, ...]]:
        if part not in self._credentials:
            self._credentials[part] = credentials_of(self._files.receiver.read(part))
        return self._credentials[part]


def _all(
    known: Mapping[int, Stored], shards: int, before: Mapping[int, Stored], shards_before: int
) -> Sequence[Stored] | None:
    """Each shard as it is known now or was before; None where one is not known at all."""
    merged = {**before, **known} if shards in (0, shards_before) else known
    count = shards or shards_before
    return [merged[index] for index in range(count)] if count and all(i in merged for i in range(count)) else None
