"""
The kinds that are looked at: where they are, which of their objects, and what is kept of each.

No body makes a reader raise: what can't be understood is not kept, or kept as unreadable where people are to be told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hookline_operator import resource_types as types
from hookline_operator.observe.objects import (
    Address,
    Declared,
    EndpointSlice,
    KindName,
    Namespace,
    Pod,
    SeenSecret,
    Service,
    ServicePort,
    Value,
)
from hookline_operator.resource_types import ResourceType
from hookline_routes.reading import read_object
from hookline_routes.resource import (
    ConfigMap,
    Metadata,
    ObjectKey,
    ReferenceGrant,
    Secret,
    Unreadable,
    WebhookGateway,
    WebhookSubscription,
)

Body = Mapping[str, Any]

BASIC_AUTH = "kubernetes.io/basic-auth"
OURS = "hookline.dev/"
PLANE_ANNOTATION = "hookline.dev/plane"
_KEPT_LABELS = (OURS, "app.kubernetes.io/managed-by")
_GRANT_V1 = replace(types.REFERENCE_GRANTS, api_version="gateway.networking.k8s.io/v1")


@dataclass(frozen=True, slots=True)
class Kind:
    """One row."""

    name: KindName
    types: tuple[ResourceType, ...]
    """The first of them that the API server knows; none, where the kind is `optional`."""
    read: Callable[[Body], Value | None]
    """What is kept of an object; None: nothing."""
    fields: str = ""
    """Field selector."""
    namespaces: tuple[str, ...] = ()
    """Those that are looked into; none: all."""
    optional: bool = False
    """Whether the cluster may not know it."""

    @property
    def type(self) -> ResourceType:
        """Where they usually are."""
        return self.types[0]


def kinds(own_namespace: str, secret_namespaces: tuple[str, ...] = ()) -> tuple[Kind, ...]:
    """The table. *secret_namespaces*: where Secrets may be read; none: everywhere."""
    return (
        Kind(KindName.NAMESPACES, (types.NAMESPACES,), read_namespace),
        Kind(KindName.GATEWAYS, (types.GATEWAYS,), read_gateway, namespaces=(own_namespace,)),
        Kind(
            KindName.SECRETS, (types.SECRETS,), read_secret, fields=f"type={BASIC_AUTH}", namespaces=secret_namespaces
        ),
        Kind(KindName.GRANTS, (_GRANT_V1, types.REFERENCE_GRANTS), read_grant, optional=True),
        Kind(KindName.SERVICES, (types.SERVICES,), read_service),
        Kind(KindName.PODS, (types.PODS,), lambda body: read_pod(body, own_namespace)),
        Kind(KindName.SLICES, (types.ENDPOINT_SLICES,), read_slice),
        Kind(KindName.SUBSCRIPTIONS, (types.SUBSCRIPTIONS,), read_subscription),
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """What names a version of an object."""

    key: ObjectKey
    uid: str
    resource_version: int


def identity(body: Body) -> Identity | None:
    """Of any object; None if it is no object of an API server."""
    metadata = _mapping(_mapping(body).get("metadata"))
    name, version = _text(metadata.get("name")), _number(metadata.get("resourceVersion"))
    if not name or not version:
        return None
    return Identity(ObjectKey(_text(metadata.get("namespace")), name), _text(metadata.get("uid")), version)


def read_subscription(body: Body) -> Declared | None:
    """A WebhookSubscription."""
    return _declared(body, types.SUBSCRIPTIONS, WebhookSubscription)


def read_gateway(body: Body) -> Declared | None:
    """A WebhookGateway."""
    return _declared(body, types.GATEWAYS, WebhookGateway)


def _declared(
    body: Body, kind: ResourceType, expected: type[WebhookSubscription] | type[WebhookGateway]
) -> Declared | None:
    seen = identity(body)
    resource = read_object(_trimmed(body, kind))
    if seen is None or not isinstance(resource, (expected, Unreadable)):
        return None
    metadata = _mapping(body.get("metadata"))
    return Declared(
        kind=kind.kind,
        key=seen.key,
        uid=seen.uid,
        generation=_number(metadata.get("generation")),
        resource_version=seen.resource_version,
        resource=resource,
        status=_mapping(body.get("status")),
        annotations=resource.metadata.annotations,
        deleting="deletionTimestamp" in metadata,
    )


def read_secret(body: Body) -> SeenSecret | None:
    """A Secret of type kubernetes.io/basic-auth; one that is being deleted is as good as gone, whatever still holds it."""
    seen = identity(body)
    secret = read_authority_secret(body)
    if seen is None or secret is None or secret.type != BASIC_AUTH or is_going(body):
        return None
    return SeenSecret(seen.key, seen.resource_version, secret, owner_uid(body))


def owner_uid(body: Body) -> str:
    """uid of the WebhookSubscription that owns the object; "" if none does."""
    owners = (_mapping(owner) for owner in _list(_mapping(body.get("metadata")).get("ownerReferences")))
    return next((_text(each.get("uid")) for each in owners if each.get("kind") == types.SUBSCRIPTIONS.kind), "")


def is_going(body: Body) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in _mapping(body.get("metadata"))


def read_authority_secret(body: Body) -> Secret | None:
    """A Secret of any type."""
    resource = read_object(_trimmed(body, types.SECRETS))
    if isinstance(resource, Unreadable):
        # Its metadata is at fault, or its data: it is there, with nothing in it that could be used.
        return Secret(resource.metadata, _text(_mapping(body).get("type")), {})
    return resource if isinstance(resource, Secret) else None


def read_config_map(body: Body) -> ConfigMap | None:
    """A ConfigMap."""
    resource = read_object(_trimmed(body, types.CONFIG_MAPS))
    return resource if isinstance(resource, ConfigMap) else None


def read_grant(body: Body) -> ReferenceGrant | None:
    """A ReferenceGrant; one that can't be read grants nothing."""
    resource = read_object(_trimmed(body, types.REFERENCE_GRANTS))
    return resource if isinstance(resource, ReferenceGrant) else None


def read_namespace(body: Body) -> Namespace | None:
    """A namespace."""
    seen = identity(body)
    if seen is None:
        return None
    metadata = _mapping(body.get("metadata"))
    labels = {key: value for key, value in _mapping(metadata.get("labels")).items() if isinstance(value, str)}
    return Namespace(seen.key.name, seen.resource_version, labels, "deletionTimestamp" in metadata)


def read_service(body: Body) -> Service | None:
    """A Service; its ports that are not TCP are left out."""
    seen = identity(body)
    if seen is None:
        return None
    spec = _mapping(body.get("spec"))
    ports = (_mapping(port) for port in _list(spec.get("ports")))
    return Service(
        seen.key,
        seen.uid,
        seen.resource_version,
        _text(spec.get("type")) or "ClusterIP",
        bool(_mapping(spec.get("selector"))),
        tuple(ServicePort(_number(port.get("port")), _text(port.get("name"))) for port in ports if _is_tcp(port)),
    )


def read_slice(body: Body) -> EndpointSlice | None:
    """An EndpointSlice; its ports that are not TCP, or any port, are left out."""
    seen = identity(body)
    if seen is None:
        return None
    labels = _mapping(_mapping(body.get("metadata")).get("labels"))
    ports = (_mapping(port) for port in _list(body.get("ports")))
    endpoints = (_mapping(endpoint) for endpoint in _list(body.get("endpoints")))
    return EndpointSlice(
        seen.key,
        seen.resource_version,
        _text(labels.get("kubernetes.io/service-name")),
        _text(body.get("addressType")),
        {_text(port.get("name")): _number(port.get("port")) for port in ports if _is_tcp(port)},
        tuple(address for endpoint in endpoints for address in _addresses(endpoint, seen.key.namespace)),
    )


def _addresses(endpoint: Body, namespace: str) -> tuple[Address, ...]:
    conditions, target = _mapping(endpoint.get("conditions")), _mapping(endpoint.get("targetRef"))
    # Not said means ready.
    ready = conditions.get("ready") is not False and not conditions.get("terminating")
    own = target.get("kind") == "Pod" and _text(target.get("namespace")) in ("", namespace)
    pod, uid = (_text(target.get("name")), _text(target.get("uid"))) if own else ("", "")
    # The API calls those of one endpoint fungible; like kube-proxy, take the first.
    texts = [each for each in _list(endpoint.get("addresses")) if isinstance(each, str)]
    return tuple(Address(each, ready, pod, uid) for each in texts[:1])


def read_pod(body: Body, own_namespace: str) -> Pod | None:
    """A Pod. SECURITY: a plane's pods are in *own_namespace*; what others say they are is nobody's business."""
    seen = identity(body)
    if seen is None:
        return None
    metadata, spec, status = (_mapping(body.get(part)) for part in ("metadata", "spec", "status"))
    ended = status.get("phase") in ("Succeeded", "Failed")
    ips = (_text(_mapping(each).get("ip")) for each in _list(status.get("podIPs")))
    conditions = (_mapping(each) for each in _list(status.get("conditions")))
    deleting = "deletionTimestamp" in metadata
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    annotations = _mapping(metadata.get("annotations"))
    return Pod(
        seen.key,
        seen.uid,
        seen.resource_version,
        frozenset() if ended else frozenset(ip for ip in ips if ip),
        spec.get("hostNetwork") is True,
        ready and not deleting,
        deleting,
        _text(annotations.get(PLANE_ANNOTATION)) if seen.key.namespace == own_namespace else "",
    )


def _is_tcp(port: Body) -> bool:
    return port.get("protocol") in (None, "TCP") and _number(port.get("port")) > 0


def _trimmed(body: Body, kind: ResourceType) -> dict[str, Any]:
    """The object without what others have written beside it: kubectl repeats all of it in an annotation."""
    trimmed = {**_mapping(body), "apiVersion": kind.api_version, "kind": kind.kind}
    metadata = dict(_mapping(trimmed.get("metadata")))
    for field, kept in (("annotations", (OURS,)), ("labels", _KEPT_LABELS)):
        values = _mapping(metadata.get(field))
        metadata[field] = {key: value for key, value in values.items() if key.startswith(kept)}
    metadata.pop("managedFields", None)
    return {**trimmed, "metadata": metadata}


def metadata_of(value: Value) -> Metadata | None:
    """The metadata of a value that is typed by `hookline_routes`; None for others."""
    if isinstance(value, Declared):
        return value.resource.metadata
    if isinstance(value, (Secret, ConfigMap, ReferenceGrant)):
        return value.metadata
    return None


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        return {}
    return value if all(isinstance(key, str) for key in value) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    if isinstance(value, bool):
        return 0
    if isinstance(value, int):
        return max(0, value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return 0
