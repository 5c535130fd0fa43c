"""From the plain objects of a manifest or of the API server to typed values: every field, default and limit."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from enum import StrEnum

from hookline_routes.fields import ANY_TEXT, KEY, LABEL, NAME, SERVICE, Fields, Pattern, Report
from hookline_routes.problem import Reason
from hookline_routes.resource import (
    AllowedNamespaces,
    CARef,
    ConfigMap,
    DataPlaneSpec,
    DeliverySpec,
    GatewayLimits,
    GatewayRef,
    HandlerSpec,
    HandlerTLS,
    LabelRequirement,
    MatchSpec,
    Metadata,
    NamespacesFrom,
    Ordering,
    Origin,
    PayloadForm,
    PlaneMode,
    RateLimitSpec,
    ReferenceGrant,
    RefKind,
    Resource,
    RouteSpec,
    ScalingSpec,
    Secret,
    SecretRef,
    ServiceRef,
    Unreadable,
    WebhookGateway,
    WebhookSubscription,
)
from hookline_routes.triggers import Category
from hookline_routes.units import SECOND

MILLISECOND = SECOND // 1000
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

MAX_ROUTES = 32
MAX_SECRET_REFS = 4
MAX_PATH = 512
MAX_PODS = 1000
MAX_BODY = 16 * MIB
"""What the receiver's HTTP side reads of a body at most."""

_PATH = Pattern(
    re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*"),
    f"an absolute path of at most {MAX_PATH} characters (letters, digits and -._~!$&'()*+,;=:@/)",
    MAX_PATH,
)
_APP_ID = Pattern(re.compile(r"[A-Za-z0-9_-]+"), "an app id (a string of letters and digits, in quotes)", 64)
_TRIGGER = Pattern(re.compile(r"[A-Za-z0-9_.:-]+"), "a trigger (letters, digits, '_' and '-')", 128)
_CATEGORY = Pattern(re.compile("|".join(Category)), " or ".join(Category), 32)
_RECEIVER_TYPE = Pattern(re.compile("user|group"), "user or group", 8)
_HOSTNAME = Pattern(NAME.regex, "a host name (lower-case letters, digits, '-' and '.')", 253)
_OPERATOR = Pattern(re.compile("In|NotIn|Exists|DoesNotExist"), "In or NotIn or Exists or DoesNotExist", 16)
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_GROUP = "hookline.dev/v1alpha1"
_GRANTS = ("gateway.networking.k8s.io/v1beta1", "gateway.networking.k8s.io/v1")


class _Engine(StrEnum):
    SQLITE = "SQLite"


Reader = Callable[[Fields, Metadata, Report], Resource]


def is_known(value: object) -> bool:
    """Whether *value* is of a kind that is read; others are nobody's business here."""
    return _reader(value) is not None


def kind_of(value: object) -> str:
    """The kind as messages name it; "" where there is none."""
    kind = value.get("kind") if isinstance(value, Mapping) else None
    return kind if isinstance(kind, str) else ""


def read_object(value: object, *, strict: bool = False, origin: Origin | None = None) -> Resource | Unreadable | None:
    """
    The object as a typed value, or what is wrong with it; None for a kind that is not read.

    *strict*, for manifests: unknown fields are errors. *origin* gives the messages their file and line.
    """
    reader = _reader(value)
    if reader is None or not isinstance(value, Mapping):
        return None
    report = Report(origin=origin, strict=strict)
    fields = Fields(value, (), report)
    fields.ignore("apiVersion", "kind", "status")
    metadata = _metadata(fields, kind_of(value), report)
    resource = reader(fields, metadata, report)
    fields.close()
    if report.problems:
        return Unreadable(kind_of(value), metadata, tuple(report.problems))
    return resource


def default_gateway() -> WebhookGateway:
    """The gateway that there is where none was declared: every field its default, every namespace allowed."""
    metadata = Metadata("hookline", "default")
    return _gateway(Fields({"spec": {}}, (), Report()), metadata, Report())


def _reader(value: object) -> Reader | None:
    if not isinstance(value, Mapping):
        return None
    version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        return None
    if kind == "ReferenceGrant" and version in _GRANTS:
        return _grant
    readers: dict[tuple[str, str], Reader] = {
        (_GROUP, "WebhookSubscription"): _subscription,
        (_GROUP, "WebhookGateway"): _gateway,
        ("v1", "Secret"): _secret,
        ("v1", "ConfigMap"): _config_map,
    }
    return readers.get((version, kind))


def _metadata(fields: Fields, kind: str, report: Report) -> Metadata:
    inner = fields.section("metadata", required=True)
    raw_namespace, raw_name = inner.raw("namespace"), inner.raw("name")
    name = raw_name if isinstance(raw_name, str) else "?"
    report.subject = f"{kind} {raw_namespace if isinstance(raw_namespace, str) else 'default'}/{name}"
    own = kind in ("WebhookSubscription", "WebhookGateway")
    created = inner.raw("creationTimestamp")
    metadata = Metadata(
        namespace=inner.text("namespace", LABEL, "default"),
        # One that is wrong still names the object in what is said of it.
        name=inner.text("name", LABEL if own else NAME) or (name if raw_name else ""),
        uid=_token(inner.raw("uid")),
        resource_version=_token(inner.raw("resourceVersion")),
        generation=inner.integer("generation", 0, 1 << 62, 0),
        created=created if isinstance(created, str) and _TIME.fullmatch(created) else "",
        labels=inner.strings("labels", 1000),
        annotations=inner.strings("annotations", 1000),
    )
    inner.ignore("deletionTimestamp", "deletionGracePeriodSeconds", "finalizers", "managedFields", "ownerReferences")
    inner.ignore("generateName", "selfLink")
    inner.close()
    return metadata


def _token(value: object) -> str:
    # What an API server makes; nothing else gets into tables and names.
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else ""


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _subscription(fields: Fields, metadata: Metadata, report: Report) -> WebhookSubscription:
    spec = fields.section("spec", required=True)
    deduplication, retention = spec.section("deduplication"), spec.section("retention")
    subscription = WebhookSubscription(
        metadata=metadata,
        gateway_ref=_gateway_ref(spec.section("gatewayRef")),
        path=_path(spec, metadata),
        app_ids=spec.texts("appIds", _APP_ID, 64),
        secret_refs=_secret_refs(spec),
        routes=_routes(spec, metadata.namespace),
        deduplication_window=deduplication.duration("window", SECOND, 168 * HOUR, HOUR),
        rate_limit=_rate_limit(spec),
        retain_delivered=retention.duration("delivered", 0, 720 * HOUR, 24 * HOUR),
        retain_dead=retention.duration("dead", HOUR, 2160 * HOUR, 168 * HOUR),
        suspend=spec.boolean("suspend", False),
        data_plane=_data_plane(spec),
        origin=report.origin,
    )
    for section in (deduplication, retention, spec):
        section.close()
    return subscription


def _gateway_ref(fields: Fields) -> GatewayRef:
    ref = GatewayRef(fields.text("name", LABEL, "default"), fields.text("namespace", LABEL, ""))
    fields.close()
    return ref


def _path(spec: Fields, metadata: Metadata) -> str:
    prefix = f"/{metadata.namespace}/"
    path = spec.text("path", _PATH, "")
    if not path:
        return f"{prefix}{metadata.name}"
    if not path.startswith(prefix) or path == prefix:
        spec.wrong("path", f'must start with "{prefix}" and go on, got "{path}"', Reason.PATH_NOT_ALLOWED)
    segments = path[1:].split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        spec.wrong("path", f'must have no empty, "." or ".." segments, got "{path}"')
    return path


def _secret_refs(spec: Fields) -> tuple[SecretRef, ...]:
    auth = spec.section("auth")
    basic = auth.section("basic")
    refs = basic.objects("secretRefs", 0, MAX_SECRET_REFS, _secret_ref)
    if len({ref.name for ref in refs}) < len(refs):
        basic.wrong("secretRefs", "must name each Secret once")
    basic.close()
    auth.close()
    return refs


def _secret_ref(fields: Fields) -> SecretRef:
    return SecretRef(
        fields.text("name", NAME),
        fields.text("usernameKey", KEY, "username"),
        fields.text("passwordKey", KEY, "password"),
    )


def _routes(spec: Fields, namespace: str) -> tuple[RouteSpec, ...]:
    routes = spec.objects("routes", 1, MAX_ROUTES, lambda fields: _route(fields, namespace))
    seen: set[str] = set()
    for index, route in enumerate(routes):
        if route.name in seen:
            spec.wrong(("routes", index, "name"), f'must be unique in the subscription, got "{route.name}" again')
        seen.add(route.name)
    return routes


def _route(fields: Fields, namespace: str) -> RouteSpec:
    return RouteSpec(
        name=fields.text("name", LABEL),
        match=_match(fields.section("match")),
        handler=_handler(fields.section("handler", required=True), namespace),
        delivery=_delivery(fields.section("delivery")),
        paused=fields.boolean("paused", False),
    )


def _match(fields: Fields) -> MatchSpec:
    match = MatchSpec(
        triggers=fields.texts("triggers", _TRIGGER, 128),
        categories=fields.texts("categories", _CATEGORY, len(Category)),
        receiver_types=fields.texts("receiverTypes", _RECEIVER_TYPE, 2),
        expression=fields.text("expression", ANY_TEXT, ""),
    )
    fields.close()
    return match


def _handler(fields: Fields, namespace: str) -> HandlerSpec:
    service = fields.section("serviceRef", required=True)
    handler = HandlerSpec(
        service=ServiceRef(
            service.text("name", SERVICE),
            service.text("namespace", LABEL, namespace),
            service.integer("port", 1, 65535),
        ),
        timeout=fields.duration("timeout", 100 * MILLISECOND, 10 * MINUTE, 10 * SECOND),
        tls=_tls(fields),
        payload=fields.one_of("payload", PayloadForm, PayloadForm.TYPED),
    )
    service.close()
    fields.close()
    return handler


def _tls(handler: Fields) -> HandlerTLS | None:
    present = handler.has("tls")
    tls = handler.section("tls")
    given = tls.has("caRef")
    ca = tls.section("caRef")
    ref = CARef("")
    if given:
        ref = CARef(
            ca.text("name", NAME), ca.one_of("kind", RefKind, RefKind.CONFIG_MAP), ca.text("key", KEY, "ca.crt")
        )
    server_name = tls.text("serverName", _HOSTNAME, "")
    ca.close()
    tls.close()
    return HandlerTLS(ref if given else None, server_name) if present else None


def _delivery(fields: Fields) -> DeliverySpec:
    batch, retry = fields.section("batch"), fields.section("retry")
    delivery = DeliverySpec(
        ordering=fields.one_of("ordering", Ordering, Ordering.NONE),
        max_in_flight=fields.integer("maxInFlight", 1, 10_000, 64),
        batch_max_events=batch.integer("maxEvents", 1, 1000, 32),
        batch_max_wait=batch.duration("maxWait", 0, 10 * SECOND, 20 * MILLISECOND),
        initial_backoff=retry.duration("initialBackoff", MILLISECOND, HOUR, SECOND),
        max_backoff=retry.duration("maxBackoff", MILLISECOND, 24 * HOUR, 10 * MINUTE),
        max_age=retry.duration("maxAge", SECOND, 720 * HOUR, 72 * HOUR),
        max_attempts=retry.integer("maxAttempts", 1, 1_000_000) if retry.has("maxAttempts") else 0,
    )
    retry.ignore("maxAttempts")
    if delivery.max_backoff < delivery.initial_backoff:
        retry.wrong("maxBackoff", "must be at least retry.initialBackoff")
    for section in (batch, retry, fields):
        section.close()
    return delivery


def _rate_limit(fields: Fields) -> RateLimitSpec | None:
    present = fields.has("rateLimit")
    limit = fields.section("rateLimit")
    if not present:
        return None
    rate = limit.integer("requestsPerSecond", 1, 100_000)
    burst = limit.integer("burst", 1, 1_000_000, rate)
    if burst < rate:
        limit.wrong("burst", f"must be at least requestsPerSecond ({rate}), got {burst}")
    limit.close()
    return RateLimitSpec(rate, burst)


def _data_plane(spec: Fields) -> DataPlaneSpec:
    plane = spec.section("dataPlane")
    mode = plane.one_of("mode", PlaneMode, PlaneMode.SHARED)
    given = plane.has("dedicated")
    dedicated = plane.section("dedicated")
    if given != (mode is PlaneMode.DEDICATED):
        plane.wrong("dedicated", "is required when mode is Dedicated, and forbidden otherwise")
    scaling = _scaling(dedicated, 50)
    if given and scaling is None:
        dedicated.wrong("scaling", "is required")
    resources = dedicated.section("resources")
    amounts = {name: resources.strings(name, 2) for name in ("requests", "limits") if resources.has(name)}
    resources.ignore("requests", "limits")
    for section in (resources, dedicated, plane):
        section.close()
    return DataPlaneSpec(mode, scaling, amounts)


def _scaling(fields: Fields, high: int) -> ScalingSpec | None:
    present = fields.has("scaling")
    scaling = fields.section("scaling")
    if not present:
        return None
    low = scaling.integer("minReplicas", 1, high, 2)
    spec = ScalingSpec(
        low, scaling.integer("maxReplicas", 1, high), scaling.integer("targetCPUUtilization", 10, 95, 65)
    )
    if spec.max_replicas < low:
        scaling.wrong("maxReplicas", f"must be at least minReplicas ({low}), got {spec.max_replicas}")
    scaling.close()
    return spec


def _gateway(fields: Fields, metadata: Metadata, report: Report) -> WebhookGateway:
    spec = fields.section("spec", required=True)
    if spec.has("replicas") and spec.has("scaling"):
        spec.wrong("scaling", "must be left out where replicas is set")
    store = spec.section("eventStore")
    storage = store.section("storage")
    tls = spec.section("backendTLS")
    certificate = tls.section("clientCertificateRef")
    exposure = spec.raw("exposure")
    gateway = WebhookGateway(
        metadata=metadata,
        hostnames=spec.texts("hostnames", _HOSTNAME, 16),
        allowed_namespaces=_allowed(spec.section("allowedNamespaces")),
        limits=_limits(spec.section("limits")),
        replicas=spec.integer("replicas", 0, MAX_PODS) if spec.has("replicas") else None,
        scaling=_scaling(spec, MAX_PODS),
        event_store_size=storage.quantity("size", 64 * MIB, 1 << 50, 10 * GIB),
        storage_class=storage.text("storageClassName", NAME, ""),
        client_certificate=certificate.text("name", NAME) if tls.has("clientCertificateRef") else "",
        exposure=exposure if isinstance(exposure, dict) else {},
        origin=report.origin,
    )
    store.one_of("engine", _Engine, _Engine.SQLITE)
    spec.ignore("replicas")
    certificate.ignore("name")
    for section in (certificate, tls, storage, store, spec):
        section.close()
    return gateway


def _allowed(fields: Fields) -> AllowedNamespaces:
    source = fields.one_of("from", NamespacesFrom, NamespacesFrom.ALL)
    given = fields.has("selector")
    selector = fields.section("selector")
    if given != (source is NamespacesFrom.SELECTOR):
        fields.wrong("selector", "is required when from is Selector, and forbidden otherwise")
    labels = selector.strings("matchLabels", 16)
    requirements = selector.objects("matchExpressions", 0, 16, _requirement)
    selector.close()
    fields.close()
    equal = tuple(LabelRequirement(key, "In", (value,)) for key, value in sorted(labels.items()))
    return AllowedNamespaces(source, equal + requirements)


def _requirement(fields: Fields) -> LabelRequirement:
    key, operator = fields.text("key", ANY_TEXT), fields.text("operator", _OPERATOR)
    values = fields.texts("values", ANY_TEXT, 64)
    if operator and bool(values) != (operator in ("In", "NotIn")):
        fields.wrong("values", "must be given for In and NotIn, and for nothing else")
    return LabelRequirement(key, operator, values)


def _limits(fields: Fields) -> GatewayLimits:
    limits = GatewayLimits(
        max_body_bytes=fields.quantity("maxBodySize", KIB, MAX_BODY, 2 * MIB),
        max_pending_bytes=fields.quantity("maxPendingBytesPerSubscription", MIB, 1 << 50, GIB),
        max_subscriptions=fields.integer("maxSubscriptions", 1, 1_000_000) if fields.has("maxSubscriptions") else 0,
        rate_limit=_rate_limit(fields),
    )
    fields.ignore("maxSubscriptions")
    fields.close()
    return limits


def _secret(fields: Fields, metadata: Metadata, report: Report) -> Secret:
    data = {key: _decoded(fields, key, value) for key, value in _entries(fields, "data").items()}
    data |= {key: value.encode("utf-8", "replace") for key, value in _entries(fields, "stringData").items()}
    kind = fields.raw("type")
    fields.ignore("immutable")
    return Secret(metadata, kind if isinstance(kind, str) else "Opaque", data, report.origin)


def _entries(fields: Fields, name: str) -> dict[str, str]:
    # SECURITY: the values are never shown, not even wrong ones.
    value = fields.raw(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        fields.wrong(name, "must be an object of strings")
        return {}
    for key, each in value.items():
        if not isinstance(each, str):
            fields.wrong((name, str(key)), f"must be a string, got {type(each).__name__} (put it in quotes)")
    return {str(key): each for key, each in value.items() if isinstance(each, str)}


def _decoded(fields: Fields, key: str, value: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        fields.wrong(("data", key), "must be base64 (or put the plain text into stringData)")
        return b""


def _config_map(fields: Fields, metadata: Metadata, report: Report) -> ConfigMap:
    data = fields.strings("data", 10_000)
    fields.ignore("binaryData", "immutable")
    return ConfigMap(metadata, data, report.origin)


def _grant(fields: Fields, metadata: Metadata, report: Report) -> ReferenceGrant:
    spec = fields.section("spec", required=True)
    sources = spec.objects("from", 1, 16, _grant_source)
    targets = spec.objects("to", 1, 16, _grant_target)
    spec.close()
    names = [name for group, kind, name in targets if (group, kind) == ("", "Service")]
    allowed = {place for group, kind, place in sources if (group, kind) == ("hookline.dev", "WebhookSubscription")}
    services = None if "" in names else frozenset(names)
    return ReferenceGrant(metadata, frozenset(allowed), services)


def _grant_source(fields: Fields) -> tuple[str, str, str]:
    return _string(fields.raw("group")), fields.text("kind", KEY), fields.text("namespace", LABEL)


def _grant_target(fields: Fields) -> tuple[str, str, str]:
    return _string(fields.raw("group")), fields.text("kind", KEY), fields.text("name", NAME, "")
