"""Objects as the API server has them, for the operator's observing parts."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.kinds import kinds
from hookline_operator.observe.objects import Change, KindName, Value

if TYPE_CHECKING:
    from hookline_routes.resource import ObjectKey

Body = dict[str, Any]

OWN = "hookline"
_versions = itertools.count(1000)


def a_cluster(**options: Any) -> Cluster:
    """Empty, of an installation that is the cluster's default."""
    return Cluster(kinds(OWN, options.pop("secret_namespaces", ())), options.pop("default_namespace", OWN))


class FaultyReader:
    """Reads objects of one kind as they are read, but raises for those of the names in `fails`."""

    def __init__(self, kind: KindName, *fails: str) -> None:
        self._row = next(each for each in kinds(OWN) if each.name == kind)
        self.fails = set(fails)
        self.told: list[ObjectKey] = []
        """Objects of which the cluster said that they could not be read."""

    def cluster(self) -> Cluster:
        """Empty, with this reader."""
        row = replace(self._row, read=self._read)
        every = [row if each.name == row.name else each for each in kinds(OWN)]
        return Cluster(every, OWN, lambda kind, seen, error: self.told.append(seen.key))

    def _read(self, body: Mapping[str, Any]) -> Value | None:
        if body["metadata"]["name"] in self.fails:
            raise RuntimeError("a fault of ours")
        return self._row.read(body)


def metadata(namespace: str, name: str, **more: Any) -> Body:
    """With a version later than every one before."""
    known = {"name": name, "uid": f"uid-{namespace}-{name}", "resourceVersion": str(next(_versions)), "generation": 1}
    return {**known, **({"namespace": namespace} if namespace else {}), **more}


def a_subscription(namespace: str = "acme", name: str = "chat", spec: Body | None = None, **more: Any) -> Body:
    """Names the Secret "login" and a handler in its namespace unless *spec* says otherwise; *more* is its metadata."""
    route = {"name": "all", "handler": {"serviceRef": {"name": "handler", "port": 8080}}}
    full = {"auth": {"basic": {"secretRefs": [{"name": "login"}]}}, "routes": [route], **(spec or {})}
    return {"metadata": metadata(namespace, name, **more), "spec": full}


def a_route_to(service: str, namespace: str = "", **handler: Any) -> Body:
    """A route to a Service."""
    ref = {"name": service, "port": 8080, **({"namespace": namespace} if namespace else {})}
    return {"name": f"to-{service}", "handler": {"serviceRef": ref, **handler}}


def a_gateway(name: str = "default", spec: Body | None = None, **more: Any) -> Body:
    """In the operator's own namespace."""
    return {"metadata": metadata(more.pop("namespace", OWN), name, **more), "spec": spec or {}}


def a_secret(namespace: str = "acme", name: str = "login", **more: Any) -> Body:
    """Of type kubernetes.io/basic-auth: user, secret."""
    data = {"username": "dXNlcg==", "password": "c2VjcmV0"}
    return {"metadata": metadata(namespace, name, **more), "type": "kubernetes.io/basic-auth", "data": data}


def a_service(namespace: str = "acme", name: str = "handler", **spec: Any) -> Body:
    """With a selector and the port 8080."""
    full = {"type": "ClusterIP", "selector": {"app": name}, "ports": [{"port": 8080, "protocol": "TCP"}], **spec}
    return {"metadata": metadata(namespace, name), "spec": full}


def a_slice(namespace: str = "acme", service: str = "handler", *addresses: str, **endpoint: Any) -> Body:
    """Of a Service, with an endpoint for each address."""
    endpoints = [{"addresses": [address], "conditions": {"ready": True}, **endpoint} for address in addresses]
    return {
        "metadata": metadata(namespace, f"{service}-1", labels={"kubernetes.io/service-name": service}),
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    }


def a_pod(namespace: str = "acme", name: str = "handler-0", *addresses: str, **more: Any) -> Body:
    """Ready, with these addresses; *more* is its metadata."""
    ips = [{"ip": address} for address in addresses]
    status = {"phase": "Running", "podIPs": ips, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": metadata(namespace, name, **more), "spec": {}, "status": status}


def a_namespace(name: str = "acme", **labels: str) -> Body:
    """With labels."""
    return {"metadata": metadata("", name, labels=labels)}


def a_grant(namespace: str, source: str, service: str = "") -> Body:
    """Lets subscriptions of the namespace *source* name *service* of *namespace*, or all."""
    target = {"group": "", "kind": "Service", **({"name": service} if service else {})}
    origin = {"group": "hookline.dev", "kind": "WebhookSubscription", "namespace": source}
    return {"metadata": metadata(namespace, "grant"), "spec": {"from": [origin], "to": [target]}}


def again(body: Body, **changed: Any) -> Body:
    """The object at a later version, its top-level fields *changed*; a new generation if its spec is."""
    generation = body["metadata"]["generation"] + ("spec" in changed)
    later = {**body["metadata"], "resourceVersion": str(next(_versions)), "generation": generation}
    return {**body, "metadata": {**later, **changed.pop("metadata", {})}, **changed}


def happens(cluster: Cluster, kind: KindName, body: Body, event_type: str = "MODIFIED") -> Change:
    """An event that changes something."""
    change = cluster.apply(kind, event_type, body)
    assert change is not None, f"{event_type} of {body['metadata']} has changed nothing"
    return change
