"""Which keys of which lane a change concerns. Pure: a change and what is true now in, keys out."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hookline_operator.observe import references
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.objects import (
    Change,
    Declared,
    EndpointSlice,
    KindName,
    Namespace,
    Pod,
    SeenSecret,
    Service,
)
from hookline_operator.observe.references import Named
from hookline_operator.resource_types import GATEWAYS, SUBSCRIPTIONS
from hookline_routes.resource import (
    ConfigMap,
    ObjectKey,
    PlaneMode,
    ReferenceGrant,
    RefKind,
    Secret,
    WebhookGateway,
    WebhookSubscription,
)

StatusKey = tuple[str, ObjectKey]
Objects = frozenset[ObjectKey]
_NONE: Objects = frozenset()


@dataclass(frozen=True, slots=True)
class Keys:
    """What each lane is to look at again."""

    routes: Objects = _NONE
    """Subscriptions, and gateways."""
    endpoints: Objects = _NONE
    """Services that routes name."""
    planes: Objects = _NONE
    """Gateways."""
    credentials: Objects = _NONE
    """Subscriptions."""
    status: frozenset[StatusKey] = frozenset()
    """Subscriptions and gateways, with their kind."""
    urgent: bool = False
    """Whether the change may take away what is allowed now."""


def dependents(change: Change, cluster: Cluster) -> Keys:
    """The keys that *change* concerns; *cluster* has it already."""
    old, new = change.old, change.new
    match new or old:
        case Declared() as declared if declared.kind == SUBSCRIPTIONS.kind:
            return _of_subscription(change.key, _declared(old), _declared(new), cluster)
        case Declared():
            return _of_gateway(change.key, _declared(old), _declared(new), cluster)
        case SeenSecret():
            return _of_secret(change, cluster)
        case Service():
            return _of_services((change.key,), cluster, urgent=new is None)
        case EndpointSlice():
            return _of_slice(change, cluster)
        case Pod():
            return _of_pod(change, cluster)
        case Namespace() | ReferenceGrant() | ConfigMap() | Secret():
            return _of_named(change, cluster)
        case None:
            return Keys()


def everything(cluster: Cluster) -> Keys:
    """All keys of all lanes: for the start of a term."""
    subscriptions, gateways = frozenset(cluster.subscriptions), frozenset(cluster.gateways)
    return Keys(
        routes=subscriptions | gateways,
        endpoints=cluster.references.services(),
        planes=gateways,
        credentials=subscriptions,
        status=_status(subscriptions, gateways),
    )


def _of_subscription(key: ObjectKey, old: Declared | None, new: Declared | None, cluster: Cluster) -> Keys:
    if old and new and _is_only_status(old, new):
        return Keys(status=_status((key,)))
    before, after = _names(old, cluster), _names(new, cluster)
    gateways = frozenset(named.key for named in before | after if named.what == "gateway")
    attachment_changed = old is None or new is None or _attachments(before) != _attachments(after)
    return Keys(
        routes=frozenset((key,)) | (_rivals(before | after, cluster) if attachment_changed else _NONE),
        endpoints=frozenset(named.key for named in before ^ after if named.what == "service"),
        planes=gateways if attachment_changed or _plane_of(old) != _plane_of(new) else _NONE,
        credentials=frozenset((key,)),
        status=_status((key,), gateways if attachment_changed else ()),
        urgent=old is not None and (new is None or _may_revoke(old, new)),
    )


def _is_only_status(old: Declared, new: Declared) -> bool:
    kept = replace(new, status=old.status, resource_version=0, resource=old.resource)
    same = (old.generation, old.uid) == (new.generation, new.uid)
    return same and kept == replace(old, resource_version=0)


def _names(declared: Declared | None, cluster: Cluster) -> frozenset[Named]:
    return cluster.references.of(declared) if declared else frozenset()


def _attachments(names: frozenset[Named]) -> frozenset[Named]:
    return frozenset(named for named in names if named.what == "gateway" or named.is_path)


def _rivals(names: frozenset[Named], cluster: Cluster) -> Objects:
    """Those that want the same path, and all of a gateway that takes a limited number: one may take another's place."""
    found: set[ObjectKey] = set()
    for named in names:
        if named.is_path:
            found |= cluster.naming(named)
        elif named.what == "gateway":
            declared = cluster.gateways.get(named.key)
            gateway = declared.resource if declared else None
            if isinstance(gateway, WebhookGateway) and gateway.limits.max_subscriptions:
                found |= cluster.naming(named)
    return frozenset(found)


def _plane_of(declared: Declared | None) -> object:
    subscription = declared.resource if declared else None
    if not isinstance(subscription, WebhookSubscription) or subscription.data_plane.mode is PlaneMode.SHARED:
        return None
    return subscription.data_plane


def _may_revoke(old: Declared, new: Declared) -> bool:
    before, after = old.resource, new.resource
    if not isinstance(before, WebhookSubscription):
        return False
    if not isinstance(after, WebhookSubscription) or old.uid != new.uid or (new.deleting and not old.deleting):
        return True
    return (
        (after.suspend and not before.suspend)
        or before.secret_refs != after.secret_refs
        or (before.gateway_ref, before.path) != (after.gateway_ref, after.path)
        or (before.app_ids != after.app_ids and bool(after.app_ids))
        or old.annotations != new.annotations
    )


def _of_gateway(key: ObjectKey, old: Declared | None, new: Declared | None, cluster: Cluster) -> Keys:
    status = _status((), (key,))
    if old and new and _is_only_status(old, new):
        return Keys(status=status)
    attached = cluster.naming(references.gateway(key))
    return Keys(
        # Its own key too: one without subscriptions has tables all the same.
        routes=attached | {key},
        planes=frozenset((key,)),
        credentials=attached if old is None or new is None else _NONE,
        status=status | _status(attached),
        urgent=old is not None,
    )


def _of_secret(change: Change, cluster: Cluster) -> Keys:
    owners = {each.owner_uid for each in (change.old, change.new) if isinstance(each, SeenSecret) and each.owner_uid}
    owning = frozenset(
        key
        for owner in owners
        for key in cluster.naming(references.uid(owner))
        # SECURITY: anybody can write an owner's uid into an object of a namespace of theirs.
        if key.namespace == change.key.namespace
    )
    naming = cluster.naming(references.secret(change.key)) | owning
    return Keys(routes=naming, credentials=naming, status=_status(owning), urgent=change.old is not None)


def _of_services(keys: Iterable[ObjectKey], cluster: Cluster, *, urgent: bool) -> Keys:
    named = frozenset(key for key in keys if cluster.references.are_named(references.service(key)))
    return Keys(endpoints=named, urgent=urgent and bool(named))


def _of_slice(change: Change, cluster: Cluster) -> Keys:
    slices = [each for each in (change.old, change.new) if isinstance(each, EndpointSlice) and each.service]
    services = {ObjectKey(each.key.namespace, each.service) for each in slices}
    return _of_services(services, cluster, urgent=change.old is not None)


def _of_pod(change: Change, cluster: Cluster) -> Keys:
    pods = [each for each in (change.old, change.new) if isinstance(each, Pod)]
    services = {service for pod in pods for service in cluster.services_of_pod(pod)}
    of_services = _of_services(services, cluster, urgent=change.old is not None)
    gateways = frozenset(ObjectKey(pod.key.namespace, pod.plane.partition(".")[0]) for pod in pods if pod.plane)
    return replace(of_services, routes=_dedicated(pods), planes=gateways, status=_status((), gateways))


def _dedicated(pods: Iterable[Pod]) -> Objects:
    """The subscriptions whose own planes the Pods belong to: moving between planes waits for ready ones."""
    parts = (pod.plane.split(".") for pod in pods)
    return frozenset(ObjectKey(each[1], each[2]) for each in parts if len(each) == 3)


def _of_named(change: Change, cluster: Cluster) -> Keys:
    old, new = change.old, change.new
    if isinstance(new or old, Namespace):
        labels = [each.labels for each in (old, new) if isinstance(each, Namespace)]
        if len(labels) == 2 and labels[0] == labels[1]:
            return Keys()
        naming = cluster.naming(references.namespace(change.key.name))
    elif isinstance(new or old, ReferenceGrant):
        naming = cluster.naming(references.services_of(change.key.namespace))
        services = (
            named.key
            for key in naming
            for named in _names(cluster.subscriptions.get(key), cluster)
            if named.what == "service" and named.key.namespace == change.key.namespace
        )
        return Keys(routes=naming, endpoints=frozenset(services), urgent=old is not None)
    else:
        kind = RefKind.CONFIG_MAP if change.kind is KindName.CONFIG_MAPS else RefKind.SECRET
        naming = cluster.naming(references.authority(kind, change.key))
    return Keys(routes=naming, urgent=old is not None)


def _declared(value: object) -> Declared | None:
    return value if isinstance(value, Declared) else None


def _status(subscriptions: Iterable[ObjectKey] = (), gateways: Iterable[ObjectKey] = ()) -> frozenset[StatusKey]:
    named = {(SUBSCRIPTIONS.kind, key) for key in subscriptions} | {(GATEWAYS.kind, key) for key in gateways}
    return frozenset(named)
