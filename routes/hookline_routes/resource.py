"""The objects that are compiled, as typed values: every default filled in, every limit checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from hookline_routes.problem import Place, Problem


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Names an object of a known kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is read of an object's metadata."""

    namespace: str
    name: str
    uid: str = ""
    """"" in a manifest."""
    resource_version: str = ""
    generation: int = 0
    created: str = ""
    """creationTimestamp in UTC, as the API server writes it, so that it sorts; "" in a manifest, and oldest of all."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return ObjectKey(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object and its fields stand in a file, for the messages."""

    file: str
    lines: Mapping[tuple[str | int, ...], int]

    def place(self, path: Sequence[str | int]) -> Place:
        """The line of the field, or of the nearest thing around it that is there."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(tuple(path[:length]))
            if line:
                return Place(self.file, line)
        return Place(self.file, 0)


class Ordering(StrEnum):
    """What waits for what."""

    NONE = "None"
    CONVERSATION = "Conversation"
    SUBSCRIPTION = "Subscription"


class PayloadForm(StrEnum):
    """What a handler wants beside the raw body."""

    TYPED = "Typed"
    RAW = "Raw"


class PlaneMode(StrEnum):
    """Whose pods receive."""

    SHARED = "Shared"
    DEDICATED = "Dedicated"


class NamespacesFrom(StrEnum):
    """Which namespaces may attach to a gateway."""

    ALL = "All"
    SAME = "Same"
    SELECTOR = "Selector"


class RefKind(StrEnum):
    """What holds an authority's certificate."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"


@dataclass(frozen=True, slots=True)
class GatewayRef:
    """Which gateway a subscription attaches to."""

    name: str = "default"
    namespace: str = ""
    """"": that of the cluster's default installation."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A Secret of the subscription's namespace, and its keys."""

    name: str
    username_key: str = "username"
    password_key: str = "password"


@dataclass(frozen=True, slots=True)
class ServiceRef:
    """A Service and its port."""

    name: str
    namespace: str
    port: int


@dataclass(frozen=True, slots=True)
class CARef:
    """An authority's certificate in the subscription's namespace."""

    name: str
    kind: RefKind = RefKind.CONFIG_MAP
    key: str = "ca.crt"


@dataclass(frozen=True, slots=True)
class HandlerTLS:
    """How a handler's certificate is verified."""

    ca_ref: CARef | None = None
    """None: by the authorities that the system trusts."""
    server_name: str = ""
    """"": "{service}.{namespace}.svc"."""


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """A gRPC service that handles events."""

    service: ServiceRef
    timeout: int
    """Nanoseconds."""
    tls: HandlerTLS | None
    payload: PayloadForm = PayloadForm.TYPED


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """Which events; everything given must hold."""

    triggers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    receiver_types: tuple[str, ...] = ()
    expression: str = ""


@dataclass(frozen=True, slots=True)
class DeliverySpec:
    """Order, size, pace and end of deliveries; times in nanoseconds."""

    ordering: Ordering
    max_in_flight: int
    batch_max_events: int
    batch_max_wait: int
    initial_backoff: int
    max_backoff: int
    max_age: int
    max_attempts: int
    """0: no limit."""


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """Which events go to which handler, and how."""

    name: str
    match: MatchSpec
    handler: HandlerSpec
    delivery: DeliverySpec
    paused: bool


@dataclass(frozen=True, slots=True)
class RateLimitSpec:
    """A token bucket, in each receiver pod."""

    requests_per_second: int
    burst: int


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """How many pods."""

    min_replicas: int
    max_replicas: int
    target_cpu_utilization: int
    """Percent of what is requested."""


@dataclass(frozen=True, slots=True)
class RotationSpec:
    """When credentials that the operator makes are replaced; nanoseconds."""

    interval: int = 0
    """Age; 0: only on request."""
    overlap: int = 24 * 3600 * 10**9
    """For how long the old one is accepted once the new one is in use."""


@dataclass(frozen=True, slots=True)
class DataPlaneSpec:
    """Whose pods receive, and how many of them where they are the subscription's own."""

    mode: PlaneMode = PlaneMode.SHARED
    scaling: ScalingSpec | None = None
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WebhookSubscription:
    """One tenant's endpoint, its credentials, its routes. Times in nanoseconds."""

    metadata: Metadata
    gateway_ref: GatewayRef
    path: str
    app_ids: tuple[str, ...]
    secret_refs: tuple[SecretRef, ...]
    routes: tuple[RouteSpec, ...]
    deduplication_window: int
    rate_limit: RateLimitSpec | None
    retain_delivered: int
    retain_dead: int
    suspend: bool
    data_plane: DataPlaneSpec
    rotation: RotationSpec = RotationSpec()
    """Means nothing where it names Secrets."""
    origin: Origin | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One condition on a namespace's labels: In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AllowedNamespaces:
    """Whose subscriptions may attach."""

    source: NamespacesFrom = NamespacesFrom.ALL
    requirements: tuple[LabelRequirement, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What one subscription may take of the gateway."""

    max_body_bytes: int
    max_pending_bytes: int
    max_subscriptions: int
    """0: no limit."""
    rate_limit: RateLimitSpec | None


@dataclass(frozen=True, slots=True)
class DedicatedPolicy:
    """Whether subscriptions may have planes of their own."""

    allowed: bool = False
    max_per_namespace: int = 2
    """Subscriptions of one namespace that may; 0: none."""


@dataclass(frozen=True, slots=True)
class WebhookGateway:
    """A pool of receiver pods that platform owners run."""

    metadata: Metadata
    hostnames: tuple[str, ...]
    allowed_namespaces: AllowedNamespaces
    limits: GatewayLimits
    replicas: int | None
    scaling: ScalingSpec | None
    event_store_size: int
    """Bytes of each pod's volume."""
    storage_class: str
    """"": the cluster's default."""
    client_certificate: str
    """Secret of type kubernetes.io/tls in the gateway's namespace; "": none."""
    dedicated: DedicatedPolicy = field(default_factory=DedicatedPolicy)
    origin: Origin | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret. SECURITY: its data is left out of `repr`, so that no message or traceback shows it."""

    metadata: Metadata
    type: str
    data: Mapping[str, bytes] = field(repr=False)
    origin: Origin | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ConfigMap:
    """A ConfigMap."""

    metadata: Metadata
    data: Mapping[str, str] = field(repr=False)
    origin: Origin | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ReferenceGrant:
    """Lets subscriptions of other namespaces name Services of this one (gateway.networking.k8s.io)."""

    metadata: Metadata
    from_namespaces: frozenset[str]
    """Namespaces whose WebhookSubscriptions may refer."""
    services: frozenset[str] | None
    """Names of the Services that may be referred to; None: any."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object of a kind that matters, which can't be read: not compiled, and the problems say why."""

    kind: str
    metadata: Metadata
    problems: tuple[Problem, ...]
    gateway_ref: GatewayRef | None = None
    """Of a subscription, as far as it can be read: whose business it is."""


Resource = WebhookSubscription | WebhookGateway | Secret | ConfigMap | ReferenceGrant
