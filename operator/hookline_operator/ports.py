"""What the rooms ask of each other: small enough to stand in for in a test."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hookline_operator.observe.objects import Declared, EndpointSlice, Namespace, Pod, SeenSecret, Service
from hookline_routes.resource import ConfigMap, ObjectKey, ReferenceGrant, Secret

K_contra = TypeVar("K_contra", contravariant=True)


class ClusterView(Protocol):
    """What is known to be true. Read-only for all but `observe`; replaced entries are new values, never changed ones."""

    @property
    def subscriptions(self) -> Mapping[ObjectKey, Declared]:
        """All of the cluster, also those that refer to other installations."""

    @property
    def gateways(self) -> Mapping[ObjectKey, Declared]:
        """Those of the operator's own namespace."""

    @property
    def secrets(self) -> Mapping[ObjectKey, SeenSecret]:
        """Of type kubernetes.io/basic-auth."""

    @property
    def services(self) -> Mapping[ObjectKey, Service]:
        """All of the cluster."""

    @property
    def pods(self) -> Mapping[ObjectKey, Pod]:
        """All of the cluster."""

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        """All of the cluster."""

    @property
    def grants(self) -> Mapping[ObjectKey, ReferenceGrant]:
        """Empty where the cluster does not know the kind."""

    @property
    def config_maps(self) -> Mapping[ObjectKey, ConfigMap]:
        """Those that routes name as authorities; read on demand, at most a minute old."""

    @property
    def ca_secrets(self) -> Mapping[ObjectKey, Secret]:
        """Secrets of any type that routes name as authorities; read on demand, at most a minute old."""

    def secrets_owned_by(self, uid: str) -> tuple[SeenSecret, ...]:
        """Those whose owner is the WebhookSubscription with that uid, sorted by name."""

    def slices_of(self, service: ObjectKey) -> tuple[EndpointSlice, ...]:
        """The EndpointSlices of a Service, sorted by name."""

    def pod_with(self, namespace: str, address: str) -> Pod | None:
        """The Pod of *namespace* whose status holds *address*, if one does (not of the host's network)."""


class Lane(Protocol[K_contra]):
    """Works off its keys while this replica leads."""

    def add(self, keys: Iterable[K_contra], *, urgent: bool = False) -> None:
        """These are to be looked at again; at most once each, however often they are added."""

    async def run(self) -> None:
        """Until cancelled. A key whose work fails is tried again after its own backoff."""


class Leadership(Protocol):
    """Whether this replica may write."""

    def remaining(self) -> float:
        """Seconds for which the Lease is surely held; 0 if it isn't."""

    def is_leading(self) -> bool:
        """Whether the Lease is surely held now; asked directly before every write."""


@dataclass(frozen=True, slots=True)
class ShardRevision:
    """A published state of a shard."""

    plane: str
    index: int
    revision: int


class Published(Protocol):
    """What the routes lane has published: what `Programmed` is held against."""

    def revision_of(self, subscription: ObjectKey) -> ShardRevision | None:
        """The shard's revision since which the published entry is what the subscription compiles to now; None: it isn't yet."""


class Served(Protocol):
    """What receiver pods serve: the agents' reports."""

    def pods_of(self, plane: str) -> int:
        """Receiver pods that take traffic (ready ones)."""

    def behind(self, shard: ShardRevision) -> tuple[str, ...]:
        """Names of the ready pods that do not serve that revision yet, or do not answer; sorted."""
