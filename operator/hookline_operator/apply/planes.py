"""
The planes lane: gateways' and subscriptions' wishes → the StatefulSets, Services, autoscalers and budgets of their planes.

    lane = PlanesLane(cluster, routes, api, PodSettings(image=...), namespace=..., on_change=...)
    lane.add(gateways)           # something about these gateways, or their subscriptions' own planes, may have changed
    await lane.run()             # for one term

Each look lists what is there, decides object by object, and writes what differs. Every gateway is looked at again each
`look_seconds`: what somebody else has changed is set right, once. What does not stay as it was applied is said, and left.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hookline_operator.apply.api import Api, ApiError, Conflict
from hookline_operator.decide.conditions import Said
from hookline_operator.decide.planes.difference import difference
from hookline_operator.decide.planes.manifests import COMMON_LABELS, manifests, selector_of
from hookline_operator.decide.planes.plane import Plane, dedicated_plane, shared_plane
from hookline_operator.decide.planes.pod import PLANE_ANNOTATION, PodSettings
from hookline_operator.decide.planes.steps import WISH_ANNOTATION, Action, Step, step, with_replicas
from hookline_operator.decide.status import Contribution
from hookline_operator.observe.objects import Declared, Pod
from hookline_operator.resource_types import (
    AUTOSCALERS,
    DISRUPTION_BUDGETS,
    GATEWAYS,
    SERVICES,
    STATEFUL_SETS,
    ResourceType,
)
from hookline_operator.work import WorkQueue
from hookline_routes.resource import ObjectKey, PlaneMode, WebhookGateway, WebhookSubscription

log = logging.getLogger(__name__)

Json = dict[str, Any]
StatusKey = tuple[str, ObjectKey]

CONDITION = "Deployed"
"""Of a gateway: whether the objects of its planes are as they should be."""

TYPES: Mapping[str, ResourceType] = {
    each.kind: each for each in (SERVICES, STATEFUL_SETS, AUTOSCALERS, DISRUPTION_BUDGETS)
}


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

    def planes(self) -> frozenset[str]:
        """Every plane that has routes, also one that is being left as long as its pods are there."""

    def has_published(self) -> bool:
        """Whether all was compiled in this term: before that nothing is known to be unwanted."""


class Held(Protocol):
    """What receiver pods still hold."""

    def holds_nothing(self, plane: str) -> bool:
        """Whether all pods of the plane say that no event waits in them; False while one has not said."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look came to."""

    troubles: tuple[str, ...]
    """For people; none: all is as it should be."""
    desired: int | None
    """Pods of the shared plane that there should be."""


class PlanesLane:
    """Keeps the objects of planes while this replica leads. For one event loop."""

    def __init__(
        self,
        cluster: PlanesView,
        routes: AttachedSubscriptions,
        held: Held,
        api: Api,
        pods: PodSettings,
        *,
        on_change: Callable[[Iterable[StatusKey]], None] = lambda keys: None,
        look_seconds: float = 60.0,
    ) -> None:
        """*on_change* hears of gateways whose contribution to their status is another."""
        self._cluster, self._routes, self._held, self._api, self._pods = cluster, routes, held, api, pods
        self._on_change, self._look_seconds = on_change, look_seconds
        self.queue: WorkQueue[ObjectKey] = WorkQueue(lambda key: key.name)
        self._found: dict[ObjectKey, _Found] = {}
        self._stubborn: dict[tuple[str, str], tuple[str, str]] = {}
        """Objects that did not become what was applied, by kind and name: the wish's digest, and the field."""

    def add(self, keys: Iterable[ObjectKey], *, urgent: bool = False) -> None:
        """Look at these gateways again."""
        self.queue.add(keys, urgent=urgent)

    async def run(self) -> None:
        """For one term: until cancelled."""
        self._found.clear()
        self._stubborn.clear()
        self.add(self._cluster.gateways)
        try:
            while True:
                (key,) = await self.queue.take(1)
                await self._work_on(key)
        finally:
            self.queue.clear()

    def contribution(self, kind: str, key: ObjectKey) -> Contribution:
        """What the gateway's status says of its pods: see `apply.status.Contributor`."""
        if kind != GATEWAYS.kind:
            return Contribution()
        found, declared = self._found.get(key), self._cluster.gateways.get(key)
        if found is None or declared is None or not isinstance(declared.resource, WebhookGateway):
            return Contribution()
        plane = shared_plane(declared.resource)
        pods = sum(1 for pod in self._cluster.pods.values() if self._is_of(pod, plane) and not pod.deleting)
        said = Said(
            CONDITION,
            not found.troubles,
            "ObjectsDiffer" if found.troubles else "Deployed",
            "; ".join(found.troubles)[:1024],
        )
        fields = {"replicas": pods, "selector": selector_of(plane)}
        return Contribution((said,), fields, frozenset((CONDITION,)), found.desired)

    def _is_of(self, pod: Pod, plane: Plane) -> bool:
        return pod.plane == plane.name and pod.key.namespace == plane.gateway.namespace

    async def _work_on(self, key: ObjectKey) -> None:
        try:
            found = await self._look(key)
        except ApiError as error:
            delay = self.queue.failed(key)
            fields = {"gateway": str(key), "reason": str(error), "again_in": delay}
            log.warning("a gateway's objects could not be brought up to date", extra=fields)
            return
        self.queue.done(key)
        if found is None:
            self._found.pop(key, None)
            return
        self.queue.add((key,), after=self._look_seconds)
        if self._found.get(key) != found:
            self._found[key] = found
        self._on_change(((GATEWAYS.kind, key),))

    async def _look(self, key: ObjectKey) -> _Found | None:
        declared = self._cluster.gateways.get(key)
        if declared is None or declared.deleting or not isinstance(declared.resource, WebhookGateway):
            # What a deleted gateway owned is the garbage collector's; one that can't be read keeps what it has.
            return None
        planes = self._wanted(declared.resource)
        there = await self._there(key)
        troubles: list[str] = []
        desired: int | None = None
        for plane in planes:
            for wanted in manifests(plane, self._pods):
                name = (str(wanted["kind"]), str(wanted["metadata"]["name"]))  # type: ignore[index]
                current = there.pop(name, None)
                decided = step(wanted, current, plane.initial_replicas)
                stored = await self._take(name, decided) or current
                troubles += [each for each in (decided.remark, self._trouble(name, decided)) if each]
                if plane is planes[0] and name[0] == STATEFUL_SETS.kind and stored:
                    desired = (stored.get("spec") or {}).get("replicas")
        await self._remove(key, {plane.name for plane in planes}, there)
        return _Found(tuple(troubles), desired)

    def _wanted(self, gateway: WebhookGateway) -> list[Plane]:
        """The gateway's own plane, then those of its subscriptions that have one."""
        planes = [shared_plane(gateway)]
        for key, declared in sorted(self._cluster.subscriptions.items()):
            subscription = declared.resource
            if (
                isinstance(subscription, WebhookSubscription)
                and subscription.data_plane.mode is PlaneMode.DEDICATED
                and self._routes.gateway_of(key) == gateway.metadata.key
            ):
                planes.append(dedicated_plane(gateway, key, subscription.data_plane))
        return planes

    async def _there(self, gateway: ObjectKey) -> dict[tuple[str, str], Json]:
        """What bears our label in the namespace, and belongs to this gateway by the plane that it names."""
        labels = ",".join(f"{key}={value}" for key, value in COMMON_LABELS.items())
        found: dict[tuple[str, str], Json] = {}
        for kind, place in TYPES.items():
            listing = await self._api.list(place, gateway.namespace, labels=labels)
            for each in listing.items:
                each.setdefault("kind", kind)
                if _plane_named(each).partition(".")[0] == gateway.name:
                    found[kind, each["metadata"]["name"]] = each
        return found

    async def _take(self, name: tuple[str, str], decided: Step) -> Json | None:
        """Do it; the object as stored, None if nothing was written."""
        wish, place = decided.wish, TYPES[name[0]]
        namespace = wish["metadata"]["namespace"]  # type: ignore[index]
        match decided.action:
            case Action.NOTHING:
                self._stubborn.pop(name, None)
                return None
            case Action.REFUSE:
                return None
            case Action.CREATE:
                if await self._is_taken(place, namespace, name[1]):
                    return None
                await self._api.create(place, namespace, with_replicas(wish, decided.replicas))
            case Action.HAND_OVER:
                change = {"spec": {"replicas": decided.replicas}}
                await self._api.merge(place, namespace, name[1], change, subresource="scale")
            case Action.APPLY:
                if self._stubborn.get(name) == (_digest(wish), decided.why):
                    return None
        stored = await self._api.apply(place, namespace, name[1], wish)
        log.info("an object of a plane was written", extra={"object": "/".join(name), "why": decided.why})
        left = difference(wish, stored)
        if left:
            self._stubborn[name] = (_digest(wish), left)
            log.warning("an object did not become what was applied", extra={"object": "/".join(name), "field": left})
        else:
            self._stubborn.pop(name, None)
        return stored

    async def _is_taken(self, place: ResourceType, namespace: str, name: str) -> bool:
        """Whether somebody else's object, which does not bear our labels, has the name."""
        there = await self._api.get(place, namespace, name)
        if there is not None:
            self._stubborn[place.kind, name] = ("", f"{place.kind} {name} is there already, and is not ours")
        return there is not None

    def _trouble(self, name: tuple[str, str], decided: Step) -> str:
        if decided.action is Action.REFUSE:
            return decided.why
        stubborn = self._stubborn.get(name)
        if stubborn is None:
            return ""
        digest, field = stubborn
        return field if not digest else f"{'/'.join(name)} does not stay as applied: somebody else sets {field}"

    async def _remove(self, gateway: ObjectKey, wanted: set[str], left: Mapping[tuple[str, str], Json]) -> None:
        """What no plane wants: at once beside a plane that stays, else when its pods hold nothing any more."""
        for (kind, name), each in sorted(left.items(), key=lambda item: _ORDER.index(item[0][0])):
            plane = _plane_named(each)
            if plane not in wanted and not self._is_left(plane):
                continue
            metadata = each["metadata"]
            try:
                await self._api.delete(TYPES[kind], gateway.namespace, name, uid=metadata["uid"])
            except Conflict:
                continue
            log.info("an object that no plane wants was removed", extra={"object": f"{kind}/{name}", "plane": plane})

    def _is_left(self, plane: str) -> bool:
        """Whether a plane that nobody wants may end: its traffic has moved, and its pods hold nothing."""
        return self._routes.has_published() and self._held.holds_nothing(plane)


_ORDER: Sequence[str] = (AUTOSCALERS.kind, STATEFUL_SETS.kind, DISRUPTION_BUDGETS.kind, SERVICES.kind)
"""Who scales goes before what it scales."""


def _plane_named(something: Mapping[str, Any]) -> str:
    return str((something["metadata"].get("annotations") or {}).get(PLANE_ANNOTATION, ""))


def _digest(wish: Mapping[str, Any]) -> str:
    return str(wish["metadata"]["annotations"][WISH_ANNOTATION])
