"""Which planes are wanted, and how large."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hookline_routes.resource import DataPlaneSpec, ObjectKey, ScalingSpec, WebhookGateway
from hookline_routes.shard import plane_label


@dataclass(frozen=True, slots=True)
class Plane:
    """Receiver pods that serve one set of routes."""

    name: str
    """"{gateway}", or "{gateway}.{namespace}.{name}" of the one subscription that it serves."""
    gateway: ObjectKey
    gateway_uid: str
    replicas: int | None
    """Fixed number of pods; None where something else scales."""
    scaling: ScalingSpec | None
    """Scale by CPU; None with a fixed number, or where another scaler does it."""
    storage_bytes: int
    storage_class: str
    """"": the cluster's default."""
    client_certificate: str
    """Secret of type kubernetes.io/tls that handlers know the forwarder by; "": none."""
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The receiver container's, where the subscription gives its own."""

    @property
    def label(self) -> str:
        """The name, as labels and object names can hold it."""
        return plane_label(self.name)

    @property
    def initial_replicas(self) -> int:
        """How many pods to begin with: two, as a StatefulSet has no surge, unless something says otherwise."""
        if self.replicas is not None:
            return self.replicas
        return self.scaling.min_replicas if self.scaling else 2


def shared_plane(gateway: WebhookGateway) -> Plane:
    """The plane that a gateway's subscriptions share."""
    return Plane(
        name=gateway.metadata.name,
        gateway=gateway.metadata.key,
        gateway_uid=gateway.metadata.uid,
        replicas=gateway.replicas,
        scaling=gateway.scaling,
        storage_bytes=gateway.event_store_size,
        storage_class=gateway.storage_class,
        client_certificate=gateway.client_certificate,
    )


def dedicated_plane(gateway: WebhookGateway, subscription: ObjectKey, wish: DataPlaneSpec) -> Plane:
    """The plane of one subscription's own, beside its gateway's."""
    return Plane(
        name=f"{gateway.metadata.name}.{subscription.namespace}.{subscription.name}",
        gateway=gateway.metadata.key,
        gateway_uid=gateway.metadata.uid,
        replicas=None,
        scaling=wish.scaling,
        storage_bytes=gateway.event_store_size,
        storage_class=gateway.storage_class,
        client_certificate=gateway.client_certificate,
        resources=wish.resources,
    )
