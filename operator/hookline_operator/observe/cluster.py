"""
What is true now, as far as is known: every kind's objects, typed, at the newest version seen, and who names whom.

Feeds bring one object at a time and in no order between objects; lists bring a kind as of one moment, its position.
Resource versions order all that is said of one kind. What is older than what is known changes nothing; that an object is
not there is known up to the kind's position, and up to its own deletion where that was seen. What can't be read for a fault
of ours stays as it was known, at the version of then, so that each sweep tries it again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from hookline_operator.observe.kinds import Body, Identity, Kind, identity
from hookline_operator.observe.objects import (
    Change,
    Declared,
    EndpointSlice,
    KindName,
    Namespace,
    Pod,
    SeenSecret,
    Service,
    Value,
)
from hookline_operator.observe.references import Named, References
from hookline_routes.resource import ConfigMap, ObjectKey, ReferenceGrant, Secret


@dataclass(frozen=True, slots=True)
class Differences:
    """What a list says otherwise than is known."""

    unknown: tuple[ObjectKey, ...]
    """Not known, or not in that version."""
    ghosts: tuple[ObjectKey, ...]
    """Known, and not there any more."""


class _Store:
    """The objects of one kind."""

    def __init__(self) -> None:
        self.values: dict[ObjectKey, Any] = {}
        self.versions: dict[ObjectKey, Identity] = {}
        """Also of those of which nothing is kept."""
        self.gone: dict[ObjectKey, int] = {}
        """At which version those went whose deletion was seen since the position."""
        self.failed: dict[ObjectKey, int] = {}
        """The version of those whose reader has failed."""
        self.position = 0

    def is_stale(self, key: ObjectKey, version: int) -> bool:
        known = self.versions.get(key)
        if known is not None:
            return version <= known.resource_version
        return version <= self.position or version <= self.gone.get(key, 0)

    def move_to(self, position: int) -> None:
        self.position = max(self.position, position)
        self.gone = {key: version for key, version in self.gone.items() if version > self.position}


class Cluster:
    """Implements `ports.ClusterView`."""

    def __init__(
        self,
        kinds: Iterable[Kind],
        default_namespace: str = "",
        on_unreadable: Callable[[KindName, Identity, Exception], None] = lambda kind, seen, error: None,
    ) -> None:
        """
        *default_namespace*: whose gateways are meant without a namespace; "": nobody's here.

        *on_unreadable* hears once of each version that a reader failed on; the object stays as it was known.
        """
        self._on_unreadable = on_unreadable
        self._kinds = {kind.name: kind for kind in kinds}
        self._stores = {name: _Store() for name in KindName}
        self._namespaces: dict[str, Namespace] = {}
        self._slices: dict[ObjectKey, dict[ObjectKey, EndpointSlice]] = {}
        self._slices_by_pod: dict[ObjectKey, set[ObjectKey]] = {}
        self._slices_by_address: dict[tuple[str, str], set[ObjectKey]] = {}
        self._pods: dict[tuple[str, str], dict[ObjectKey, Pod]] = {}
        self._owned: dict[str, dict[ObjectKey, SeenSecret]] = {}
        self.references = References(default_namespace)

    def apply(self, kind: KindName, event_type: str | None, body: Body) -> Change | None:
        """What a feed says of an object; None if that is stale, or changes nothing that is kept."""
        seen = identity(body)
        if seen is None or not self._is_looked_at(kind, seen.key):
            return None
        store = self._stores[kind]
        if store.is_stale(seen.key, seen.resource_version):
            return None
        if event_type == "DELETED":
            return self._remove(kind, seen.key, seen.resource_version)
        return self._admit(kind, seen, body)

    def admit(self, kind: KindName, body: Body) -> Change | None:
        """What a call has just read of an object: as `apply`, but it is there whatever the position says."""
        seen = identity(body)
        if seen is None or not self._is_looked_at(kind, seen.key):
            return None
        store = self._stores[kind]
        known = store.versions.get(seen.key)
        newest = known.resource_version if known else store.gone.get(seen.key, 0)
        return None if seen.resource_version <= newest else self._admit(kind, seen, body)

    def retain(self, kind: KindName, there: Collection[ObjectKey], position: int) -> list[Change]:
        """A whole list as of *position* that was admitted had these: drops all others."""
        ghosts = [key for key in self._stores[kind].versions if key not in there]
        changes = [self.drop(kind, key, position) for key in ghosts]
        self.confirm(kind, position)
        return [change for change in changes if change]

    def empty(self, kind: KindName) -> list[Change]:
        """The API server does not know the kind: none of its objects is there."""
        store = self._stores[kind]
        changes = [self._remove(kind, key, store.versions[key].resource_version) for key in list(store.versions)]
        return [change for change in changes if change]

    def is_stale(self, kind: KindName, body: Body) -> bool:
        """Whether what is said of an object is known to be old already; may be asked by any thread."""
        seen = identity(body)
        return seen is None or self._stores[kind].is_stale(seen.key, seen.resource_version)

    def compare(self, kind: KindName, there: Mapping[ObjectKey, Identity], position: int) -> Differences:
        """What a list of names and versions as of *position* says otherwise than is known."""
        store = self._stores[kind]
        unknown = [key for key, seen in there.items() if self._is_unknown(store, key, seen)]
        ghosts = [
            key for key, known in store.versions.items() if key not in there and known.resource_version <= position
        ]
        return Differences(tuple(unknown), tuple(ghosts))

    def drop(self, kind: KindName, key: ObjectKey, position: int) -> Change | None:
        """It was not there at *position*; None if a later version is known."""
        known = self._stores[kind].versions.get(key)
        if known is None or known.resource_version > position:
            return None
        return self._remove(kind, key, position)

    def confirm(self, kind: KindName, position: int) -> None:
        """All that is so as of *position* is known."""
        self._stores[kind].move_to(position)

    def position(self, kind: KindName) -> int:
        """The version up to which it is known what there is and what isn't; 0: nothing was listed yet."""
        return self._stores[kind].position

    def count(self, kind: KindName) -> int:
        """Of how many objects something is kept."""
        return len(self._stores[kind].values)

    def kind(self, name: KindName) -> Kind:
        """Its row."""
        return self._kinds[name]

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """All rows."""
        return tuple(self._kinds.values())

    def set_authority(self, kind: KindName, key: ObjectKey, value: ConfigMap | Secret | None) -> Change | None:
        """What a call has read of a ConfigMap or Secret that routes name; None if it is not there."""
        store = self._stores[kind]
        old = store.values.get(key)
        if is_same(old, value):
            return None
        if value is None:
            del store.values[key]
        else:
            store.values[key] = value
        return Change(kind, key, old, value)

    @property
    def subscriptions(self) -> Mapping[ObjectKey, Declared]:
        """All of the cluster, also those that refer to other installations."""
        return cast("Mapping[ObjectKey, Declared]", self._stores[KindName.SUBSCRIPTIONS].values)

    @property
    def gateways(self) -> Mapping[ObjectKey, Declared]:
        """Those of the operator's own namespace."""
        return cast("Mapping[ObjectKey, Declared]", self._stores[KindName.GATEWAYS].values)

    @property
    def secrets(self) -> Mapping[ObjectKey, SeenSecret]:
        """Of type kubernetes.io/basic-auth."""
        return cast("Mapping[ObjectKey, SeenSecret]", self._stores[KindName.SECRETS].values)

    @property
    def services(self) -> Mapping[ObjectKey, Service]:
        """All of the cluster."""
        return cast("Mapping[ObjectKey, Service]", self._stores[KindName.SERVICES].values)

    @property
    def pods(self) -> Mapping[ObjectKey, Pod]:
        """All of the cluster."""
        return cast("Mapping[ObjectKey, Pod]", self._stores[KindName.PODS].values)

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        """All of the cluster."""
        return self._namespaces

    @property
    def grants(self) -> Mapping[ObjectKey, ReferenceGrant]:
        """Empty where the cluster does not know the kind."""
        return cast("Mapping[ObjectKey, ReferenceGrant]", self._stores[KindName.GRANTS].values)

    @property
    def config_maps(self) -> Mapping[ObjectKey, ConfigMap]:
        """Those that routes name as authorities."""
        return cast("Mapping[ObjectKey, ConfigMap]", self._stores[KindName.CONFIG_MAPS].values)

    @property
    def ca_secrets(self) -> Mapping[ObjectKey, Secret]:
        """Those that routes name as authorities."""
        return cast("Mapping[ObjectKey, Secret]", self._stores[KindName.CA_SECRETS].values)

    def slices_of(self, service: ObjectKey) -> tuple[EndpointSlice, ...]:
        """The EndpointSlices of a Service, sorted by name."""
        found = self._slices.get(service, {})
        return tuple(found[key] for key in sorted(found))

    def pod_with(self, namespace: str, address: str) -> Pod | None:
        """The Pod of *namespace* whose status holds *address*, if one does (not of the host's network)."""
        found = self._pods.get((namespace, address), {})
        # Two only while one of them is known to hold it no more by nobody yet: the later version is right.
        return max(found.values(), key=lambda pod: (not pod.deleting, pod.resource_version), default=None)

    def services_of_pod(self, pod: Pod) -> frozenset[ObjectKey]:
        """The Services with a slice that names the Pod or holds an address of it."""
        slices = set(self._slices_by_pod.get(pod.key, ()))
        for address in pod.addresses:
            slices |= self._slices_by_address.get((pod.key.namespace, address), set())
        values = self._stores[KindName.SLICES].values
        found = (values[key].service for key in slices)
        return frozenset(ObjectKey(pod.key.namespace, service) for service in found if service)

    def secrets_owned_by(self, uid: str) -> tuple[SeenSecret, ...]:
        """The Secrets that name the subscription of that *uid* as their owner, of any namespace, sorted by name."""
        owned = self._owned.get(uid, {})
        return tuple(owned[key] for key in sorted(owned))

    def naming(self, named: Named) -> frozenset[ObjectKey]:
        """The subscriptions that name it."""
        return self.references.naming(named)

    def _is_looked_at(self, kind: KindName, key: ObjectKey) -> bool:
        row = self._kinds[kind]
        return not row.namespaces or key.namespace in row.namespaces

    def _is_unknown(self, store: _Store, key: ObjectKey, seen: Identity) -> bool:
        known = store.versions.get(key)
        if known is not None:
            return known.resource_version < seen.resource_version
        return store.gone.get(key, 0) < seen.resource_version

    def _admit(self, kind: KindName, seen: Identity, body: Body) -> Change | None:
        store = self._stores[kind]
        try:
            old, new = store.values.get(seen.key), self._kinds[kind].read(body)
        except Exception as error:  # noqa: BLE001 - see below
            # No body should do this; if one does, nobody else's object may wait for a new release.
            if store.failed.get(seen.key) != seen.resource_version:
                self._on_unreadable(kind, seen, error)
            store.failed[seen.key] = seen.resource_version
            return None
        # Only now: what is not read is not known, and the next sweep tries again.
        store.versions[seen.key] = seen
        store.gone.pop(seen.key, None)
        store.failed.pop(seen.key, None)
        if new is None:
            store.values.pop(seen.key, None)
        else:
            store.values[seen.key] = new
        if is_same(old, new):
            return None
        self._index(kind, seen.key, old, new)
        return Change(kind, seen.key, old, new)

    def _remove(self, kind: KindName, key: ObjectKey, version: int) -> Change | None:
        store = self._stores[kind]
        store.versions.pop(key, None)
        store.failed.pop(key, None)
        store.gone[key] = version
        old = store.values.pop(key, None)
        if old is None:
            return None
        self._index(kind, key, old, None)
        return Change(kind, key, old, None)

    def _index(self, kind: KindName, key: ObjectKey, old: Value | None, new: Value | None) -> None:
        match kind:
            case KindName.SUBSCRIPTIONS:
                self.references.note(key, new if isinstance(new, Declared) else None)
            case KindName.NAMESPACES:
                if isinstance(new, Namespace):
                    self._namespaces[key.name] = new
                else:
                    self._namespaces.pop(key.name, None)
            case KindName.SECRETS:
                self._index_secret(old if isinstance(old, SeenSecret) else None, add=False)
                self._index_secret(new if isinstance(new, SeenSecret) else None, add=True)
            case KindName.SLICES:
                self._index_slice(old if isinstance(old, EndpointSlice) else None, add=False)
                self._index_slice(new if isinstance(new, EndpointSlice) else None, add=True)
            case KindName.PODS:
                self._index_pod(old if isinstance(old, Pod) else None, add=False)
                self._index_pod(new if isinstance(new, Pod) else None, add=True)

    def _index_slice(self, value: EndpointSlice | None, *, add: bool) -> None:
        if value is None:
            return
        namespace = value.key.namespace
        if value.service:
            _put(self._slices, ObjectKey(namespace, value.service), value.key, value if add else None)
        for address in value.addresses:
            _mark(self._slices_by_address, (namespace, address.address), value.key, add)
            if address.pod:
                _mark(self._slices_by_pod, ObjectKey(namespace, address.pod), value.key, add)

    def _index_secret(self, value: SeenSecret | None, *, add: bool) -> None:
        if value is not None and value.owner_uid:
            _put(self._owned, value.owner_uid, value.key, value if add else None)

    def _index_pod(self, value: Pod | None, *, add: bool) -> None:
        if value is None or value.host_network:
            return
        for address in value.addresses:
            _put(self._pods, (value.key.namespace, address), value.key, value if add else None)


def is_same(old: Value | None, new: Value | None) -> bool:
    """Whether nothing that is kept differs but the version. A Secret's version counts: verifiers are named after it."""
    if old is None or new is None or isinstance(new, SeenSecret):
        return old == new
    return _without_version(old) == _without_version(new)


def _without_version(value: Value) -> Value:
    if isinstance(value, Declared):
        metadata = replace(value.resource.metadata, resource_version="")
        return replace(value, resource_version=0, resource=replace(value.resource, metadata=metadata))
    if isinstance(value, (ReferenceGrant, ConfigMap, Secret)):
        return replace(value, metadata=replace(value.metadata, resource_version=""))
    return replace(value, resource_version=0)


def _put(index: dict[Any, dict[ObjectKey, Any]], name: object, key: ObjectKey, value: object | None) -> None:
    if value is not None:
        index.setdefault(name, {})[key] = value
        return
    found = index.get(name, {})
    found.pop(key, None)
    if not found:
        index.pop(name, None)


def _mark(index: dict[Any, set[ObjectKey]], name: object, key: ObjectKey, add: bool) -> None:
    if add:
        index.setdefault(name, set()).add(key)
        return
    found = index.get(name, set())
    found.discard(key)
    if not found:
        index.pop(name, None)
