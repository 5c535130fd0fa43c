"""A routes lane on an API server of memory, and what a cluster holds as plain objects."""

import asyncio
import base64
import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline.routing.v1.table_pb2 import RouteEntry, RouteShard
from hookline_operator.apply.api import Conflict, Listing
from hookline_operator.apply.routes import Listeners, RoutesLane, RoutesSettings
from hookline_operator.decide.shards import ShardName, stored
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.dependents import dependents
from hookline_operator.observe.kinds import kinds
from hookline_operator.observe.objects import Change, KindName
from hookline_operator.resource_types import ROUTE_TABLES, ResourceType
from hookline_operator.verifiers import VerifierLimits, Verifiers
from hookline_routes.expression import complaints_about
from hookline_routes.inputs import NeededVerifier
from hookline_routes.resource import ObjectKey
from hookline_routes.shard import join
from hookline_routes.verifier import make_verifier
from support.memory_api import Json, MemoryApi
from support.routes import TAG_KEY, a_route

Body = dict[str, Any]

HOME = "hookline"
KINDS = {
    "WebhookSubscription": KindName.SUBSCRIPTIONS,
    "WebhookGateway": KindName.GATEWAYS,
    "Secret": KindName.SECRETS,
    "Namespace": KindName.NAMESPACES,
    "ReferenceGrant": KindName.GRANTS,
    "Pod": KindName.PODS,
}


def a_subscription_body(name: str = "chat", namespace: str = "acme", day: int = 1, uid: str = "", **spec: Any) -> Body:
    """A valid subscription, made on that day of January, with the Secret of its name."""
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": uid or f"uid-{namespace}-{name}",
            "generation": 1,
            "creationTimestamp": f"2026-01-{day:02d}T00:00:00Z",
        },
        "spec": {
            "gatewayRef": {"name": "default"},
            "auth": {"basic": {"secretRefs": [{"name": name}]}},
            "routes": [a_route()],
            **spec,
        },
    }


def a_gateway_body(name: str = "default", **spec: Any) -> Body:
    """A valid gateway that takes everybody."""
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookGateway",
        "metadata": {"namespace": HOME, "name": name, "uid": f"uid-{name}", "generation": 1},
        "spec": spec,
    }


def a_secret_body(name: str = "chat", namespace: str = "acme", password: str = "one", owner: str = "") -> Body:
    """A valid Secret."""
    metadata: Body = {"namespace": namespace, "name": name, "uid": f"uid-secret-{namespace}-{name}"}
    if owner:
        metadata["ownerReferences"] = [
            {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription", "name": "x", "uid": owner}
        ]
    data = {"username": "acmehooks", "password": password}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "kubernetes.io/basic-auth",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def a_receiver_body(plane: str, name: str = "receiver-0", *, ready: bool = True) -> Body:
    """A receiver pod of *plane*."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": HOME,
            "name": name,
            "uid": f"uid-{name}",
            "annotations": {"hookline.dev/plane": plane},
            "labels": {"app.kubernetes.io/managed-by": "hookline-operator", "hookline.dev/plane": plane},
        },
        "spec": {},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def a_grant_body(namespace: str, of: str) -> Body:
    """Lets subscriptions of the namespace *of* name any Service of *namespace*."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"namespace": namespace, "name": f"from-{of}", "uid": f"uid-{namespace}-{of}"},
        "spec": {
            "from": [{"group": "hookline.dev", "kind": "WebhookSubscription", "namespace": of}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }


class World:
    """What an API server holds, and clusters that see it, at once or late."""

    def __init__(self, *bodies: Body) -> None:
        self._versions = itertools.count(1000)
        self.bodies: dict[tuple[str, ObjectKey], Body] = {}
        for body in bodies:
            self.put(body)

    def put(self, body: Body) -> Body:
        """It is so now; the generation grows where what it asks for is another."""
        old = self.bodies.get(_name(body))
        generation = old["metadata"].get("generation", 0) + (old.get("spec") != body.get("spec")) if old else 1
        metadata = {**body["metadata"], "resourceVersion": str(next(self._versions)), "generation": generation}
        stored = self.bodies[_name(body)] = {**body, "metadata": metadata}
        return stored

    def remove(self, kind: str, name: str, namespace: str = "acme") -> Body:
        """It is not there any more."""
        body = self.bodies.pop((kind, ObjectKey(namespace, name)))
        return {**body, "metadata": {**body["metadata"], "resourceVersion": str(next(self._versions))}}

    def shown_to(self, cluster: Cluster) -> list[Change]:
        """Have *cluster* see all of it as it is now."""
        position = next(self._versions)
        changes: list[Change | None] = [cluster.admit(KINDS[kind], body) for (kind, _), body in self.bodies.items()]
        for name, kind in KINDS.items():
            changes += cluster.retain(kind, [key for (of, key) in self.bodies if of == name], position)
        return [change for change in changes if change]


def a_view(*bodies: Body) -> Cluster:
    """A cluster that has seen these."""
    cluster = Cluster(kinds(HOME), HOME)
    World(*bodies).shown_to(cluster)
    return cluster


def see(cluster: Cluster, body: Body, event: str = "MODIFIED") -> Change | None:
    """A feed says so."""
    return cluster.apply(KINDS[body["kind"]], event, body)


def quick(needed: NeededVerifier, salt: bytes) -> routing.Verifier:
    """A verifier of the quick kind, whatever is asked for."""
    return make_verifier(
        needed.credential, needed.username, needed.password, generated=True, salt=salt, tag_key=TAG_KEY
    )


class TablesMemory(MemoryApi):
    """With what the routes lane relies on beside: looks at metadata, conditions of deletions."""

    async def list(
        self,
        kind: ResourceType,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> Listing:
        """By one label."""
        listing = await super().list(kind, namespace, labels=labels)
        if not metadata_only:
            return listing
        return Listing(tuple({"metadata": item["metadata"]} for item in listing.items), listing.resource_version)

    async def delete(
        self, kind: ResourceType, namespace: str, name: str, *, uid: str = "", resource_version: str = ""
    ) -> bool:
        """On the condition of its version."""
        found = self.objects.get((kind.kind, namespace, name))
        if found and resource_version and found["metadata"]["resourceVersion"] != resource_version:
            raise Conflict(f"DELETE {name}", 409, "Conflict", "is another version by now")
        return await super().delete(kind, namespace, name)

    @property
    def tables(self) -> dict[str, Json]:
        """All RouteTables by name."""
        return {name: body for (kind, _, name), body in self.objects.items() if kind == ROUTE_TABLES.kind}

    def shard(self, plane: str, index: int) -> RouteShard:
        """As agents read it."""
        found = [stored(body) for body in self.tables.values()]
        return RouteShard.FromString(
            join(each.chunk for each in found if each.chunk and each.shard == ShardName(plane, index))
        )

    def entries(self, plane: str = "default") -> dict[str, RouteEntry]:
        """All that is published of a plane, by "namespace/name"."""
        found: dict[str, RouteEntry] = {}
        names = {each.shard for each in map(stored, self.tables.values()) if each.shard and each.shard.plane == plane}
        for name in sorted(names):
            for entry in self.shard(plane, name.index).entries:
                found[f"{entry.subscription.ref.namespace}/{entry.subscription.ref.name}"] = entry
        return found

    def credentials(self, subscription: str = "acme/chat", plane: str = "default") -> "tuple[str, ...]":
        """That open it."""
        entry = self.entries(plane).get(subscription)
        return tuple(each.credential for each in entry.endpoint.verifiers) if entry else ()


@dataclass
class Told:
    """What others were told."""

    status: list[tuple[str, ObjectKey]] = field(default_factory=list)
    planes: list[str] = field(default_factory=list)


class FaultyVerifiers(Verifiers):
    """Raises where one of the passwords `faults` is asked for: an error that nobody foresaw, in the middle of compiling."""

    faults: frozenset[str] = frozenset()

    def find(self, needed: NeededVerifier) -> routing.Verifier | None:
        """As of Verifiers."""
        if needed.password in self.faults:
            raise RuntimeError("a fault of ours")
        return super().find(needed)


FAST = RoutesSettings(
    HOME, soonest=0.0, latest=0.001, look_every=3600.0, verifiers=VerifierLimits(patience=0.01, longest_pause=0.05)
)


class Replica:
    """An operator, as far as the routes lane is concerned: what it sees, and whether it leads."""

    def __init__(
        self,
        api: TablesMemory,
        world: World,
        settings: RoutesSettings = FAST,
        make: Callable[[NeededVerifier, bytes], routing.Verifier] = quick,
        judge: Callable[[Sequence[str]], object] = complaints_about,
    ) -> None:
        self.api, self.world, self.told = api, world, Told()
        self.cluster = Cluster(kinds(HOME), HOME)
        self.verified = 0
        self.made: list[NeededVerifier] = []

        def making(needed: NeededVerifier, salt: bytes) -> routing.Verifier:
            self.made.append(needed)
            return make(needed, salt)

        self.verifiers = FaultyVerifiers(TAG_KEY, self._add, settings.verifiers, make=making)
        listeners = Listeners(self.told.status.extend, self.told.planes.extend)
        self.lane = RoutesLane(
            self.cluster, api, self.verify, TAG_KEY, settings, listeners, verifiers=self.verifiers, judge=judge
        )
        self._term: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Leads from now on."""
        self.lead()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def lead(self) -> None:
        """Begin a term."""
        self._term = asyncio.create_task(self.lane.run())

    async def stop(self) -> None:
        """End the term; raises what the lane raised."""
        assert self._term
        self._term.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._term

    @property
    def term(self) -> "asyncio.Task[None]":
        """The one that is running."""
        assert self._term
        return self._term

    async def verify(self) -> None:
        """See everything as it is now."""
        self.verified += 1
        await asyncio.sleep(0)
        for change in self.world.shown_to(self.cluster):
            self._concern(change)

    def put(self, *bodies: Body) -> None:
        """The API server takes these, and the feed says so."""
        for body in bodies:
            self.hear(self.world.put(body))

    def remove(self, kind: str, name: str, namespace: str = "acme") -> None:
        """The API server loses it, and the feed says so."""
        self.hear(self.world.remove(kind, name, namespace), "DELETED")

    def hear(self, body: Body, event: str = "MODIFIED") -> None:
        """The feed says so."""
        change = see(self.cluster, body, event)
        if change:
            self._concern(change)

    def _concern(self, change: Change) -> None:
        keys = dependents(change, self.cluster)
        self.lane.add(keys.routes, urgent=keys.urgent)

    def _add(self, keys: Iterable[ObjectKey]) -> None:
        self.lane.add(keys)


async def until(holds: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait until it holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.002)


async def settled(replica: Replica) -> None:
    """Wait until the lane has nothing to do."""
    quiet = 0
    async with asyncio.timeout(30):
        while quiet < 5:
            await asyncio.sleep(0.005)
            if replica.term.done():
                replica.term.result()
            quiet = quiet + 1 if replica.lane.is_idle() else 0


def _name(body: Mapping[str, Any]) -> tuple[str, ObjectKey]:
    metadata = body["metadata"]
    return body["kind"], ObjectKey(metadata.get("namespace", ""), metadata["name"])
