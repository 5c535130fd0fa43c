"""
The planes lane: gateways' and subscriptions' wishes → the StatefulSets, Services, autoscalers and budgets of their planes.

    lane = PlanesLane(cluster, routes, served, api, PodSettings(image=...), on_change=...)
    lane.add(gateways)           # something about these gateways, or their subscriptions' own planes, may have changed
    await lane.run()             # for one term

Each look lists what is there, decides object by object, and writes what differs. Every gateway is looked at again each
`look_seconds`: what somebody else has changed is set right, once. What does not stay as it was applied is said, and left.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hookline_operator.apply.api import ApiError
from hookline_operator.apply.plane_objects import TYPES, Json, Name, ObjectsApi, PlaneObjects, Settled, plane_named
from hookline_operator.decide.conditions import Said
from hookline_operator.decide.planes.manifests import manifests, object_name, selector_of
from hookline_operator.decide.planes.plane import Plane, dedicated_plane, shared_plane
from hookline_operator.decide.planes.pod import PodSettings
from hookline_operator.decide.status import Contribution
from hookline_operator.observe.objects import Declared, Pod
from hookline_operator.ports import ShardRevision
from hookline_operator.resource_types import GATEWAYS, STATEFUL_SETS, SUBSCRIPTIONS
from hookline_operator.work import WorkQueue
from hookline_routes.resource import ObjectKey, PlaneMode, WebhookGateway, WebhookSubscription

log = logging.getLogger(__name__)

StatusKey = tuple[str, ObjectKey]

CONDITION = "Deployed"
"""Of a gateway: whether the objects of its planes are as they should be."""
MESSAGE_CHARACTERS = 1024


class PlanesView(Protocol):
    """The part of `ports.ClusterView` that the lane reads."""

    @property
    def gateways(self) -> Mapping[ObjectKey, Declared]:
        """Those of the operator's own namespace."""

    @property
    def subscriptions(self) -> Mapping[ObjectKey, Declared]:
        """All of the cluster."""

    @property
    def pods(self) -> Mapping[ObjectKey, Pod]:
        """All of the cluster."""


class AttachedSubscriptions(Protocol):
    """What the routes lane knows."""

    def gateway_of(self, subscription: ObjectKey) -> ObjectKey | None:
        """The gateway that it is attached to."""

    def revision_of(self, subscription: ObjectKey) -> ShardRevision | None:
        """Where it is published as it should be; None: it is not, or not yet."""

    def has_published(self) -> bool:
        """Whether all was compiled in this term: before that nothing is known to be wanted or unwanted."""


class ServingPods(Protocol):
    """What receiver pods say."""

    def behind(self, shard: ShardRevision) -> tuple[str, ...]:
        """Names of ready pods that do not serve that revision yet."""

    def holds_nothing(self, plane: str) -> bool:
        """Whether all pods of the plane say that no event waits in them; False while one has not said."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the lane looks. Seconds."""

    look: float = 60.0
    """Between two looks at a gateway about which nothing was heard."""
    soon: float = 5.0
    """The same while something is about to change: a plane that is being left, an object that is being deleted."""
    least: float = 1.0
    """Between two looks at one gateway, however often something about it changes."""
    quiet: float = 15.0
    """For so long nothing must wait in the pods of a plane that is being left before it is removed."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look came to."""

    troubles: tuple[str, ...]
    """For people; none: all is as it should be."""
    leaving: tuple[str, ...]
    """Planes that nobody wants, and that still hold something."""
    desired: int | None
    """Pods of the shared plane that there should be."""
    soon: bool = False
    """Whether to look again in a moment."""
    failed: bool = False
    """Whether something could not be written for now: to be tried again, later each time."""


class PlanesLane:
    """Keeps the objects of planes while this replica leads. For one event loop."""

    def __init__(
        self,
        cluster: PlanesView,
        routes: AttachedSubscriptions,
        served: ServingPods,
        api: ObjectsApi,
        pods: PodSettings,
        *,
        on_change: Callable[[Iterable[StatusKey]], None] = lambda keys: None,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*on_change* hears of gateways whose contribution to their status is another."""
        self._cluster, self._routes, self._served, self._pods = cluster, routes, served, pods
        self._objects = PlaneObjects(api, clock=clock)
        self._on_change, self._pace, self._clock = on_change, pace or Pace(), clock
        self.queue: WorkQueue[ObjectKey] = WorkQueue(lambda key: key.name, clock=clock)
        self._found: dict[ObjectKey, _Found] = {}
        self._looked: dict[ObjectKey, float] = {}
        self._quiet_since: dict[str, float] = {}

    def add(self, keys: Iterable[ObjectKey], *, urgent: bool = False) -> None:
        """Look at these gateways again."""
        self.queue.add(keys, urgent=urgent)

    def routes_changed(self, keys: Iterable[StatusKey]) -> None:
        """The routes lane has found something else of these objects: one may have come to a plane of its own."""
        for kind, key in keys:
            declared = self._cluster.subscriptions.get(key) if kind == SUBSCRIPTIONS.kind else None
            gateway = self._routes.gateway_of(key) if declared and _wants_its_own(declared) else None
            if gateway is not None:
                self.add((gateway,))

    async def run(self) -> None:
        """For one term: until cancelled."""
        self._found.clear()
        self._looked.clear()
        self._quiet_since.clear()
        self._objects.forget()
        self.add(self._cluster.gateways)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._begin())
                group.create_task(self._work())
        finally:
            self.queue.clear()

    async def _begin(self) -> None:
        """Look at all once it is known which planes are wanted."""
        while not self._routes.has_published():
            await asyncio.sleep(min(0.2, self._pace.soon))
        self.add(self._cluster.gateways)

    async def _work(self) -> None:
        while True:
            (key,) = await self.queue.take(1)
            wait = self._looked.get(key, float("-inf")) + self._pace.least - self._clock()
            if wait > 0:
                self.queue.done(key)
                self.queue.add((key,), after=wait)
            else:
                await self._work_on(key)
                self._looked[key] = self._clock()

    # --- what the status says

    def contribution(self, kind: str, key: ObjectKey) -> Contribution:
        """What the gateway's status says of its pods: see `apply.status.Contributor`."""
        found, declared = self._found.get(key), self._cluster.gateways.get(key)
        if kind != GATEWAYS.kind or found is None or declared is None:
            return Contribution()
        if not isinstance(declared.resource, WebhookGateway):
            return Contribution()
        plane = shared_plane(declared.resource)
        pods = sum(1 for pod in self._cluster.pods.values() if _is_of(pod, plane) and not pod.deleting)
        fields = {"replicas": pods, "selector": selector_of(plane)}
        return Contribution((_said(found),), fields, frozenset((CONDITION,)), found.desired)

    # --- a look

    async def _work_on(self, key: ObjectKey) -> None:
        try:
            found = await self._look(key)
        except ApiError as error:
            delay = self.queue.failed(key)
            fields = {"gateway": str(key), "reason": str(error), "again_in": delay}
            log.warning("a gateway's objects could not be brought up to date", extra=fields)
            return
        if found is None:
            self.queue.done(key)
            self._found.pop(key, None)
            return
        if found.failed:
            self.queue.failed(key)
        else:
            self.queue.done(key)
            self.queue.add((key,), after=self._pace.soon if found.soon else self._pace.look)
        if self._found.get(key) != found:
            self._note_troubles(key, found)
            self._found[key] = found
            self._on_change(((GATEWAYS.kind, key),))

    def _note_troubles(self, key: ObjectKey, found: _Found) -> None:
        before = self._found.get(key)
        for trouble in found.troubles:
            if before is None or trouble not in before.troubles:
                fields = {"gateway": str(key), "reason": trouble}
                log.warning("an object of a plane is not what it should be", extra=fields)

    async def _look(self, key: ObjectKey) -> _Found | None:
        declared = self._cluster.gateways.get(key)
        if declared is None or declared.deleting or not isinstance(declared.resource, WebhookGateway):
            # What a deleted gateway owned is the garbage collector's; one that can't be read keeps what it has.
            return None
        gateway = declared.resource
        planes = [shared_plane(gateway), *self._dedicated(gateway)]
        there = await self._objects.of(key, gateway.metadata.uid)
        settled = {
            name: await self._settle(name, wanted, there.pop(name, None), plane.initial_replicas)
            for plane in planes
            for name, wanted in _manifests(plane, self._pods)
        }
        leaving, failures = await self._remove(there, {plane.name for plane in planes})
        return _Found(
            (*(each.trouble for each in settled.values() if each.trouble), *failures),
            leaving,
            _replicas(settled[STATEFUL_SETS.kind, object_name(planes[0])]),
            bool(leaving) or any(each.may_pass for each in settled.values()),
            bool(failures) or any(each.failed for each in settled.values()),
        )

    async def _settle(self, name: Name, wanted: Mapping[str, Any], known: Json | None, first_replicas: int) -> Settled:
        """What fails for the moment is this object's trouble, and holds up no other plane of the gateway."""
        try:
            return await self._objects.settle(wanted, known, first_replicas)
        except ApiError as error:
            return Settled(known, _failure(name, error), failed=True)

    def _dedicated(self, gateway: WebhookGateway) -> Iterator[Plane]:
        """The planes of subscriptions that have one of their own; none before that is known."""
        if not self._routes.has_published():
            return
        wishes = [
            (key, declared.resource.data_plane)
            for key, declared in self._cluster.subscriptions.items()
            if isinstance(declared.resource, WebhookSubscription) and _wants_its_own(declared)
        ]
        for key, wish in sorted(wishes, key=lambda each: each[0]):
            if self._routes.gateway_of(key) == gateway.metadata.key:
                yield dedicated_plane(gateway, key, wish)

    async def _remove(self, left: Mapping[Name, Json], wanted: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """
        Remove what no plane wants: at once beside a plane that stays, else when its pods hold nothing any more.

        The planes that stay for that reason are given back, and what could not be removed for now.
        """
        planes = {plane for each in left.values() if (plane := plane_named(each)) not in wanted}
        running = {plane_named(each): _pods_of(each) for name, each in left.items() if name[0] == STATEFUL_SETS.kind}
        staying = {plane for plane in planes if not self._may_end(plane, running.get(plane))}
        self._quiet_since = {plane: at for plane, at in self._quiet_since.items() if plane in planes}
        failures: dict[str, str] = {}
        for kind in TYPES:
            for name, each in sorted(left.items()):
                plane = plane_named(each)
                # What scales goes before what it scales: where the one fails the other waits.
                if name[0] == kind and plane not in staying and plane not in failures:
                    try:
                        await self._objects.remove(name, each)
                    except ApiError as error:
                        failures[plane] = _failure(name, error)
        return tuple(sorted(staying)) if self._routes.has_published() else (), tuple(failures.values())

    def _may_end(self, plane: str, wanted: int | None) -> bool:
        """
        Whether a plane that nobody wants may end: its routes have moved, and nothing waits in its pods, for a while.

        *wanted*: the pods that its StatefulSet asks for. One whose StatefulSet a person has deleted (None) has ended already.
        """
        pods = [pod for pod in self._cluster.pods.values() if pod.plane == plane]
        if wanted is None and not pods and self._routes.has_published():
            return True
        # A pod that is not there, or has no address, can't say what is in its volume. None are wanted by a person's wish.
        there = len(pods) >= (wanted or 0) and all(pod.addresses for pod in pods)
        told = there and self._served.holds_nothing(plane)
        if not (told and self._routes.has_published() and self._has_moved(plane)):
            self._quiet_since.pop(plane, None)
            return False
        now = self._clock()
        return now - self._quiet_since.setdefault(plane, now) >= self._pace.quiet

    def _has_moved(self, plane: str) -> bool:
        """Whether the subscription that had the plane is served elsewhere by now, or not at all any more."""
        parts = plane.split(".", 2)
        key = ObjectKey(parts[1], parts[2]) if len(parts) == 3 else None
        if key is None or self._routes.gateway_of(key) is None:
            return True
        shard = self._routes.revision_of(key)
        return shard is not None and shard.plane != plane and not self._served.behind(shard)


def _wants_its_own(declared: Declared) -> bool:
    subscription = declared.resource
    return (
        isinstance(subscription, WebhookSubscription)
        and not declared.deleting
        and subscription.data_plane.mode is PlaneMode.DEDICATED
    )


def _manifests(plane: Plane, pods: PodSettings) -> Iterator[tuple[Name, Json]]:
    for each in manifests(plane, pods):
        body: Json = dict(each)
        yield (body["kind"], body["metadata"]["name"]), body


def _is_of(pod: Pod, plane: Plane) -> bool:
    return pod.plane == plane.name and pod.key.namespace == plane.gateway.namespace


def _failure(name: Name, error: ApiError) -> str:
    return f"{' '.join(name)} could not be brought up to date: {error.message}"


def _pods_of(stateful_set: Json) -> int:
    found = (stateful_set.get("spec") or {}).get("replicas")
    return found if isinstance(found, int) else 1


def _replicas(settled: Settled) -> int | None:
    found = ((settled.stored or {}).get("spec") or {}).get("replicas")
    return found if isinstance(found, int) else None


def _said(found: _Found) -> Said:
    leaving = [f"data plane {plane} is being left and removed when nothing waits in it" for plane in found.leaving]
    message = "; ".join((*found.troubles, *leaving))[:MESSAGE_CHARACTERS]
    return Said(CONDITION, not found.troubles, "ObjectsDiffer" if found.troubles else "Deployed", message)
