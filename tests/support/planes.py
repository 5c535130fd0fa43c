"""Planes, and the lane that keeps their objects, with what other lanes would say told by the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hookline_operator.apply.api import Api, Unavailable
from hookline_operator.apply.planes import Pace, PlanesLane
from hookline_operator.decide.planes.plane import Plane
from hookline_operator.decide.planes.pod import PodSettings
from hookline_operator.observe.kinds import read_gateway, read_subscription
from hookline_operator.observe.objects import Declared, Pod
from hookline_operator.ports import ShardRevision
from hookline_operator.resource_types import ResourceType
from hookline_routes.resource import ObjectKey
from support.kubernetes.api import Object, Refused
from support.kubernetes.plane import ControlPlane
from support.rbac import install_operator_rights
from support.waiting import until

API_VERSION = "hookline.dev/v1alpha1"
KINDS = {
    "StatefulSet": "apps/v1",
    "Service": "v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
}


def a_plane(name: str = "default", **more: Any) -> Plane:
    """Without a number of pods, by default."""
    given: dict[str, Any] = {
        "gateway": ObjectKey("hookline", name.partition(".")[0]),
        "gateway_uid": "0c6f4b0e-5f0a-4c0e-9d41-6f6d1f0c7a11",
        "replicas": None,
        "scaling": None,
        "storage_bytes": 10 << 30,
        "storage_class": "",
        "client_certificate": "",
        **more,
    }
    return Plane(name, **given)


@dataclass
class Others:
    """What the routes lane and the pods would say."""

    gateways: dict[ObjectKey, Declared] = field(default_factory=dict)
    subscriptions: dict[ObjectKey, Declared] = field(default_factory=dict)
    pods: dict[ObjectKey, Pod] = field(default_factory=dict)
    published: bool = True
    attached: dict[ObjectKey, ObjectKey] = field(default_factory=dict)
    served_by: dict[ObjectKey, str] = field(default_factory=dict)
    late: tuple[str, ...] = ()
    holding: set[str] = field(default_factory=set)

    def has_published(self) -> bool:
        """As of the routes lane."""
        return self.published

    def gateway_of(self, subscription: ObjectKey) -> ObjectKey | None:
        """As of the routes lane."""
        return self.attached.get(subscription)

    def revision_of(self, subscription: ObjectKey) -> ShardRevision | None:
        """As of the routes lane."""
        plane = self.served_by.get(subscription)
        return ShardRevision(plane, 0, 1) if plane else None

    def behind(self, shard: ShardRevision) -> tuple[str, ...]:
        """As of the pods."""
        return self.late

    def holds_nothing(self, plane: str) -> bool:
        """As of the pods."""
        return plane not in self.holding


class FailingApi(Api):
    """Answers 500 to whatever would change an object with one of `failing` in its name, as an admission webhook may."""

    failing: tuple[str, ...] = ()

    async def apply(
        self, kind: ResourceType, namespace: str, name: str, body: Mapping[str, Any], **more: Any
    ) -> Object:
        """As of the Api."""
        self._ask(name)
        return await super().apply(kind, namespace, name, body, **more)

    async def delete(self, kind: ResourceType, namespace: str, name: str, **more: Any) -> bool:
        """As of the Api."""
        self._ask(name)
        return await super().delete(kind, namespace, name, **more)

    def _ask(self, name: str) -> None:
        if any(part in name for part in self.failing):
            raise Unavailable(f"PATCH {name}", 500, "InternalError", "the webhook is out of order")


class PlanesScene:
    """One gateway's objects at a real API server, as an operator in *namespace* with the chart's rights keeps them."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace, self.admin = plane, namespace, plane.admin
        self.others = Others()
        self.now = 1000.0
        self.told: list[tuple[str, ObjectKey]] = []
        self._token = install_operator_rights(plane, namespace)
        self._lane: PlanesLane | None = None

    @property
    def lane(self) -> PlanesLane:
        """The one that runs."""
        assert self._lane is not None
        return self._lane

    @contextlib.asynccontextmanager
    async def running(self, pods: PodSettings | None = None) -> AsyncIterator[None]:
        """One term of one operator."""
        async with self.plane.aio(self._token) as client:
            self.api = FailingApi(client)
            self._lane = PlanesLane(
                self.others,
                self.others,
                self.others,
                self.api,
                pods or PodSettings(image="registry.example.com/hookline/receiver:1"),
                on_change=self._hear,
                pace=Pace(look=1e6, soon=1e6, least=0.0, quiet=15.0),
                clock=lambda: self.now,
            )
            task = asyncio.create_task(self.lane.run())
            try:
                await self.settled()
                yield
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def _hear(self, keys: Iterable[tuple[str, ObjectKey]]) -> None:
        self.told += keys

    async def look(self) -> None:
        """The lane looks at all gateways again, as it does from time to time."""
        self.lane.add(self.others.gateways)
        await self.settled()

    async def settled(self) -> None:
        """Return when it has nothing to do."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        queue = self.lane.queue
        await until(lambda: not len(queue) and not queue.working, 60, "the lane's queue is empty")

    # --- what people declare

    def gateway(self, name: str = "default", **spec: Any) -> ObjectKey:
        """Apply one; the operator knows it at once."""
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": API_VERSION, "kind": "WebhookGateway", "metadata": metadata, "spec": spec}
        (stored,) = self.admin.apply(body)
        return self.know_gateway(stored)

    def know_gateway(self, stored: Object) -> ObjectKey:
        """What the feeds would bring."""
        declared = read_gateway(stored)
        assert declared is not None
        self.others.gateways[declared.key] = declared
        return declared.key

    def subscription(self, namespace: str, name: str = "chat", *, gateway: ObjectKey, own: bool = True) -> ObjectKey:
        """One that is attached, with a plane of its own; it is in no API server."""
        mode = {"mode": "Dedicated", "dedicated": {"scaling": {"maxReplicas": 3}}} if own else {"mode": "Shared"}
        route = {"name": "notify", "handler": {"serviceRef": {"name": "notifier", "port": 9000}}}
        body = {
            "apiVersion": API_VERSION,
            "kind": "WebhookSubscription",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"{namespace}-{name}",
                "resourceVersion": "1",
                "generation": 1,
                "creationTimestamp": "2026-03-01T12:00:00Z",
            },
            "spec": {"routes": [route], "dataPlane": mode},
        }
        declared = read_subscription(body)
        assert declared is not None
        self.others.subscriptions[declared.key] = declared
        self.others.attached[declared.key] = gateway
        return declared.key

    def pods(self, plane: str, count: int, *addresses: str) -> None:
        """The plane has so many pods; each has these addresses, by default one."""
        given = frozenset(addresses or ("10.0.0.1",))
        for number in range(count):
            key = ObjectKey(self.namespace, f"{plane}-{number}")
            self.others.pods[key] = Pod(key, f"uid-{key.name}", 1, given, False, False, False, plane=plane)

    # --- what is there

    def names(self) -> set[str]:
        """Of all objects of planes, "Kind/name"."""
        return {
            f"{kind}/{each['metadata']['name']}"
            for kind, version in KINDS.items()
            for each in self.admin.objects(version, kind, self.namespace)
        }

    def get(self, kind: str = "StatefulSet", name: str = "hookline-default") -> Object:
        """One of them."""
        return self.admin.get(KINDS[kind], kind, self.namespace, name)

    def is_there(self, kind: str, name: str = "hookline-default") -> bool:
        """Whether there is such an object."""
        try:
            self.get(kind, name)
        except Refused:
            return False
        return True

    def replicas(self) -> int:
        """Pods that the gateway's own plane is to have."""
        return int(self.get()["spec"]["replicas"])

    def owners_of_replicas(self) -> list[str]:
        """Managers that own the number."""
        return [
            each["manager"]
            for each in self.get()["metadata"]["managedFields"]
            if "f:replicas" in each["fieldsV1"].get("f:spec", {})
        ]

    def said(self, name: str = "default") -> Mapping[str, Any]:
        """What the lane has to say of the gateway: status and message of its condition."""
        (condition,) = self.lane.contribution("WebhookGateway", ObjectKey(self.namespace, name)).conditions
        return {"status": condition.status, "reason": condition.reason, "message": condition.message}
