"""
Lists held against what is known: what the feeds have missed, ghosts too.

The first list of a kind brings whole objects; later ones bring names and versions, and what differs is read one by one.
A list that fails changes nothing. When `load` or `verify` returns, all that it found has been told to `on_change`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from hookline_operator.apply.api import Api, ApiError, NotFound
from hookline_operator.observe.authorities import Authorities
from hookline_operator.observe.cluster import Cluster, Differences
from hookline_operator.observe.kinds import Identity, Kind, identity
from hookline_operator.observe.objects import Change, KindName
from hookline_operator.observe.together import together
from hookline_operator.resource_types import ResourceType
from hookline_routes.resource import ObjectKey

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Objects that are read at the same time."""
TOO_MANY = 500
"""Objects that differ from which on a whole list is cheaper than reading them one by one."""
OnChange = Callable[[Change], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a verification has corrected."""

    changed: int = 0
    """Objects that were not known in their newest version, and mattered."""
    ghosts: int = 0
    """Objects that were known and are not there any more."""

    def __add__(self, other: "Found") -> "Found":
        return Found(self.changed + other.changed, self.ghosts + other.ghosts)


class Verification:
    """Verifies the kinds of *cluster*; several who ask at the same time share one list that begins after they asked."""

    def __init__(self, api: Api, cluster: Cluster, authorities: Authorities, on_change: OnChange) -> None:
        self._api, self._cluster, self._authorities, self._on_change = api, cluster, authorities, on_change
        self._locks = {kind.name: asyncio.Lock() for kind in cluster.kinds}
        self._begun = dict.fromkeys(self._locks, 0)
        self._succeeded = dict.fromkeys(self._locks, 0)
        self.found: dict[KindName, Found] = dict.fromkeys(self._locks, Found())
        """Since the start, by kind; the first lists are not counted."""

    @property
    def is_complete(self) -> bool:
        """Whether every kind was listed once."""
        return all(number > 0 for number in self._succeeded.values())

    async def load(self) -> None:
        """Every kind whole, and the authorities that routes name; returns when all that has succeeded."""
        await together(self._verify(kind) for kind in self._cluster.kinds)
        await self._authorities.read_missing()

    async def verify(self, kinds: Iterable[str] | None = None) -> Found:
        """All that was true when this was called is known when it returns; ApiError if a list fails, and nothing is dropped."""
        names = tuple(self._locks) if kinds is None else tuple(KindName(kind) for kind in kinds)
        found = await together(self._verify(self._cluster.kind(name)) for name in names)
        await self._authorities.read_missing()
        return sum(found, Found())

    async def sweep(self, seconds: float) -> None:
        """Verify every so often, until cancelled; a failure waits for the next time."""
        while True:
            await asyncio.sleep(seconds)
            try:
                found = await self.verify()
            except ApiError as error:
                log.warning("sweep failed", extra={"error": str(error)})
                continue
            if found != Found():
                log.info("sweep has corrected", extra={"changed": found.changed, "ghosts": found.ghosts})

    async def _verify(self, kind: Kind) -> Found:
        wanted = self._begun[kind.name] + 1
        async with self._locks[kind.name]:
            if self._succeeded[kind.name] >= wanted:
                return Found()
            self._begun[kind.name] += 1
            number, first = self._begun[kind.name], not self._succeeded[kind.name]
            found = await (self._load_kind(kind) if first else self._compare_kind(kind))
            self._succeeded[kind.name] = number
            if not first:
                self.found[kind.name] += found
            return found

    async def _load_kind(self, kind: Kind) -> Found:
        return await self._with_type(kind, lambda kind_type: self._load_type(kind, kind_type))

    async def _compare_kind(self, kind: Kind) -> Found:
        return await self._with_type(kind, lambda kind_type: self._compare_type(kind, kind_type))

    async def _with_type(self, kind: Kind, act: Callable[[ResourceType], Awaitable[Found]]) -> Found:
        """The first type of the kind that the API server knows; without one an optional kind is empty."""
        for number, kind_type in enumerate(kind.types, 1):
            try:
                return await act(kind_type)
            except NotFound:
                if number == len(kind.types) and not kind.optional:
                    raise
        gone = [change for change in self._cluster.empty(kind.name) if change]
        self._tell(gone)
        return Found(ghosts=len(gone))

    async def _load_type(self, kind: Kind, kind_type: ResourceType) -> Found:
        there: set[ObjectKey] = set()
        positions, changed = [], 0
        for namespace in kind.namespaces or ("",):
            async for page in self._api.pages(kind_type, namespace, fields=kind.fields):
                for number, body in enumerate(page.items):
                    if number % 100 == 0:
                        await asyncio.sleep(0)
                    if seen := identity(body):
                        there.add(seen.key)
                    changed += self._tell([self._cluster.admit(kind.name, body)])
            positions.append(page.resource_version)
        position = min(positions)
        ghosts = self._tell(self._cluster.retain(kind.name, there, position))
        return Found(changed, ghosts)

    async def _compare_type(self, kind: Kind, kind_type: ResourceType) -> Found:
        there: dict[ObjectKey, Identity] = {}
        positions = []
        for namespace in kind.namespaces or ("",):
            listing = await self._api.list(kind_type, namespace, fields=kind.fields, metadata_only=True)
            there |= {seen.key: seen for seen in map(identity, listing.items) if seen}
            positions.append(listing.resource_version)
        position = min(positions)
        differences = self._cluster.compare(kind.name, there, position)
        if len(differences.unknown) > TOO_MANY:
            return await self._load_type(kind, kind_type)
        return await self._correct(kind, kind_type, differences, position)

    async def _correct(self, kind: Kind, kind_type: ResourceType, differences: Differences, position: int) -> Found:
        # What takes something away comes first.
        ghosts = self._tell([self._cluster.drop(kind.name, key, position) for key in differences.ghosts])
        slots = asyncio.Semaphore(AT_ONCE)

        async def read(key: ObjectKey) -> tuple[int, int]:
            async with slots:
                body = await self._api.get(kind_type, key.namespace, key.name)
            if body is None:
                return 0, self._tell([self._cluster.drop(kind.name, key, position)])
            return self._tell([self._cluster.admit(kind.name, body)]), 0

        results = await together(read(key) for key in differences.unknown)
        self._cluster.confirm(kind.name, position)
        return Found(sum(changed for changed, _ in results), ghosts + sum(gone for _, gone in results))

    def _tell(self, changes: Iterable[Change | None]) -> int:
        told = 0
        for change in changes:
            if change:
                told += 1
                self._on_change(change)
        return told
