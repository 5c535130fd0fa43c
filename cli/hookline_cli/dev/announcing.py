"""What is served, in lines for a person: URLs, where the credentials are, where each route goes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_cli.dev.compiling import Compilation
from hookline_cli.output import printable
from hookline_routes.problem import Problem
from hookline_routes.resource import ObjectKey, Secret, WebhookSubscription


def refusal(problems: Sequence[Problem]) -> Iterator[str]:
    """A line for each problem, as compilers write them."""
    for problem in problems:
        yield f"{problem.severity}: {printable(str(problem))}"


def announcement(
    compilation: Compilation, endpoints: routing.EndpointTable, url: str, generated_file: Callable[[ObjectKey], Path]
) -> Iterator[str]:
    """SECURITY: says where credentials are, never what they are."""
    known = {str(secret.metadata.key): secret for secret in compilation.secrets}
    addresses = {(one.namespace, one.service, one.port): ", ".join(one.addresses) for one in endpoints.services}
    tables = {(each.ref.namespace, each.ref.name): each for each in compilation.tables.forwarder.subscriptions}
    for subscription in compilation.subscriptions:
        key = subscription.metadata.key
        yield f"  {url}{subscription.path}  {key}{'  suspended' if subscription.suspend else ''}"
        yield f"    credentials: {credentials(subscription, known, generated_file)}"
        for route in tables[key.namespace, key.name].routes:
            handler = route.handler
            address = addresses[handler.namespace, handler.service, handler.port]
            paused = " (paused)" if route.paused else ""
            yield f"    {route.name} -> {handler.service}.{handler.namespace}:{handler.port} at {address}{paused}"


def credentials(
    subscription: WebhookSubscription, known: dict[str, Secret], generated_file: Callable[[ObjectKey], Path]
) -> str:
    """Where the username and password are that open *subscription*."""
    if not subscription.secret_refs:
        return f"generated, see {generated_file(subscription.metadata.key)}"
    namespace = subscription.metadata.namespace
    places = []
    for ref in subscription.secret_refs:
        secret = known.get(f"{namespace}/{ref.name}")
        place = secret.origin.place(("metadata", "name")) if secret and secret.origin else "which is missing"
        places.append(f"Secret {namespace}/{ref.name}, {place}")
    return "; ".join(places)
