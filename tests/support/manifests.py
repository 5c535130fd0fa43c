"""Manifests as tests need them: valid unless a test says otherwise."""

from collections.abc import Mapping
from typing import Any

import yaml

USERNAME, PASSWORD = "acmehooks", "9fKq2LmX7tVb4RzN"


def a_secret(
    name: str = "cometchat", namespace: str = "acme", *, username: str = USERNAME, password: str = PASSWORD
) -> dict[str, Any]:
    """A chosen username and password."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/basic-auth",
        "stringData": {"username": username, "password": password},
    }


def a_route(name: str = "main", service: str = "handler", port: int = 9000, **given: Any) -> dict[str, Any]:
    """A route that takes everything; *given* is the rest of it."""
    return {"name": name, "match": {}, "handler": {"serviceRef": {"name": service, "port": port}}, **given}


def a_subscription(
    *routes: Mapping[str, Any],
    name: str = "chat",
    namespace: str = "acme",
    secrets: tuple[str, ...] = ("cometchat",),
    **given: Any,
) -> dict[str, Any]:
    """A subscription with *routes* (one that takes everything, if none); no *secrets*: a generated credential."""
    auth = {"auth": {"basic": {"secretRefs": [{"name": each} for each in secrets]}}} if secrets else {}
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**auth, "routes": list(routes) or [a_route()], **given},
    }


def as_yaml(*objects: Mapping[str, Any]) -> str:
    """One file of them."""
    return yaml.safe_dump_all(objects, sort_keys=False)
