"""Declared objects, what compiling says of them, and what is known of them, as statuses are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

from hookline_operator.decide.conditions import GatewayFacts, SubscriptionFacts
from hookline_operator.observe.kinds import read_gateway, read_subscription
from hookline_operator.observe.objects import Declared
from hookline_operator.ports import ShardRevision
from hookline_routes.inputs import ObjectReport
from hookline_routes.problem import Problem, Reason, Severity, condition
from support.manifests import a_subscription

NOW, EARLIER = "2026-03-01T12:00:00Z", "2026-02-01T12:00:00Z"


def a_declared(
    name: str = "chat",
    namespace: str = "acme",
    *,
    generation: int = 1,
    status: Mapping[str, Any] | None = None,
    version: int = 10,
    routes: Sequence[Mapping[str, Any]] = (),
    **spec: Any,
) -> Declared:
    """A WebhookSubscription as the operator has it."""
    body = a_subscription(*routes, name=name, namespace=namespace, **spec)
    found = read_subscription(_stored(body, generation, version, status))
    assert found is not None
    return found


def a_gateway(
    name: str = "default",
    *,
    generation: int = 1,
    status: Mapping[str, Any] | None = None,
    version: int = 10,
    **spec: Any,
) -> Declared:
    """A WebhookGateway as the operator has it."""
    body = {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookGateway",
        "metadata": {"name": name, "namespace": "hookline"},
        "spec": {"hostnames": ["hooks.example.com"], **spec},
    }
    found = read_gateway(_stored(body, generation, version, status))
    assert found is not None
    return found


def a_problem(reason: Reason, message: str = "is wrong", field: str = "spec.path", *, warning: bool = False) -> Problem:
    """What compiling found."""
    return Problem(Severity.WARNING if warning else Severity.ERROR, reason, message, "", field)


def a_report(declared: Declared, refused: Sequence[Problem] = (), references: Sequence[Problem] = ()) -> ObjectReport:
    """What compiling says: *refused* for Accepted, *references* for ResolvedRefs."""
    conditions = (
        condition("Accepted", "Accepted", tuple(refused)),
        condition("ResolvedRefs", "ResolvedRefs", tuple(references)),
    )
    problems = (*refused, *references)
    return ObjectReport(declared.kind, declared.key, declared.uid, declared.generation, conditions, problems)


def facts(declared: Declared | None = None, report: ObjectReport | None = None, **given: Any) -> SubscriptionFacts:
    """A subscription that is served by two pods, unless a test says otherwise."""
    declared = declared or a_declared()
    usual: dict[str, Any] = {"gateway": a_gateway(), "revision": ShardRevision("default", 3, 7), "pods": 2}
    return SubscriptionFacts(declared, report or a_report(declared), **{**usual, **given})


def gateway_facts(declared: Declared | None = None, **given: Any) -> GatewayFacts:
    """A gateway with two pods that serve what is published, unless a test says otherwise."""
    declared = declared or a_gateway()
    return GatewayFacts(declared, a_report(declared), **{"attached": 5, "pods": 2, "synced": 2, "desired": 2, **given})


def a_condition(
    kind: str, status: str = "True", reason: str = "", message: str = "", generation: int = 1
) -> dict[str, Any]:
    """As the API server has it, since `EARLIER`."""
    return {
        "type": kind,
        "status": status,
        "reason": reason or kind,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": EARLIER,
    }


def _stored(body: dict[str, Any], generation: int, version: int, status: Mapping[str, Any] | None) -> dict[str, Any]:
    name = body["metadata"]["name"]
    more = {"uid": f"uid-{name}", "generation": generation, "resourceVersion": str(version)}
    more["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return {**body, "metadata": {**body["metadata"], **more}, "status": dict(status or {})}
