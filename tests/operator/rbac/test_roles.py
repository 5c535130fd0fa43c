"""What the API server really grants by the chart's roles: exactly this, whatever else it serves."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Process
from support.rbac import AGENT, OPERATOR, Right, account, await_rights, granted, may

READ = ("get", "list", "watch")
MAKE = (*READ, "create", "delete")
KEEP = ("get", "list", "create", "patch", "delete")
OURS = "hookline.dev"
CLUSTER = {
    f"{OURS}/webhooksubscriptions": READ,
    f"{OURS}/webhooksubscriptions/status": ("patch",),
    "/namespaces": READ,
    "/services": READ,
    "/pods": READ,
    "/configmaps": ("get",),
    "discovery.k8s.io/endpointslices": READ,
    "gateway.networking.k8s.io/referencegrants": READ,
    "apiextensions.k8s.io/customresourcedefinitions": ("list", "watch"),
    "events.k8s.io/events": ("create",),
}
OWN = {
    f"{OURS}/webhookgateways": (*READ, "create", "patch"),
    f"{OURS}/webhookgateways/status": ("patch",),
    f"{OURS}/routetables": ("get", "list", "create", "update", "delete"),
    f"{OURS}/endpointtables": ("get", "list", "create", "update", "delete"),
    "coordination.k8s.io/leases": ("create",),
    "apps/statefulsets": KEEP,
    "/services": ("create", "patch", "delete"),
    "autoscaling/horizontalpodautoscalers": KEEP,
    "policy/poddisruptionbudgets": KEEP,
}
AGENTS = {f"{OURS}/routetables": ("list", "watch"), f"{OURS}/endpointtables": ("list", "watch")}


def those(namespace: str, table: Mapping[str, tuple[str, ...]]) -> set[Right]:
    """A table's rights in a namespace."""
    return {Right(namespace, resource, verb) for resource, verbs in table.items() for verb in verbs}


@pytest.fixture(scope="module")
def everybodys(ruled: ControlPlane) -> frozenset[Right]:
    """What one without any role may do, in any namespace."""
    return granted(ruled.api(), account("acme", "nobody"), [])


def test_the_operator_may_do_this_and_nothing_else(ruled: ControlPlane, everybodys: frozenset[Right]) -> None:
    """Whoever takes over its pod has what it has."""
    found = granted(ruled.api(), account("hookline", OPERATOR), ["hookline", "acme"]) - everybodys

    assert found == those("", CLUSTER | {"/secrets": MAKE}) | those("hookline", OWN)


def test_a_narrow_operator_reads_the_secrets_of_named_namespaces_alone(
    ruled: ControlPlane, everybodys: frozenset[Right]
) -> None:
    """A platform team may not want to give it the whole cluster's."""
    found = granted(ruled.api(), account("narrow", OPERATOR), ["narrow", "acme", "globex"]) - everybodys

    secrets = those("acme", {"/secrets": MAKE}) | those("narrow", {"/secrets": MAKE})
    assert found == those("", CLUSTER) | those("narrow", OWN) | secrets


def test_an_agent_reads_tables_and_nothing_else(ruled: ControlPlane, everybodys: frozenset[Right]) -> None:
    """It is in the pod that faces the Internet."""
    found = granted(ruled.api(), account("hookline", AGENT), ["hookline", "acme"]) - everybodys

    assert found == those("hookline", AGENTS)


@pytest.mark.parametrize("verb", ["get", "update"])
def test_the_operator_may_hold_its_own_lease_alone(ruled: ControlPlane, verb: str) -> None:
    """Others lead by Leases in that namespace too."""
    lease = "coordination.k8s.io/leases"

    assert may(ruled.api(), account("hookline", OPERATOR), Right("hookline", lease, verb, "hookline-operator"))
    assert not may(ruled.api(), account("hookline", OPERATOR), Right("hookline", lease, verb, "another"))


@pytest.mark.parametrize(
    ("role", "allowed", "denied"),
    [
        (
            "hookline-view",
            [("webhooksubscriptions", "list")],
            [("webhooksubscriptions", "create"), ("routetables", "get")],
        ),
        (
            "hookline-edit",
            [("webhooksubscriptions", "create"), ("webhooksubscriptions", "delete")],
            [("webhooksubscriptions/status", "patch"), ("webhookgateways", "create"), ("endpointtables", "get")],
        ),
        (
            "hookline-gateway-admin",
            [("webhookgateways", "create"), ("webhookgateways/scale", "update")],
            [("webhookgateways/status", "patch"), ("routetables", "update"), ("webhooksubscriptions", "create")],
        ),
    ],
)
def test_people_get_what_is_theirs(
    ruled: ControlPlane, role: str, allowed: list[tuple[str, str]], denied: list[tuple[str, str]]
) -> None:
    """A tenant edits subscriptions and can neither say that they are ready nor read verifiers of passwords."""
    person = account("acme", role)
    subject = {"kind": "ServiceAccount", "name": role, "namespace": "acme"}
    ruled.api().apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": "acme"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [subject],
        }
    )

    await_rights(ruled.api(), person, *(Right("acme", f"{OURS}/{resource}", verb) for resource, verb in allowed))
    for namespace, expected, asked in (("acme", True, allowed), ("acme", False, denied), ("globex", False, allowed)):
        for resource, verb in asked:
            right = Right(namespace, f"{OURS}/{resource}", verb)
            assert may(ruled.api(), person, right) is expected, right


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
def test_the_clusters_own_roles_get_the_subscriptions(ruled: ControlPlane, aggregating: Process, role: str) -> None:
    """Who may edit a namespace needs no role of ours; nobody but the operator writes what it says."""

    def verbs(resource: str) -> set[str]:
        rules = ruled.api().get("rbac.authorization.k8s.io/v1", "ClusterRole", "", role).get("rules") or []
        return {
            verb
            for rule in rules
            if OURS in rule["apiGroups"] and resource in rule["resources"]
            for verb in rule["verbs"]
        }

    wanted = set(READ) if role == "view" else {*READ, "create", "update", "patch", "delete", "deletecollection"}
    aggregating.wait_for(lambda: verbs("webhooksubscriptions") == wanted, within=30, what=f"{role} has {wanted}")

    assert verbs("webhookgateways") == set(READ)
    assert verbs("webhooksubscriptions/status") == {"get"}
    assert verbs("routetables") == verbs("endpointtables") == set()


@pytest.fixture(scope="module")
def aggregating(ruled: ControlPlane, controller_manager: Path) -> Iterator[Process]:
    """The controller that adds labelled roles to the cluster's own."""
    started = ruled.start_controllers("clusterrole-aggregation-controller")
    yield started
    started.kill()
