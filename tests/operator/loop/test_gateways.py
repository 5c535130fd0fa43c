"""A platform team's gateway, as it changes: host names, limits, who may attach."""

import json
from collections.abc import Iterator

import pytest

from support.acme import CLIENT_SECRET, acme_gateway, an_event
from support.crds import a_gateway
from support.kubernetes.api import Object
from support.tenancy import Cluster, Tenant, example, example_tenant, fresh
from support.waiting import until_sync

pytestmark = pytest.mark.needs_network_namespace

OTHER = "hooks.example.org"
GATEWAY = "second"


@pytest.fixture(scope="module")
def second(cluster: Cluster) -> Iterator[str]:
    """Another gateway of the installation, with a receiver pod of its own."""
    namespace = cluster.installation.namespace
    known_by = {"clientCertificateRef": {"name": CLIENT_SECRET}}
    cluster.apply(a_gateway(namespace, GATEWAY, replicas=1, hostnames=[OTHER], backendTLS=known_by))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", f"webhookgateway/{GATEWAY}", timeout=90)
    yield GATEWAY
    cluster.kubectl("delete", "webhookgateway", GATEWAY)


def test_the_default_gateway_is_what_the_configuration_says(cluster: Cluster) -> None:
    """Whoever installs it has a gateway at once, and sees in its status that it is at work."""
    everybody = {"ready": 2, "synced": 2, "summary": "2/2/2"}
    until_sync(lambda: default_gateway(cluster)["status"].get("receivers") == everybody, what=f"{everybody}")

    found = default_gateway(cluster)
    given = acme_gateway()
    assert {name: found["spec"][name] for name in given if name != "eventStore"} == {
        name: given[name] for name in given if name != "eventStore"
    }
    assert found["status"]["replicas"] == 2


def test_a_gateways_number_of_pods_is_scaled_like_a_deployments(cluster: Cluster, second: str) -> None:
    """`kubectl scale`, and every autoscaler that knows the scale subresource."""
    scale = json.loads(cluster.kubectl("get", "--raw", f"{path_of(cluster)}/{second}/scale"))
    pods = cluster.kubectl("get", "pods", "-l", scale["status"]["selector"], "-o", "name").split()

    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (1, 1)
    assert pods == [f"pod/hookline-{second}-0"]

    cluster.kubectl("scale", "webhookgateway", second, "--replicas=2")
    until_sync(lambda: len(cluster.pods(second)) == 2, 60, "a second pod")
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", f"webhookgateway/{second}", timeout=90)
    cluster.kubectl("scale", "webhookgateway", second, "--replicas=1")
    until_sync(lambda: len(cluster.pods(second)) == 1, 60, "one pod")


def test_a_gateway_answers_under_its_own_host_names(cluster: Cluster, second: str) -> None:
    """One gateway's subscriptions are unknown at another, and its URL is what the status tells."""
    tenant = attached(cluster, "hosted", second)

    assert tenant.subscription()["status"]["url"] == f"https://{OTHER}{tenant.path}"
    assert tenant.statuses(host=OTHER) == {200}
    assert tenant.statuses() == {401}
    tenant.gateway = "default"
    assert tenant.statuses(host=OTHER) == {401}
    tenant.gateway = second

    change(cluster, {"hostnames": [OTHER, "more.example.org"]})
    tenant.until_answered(200, host="more.example.org")
    assert tenant.statuses(host=OTHER) == {200}
    change(cluster, {"hostnames": [OTHER]})
    tenant.until_answered(401, host="more.example.org")


def test_a_gateways_limit_of_bodies_holds_from_its_change_on(cluster: Cluster, second: str) -> None:
    """413 before a body is read, whatever the tenant says."""
    tenant = attached(cluster, "limited", second)
    large = an_event(fresh(), text="x" * 5000)
    assert [answer.status for answer in tenant.post(large, host=OTHER)] == [200]

    change(cluster, {"limits": {"maxBodySize": "4Ki"}})
    tenant.until(lambda: [each.status for each in tenant.post(large, host=OTHER)] == [413], what="413")
    assert tenant.statuses(host=OTHER) == {200}

    change(cluster, {"limits": None})
    tenant.until(lambda: [each.status for each in tenant.post(large, host=OTHER)] == [200], what="200 again")


def test_who_may_attach_follows_the_labels_of_namespaces(cluster: Cluster, second: str) -> None:
    """A namespace that loses its label is refused at once, and its subscriptions say why."""
    tenant = attached(cluster, "labelled", second)
    cluster.kubectl("label", "namespace", tenant.namespace, "tier=gold")

    change(cluster, {"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"tier": "gold"}}}})
    tenant.wait("Ready")
    assert tenant.statuses(host=OTHER) == {200}

    cluster.kubectl("label", "namespace", tenant.namespace, "tier=lead", "--overwrite")
    took = tenant.until_answered(401, host=OTHER)
    tenant.until(lambda: tenant.says("Accepted", "False", "NamespaceNotAllowed"), what="NamespaceNotAllowed")

    cluster.kubectl("label", "namespace", tenant.namespace, "tier=gold", "--overwrite")
    tenant.until_answered(200, host=OTHER)
    tenant.wait("Ready")
    change(cluster, {"allowedNamespaces": {"from": "All", "selector": None}})
    print(f"a namespace's label: refused {took:.2f} s after kubectl label")


def test_a_subscription_moves_from_one_gateway_to_another(cluster: Cluster, second: str) -> None:
    """One field; the old receivers forget it, the new ones serve it, and its handler gets what came before."""
    tenant = example(cluster, "moving")

    tenant.patch({"gatewayRef": {"name": second}})

    tenant.until_answered(401)
    tenant.gateway = second
    tenant.until_answered(200, host=OTHER)
    tenant.wait("Ready")
    assert tenant.subscription()["status"]["gateway"] == f"hookline/{second}"
    tenant.delivered(tenant.inbox("notifier"), "notify", host=OTHER)


def attached(cluster: Cluster, namespace: str, gateway: str) -> Tenant:
    """A tenant with the example at work on that gateway."""
    tenant = example_tenant(cluster, namespace)
    tenant.gateway = gateway
    wanted = tenant.manifest("WebhookSubscription")
    wanted["spec"]["gatewayRef"] = {"name": gateway}
    tenant.apply(tenant.manifest("Secret"), wanted)
    tenant.wait("Ready")
    return tenant


def default_gateway(cluster: Cluster) -> Object:
    """As it is now."""
    found: Object = json.loads(cluster.kubectl("get", "webhookgateway", "default", "-o", "json"))
    return found


def change(cluster: Cluster, spec: dict[str, object]) -> None:
    """`kubectl patch` of the second gateway."""
    patch = json.dumps({"spec": spec})
    cluster.kubectl("patch", "webhookgateway", GATEWAY, "--type=merge", "-p", patch)


def path_of(cluster: Cluster) -> str:
    """Of gateways, at the API server."""
    return f"/apis/hookline.dev/v1alpha1/namespaces/{cluster.installation.namespace}/webhookgateways"
