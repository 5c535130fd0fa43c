"""A namespace can't take what is another's: the admission policies, on the real API server."""

import time
from typing import Any

import pytest

from support.crds import POLICIES, a_gateway, a_subscription, would_refuse
from support.kubernetes.api import Api, Refused
from support.kubernetes.plane import ControlPlane, KubectlFailed

IN_FORCE_WITHIN = 30.0


@pytest.mark.parametrize("path", ["/globex/chat", "/acmex/chat", "/ACME/chat", "/chat", "/acme"])
def test_a_path_outside_the_own_namespace_is_refused(api: Api, path: str) -> None:
    """Whoever comes first would receive another tenant's events."""
    said = would_refuse(api, a_subscription("acme", path=path))

    assert f'spec.path must start with "/acme/" and go on, got "{path}"' in said


@pytest.mark.parametrize("path", ["/acme/chat", "/acme/globex/chat", "/acme/a/b/c", ""])
def test_a_path_below_the_own_namespace_is_taken(api: Api, path: str) -> None:
    """Teams of one namespace may order their paths as they like."""
    assert would_refuse(api, a_subscription("acme", path=path)) == ""


def test_a_path_is_judged_when_it_changes_too(api: Api, guarded: ControlPlane) -> None:
    """Or one would create it well and then move it."""
    stored = api.create(a_subscription("acme", "moving"))
    path = api.resource(stored["apiVersion"], stored["kind"]).path("acme", "moving")

    with pytest.raises(Refused, match='path must start with "/acme/"'):
        api.request("PATCH", path, {"spec": {"path": "/globex/chat"}}, content_type="application/merge-patch+json")
    api.delete(stored)


@pytest.mark.parametrize("where", ["annotations", "labels"])
def test_marks_of_the_operators_own_are_refused(api: Api, where: str) -> None:
    """A tenant must not be able to write what the operator goes by, and a request that is misspelt must not be lost."""
    said = would_refuse(
        api, a_subscription("acme", metadata={where: {"hookline.dev/plane": "default", "example.com/a": "b"}})
    )

    assert f"metadata.{where}" in said
    assert said.endswith("got hookline.dev/plane")


@pytest.mark.parametrize(
    "metadata", [{"annotations": {"hookline.dev/rotate": "now", "example.com/a": "b"}}, {"labels": {"app": "a"}}]
)
def test_requests_and_marks_of_others_are_taken(api: Api, metadata: Any) -> None:
    """Tools of others mark objects as they like."""
    assert would_refuse(api, a_subscription("acme", metadata=metadata)) == ""


def test_what_is_being_deleted_can_lose_its_finalizers(api: Api, guarded: ControlPlane) -> None:
    """One that was stored before the policies were would stay for ever."""
    stored = api.create(a_subscription("acme", "leaving", metadata={"finalizers": ["example.com/hold"]}))
    api.delete(stored)

    api.patch(stored, {"metadata": {"finalizers": [], "labels": {"hookline.dev/x": "y"}}})

    assert "leaving" not in [
        each["metadata"]["name"] for each in api.objects(stored["apiVersion"], stored["kind"], "acme")
    ]


def test_a_gateway_elsewhere_can_not_take_a_host_name(api: Api) -> None:
    """Of the installation's gateways; its own ones may share a name, and who has none may take any other."""
    ours = api.create(a_gateway("hookline", "ours", hostnames=["hooks.example.com", "hooks.example.net"]))
    thief = a_gateway("globex", "thief", hostnames=["other.example.com", "hooks.example.net"])
    deadline = time.monotonic() + IN_FORCE_WITHIN
    while not (said := would_refuse(api, thief)):
        assert time.monotonic() < deadline, "the policy does not see the gateway"
        time.sleep(0.05)

    assert said.endswith(
        "spec.hostnames must not name what belongs to a gateway of another installation, got hooks.example.net"
    )
    assert would_refuse(api, a_gateway("hookline", "second", hostnames=["hooks.example.com"])) == ""
    assert would_refuse(api, a_gateway("globex", "honest", hostnames=["other.example.com"])) == ""
    api.delete(ours)


def test_a_tenant_is_told_by_kubectl(guarded: ControlPlane) -> None:
    """The message is all that a tenant sees."""
    thing = "{apiVersion: hookline.dev/v1alpha1, kind: WebhookSubscription, metadata: {name: x, namespace: acme}, "
    thing += "spec: {path: /globex/x, routes: [{name: a, handler: {serviceRef: {name: a, port: 1}}}]}}"

    with pytest.raises(KubectlFailed, match='path must start with "/acme/" and go on, got "/globex/x"'):
        guarded.kubectl("apply", "-f", "-", input=thing)


def test_every_policy_refuses_when_it_can_not_judge() -> None:
    """An error in an expression must not open the door."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in POLICIES)

    assert text.count("failurePolicy: Fail") == text.count("kind: ValidatingAdmissionPolicy\n") == len(POLICIES)
