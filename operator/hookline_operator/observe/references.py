"""Who names whom: from what a subscription refers to, back to the subscription."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from hookline_operator.observe.objects import Declared
from hookline_routes.resource import CARef, ObjectKey, RefKind, WebhookSubscription


@dataclass(frozen=True, slots=True)
class Named:
    """Something that subscriptions name."""

    what: str
    """secret, config_map, ca_secret, service, services_of, namespace, gateway, uid, or a path: "/…"."""
    key: ObjectKey

    @property
    def is_path(self) -> bool:
        """Whether it is a path at the gateway `key`."""
        return self.what.startswith("/")

    @property
    def is_authority(self) -> bool:
        """Whether it holds an authority's certificate."""
        return self.what in ("config_map", "ca_secret")


def secret(key: ObjectKey) -> Named:
    """A Secret with credentials."""
    return Named("secret", key)


def authority(kind: RefKind, key: ObjectKey) -> Named:
    """A ConfigMap or Secret with an authority's certificate."""
    return Named("config_map" if kind is RefKind.CONFIG_MAP else "ca_secret", key)


def service(key: ObjectKey) -> Named:
    """A Service with a handler."""
    return Named("service", key)


def services_of(namespace: str) -> Named:
    """Services of another namespace than the subscription's."""
    return Named("services_of", ObjectKey(namespace, ""))


def namespace(name: str) -> Named:
    """The subscription's own namespace."""
    return Named("namespace", ObjectKey(name, ""))


def gateway(key: ObjectKey) -> Named:
    """The gateway it attaches to."""
    return Named("gateway", key)


def path(gateway: ObjectKey, path: str) -> Named:
    """A path at a gateway: of several that want it one gets it."""
    return Named(path, gateway)


def uid(value: str) -> Named:
    """The subscription itself, as its objects name their owner."""
    return Named("uid", ObjectKey("", value))


class References:
    """For every subscription what it names, and the other way round."""

    def __init__(self, default_namespace: str = "") -> None:
        self._default_namespace = default_namespace
        self._names: dict[ObjectKey, frozenset[Named]] = {}
        self._naming: dict[Named, set[ObjectKey]] = {}
        self._authorities: set[Named] = set()

    def note(self, subscription: ObjectKey, declared: Declared | None) -> None:
        """What it names now; None: it is gone."""
        new = self.of(declared) if declared else frozenset()
        old = self._names.get(subscription, frozenset())
        for named in old - new:
            found = self._naming[named]
            found.discard(subscription)
            if not found:
                del self._naming[named]
                self._authorities.discard(named)
        for named in new - old:
            self._naming.setdefault(named, set()).add(subscription)
            if named.is_authority:
                self._authorities.add(named)
        if declared:
            self._names[subscription] = new
        else:
            self._names.pop(subscription, None)

    def naming(self, named: Named) -> frozenset[ObjectKey]:
        """The subscriptions that name it."""
        return frozenset(self._naming.get(named, ()))

    def are_named(self, named: Named) -> bool:
        """Whether any subscription names it."""
        return named in self._naming

    def services(self) -> frozenset[ObjectKey]:
        """All Services that are named."""
        return frozenset(named.key for named in self._naming if named.what == "service")

    @property
    def authorities(self) -> AbstractSet[Named]:
        """All ConfigMaps and Secrets with authorities that are named."""
        return self._authorities

    def gateway_of(self, subscription: WebhookSubscription) -> ObjectKey | None:
        """The gateway that it refers to; None where that is some other installation's default."""
        ref = subscription.gateway_ref
        place = ref.namespace or self._default_namespace
        return ObjectKey(place, ref.name) if place else None

    def of(self, declared: Declared) -> frozenset[Named]:
        """What it names; of one that can't be read only that it is there."""
        own = {namespace(declared.key.namespace), uid(declared.uid)}
        subscription = declared.resource
        if not isinstance(subscription, WebhookSubscription):
            return frozenset(own)
        home = declared.key.namespace
        own |= {secret(ObjectKey(home, ref.name)) for ref in subscription.secret_refs}
        if place := self.gateway_of(subscription):
            own |= {gateway(place), path(place, subscription.path)}
        for route in subscription.routes:
            target = route.handler.service
            own.add(service(ObjectKey(target.namespace, target.name)))
            if target.namespace != home:
                own.add(services_of(target.namespace))
            if route.handler.tls and route.handler.tls.ca_ref:
                own.add(_authority(home, route.handler.tls.ca_ref))
        return frozenset(own)


def _authority(home: str, ref: CARef) -> Named:
    return authority(ref.kind, ObjectKey(home, ref.name))
