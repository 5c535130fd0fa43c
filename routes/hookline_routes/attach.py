"""Which subscriptions are served, by which gateway, on which path: the oldest wins, then the first by name."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from hookline_routes.inputs import Inputs
from hookline_routes.problem import Reason
from hookline_routes.resource import (
    AllowedNamespaces,
    GatewayRef,
    LabelRequirement,
    NamespacesFrom,
    WebhookGateway,
    WebhookSubscription,
)

Owned = TypeVar("Owned", WebhookSubscription, WebhookGateway)


@dataclass(frozen=True, slots=True)
class Attached:
    """A subscription that is served, and the gateway that serves it."""

    subscription: WebhookSubscription
    gateway: WebhookGateway


@dataclass(frozen=True, slots=True)
class Rejected:
    """A subscription that is not served, and why."""

    subscription: WebhookSubscription
    reason: Reason
    field: tuple[str | int, ...]
    message: str


def attach(inputs: Inputs) -> tuple[list[Attached], list[Rejected]]:
    """Each subscription is either attached or rejected; the order of *inputs* does not matter."""
    attached: list[Attached] = []
    rejected: list[Rejected] = []
    taken: dict[tuple[str, str], WebhookSubscription] = {}
    counts: dict[str, int] = defaultdict(int)
    names: set[object] = set()
    gateways = _ordered(inputs.gateways)
    for subscription in _ordered(inputs.subscriptions):
        gateway = _gateway(subscription, gateways, inputs)
        if subscription.metadata.key in names:
            gateway = Rejected(subscription, Reason.DUPLICATE_OBJECT, ("metadata", "name"), "is there already")
        names.add(subscription.metadata.key)
        if isinstance(gateway, Rejected):
            rejected.append(gateway)
            continue
        verdict = _place(subscription, gateway, taken, counts, inputs.single_plane)
        if isinstance(verdict, Attached):
            attached.append(verdict)
        else:
            rejected.append(verdict)
    return attached, rejected


def _place(
    subscription: WebhookSubscription,
    gateway: WebhookGateway,
    taken: dict[tuple[str, str], WebhookSubscription],
    counts: dict[str, int],
    single_plane: bool,
) -> Attached | Rejected:
    plane = "" if single_plane else str(gateway.metadata.key)
    winner = taken.get((plane, subscription.path))
    if winner:
        return Rejected(subscription, Reason.PATH_CONFLICT, ("spec", "path"), _conflict(subscription, winner))
    counted, limit = str(gateway.metadata.key), gateway.limits.max_subscriptions
    if limit and counts[counted] >= limit:
        message = f"the gateway takes at most {limit} subscriptions, and older ones fill it"
        return Rejected(subscription, Reason.TOO_MANY_SUBSCRIPTIONS, ("spec", "gatewayRef"), message)
    taken[plane, subscription.path] = subscription
    counts[counted] += 1
    return Attached(subscription, gateway)


def _conflict(loser: WebhookSubscription, winner: WebhookSubscription) -> str:
    # SECURITY: a name is told within its namespace only.
    same = loser.metadata.namespace == winner.metadata.namespace
    who = f"the older subscription {winner.metadata.key}" if same else "another subscription"
    return f'the path "{loser.path}" belongs to {who}'


def _ordered(objects: Iterable[Owned]) -> list[Owned]:
    def age(each: Owned) -> tuple[str, ...]:
        metadata = each.metadata
        return (metadata.created, metadata.namespace, metadata.name, metadata.uid)

    every = list(objects)
    if len({age(each) for each in every}) == len(every):
        return sorted(every, key=age)
    # Two of one name and uid: no API server has that, but the order of the inputs must not show even so.
    return sorted(every, key=lambda each: (*age(each), repr(each)))


def _gateway(
    subscription: WebhookSubscription, gateways: list[WebhookGateway], inputs: Inputs
) -> WebhookGateway | Rejected:
    ref, own = subscription.gateway_ref, subscription.metadata.namespace
    gateway = _find(ref, gateways, inputs) or _stand_in(ref, inputs)
    if gateway is None:
        place = ref.namespace or inputs.gateway_namespace
        name = f"{place}/{ref.name}" if place else ref.name
        message = f"WebhookGateway {name} does not exist"
        return Rejected(subscription, Reason.NO_MATCHING_GATEWAY, ("spec", "gatewayRef"), message)
    if not _allows(gateway, own, inputs.namespaces):
        message = f"WebhookGateway {gateway.metadata.key} does not take subscriptions of the namespace {own}"
        return Rejected(subscription, Reason.NAMESPACE_NOT_ALLOWED, ("spec", "gatewayRef"), message)
    return gateway


def _find(ref: GatewayRef, gateways: list[WebhookGateway], inputs: Inputs) -> WebhookGateway | None:
    place = ref.namespace or inputs.gateway_namespace
    for gateway in gateways:
        if gateway.metadata.name == ref.name and place in ("", gateway.metadata.namespace):
            return gateway
    return None


def _stand_in(ref: GatewayRef, inputs: Inputs) -> WebhookGateway | None:
    default = inputs.default_gateway
    if default is None or inputs.single_plane:
        return default
    same = ref.name == default.metadata.name and ref.namespace in ("", default.metadata.namespace)
    return default if same else None


def _allows(gateway: WebhookGateway, namespace: str, labels: Mapping[str, Mapping[str, str]] | None) -> bool:
    allowed: AllowedNamespaces = gateway.allowed_namespaces
    if allowed.source is NamespacesFrom.ALL:
        return True
    if allowed.source is NamespacesFrom.SAME:
        return gateway.metadata.namespace == namespace
    if labels is None:
        return True
    own = {"kubernetes.io/metadata.name": namespace, **labels.get(namespace, {})}
    return all(_holds(requirement, own) for requirement in allowed.requirements)


def _holds(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case _:
            return value is None
