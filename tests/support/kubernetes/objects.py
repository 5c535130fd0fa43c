"""
What controllers and nodes would make, made by hand: Services with ready endpoints, Pods that run.

    make_service(api, "acme", "chat-handler", [network.expose(handler.port)])

gives a Service, a Pod for each address with that address in its status, and the EndpointSlice that leads to them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from support.kubernetes.api import Api, Object
from support.kubernetes.network import Address

PORT_NAME = "grpc"


def a_service(namespace: str, name: str, port: int = 50051, **spec: Any) -> Object:
    """A Service with one port, which selects the Pods labelled `app: name`; *spec* on top: `type="ExternalName"`."""
    ports = [{"name": PORT_NAME, "port": port, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


def a_pod(namespace: str, name: str, labels: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """A Pod; it runs once `run_pod` has said so."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {**(labels or {})}},
        "spec": {"containers": [{"name": "main", "image": "none"}], **spec},
    }


def a_slice(
    service: str, pods: Sequence[Object], addresses: Sequence[Address], *, name: str = "", ready: bool = True
) -> Object:
    """The EndpointSlice of *service* that leads to *pods* at *addresses* (one each, all on the same port)."""
    ports = {address.port for address in addresses}
    assert len(ports) <= 1, f"a slice has one port for all its addresses, not {sorted(ports)}"
    namespace = pods[0]["metadata"]["namespace"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": name or f"{service}-1",
            "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
        },
        "addressType": "IPv4",
        "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"} for port in ports],
        "endpoints": [_endpoint(pod, address, ready) for pod, address in zip(pods, addresses, strict=True)],
    }


def run_pod(api: Api, pod: Object, address: str, *, ready: bool = True) -> Object:
    """Create the Pod if it is not there, and say in its status that it runs at *address*."""
    api.apply(pod)
    return api.set_status(pod, pod_status(address, ready=ready))


def pod_status(address: str, *, ready: bool = True) -> Object:
    """What a kubelet says of a Pod that runs at *address*."""
    truth = "True" if ready else "False"
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": kind, "status": truth} for kind in ("Ready", "ContainersReady")],
    }


def make_service(
    api: Api, namespace: str, name: str, addresses: Sequence[Address], *, port: int = 50051, ready: bool = True
) -> Object:
    """A Service on *port* whose Pods run at *addresses*; calling it again brings it to other ones. Its slice."""
    api.apply(a_service(namespace, name, port))
    pods = []
    for index, address in enumerate(addresses):
        pod = run_pod(api, a_pod(namespace, f"{name}-{index}", {"app": name}), address.host, ready=ready)
        pods.append({"apiVersion": "v1", "kind": "Pod", **pod})
    return api.apply(a_slice(name, pods, addresses, ready=ready))[0]


def _endpoint(pod: Object, address: Address, ready: bool) -> Object:
    metadata = pod["metadata"]
    target = {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata.get("uid")}
    return {
        "addresses": [address.host],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "targetRef": {key: value for key, value in target.items() if value},
    }
