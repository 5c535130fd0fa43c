"""
Where the Services that routes name can be reached: Service, EndpointSlices and Pods → ready addresses, or why there are none.

Pure. The platform calls these addresses with the platform's own reach and certificate, and whoever may write EndpointSlices
chooses them. So nothing that a slice says is believed alone (SECURITY): an address counts if a Pod of the Service's own
namespace holds it by its status, which only kubelets write. What is refused is counted and said in words that tell
nothing of whose an address really is.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_operator.observe.objects import Address, EndpointSlice, Pod, Service
from hookline_routes.resource import ObjectKey, ServiceRef

FORMAT = 1
"""Of the EndpointTable messages made here."""
MAX_JUDGED = 1000
"""Endpoints that are looked at for one port of a Service, by name of the slice: nobody's slices may cost others time."""
MAX_ADDRESSES = 256
"""Published for one port of a Service, the first by address; a forwarder uses 32 of them at once."""


class ServiceReason(StrEnum):
    """One word for why a Service's port has no address."""

    SERVICE_NOT_FOUND = "ServiceNotFound"
    PORT_NOT_FOUND = "ServicePortNotFound"
    UNSUPPORTED_SERVICE = "UnsupportedService"
    ENDPOINTS_REFUSED = "EndpointsRefused"
    NO_READY_ENDPOINTS = "NoReadyEndpoints"


UNRESOLVED = frozenset(
    (ServiceReason.SERVICE_NOT_FOUND, ServiceReason.PORT_NOT_FOUND, ServiceReason.UNSUPPORTED_SERVICE)
)
"""The reference itself is wrong; with the others it is right, and nobody is there now."""


class Refusal(StrEnum):
    """What an endpoint that a slice lists is instead of a usable one."""

    HOST_NAME = "a host name instead of an address"
    SPECIAL_ADDRESS = "an address that no Pod can have"
    NO_POD = "an address that no Pod of the Service's namespace has"
    OTHER_POD = "an address of another Pod than the one it names"
    HOST_NETWORK = "a Pod on its node's network, whose address it shares with others"
    TOO_MANY = "one beyond the first 1000"


@dataclass(frozen=True, slots=True)
class Resolved:
    """One port of one Service."""

    addresses: tuple[str, ...] = ()
    """"host:port" of each ready endpoint, one for each Pod, sorted."""
    reason: ServiceReason | None = None
    """None exactly where there are addresses."""
    message: str = ""
    """Why there are none, a sentence for people; "" where there are some."""
    refused: Mapping[Refusal, int] = field(default_factory=dict)
    """Endpoints that do not count, also beside some that do."""

    @property
    def remark(self) -> str:
        """What a person should know: why there are no addresses, or what was refused beside those there are; mostly ""."""
        return self.message or _refusals(self.refused)


class Seen(Protocol):
    """The part of `ports.ClusterView` that endpoints are decided by."""

    @property
    def services(self) -> Mapping[ObjectKey, Service]:
        """All of the cluster."""

    @property
    def pods(self) -> Mapping[ObjectKey, Pod]:
        """All of the cluster."""

    def slices_of(self, service: ObjectKey) -> tuple[EndpointSlice, ...]:
        """The EndpointSlices of a Service, sorted by name."""

    def pod_with(self, namespace: str, address: str) -> Pod | None:
        """The Pod of *namespace* whose status holds *address*."""


def resolve(ref: ServiceRef, seen: Seen) -> Resolved:
    """The ready endpoints of *ref*'s port; the same for the same objects, in whatever order they were seen."""
    key = ObjectKey(ref.namespace, ref.name)
    service = seen.services.get(key)
    if service is None:
        return Resolved((), ServiceReason.SERVICE_NOT_FOUND, f"Service {key} does not exist")
    if unsupported := _unsupported(service):
        return Resolved((), ServiceReason.UNSUPPORTED_SERVICE, unsupported)
    names = [port.name for port in service.ports if port.number == ref.port]
    if not names:
        return Resolved((), ServiceReason.PORT_NOT_FOUND, _no_port(service, ref.port))
    return _collected(service, names[0], seen)


def service_endpoints(ref: ServiceRef, resolved: Resolved) -> routing.ServiceEndpoints:
    """What the table says of it."""
    return routing.ServiceEndpoints(
        namespace=ref.namespace,
        service=ref.name,
        port=ref.port,
        addresses=resolved.addresses,
        reason=resolved.message,
    )


def table_of(services: Mapping[ServiceRef, Resolved]) -> routing.EndpointTable:
    """The table of these services; equal content gives equal bytes."""
    ordered = sorted(services, key=lambda ref: (ref.namespace, ref.name, ref.port))
    return routing.EndpointTable(format=FORMAT, services=[service_endpoints(ref, services[ref]) for ref in ordered])


def _unsupported(service: Service) -> str:
    needed = "Hookline calls Services that select Pods"
    if service.type == "ExternalName":
        return f"Service {service.key} is of type ExternalName; {needed}"
    if not service.has_selector:
        return f"Service {service.key} has no selector; {needed}"
    return ""


def _no_port(service: Service, wanted: int) -> str:
    numbers = ", ".join(str(number) for number in sorted({port.number for port in service.ports}))
    return f"Service {service.key} has no TCP port {wanted}" + (f", but {numbers}" if numbers else "")


@dataclass(slots=True)
class _Findings:
    """What the slices of one Service come to."""

    by_pod: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    """Addresses by the Pod's uid and the port."""
    refused: Counter[Refusal] = field(default_factory=Counter)
    judged: int = 0
    not_ready: bool = False
    without_port: bool = False


def _collected(service: Service, port_name: str, seen: Seen) -> Resolved:
    found = _Findings()
    for each in seen.slices_of(service.key):
        if each.service == service.key.name and each.key.namespace == service.key.namespace:
            _collect(each, port_name, seen, found)
    addresses = sorted(_hostport(_preferred(texts), port) for (_, port), texts in found.by_pod.items())
    refused = {refusal: found.refused[refusal] for refusal in Refusal if found.refused[refusal]}
    if addresses:
        return Resolved(tuple(addresses[:MAX_ADDRESSES]), refused=refused)
    reason, message = _why_none(service, port_name, found, refused)
    return Resolved((), reason, message, refused)


def _collect(endpoint_slice: EndpointSlice, port_name: str, seen: Seen, found: _Findings) -> None:
    port = endpoint_slice.ports.get(port_name)
    for address in endpoint_slice.addresses:
        found.judged += 1
        if found.judged > MAX_JUDGED:
            found.refused[Refusal.TOO_MANY] += 1
            return
        verdict = _judge(endpoint_slice, address, seen)
        if isinstance(verdict, Refusal):
            found.refused[verdict] += 1
        elif port is None:
            found.without_port = True
        elif not address.ready or verdict.deleting:
            found.not_ready = True
        else:
            found.by_pod.setdefault((verdict.uid, port), []).append(address.address)


def _judge(endpoint_slice: EndpointSlice, address: Address, seen: Seen) -> Pod | Refusal:
    """The Pod behind *address*, or why it does not count."""
    if endpoint_slice.address_type not in ("IPv4", "IPv6"):
        return Refusal.HOST_NAME
    if _is_special(address.address, endpoint_slice.address_type):
        return Refusal.SPECIAL_ADDRESS
    namespace = endpoint_slice.key.namespace
    pod = seen.pod_with(namespace, address.address)
    if pod is None or pod.host_network or pod.key.namespace != namespace or address.address not in pod.addresses:
        named = seen.pods.get(ObjectKey(namespace, address.pod))
        on_node = named is not None and named.host_network and address.address in named.addresses
        return Refusal.HOST_NETWORK if on_node else Refusal.NO_POD
    if (address.pod and address.pod != pod.key.name) or (address.pod_uid and address.pod_uid != pod.uid):
        return Refusal.OTHER_POD
    return pod


@lru_cache(maxsize=16_384)
def _is_special(text: str, address_type: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return True
    if isinstance(address, IPv6Address):
        if address_type != "IPv6" or address.ipv4_mapped or address.scope_id:
            return True
    elif address_type != "IPv4":
        return True
    return address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified


def _preferred(texts: Iterable[str]) -> str:
    """A Pod of two families is one endpoint, not two: its IPv4 address, which every receiver can reach."""
    return min(texts, key=lambda text: (":" in text, text))


def _hostport(text: str, port: int) -> str:
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _why_none(
    service: Service, port_name: str, found: _Findings, refused: Iterable[Refusal]
) -> tuple[ServiceReason, str]:
    """Without numbers: a text that changes with every Pod would be published with every Pod."""
    nobody = f"Service {service.key} has no ready endpoint"
    if found.without_port:
        wanted = f'its port "{port_name}"' if port_name else "its port"
        return ServiceReason.NO_READY_ENDPOINTS, f"{nobody}: no Pod has the target port of {wanted}"
    if found.not_ready:
        return ServiceReason.NO_READY_ENDPOINTS, f"{nobody}: its Pods are not ready"
    if refused:
        return ServiceReason.ENDPOINTS_REFUSED, f"{nobody}: {_refusals(refused)}"
    return ServiceReason.NO_READY_ENDPOINTS, f"{nobody}: its selector finds no Pod"


def _refusals(refused: Iterable[Refusal]) -> str:
    listed = "; ".join(refusal for refusal in Refusal if refusal in refused)
    return f"endpoints not used: {listed}" if listed else ""
