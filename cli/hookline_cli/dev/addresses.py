"""Where the handlers are: on this machine, or where `--handler` says."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from hookline.routing.v1 import snapshot_pb2 as routing

FORMAT = 1


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """What one `--handler NAME[.NAMESPACE]=HOST:PORT` says."""

    name: str
    namespace: str
    """"": in any namespace."""
    address: str

    def __str__(self) -> str:
        return f"{self.name}{'.' if self.namespace else ''}{self.namespace} ({self.address})"


class ServiceAddressType(click.ParamType[ServiceAddress]):
    """NAME[.NAMESPACE]=HOST:PORT."""

    name = "name[.namespace]=host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ServiceAddress:
        """The address, or a usage error that shows what was given."""
        service, equals, address = str(value).partition("=")
        name, dot, namespace = service.partition(".")
        host, colon, port = address.rpartition(":")
        named = bool(equals and name and (namespace or not dot))
        if not (named and colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            self.fail(f"{value!r} is not NAME[.NAMESPACE]=HOST:PORT", param, ctx)
        return ServiceAddress(name, namespace, address)


def endpoint_table(snapshot: routing.ForwarderSnapshot, given: Sequence[ServiceAddress]) -> routing.EndpointTable:
    """
    The addresses of every Service that a route of *snapshot* names.

    What is *given* for NAME.NAMESPACE goes before what is given for NAME; several for one Service are its endpoints.
    Where nothing is given it is looked for at 127.0.0.1 and the port that the route names.
    """
    by_service: Mapping[tuple[str, str], list[str]] = defaultdict(list)
    for one in given:
        by_service[one.name, one.namespace].append(one.address)
    handlers = {(route.handler.namespace, route.handler.service, route.handler.port) for route in routes_of(snapshot)}
    table = routing.EndpointTable(format=FORMAT)
    for namespace, name, port in sorted(handlers):
        addresses = by_service.get((name, namespace)) or by_service.get((name, "")) or [f"127.0.0.1:{port}"]
        table.services.add(namespace=namespace, service=name, port=port, addresses=sorted(set(addresses)))
    return table


def unused(snapshot: routing.ForwarderSnapshot, given: Sequence[ServiceAddress]) -> list[ServiceAddress]:
    """Those of *given* that no route's handler goes by: most likely a typing mistake."""
    services = {(route.handler.service, route.handler.namespace) for route in routes_of(snapshot)}
    names = {name for name, _ in services}
    return [
        one for one in given if not ((one.name, one.namespace) in services or (not one.namespace and one.name in names))
    ]


def routes_of(snapshot: routing.ForwarderSnapshot) -> list[routing.Route]:
    """All routes of all subscriptions."""
    return [route for subscription in snapshot.subscriptions for route in subscription.routes]
