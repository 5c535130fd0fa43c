"""Planes with everything at work: controllers, pods, tenants."""

import pytest

from support.crds import a_gateway
from support.kubernetes.api import Object
from support.manifests import a_route, a_secret, a_subscription
from support.planes import KINDS
from support.tenancy import Cluster, Tenant, an_event, fresh

pytestmark = pytest.mark.needs_network_namespace

OWN = {"mode": "Dedicated", "dedicated": {"scaling": {"minReplicas": 1, "maxReplicas": 2}}}


@pytest.fixture(scope="module")
def team(cluster: Cluster) -> Tenant:
    """Whose gateway allows one data plane of their own in each namespace; with two subscriptions, both shared."""
    dedicated = {"allowed": True, "maxPerNamespace": 1}
    cluster.apply(a_gateway(cluster.installation.namespace, "team", replicas=1, dedicated=dedicated))
    tenant = cluster.tenant("team")
    tenant.gateway = "team"
    tenant.handler("handler")
    tenant.apply(a_secret(namespace=tenant.namespace))
    for name in ("chat", "other"):
        tenant.apply(subscription(tenant, name))
        tenant.wait("Ready", name, within=90)
    return tenant


def subscription(tenant: Tenant, name: str, *routes: Object, **spec: object) -> Object:
    """One of the team's."""
    made = a_subscription(*routes, name=name, namespace=tenant.namespace, gatewayRef={"name": "team"}, **spec)
    return dict(made)


def gateway(cluster: Cluster, name: str = "team") -> Object:
    """As it is now."""
    return cluster.plane.admin.get("hookline.dev/v1alpha1", "WebhookGateway", cluster.installation.namespace, name)


def objects_of(cluster: Cluster, plane: str) -> set[str]:
    """Kinds and names of the plane's."""
    return {
        f"{kind}/{each['metadata']['name']}"
        for kind, version in KINDS.items()
        for each in cluster.plane.admin.objects(version, kind, cluster.installation.namespace)
        if each["metadata"].get("annotations", {}).get("hookline.dev/plane") == plane
    }


def test_a_gateway_is_scaled_with_kubectl(cluster: Cluster, team: Tenant) -> None:
    """The scale subresource is what people and other scalers know."""
    cluster.kubectl("scale", "webhookgateway", "team", "--replicas=2")
    team.until(lambda: len(cluster.pods("team")) == 2, 60, "two pods")
    team.until(lambda: gateway(cluster)["status"].get("replicas") == 2, what="the gateway says so")
    chosen = gateway(cluster)["status"]["selector"]
    assert len(cluster.kubectl("get", "pods", "-l", chosen, "-o", "name").split()) == 2

    cluster.kubectl("scale", "webhookgateway", "team", "--replicas=1")
    team.until(lambda: len(cluster.pods("team")) == 1, 60, "one pod")
    team.until(lambda: gateway(cluster)["status"].get("replicas") == 1, what="the gateway says so")


def test_a_plane_of_its_own_comes_serves_one_subscription_and_goes_when_it_is_empty(
    cluster: Cluster, team: Tenant
) -> None:
    """Nobody is refused while it comes; what waits in it when it is left is delivered before it is removed."""
    plane = f"team.{team.namespace}.chat"
    team.patch({"dataPlane": OWN})
    while not cluster.pods(plane):
        assert team.statuses() == {200}
    team.wait("Ready", within=60)
    own = Tenant(cluster, team.namespace, plane)
    own.until_answered(200)
    assert own.statuses(name="other") == {401}
    assert team.statuses() == {200}, "until its traffic is led to its own Service, the shared plane takes it too"
    assert {each.partition("/")[0] for each in objects_of(cluster, plane)} == set(KINDS)

    team.apply(subscription(team, "second", dataPlane=OWN))
    team.until(lambda: team.says("Accepted", "False", name="second"), what="a second plane of its own is refused")
    assert "at most 1 dedicated" in team.conditions("second")["Accepted"]["message"]
    assert not objects_of(cluster, f"team.{team.namespace}.second")
    team.kubectl("delete", "webhooksubscription", "second")

    inbox, message = team.inbox("handler"), fresh()
    team.patch({"routes": [{**a_route(), "paused": True}]})
    team.wait("Programmed")
    assert {answer.status for answer in own.post(an_event(message))} == {200}
    team.patch({"dataPlane": {"mode": "Shared", "dedicated": None}})
    team.until(lambda: "is being left" in deployed(cluster), 30, "the gateway says that the plane is being left")
    for _ in range(3):
        before = gateway(cluster)["metadata"]["resourceVersion"]
        assert objects_of(cluster, plane), before
    assert not inbox.got(message)

    team.patch({"routes": [a_route()]})
    team.until(lambda: inbox.got(message), 30, "what waited in the plane that is left")
    team.until(lambda: not objects_of(cluster, plane), 90, "the plane is removed")
    team.until(lambda: not cluster.pods(plane), 90, "its pods have ended")
    team.until(lambda: "is being left" not in deployed(cluster), 30)
    assert team.statuses() == {200}


def deployed(cluster: Cluster) -> str:
    """The message of the gateway's condition."""
    conditions = {each["type"]: each for each in gateway(cluster)["status"]["conditions"]}
    return str(conditions["Deployed"]["message"])


def test_what_a_gateway_owns_goes_with_it(cluster: Cluster) -> None:
    """By the cluster's garbage collector, whether or not an operator runs."""
    namespace = cluster.installation.namespace
    scaling = {"minReplicas": 1, "maxReplicas": 1}
    cluster.apply(a_gateway(namespace, "gone", scaling=scaling))
    tenant = cluster.tenant("gone")
    tenant.until(lambda: len({each.partition("/")[0] for each in objects_of(cluster, "gone")}) == len(KINDS), 30)

    cluster.kubectl("delete", "webhookgateway", "gone")

    tenant.until(lambda: not objects_of(cluster, "gone"), 60, "everything is collected")


def test_a_gateway_that_is_made_anew_gets_its_objects_anew(cluster: Cluster) -> None:
    """Those of the one before it are being collected meanwhile: they must not be taken for its own."""
    tenant = cluster.tenant("anew")
    uids = set()
    for _ in range(2):
        cluster.apply(a_gateway(cluster.installation.namespace, "anew", replicas=0))
        uid = gateway(cluster, "anew")["metadata"]["uid"]

        def owned(uid: str = uid) -> bool:
            every = cluster.plane.admin.objects("apps/v1", "StatefulSet", cluster.installation.namespace)
            return any(one["metadata"]["ownerReferences"][0]["uid"] == uid for one in every)

        tenant.until(owned, 60, "a StatefulSet of this gateway")
        uids.add(uid)
        cluster.kubectl("delete", "webhookgateway", "anew")

    assert len(uids) == 2
