"""
The objects that the operator looks at, typed and trimmed: what nobody asks for is not kept.

Subscriptions, gateways, Secrets, ConfigMaps and grants are typed by `hookline_routes`; here are the others, and what is kept
beside a typed object.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hookline_routes.resource import (
    ConfigMap,
    ObjectKey,
    ReferenceGrant,
    Secret,
    Unreadable,
    WebhookGateway,
    WebhookSubscription,
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as the API server has it."""

    type: str
    status: str
    """"True", "False" or "Unknown"."""
    reason: str
    message: str
    observed_generation: int
    last_transition_time: str
    """RFC 3339 in UTC, as written."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A subscription or gateway: what it asks for, and what its status says now."""

    kind: str
    """"WebhookSubscription" or "WebhookGateway"."""
    key: ObjectKey
    uid: str
    generation: int
    resource_version: int
    resource: WebhookSubscription | WebhookGateway | Unreadable
    status: Mapping[str, object] = field(default_factory=dict)
    """As plain JSON, conditions included."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Those of `hookline.dev/` only: requests such as a rotation."""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class SeenSecret:
    """A Secret of type kubernetes.io/basic-auth. SECURITY: its data is left out of `repr`."""

    key: ObjectKey
    resource_version: int
    secret: Secret
    owner_uid: str = ""
    """uid of the WebhookSubscription that owns it; "" for one that a person made."""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service."""

    number: int
    name: str
    """"" where the only port has none."""


@dataclass(frozen=True, slots=True)
class Service:
    """A Service, as far as endpoints are decided by it."""

    key: ObjectKey
    uid: str
    resource_version: int
    type: str
    """"ClusterIP", "NodePort", "LoadBalancer" or "ExternalName"."""
    has_selector: bool
    ports: tuple[ServicePort, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """One endpoint of a slice."""

    address: str
    """IP address."""
    ready: bool
    """Ready, and not terminating."""
    pod: str
    """Name of the Pod in the slice's namespace that the slice says it is; "" for none."""
    pod_uid: str


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """An EndpointSlice of a Service (label kubernetes.io/service-name)."""

    key: ObjectKey
    resource_version: int
    service: str
    """Name of the Service in its namespace; "" for none."""
    address_type: str
    """"IPv4", "IPv6" or "FQDN"."""
    ports: Mapping[str, int]
    """By name ("" for the unnamed one)."""
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Pod:
    """A Pod, as far as addresses are believed and receivers are found by it."""

    key: ObjectKey
    uid: str
    resource_version: int
    addresses: frozenset[str]
    """status.podIPs; empty once it has ended (phase Succeeded or Failed)."""
    host_network: bool
    ready: bool
    """Its condition Ready is True, and it is not being deleted."""
    deleting: bool
    plane: str = ""
    """Annotation hookline.dev/plane of our own receiver pods; "" for all others."""
    agent_port: int = 0
    """Annotation hookline.dev/agent-port of our own receiver pods: where its agent answers; 0: the usual one."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace's labels, for selectors of gateways, and its `hookline.dev/` annotations."""

    name: str
    resource_version: int
    labels: Mapping[str, str]
    deleting: bool = False


class KindName(StrEnum):
    """The kinds that are looked at."""

    SUBSCRIPTIONS = "subscriptions"
    GATEWAYS = "gateways"
    SECRETS = "secrets"
    SERVICES = "services"
    SLICES = "slices"
    PODS = "pods"
    NAMESPACES = "namespaces"
    GRANTS = "grants"
    CONFIG_MAPS = "config_maps"
    """Those that routes name as authorities: read on demand, not watched."""
    CA_SECRETS = "ca_secrets"
    """Secrets that routes name as authorities: read on demand, not watched."""


Value = Declared | SeenSecret | Service | EndpointSlice | Pod | Namespace | ReferenceGrant | ConfigMap | Secret
"""What is kept of an object."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is true of one object now was not before. A namespace's key has its name alone."""

    kind: KindName
    key: ObjectKey
    old: Value | None
    """None: it was not there."""
    new: Value | None
    """None: it is gone."""
