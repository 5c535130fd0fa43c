"""
The status lane: what the other lanes found → each object's status, and Events of what changed in it.

    lane = StatusLane(cluster, routes, served, endpoints, api, events, ...)
    lane.add([("WebhookSubscription", key)])      # something about it may have changed
    lane.served_changed(plane, shards)            # pods serve more than before
    lane.endpoints_changed(refs)                  # Services' endpoints came or went
    await lane.run()                              # for one term

Level-triggered: each look compares what the status should say with what it says, so an object may be added as often as one
likes, and one that is right costs no write. Writes are rationed, in turns by namespace: nothing waits for a status.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from hookline_operator.apply.api import ApiError, Conflict, NotFound, NotLeading
from hookline_operator.apply.events import Events
from hookline_operator.apply.index import Index
from hookline_operator.apply.token_bucket import TokenBucket
from hookline_operator.decide import conditions, status
from hookline_operator.decide.endpoints import Resolved
from hookline_operator.decide.happenings import happenings
from hookline_operator.decide.status import Change, Contribution
from hookline_operator.observe.objects import Declared
from hookline_operator.ports import ShardRevision
from hookline_operator.resource_types import GATEWAYS, SUBSCRIPTIONS, ResourceType
from hookline_operator.work import WorkQueue
from hookline_routes.inputs import ObjectReport
from hookline_routes.resource import ObjectKey, ServiceRef

log = logging.getLogger(__name__)

Json = dict[str, Any]
StatusKey = tuple[str, ObjectKey]
"""Kind and name."""

SUBSCRIPTION, GATEWAY = SUBSCRIPTIONS.kind, GATEWAYS.kind
TYPES: Mapping[str, ResourceType] = {each.kind: each for each in (SUBSCRIPTIONS, GATEWAYS)}


class DeclaredObjects(Protocol):
    """The part of `ports.ClusterView` that the lane reads."""

    @property
    def subscriptions(self) -> Mapping[ObjectKey, Declared]:
        """All of the cluster."""

    @property
    def gateways(self) -> Mapping[ObjectKey, Declared]:
        """Those of the operator's own namespace."""


class Routed(Protocol):
    """What the routes lane knows."""

    def report_of(self, kind: str, key: ObjectKey) -> ObjectReport | None:
        """What compiling says of it; None: not compiled yet in this term, or not ours: its status is left alone."""

    def gateway_of(self, subscription: ObjectKey) -> ObjectKey | None:
        """The gateway that it is attached to."""

    def attached_to(self, gateway: ObjectKey) -> int:
        """How many subscriptions are attached to it."""

    def revision_of(self, subscription: ObjectKey) -> ShardRevision | None:
        """See `ports.Published`."""


class ServedPods(Protocol):
    """What the agents say: `ports.Served`, and more."""

    def pods_of(self, plane: str) -> int:
        """Ready receiver pods."""

    def synced_of(self, plane: str) -> int:
        """Those of them that serve what is published."""

    def behind(self, shard: ShardRevision) -> tuple[str, ...]:
        """Those of them that do not serve that revision yet, or do not answer."""


class Handlers(Protocol):
    """What the endpoints lane knows."""

    def resolved(self, ref: ServiceRef) -> Resolved:
        """The endpoints of a Service's port, or why there are none."""


class Contributor(Protocol):
    """Another lane that has something to say in statuses."""

    def contribution(self, kind: str, key: ObjectKey) -> Contribution:
        """What it says of that object now, all of it."""


class StatusApi(Protocol):
    """The part of `api.Api` that is used here."""

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Json | None:
        """The object; None if it is not there."""

    async def merge(
        self, kind: ResourceType, namespace: str, name: str, change: Mapping[str, Any], *, subresource: str = ""
    ) -> Json:
        """As stored."""


@dataclass(frozen=True, slots=True)
class StatusPace:
    """How much is written."""

    per_second: float = 50.0
    """Writes of all objects together."""
    burst: int = 100
    interval: float = 1.0
    """Seconds between two writes of one object: nobody's fast changes use up what all share."""
    workers: int = 8
    """Objects that are written at once."""


@dataclass(frozen=True, slots=True)
class _Written:
    """What was written last, as the API server stored it: newer than the cluster's view until the feed brings it."""

    at: float
    declared: Declared


class StatusLane:
    """Writes statuses while this replica leads. For one event loop."""

    def __init__(
        self,
        cluster: DeclaredObjects,
        routes: Routed,
        served: ServedPods,
        handlers: Handlers,
        api: StatusApi,
        events: Events,
        *,
        now: Callable[[], datetime],
        contributors: Sequence[Contributor] = (),
        pace: StatusPace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*now* in UTC."""
        self._cluster, self._routes, self._served, self._handlers = cluster, routes, served, handlers
        self._api, self._events, self._contributors = api, events, contributors
        self._now, self._clock, self._pace = now, clock, pace or StatusPace()
        self.queue: WorkQueue[StatusKey] = WorkQueue(lambda key: key[1].namespace, clock=clock)
        self._bucket = TokenBucket(self._pace.per_second, self._pace.burst, clock)
        self._written: dict[StatusKey, _Written] = {}
        self._naming = Index[StatusKey, ServiceRef]()
        self._begin()
        self.writes = 0
        """Statuses written."""

    def add(self, keys: Iterable[StatusKey], *, urgent: bool = False) -> None:
        """Look at these again."""
        self.queue.add(keys, urgent=urgent)

    def served_changed(self, plane: str, shards: Collection[int] | None = None) -> None:
        """Pods of *plane* serve other revisions of these *shards* (None: any) than before."""
        waiting = self._waiting.of(plane)
        self.add([key for key in waiting if shards is None or self._shard[key] in shards])
        self.add([key for key in self._gateways() if key[1].name == plane])

    def endpoints_changed(self, refs: Iterable[ServiceRef]) -> None:
        """Why these Services have no endpoints, or that they have some, is another thing than before."""
        for ref in refs:
            self.add(self._naming.of(ref))

    async def run(self) -> None:
        """For one term, until cancelled. What was added before is looked at."""
        self._begin()
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._pace.workers):
                    workers.create_task(self._worker())
        finally:
            self.queue.clear()

    def _begin(self) -> None:
        self._since: dict[StatusKey, float] = {}
        """Since when a status has differed from what it should be by something that may be over soon."""
        self._waiting = Index[StatusKey, str]()
        """What the pods of a plane do not serve yet, by plane."""
        self._shard: dict[StatusKey, int] = {}
        """In which shard of it that is."""
        self._pods: dict[str, int] = {}
        """Ready pods by plane, when its gateway was looked at last."""

    async def _worker(self) -> None:
        while True:
            for key in await self.queue.take():
                await self._look_at(key)
            # PERF: ten thousand statuses that are right must not hold up the loop that publishes routes.
            await asyncio.sleep(0)

    async def _look_at(self, key: StatusKey) -> None:
        try:
            await self._work(key)
        except (ApiError, NotLeading) as error:
            delay = self.queue.failed(key)
            fields = {"kind": key[0], "object": str(key[1]), "reason": str(error), "again_in": delay}
            log.warning("a status was not written", extra=fields)
        else:
            self.queue.done(key)

    async def _work(self, key: StatusKey) -> None:
        declared = self._declared(key)
        if declared is None:
            self._forget(key)
            return
        change = self._change(key, declared)
        if change is None:
            self._since.pop(key, None)
            return
        wait = self._wait(key, change.patience)
        if wait > 0:
            self.queue.add((key,), after=wait)
            return
        await self._bucket.take()
        await self._write(key)

    def _wait(self, key: StatusKey, patience: float) -> float:
        """Seconds until it may be written."""
        now = self._clock()
        written = self._written.get(key)
        quiet = written.at + self._pace.interval if written else now
        settled = self._since.setdefault(key, now) + patience if patience else now
        return max(quiet, settled) - now

    async def _write(self, key: StatusKey) -> None:
        """Write what is right now: it may be another thing, or nothing, since a turn was waited for."""
        declared = self._declared(key)
        change = self._change(key, declared) if declared else None
        if declared is None or change is None:
            return
        try:
            await self._merge(key, declared, change)
        except NotFound:
            self._forget(key)
        except Conflict:
            await self._write_over(key, declared)

    async def _write_over(self, key: StatusKey, declared: Declared) -> None:
        """The view is behind what is stored: read that, and write once more. If that fails too, it is tried again later."""
        live = await self._api.get(TYPES[key[0]], key[1].namespace, key[1].name)
        if live is None or live["metadata"]["uid"] != declared.uid:
            return
        fresh = _as_stored(declared, live)
        # What was compiled is of an older spec: the feed brings the new one, and then its report.
        change = self._change(key, fresh) if live["metadata"].get("generation") == declared.generation else None
        if change is not None:
            await self._merge(key, fresh, change)

    async def _merge(self, key: StatusKey, declared: Declared, change: Change) -> None:
        body = {"metadata": {"resourceVersion": str(declared.resource_version)}, "status": change.status}
        stored = await self._api.merge(TYPES[key[0]], key[1].namespace, key[1].name, body, subresource="status")
        self.writes += 1
        self._since.pop(key, None)
        self._written[key] = _Written(self._clock(), _as_stored(declared, stored))
        before, after = status.conditions_in(declared.status), {each["type"]: each for each in change.conditions}
        for happening in happenings(before, after):
            await self._events.tell(declared, happening)

    def _declared(self, key: StatusKey) -> Declared | None:
        """The object, with the newest status that is known; None if it is gone or going."""
        objects = self._cluster.subscriptions if key[0] == SUBSCRIPTION else self._cluster.gateways
        declared = objects.get(key[1])
        if declared is None or declared.deleting:
            return None
        written = self._written.get(key)
        if written is None or written.declared.uid != declared.uid:
            return declared
        newer = written.declared.resource_version > declared.resource_version
        return (
            replace(declared, status=written.declared.status, resource_version=written.declared.resource_version)
            if newer
            else declared
        )

    def _change(self, key: StatusKey, declared: Declared) -> Change | None:
        report = self._routes.report_of(*key)
        if report is None or (report.uid, report.generation) != (declared.uid, declared.generation):
            return None
        further = Contribution()
        for each in self._contributors:
            further |= each.contribution(*key)
        if key[0] == SUBSCRIPTION:
            wanted = conditions.subscription_status(self._subscription_facts(key, declared, report))
        else:
            wanted = conditions.gateway_status(self._gateway_facts(key, declared, report, further))
        return status.decide(wanted, further, declared.status, self._now().strftime("%Y-%m-%dT%H:%M:%SZ"))

    def _subscription_facts(
        self, key: StatusKey, declared: Declared, report: ObjectReport
    ) -> conditions.SubscriptionFacts:
        gateway = self._routes.gateway_of(key[1])
        revision = self._routes.revision_of(key[1]) if gateway else None
        pods = self._served.pods_of(revision.plane) if revision else 0
        behind = self._served.behind(revision) if revision and pods else ()
        self._note_waiting(key, revision, served=bool(pods) and not behind)
        refs = {ref for _, ref in conditions.handlers_of(declared, report)}
        self._naming.put(key, refs)
        return conditions.SubscriptionFacts(
            declared,
            report,
            self._cluster.gateways.get(gateway) if gateway else None,
            revision,
            pods,
            behind,
            {ref: self._handlers.resolved(ref) for ref in refs},
        )

    def _gateway_facts(
        self, key: StatusKey, declared: Declared, report: ObjectReport, further: Contribution
    ) -> conditions.GatewayFacts:
        plane = key[1].name
        self._compare_pods(plane)
        return conditions.GatewayFacts(
            declared,
            report,
            self._routes.attached_to(key[1]),
            self._served.pods_of(plane),
            self._served.synced_of(plane),
            further.desired_pods,
        )

    def _note_waiting(self, key: StatusKey, revision: ShardRevision | None, *, served: bool) -> None:
        if revision is None or served:
            self._waiting.put(key, ())
            self._shard.pop(key, None)
            return
        self._waiting.put(key, (revision.plane,))
        self._shard[key] = revision.index

    def _compare_pods(self, gateway: str) -> None:
        """Look again at what waits for pods of this gateway's planes where their number changed, at all where it was 0."""
        for plane in {gateway, *(each for each in self._waiting.values() if each.partition(".")[0] == gateway)}:
            before, after = self._pods.get(plane), self._served.pods_of(plane)
            self._pods[plane] = after
            if before == after:
                continue
            self.add(self._waiting.of(plane))
            if before is not None and 0 in (before, after):
                self.add(self._subscriptions_of(plane))

    def _subscriptions_of(self, plane: str) -> Iterable[StatusKey]:
        for key in self._cluster.subscriptions:
            revision = self._routes.revision_of(key)
            if revision is not None and revision.plane == plane:
                yield (SUBSCRIPTION, key)

    def _gateways(self) -> Iterable[StatusKey]:
        return ((GATEWAY, key) for key in self._cluster.gateways)

    def _forget(self, key: StatusKey) -> None:
        self._since.pop(key, None)
        self._written.pop(key, None)
        self._note_waiting(key, None, served=False)
        self._naming.put(key, ())


def _as_stored(declared: Declared, stored: Json) -> Declared:
    """*declared* with the status and position of an answer."""
    version = int(stored["metadata"]["resourceVersion"])
    return replace(declared, status=stored.get("status") or {}, resource_version=version)
