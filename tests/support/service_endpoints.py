"""Services, slices and Pods as the API server has them, brought into the operator's view of the cluster."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.kinds import kinds
from hookline_operator.observe.objects import Change, KindName
from hookline_routes.resource import ServiceRef

Body = dict[str, Any]

KIND_NAMES = {
    "Service": KindName.SERVICES,
    "Pod": KindName.PODS,
    "EndpointSlice": KindName.SLICES,
    "WebhookSubscription": KindName.SUBSCRIPTIONS,
    "WebhookGateway": KindName.GATEWAYS,
}
_VERSIONS = itertools.count(1000)


def a_service(name: str = "notifier", namespace: str = "acme", **spec: Any) -> Body:
    """On port 9000, unnamed."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ClusterIP", "selector": {"app": name}, "ports": [{"port": 9000, "protocol": "TCP"}], **spec},
    }


def a_pod(
    name: str, *addresses: str, namespace: str = "acme", phase: str = "Running", deleting: bool = False, **spec: Any
) -> Body:
    """A Pod whose status holds *addresses*."""
    metadata: Body = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}"}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = {
        "phase": phase,
        "podIPs": [{"ip": each} for each in addresses],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def an_endpoint(
    address: str,
    pod: str = "",
    *,
    uid: str | None = None,
    namespace: str = "acme",
    ready: bool | None = True,
    **more: Any,
) -> Body:
    """One entry of a slice that says it is *pod*, if given."""
    endpoint: Body = {"addresses": [address], "conditions": {"ready": ready}, **more}
    if pod:
        found = f"uid-{namespace}-{pod}" if uid is None else uid
        endpoint["targetRef"] = {"kind": "Pod", "namespace": namespace, "name": pod, "uid": found}
    return endpoint


def a_slice(
    *endpoints: Body,
    service: str = "notifier",
    namespace: str = "acme",
    name: str = "",
    family: str = "IPv4",
    ports: Sequence[Mapping[str, Any]] = ({"name": "", "port": 50051, "protocol": "TCP"},),
) -> Body:
    """A slice that says it is of *service*."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name or f"{service}-{family.lower()}",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family,
        "ports": list(ports),
        "endpoints": list(endpoints),
    }


def a_cluster(*bodies: Body, namespace: str = "hookline") -> Cluster:
    """The view of a cluster that holds these."""
    cluster = Cluster(kinds(namespace))
    for body in bodies:
        see(cluster, body)
    return cluster


def see(cluster: Cluster, body: Body, event: str = "MODIFIED") -> Change | None:
    """A feed says that an object is so now."""
    metadata = {"uid": "uid", "resourceVersion": str(next(_VERSIONS)), **body["metadata"]}
    return cluster.apply(KIND_NAMES[body["kind"]], event, {**body, "metadata": metadata})


def the_port(number: int = 9000, name: str = "notifier", namespace: str = "acme") -> ServiceRef:
    """What a route names."""
    return ServiceRef(name, namespace, number)
