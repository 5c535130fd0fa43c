"""
What the chart brings to a cluster, for tests on a real API server.

    install_api(plane)                    the custom resource definitions
    install_policies(plane, "hookline")   the admission policies of an installation there; returns when they are in force
"""

import time
from pathlib import Path
from typing import Any

from support.kubernetes.api import Api, Refused
from support.kubernetes.plane import ControlPlane

FILES = Path(__file__).parents[2] / "charts" / "hookline" / "files"
CRDS = tuple(sorted((FILES / "crds").glob("*.yaml")))
POLICIES = tuple(sorted((FILES / "policies").glob("*.yaml")))
NAMESPACE = "{{ .Release.Namespace }}"
"""Stands in the chart's files for the installation's namespace."""

IN_FORCE_WITHIN = 30.0
"""Seconds; it takes about one."""


def install_api(plane: ControlPlane) -> None:
    """The kinds of hookline.dev, served when this returns."""
    plane.install(*CRDS)


def install_policies(plane: ControlPlane, namespace: str) -> None:
    """
    The admission policies of an installation in *namespace*.

    They hold in the whole cluster: for a plane of the test's own.
    """
    for path in POLICIES:
        plane.install(rendered(path, namespace))
    _wait_until_in_force(plane.api())


def rendered(path: Path, namespace: str) -> str:
    """A file of the chart for an installation in *namespace*."""
    return path.read_text(encoding="utf-8").replace(NAMESPACE, namespace)


def a_subscription(namespace: str, name: str = "chat", metadata: Any = None, **spec: Any) -> dict[str, Any]:
    """A valid one with one route."""
    route = {"name": "notify", "handler": {"serviceRef": {"name": "notifier", "port": 9000}}}
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {"name": name, "namespace": namespace, **(metadata or {})},
        "spec": {"routes": [route], **spec},
    }


def a_gateway(namespace: str, name: str = "default", **spec: Any) -> dict[str, Any]:
    """A valid one."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookGateway", "metadata": metadata, "spec": spec}


def would_refuse(api: Api, thing: dict[str, Any]) -> str:
    """What the API server would say to its creation; "" if it would take it."""
    path = api.resource(thing["apiVersion"], thing["kind"]).path(thing["metadata"]["namespace"])
    try:
        api.request("POST", path, thing, query={"dryRun": "All", "fieldValidation": "Strict"})
    except Refused as refusal:
        return refusal.message
    return ""


def _wait_until_in_force(api: Api) -> None:
    deadline = time.monotonic() + IN_FORCE_WITHIN
    stranger = a_subscription("default", path="/elsewhere/chat")
    while "tenancy" not in would_refuse(api, stranger):
        assert time.monotonic() < deadline, f"the policies are not in force after {IN_FORCE_WITHIN:g} s"
        time.sleep(0.05)
