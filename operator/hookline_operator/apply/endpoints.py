"""
The endpoints lane: what changed of Services, EndpointSlices and Pods → endpoint tables, apart from routes.

    lane = EndpointsLane(cluster, routes, tables, verify, ...)
    lane.add(services)            # something about these Services' endpoints may have changed
    lane.routes_changed(planes)   # the routes of these planes name other Services than before
    await lane.run()              # for one term

Each turn resolves what was added and marks the shards whose content differs. A shard that was quiet is published soon: an
address that went (it may be another Pod's before long) or the first one that came within `Pace.soon`, another one that
came within `Pace.gather`. One that was published a moment ago waits for `Pace.interval`, so that a rollout costs writes by
its length and not by its Pods.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hookline_operator.apply.api import ApiError, Conflict, NotFound, NotLeading
from hookline_operator.apply.endpoint_tables import EndpointTables, PublishedShard, ShardKey, shards_of
from hookline_operator.decide.endpoints import Resolved, Seen, resolve, table_of
from hookline_operator.observe.objects import Declared, KindName
from hookline_operator.work import Backoff, WorkQueue
from hookline_routes.resource import ObjectKey, ServiceRef
from hookline_routes.shard import ShardTooLarge, content_hash, shard_of

log = logging.getLogger(__name__)

EVERYTHING = 1 << 30
"""Keys that one turn takes."""

KINDS = (KindName.SERVICES, KindName.SLICES, KindName.PODS)
"""What endpoints are decided by."""

SUDDEN_SERVICES, SUDDEN_PART = 20, 10
"""More Services than this, and more than a tenth of those with addresses, losing all at once: verified first."""


class ClusterEndpoints(Seen, Protocol):
    """The part of `ports.ClusterView` that the lane reads."""

    @property
    def gateways(self) -> Mapping[ObjectKey, Declared]:
        """Those of the operator's own namespace."""


class RoutedServices(Protocol):
    """What the routes lane knows."""

    def planes(self) -> Collection[str]:
        """Every plane that has tables; none before everything was compiled in this term."""

    def services_of(self, plane: str) -> frozenset[ServiceRef] | None:
        """The Services that a plane's routes name; None: not known yet in this term."""

    def has_published(self) -> bool:
        """Whether `planes` are all that there are: others' tables are left over."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon a change of endpoints is published; seconds."""

    soon: float = 0.05
    """After an address went, or the first one of a Service came."""
    gather: float = 0.25
    """After any other change."""
    interval: float = 1.0
    """Between two publications of one shard."""
    read_again: float = 300.0
    """Between two looks at what is published."""
    writers: int = 8
    """Shards that are written at once."""


@dataclass(slots=True)
class _Shard:
    """One shard in this term."""

    published: PublishedShard = field(default_factory=PublishedShard)
    due: float | None = None
    """When it is to be published; None: it is as it should be."""
    written_at: float = float("-inf")
    failures: int = 0
    writing: bool = False


Verify = Callable[[tuple[KindName, ...]], Awaitable[object]]
"""Brings the cluster's view of these kinds up to a consistent list that is made now."""


class EndpointsLane:
    """Publishes the endpoints of every plane while this replica leads. For one event loop."""

    def __init__(
        self,
        cluster: ClusterEndpoints,
        routes: RoutedServices,
        tables: EndpointTables,
        verify: Verify,
        *,
        namespace: str,
        pace: Pace | None = None,
        on_resolved: Callable[[frozenset[ServiceRef]], None] = lambda refs: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*on_resolved* hears of Services whose reason or remark has changed: for statuses."""
        self._cluster, self._routes, self._tables, self._verify = cluster, routes, tables, verify
        self._namespace, self._pace, self._on_resolved, self._clock = namespace, pace or Pace(), on_resolved, clock
        self._backoff = Backoff(first=0.5, most=30.0)
        self._wake = asyncio.Event()
        self.queue: WorkQueue[ObjectKey] = WorkQueue(lambda key: key.namespace, clock=clock)
        self._planes: set[str] = set()
        self._begin()
        self.writes = 0
        """Shards written."""

    def add(self, keys: Iterable[ObjectKey], *, urgent: bool = False) -> None:
        """Look at these Services again; urgent or not, it is a matter of milliseconds."""
        self.queue.add(keys, urgent=urgent)
        self._wake.set()

    def routes_changed(self, planes: Iterable[str]) -> None:
        """The routes of these planes name other Services, or these planes have come or gone."""
        self._planes.update(planes)
        self._wake.set()

    def resolved(self, ref: ServiceRef) -> Resolved:
        """What is known of a Service's port now."""
        return self._resolved.get(ref) or resolve(ref, self._cluster)

    async def run(self) -> None:
        """For one term: reads what is published, then goes on until cancelled."""
        self._begin()
        await self._read()
        try:
            async with asyncio.TaskGroup() as writers:
                while True:
                    await self._turn(writers)
                    await self._sleep()
        finally:
            self.queue.clear()

    def _begin(self) -> None:
        self._known: dict[str, frozenset[ServiceRef]] = {}
        self._homes: dict[ServiceRef, set[ShardKey]] = {}
        self._members: dict[ShardKey, set[ServiceRef]] = {}
        self._by_service: dict[ObjectKey, set[ServiceRef]] = {}
        self._resolved: dict[ServiceRef, Resolved] = {}
        self._shards: dict[ShardKey, _Shard] = {}
        self._planes.clear()
        self._gone: set[str] = set()
        self._removing: set[str] = set()
        """Planes whose tables are being deleted: not to be begun a second time meanwhile."""
        self._reads = self._verified_reads = 0
        self._read_at = float("-inf")
        self._failures = 0

    async def _read(self) -> None:
        """What is published; again now and then, as a person may have deleted some of it."""
        while True:
            try:
                published = await self._tables.read()
            except ApiError as error:
                await self._pause("endpoint tables could not be read", error)
                continue
            break
        self._failures, self._reads, self._read_at = 0, self._reads + 1, self._clock()
        self._planes.update(self._routes.planes())
        for key in self._shards.keys() | published.keys():
            shard = self._shards.setdefault(key, _Shard())
            if not shard.writing:
                shard.published = published.get(key, PublishedShard())
                self._mark((key,), self._pace.gather)
        self._wake.set()

    async def _turn(self, writers: asyncio.TaskGroup) -> None:
        self._wake.clear()
        planes, self._planes = self._planes, set()
        services = self.queue.take_now(EVERYTHING)
        if self._clock() - self._read_at > self._pace.read_again:
            await self._read()
        try:
            self._take_routes(planes)
            await self._look_at([ref for key in services for ref in self._by_service.get(key, ())])
            if self._reads != self._verified_reads and (self._gone or self._due_shards()):
                await self._verify_all()
        except ApiError as error:
            self._planes |= planes
            for key in services:
                self.queue.failed(key)
            self.queue.add(services)
            await self._pause("the cluster could not be verified", error)
            self._wake.set()
            return
        self._failures = 0
        for service in services:
            self.queue.done(service)
        for shard in self._due_shards():
            self._shards[shard].writing = True
            writers.create_task(self._publish(shard))
        for plane in self._gone - self._removing:
            self._removing.add(plane)
            writers.create_task(self._remove(plane))
        self._gone.clear()

    async def _sleep(self) -> None:
        """Until something was added, or the next shard is due."""
        waiting = [ready_at for ready_at, _ in self._waiting()]
        busy = sum(each.writing for each in self._shards.values()) >= self._pace.writers
        until = self._read_at + self._pace.read_again
        wait = max(0.0, (min(until, *waiting) if waiting and not busy else until) - self._clock())
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            return
        # PERF: what changes a hundred times a second is looked at forty times.
        await asyncio.sleep(self._pace.soon / 2)

    async def _pause(self, what: str, error: Exception) -> None:
        self._failures += 1
        delay = self._backoff.delay(self._failures, 0.5)
        log.warning(what, extra={"reason": str(error), "again_in": delay})
        await asyncio.sleep(delay)

    def _take_routes(self, planes: Collection[str]) -> None:
        """Which Services these planes name now; a plane that came gets all its shards, tables of others are left over."""
        there = set(self._routes.planes())
        for plane in planes:
            refs = self._routes.services_of(plane) if plane in there else frozenset()
            if refs is None:
                continue
            before = self._known.get(plane, frozenset())
            for ref in refs - before:
                self._name(plane, ref)
            for ref in before - refs:
                self._unname(plane, ref)
            self._mark({_shard(plane, ref) for ref in refs ^ before}, self._pace.soon)
            if plane not in there:
                self._known.pop(plane, None)
                continue
            if plane not in self._known:
                self._mark({ShardKey(plane, index) for index in range(shards_of(plane))}, self._pace.soon)
            self._known[plane] = refs
        if planes and self._routes.has_published():
            self._gone = {key.plane for key in self._shards} - there

    def _name(self, plane: str, ref: ServiceRef) -> None:
        home = _shard(plane, ref)
        self._homes.setdefault(ref, set()).add(home)
        self._members.setdefault(home, set()).add(ref)
        self._by_service.setdefault(ObjectKey(ref.namespace, ref.name), set()).add(ref)
        if ref not in self._resolved:
            self._resolved[ref] = resolve(ref, self._cluster)

    def _unname(self, plane: str, ref: ServiceRef) -> None:
        home, key = _shard(plane, ref), ObjectKey(ref.namespace, ref.name)
        self._homes[ref].discard(home)
        self._members[home].discard(ref)
        if self._homes[ref]:
            return
        del self._homes[ref], self._resolved[ref]
        self._by_service[key].discard(ref)
        if not self._by_service[key]:
            del self._by_service[key]

    async def _look_at(self, refs: Iterable[ServiceRef]) -> None:
        """Resolve these again; a sudden loss is verified before it counts."""
        changes = await self._changes(refs)
        had = sum(1 for each in self._resolved.values() if each.addresses)
        lost = sum(1 for ref, each in changes.items() if self._resolved[ref].addresses and not each.addresses)
        if lost > SUDDEN_SERVICES and lost * SUDDEN_PART > had:
            log.warning("many Services lost all endpoints at once: verifying", extra={"services": lost, "of": had})
            await self._verify(KINDS)
            changes = await self._changes(changes)
        spoken = {ref for ref, fresh in changes.items() if _words(self._resolved[ref]) != _words(fresh)}
        for ref, fresh in changes.items():
            self._take(ref, fresh)
        if spoken:
            self._on_resolved(frozenset(spoken))

    async def _changes(self, refs: Iterable[ServiceRef]) -> dict[ServiceRef, Resolved]:
        changes: dict[ServiceRef, Resolved] = {}
        for ref in refs:
            fresh = resolve(ref, self._cluster)
            if fresh != self._resolved[ref]:
                changes[ref] = fresh
            # PERF: a tenant with huge slices must not hold up the event loop that renews the Lease.
            await asyncio.sleep(0)
        return changes

    def _take(self, ref: ServiceRef, fresh: Resolved) -> None:
        before, self._resolved[ref] = self._resolved[ref], fresh
        if (before.addresses, before.message) == (fresh.addresses, fresh.message):
            return
        hurried = not before.addresses or not set(before.addresses) <= set(fresh.addresses)
        self._mark(self._homes[ref], self._pace.soon if hurried else self._pace.gather)

    def _mark(self, shards: Iterable[ShardKey], delay: float) -> None:
        due = self._clock() + delay
        for key in shards:
            shard = self._shards.setdefault(key, _Shard())
            if shard.due is None or (due < shard.due and not shard.failures):
                shard.due = due

    def _waiting(self) -> list[tuple[float, ShardKey]]:
        """Shards that differ, or may, and from when on they may be written."""
        return [
            (max(shard.due, shard.written_at + self._pace.interval), key)
            for key, shard in self._shards.items()
            if shard.due is not None and not shard.writing and key.plane in self._known
        ]

    def _due_shards(self) -> list[ShardKey]:
        """To be written now, the longest due first, as many as there are writers free."""
        now = self._clock()
        due = sorted(each for each in self._waiting() if each[0] <= now)
        free = self._pace.writers - sum(shard.writing for shard in self._shards.values())
        chosen: list[ShardKey] = []
        for _, key in due:
            if len(chosen) >= free:
                break
            if self._differs(key):
                chosen.append(key)
        return chosen

    def _differs(self, key: ShardKey) -> bool:
        shard = self._shards[key]
        if content_hash(self._content(key)) != shard.published.hash:
            return True
        shard.due = None
        return False

    def _content(self, key: ShardKey) -> bytes:
        members = {ref: self._resolved[ref] for ref in self._members.get(key, ())}
        return table_of(members).SerializeToString(deterministic=True)

    async def _verify_all(self) -> None:
        """Before the first write of a term and after a conflict: what is written was observed after what it replaces."""
        reads = self._reads
        await self._verify(KINDS)
        self._verified_reads = reads
        await self._look_at(tuple(self._resolved))

    async def _publish(self, key: ShardKey) -> None:
        shard = self._shards[key]
        shard.due = None
        try:
            shard.published = await self._tables.write(
                key, self._content(key), shard.published, self._owners(key.plane)
            )
            shard.failures = 0
            self.writes += 1
        except (Conflict, NotFound):
            await self._after_conflict(key, shard)
        except (ApiError, NotLeading, ShardTooLarge) as error:
            self._failed(key, shard, error)
        finally:
            shard.written_at, shard.writing = self._clock(), False
            self._wake.set()

    async def _after_conflict(self, key: ShardKey, shard: _Shard) -> None:
        """Somebody else has written: read it, then verify everything again before the next write."""
        try:
            shard.published = await self._tables.reread(shard.published, key)
        except ApiError as error:
            self._failed(key, shard, error)
            return
        self._reads += 1
        self._failed(key, shard, None)

    def _failed(self, key: ShardKey, shard: _Shard, error: Exception | None) -> None:
        shard.failures += 1
        delay = self._backoff.delay(shard.failures, 0.5)
        shard.due = self._clock() + delay
        fields = {
            "plane": key.plane,
            "shard": key.index,
            "again_in": delay,
            "reason": str(error or "written by another"),
        }
        log.warning("endpoints were not published", extra=fields)

    async def _remove(self, plane: str) -> None:
        keys = [key for key in self._shards if key.plane == plane]
        try:
            for key in keys:
                await self._tables.remove(self._shards[key].published)
                self._shards[key].published = PublishedShard()
                if plane not in self._known:
                    del self._shards[key]
        except (ApiError, NotLeading) as error:
            await self._pause("endpoint tables were not removed", error)
        finally:
            self._removing.discard(plane)
        if any(key.plane == plane for key in self._shards):
            # It failed, or the plane came back, and may be gone again.
            self.routes_changed((plane,))

    def _owners(self, plane: str) -> tuple[dict[str, Any], ...]:
        gateway = self._cluster.gateways.get(ObjectKey(self._namespace, plane.partition(".")[0]))
        if gateway is None:
            return ()
        reference = {"apiVersion": "hookline.dev/v1alpha1", "kind": gateway.kind}
        return ({**reference, "name": gateway.key.name, "uid": gateway.uid},)


def _words(resolved: Resolved) -> tuple[str | None, str]:
    """What a status may say of it."""
    return (resolved.reason, resolved.remark)


def _shard(plane: str, ref: ServiceRef) -> ShardKey:
    return ShardKey(plane, shard_of(f"{ref.namespace}/{ref.name}", shards_of(plane)))
