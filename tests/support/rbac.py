"""
The chart's roles, and what an account may really do by them.

    token = install_operator_rights(plane, namespace)                        # Secrets anywhere
    token = install_operator_rights(plane, namespace, ["acme", "globex"])    # Secrets of these namespaces, and the own
    token = install_agent_rights(plane, namespace)

A program that is run with such a token is refused (403, which the audit log shows) whatever the chart does not grant.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import yaml

from support.crds import FILES, IN_FORCE_WITHIN, rendered
from support.kubernetes.api import Api
from support.kubernetes.plane import ControlPlane

ROLES = FILES / "rbac"
OPERATOR, AGENT = "hookline-operator", "hookline-agent"
SECRET_NAMESPACE = "{{ .SecretNamespace }}"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
REVIEWS_AT_ONCE = 4


@dataclass(frozen=True, order=True)
class Right:
    """May do *verb* with a resource ("group/plural[/subresource]") in a namespace; "" is the whole cluster."""

    namespace: str
    resource: str
    verb: str
    name: str = ""
    """Of one object; "": of any."""


def install_operator_rights(plane: ControlPlane, namespace: str, secret_namespaces: Sequence[str] = ()) -> str:
    """The operator's token, for an installation in *namespace*; *secret_namespaces*: none for Secrets anywhere."""
    plane.install(rendered(ROLES / "operator.yaml", namespace))
    if not secret_namespaces:
        plane.install(rendered(ROLES / "secrets-of-the-cluster.yaml", namespace))
    for each in sorted({*secret_namespaces, namespace} if secret_namespaces else ()):
        text = rendered(ROLES / "secrets-of-a-namespace.yaml", namespace)
        plane.install(text.replace(SECRET_NAMESPACE, each))
    secrets = Right(namespace, "/secrets", "list")
    await_rights(plane.api(), account(namespace, OPERATOR), Right("", "/pods", "list"), secrets)
    return plane.service_account(namespace, OPERATOR)


def install_agent_rights(plane: ControlPlane, namespace: str) -> str:
    """The agents' token, for an installation in *namespace*."""
    plane.install(rendered(ROLES / "agent.yaml", namespace))
    await_rights(plane.api(), account(namespace, AGENT), Right(namespace, "hookline.dev/routetables", "list"))
    return plane.service_account(namespace, AGENT)


def await_rights(api: Api, user: str, *rights: Right) -> None:
    """Return when the API server goes by them: a moment after they were written."""
    deadline = time.monotonic() + IN_FORCE_WITHIN
    for right in rights:
        while not may(api, user, right):
            assert time.monotonic() < deadline, f"{user} has no {right} after {IN_FORCE_WITHIN:g} s"
            time.sleep(0.05)


def account(namespace: str, name: str) -> str:
    """The user name of a ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{name}"


def granted(api: Api, user: str, namespaces: Iterable[str], resources: Iterable[str] = ()) -> frozenset[Right]:
    """
    All that the API server would let *user* do, of every verb with every resource that it serves, there and cluster-wide.

    A right that holds cluster-wide is not told again for each namespace.
    """
    asked = [
        Right(namespace, resource, verb)
        for namespace in ("", *namespaces)
        for resource in (*served(api), *resources)
        for verb in VERBS
    ]
    with ThreadPoolExecutor(REVIEWS_AT_ONCE) as pool:
        answers = list(pool.map(lambda right: may(api, user, right), asked))
    allowed = {right for right, answer in zip(asked, answers, strict=True) if answer}
    everywhere = {(right.resource, right.verb) for right in allowed if not right.namespace}
    return frozenset(
        right for right in allowed if not right.namespace or (right.resource, right.verb) not in everywhere
    )


def may(api: Api, user: str, right: Right) -> bool:
    """Whether the API server would let *user* do it."""
    group, _, resource = right.resource.partition("/")
    resource, _, subresource = resource.partition("/")
    attributes = {
        "namespace": right.namespace,
        "verb": right.verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "name": right.name,
    }
    groups = ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    answer = api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def served(api: Api) -> list[str]:
    """Every resource of the API server, subresources too, as "group/plural[/subresource]"."""
    groups = api.request("GET", "/apis")["groups"]
    versions = {"": "/api/v1"} | {each["name"]: f"/apis/{each['preferredVersion']['groupVersion']}" for each in groups}
    return [
        f"{group}/{each['name']}" for group, path in versions.items() for each in api.request("GET", path)["resources"]
    ]


def rights(text: str, namespace: str) -> frozenset[Right]:
    """Those that the roles in *text* (manifests) grant; a Role's are of the namespace that it is in."""
    return frozenset(right for role in yaml.safe_load_all(text) for right in _of(role, namespace))


def _of(role: dict[str, Any], namespace: str) -> Iterator[Right]:
    place = role["metadata"].get("namespace", "") if role["kind"] == "Role" else ""
    for rule in role.get("rules", []):
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Right(place, f"{group}/{resource}", verb, name)
