"""Receivers go on with what they have: without an API server, without an operator, and started anew meanwhile."""

from collections.abc import Callable

import pytest

from support.tenancy import Cluster, Tenant, example, fresh

pytestmark = [
    pytest.mark.needs_network_namespace,
    # Python before 3.11.9 leaves a socket open when its peer is killed between connection and handshake.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"),
]


def test_receivers_go_on_without_an_operator_and_the_next_one_makes_up_for_it(cluster: Cluster) -> None:
    """A killed operator costs changes, not events; the next one finds what has changed meanwhile."""
    tenant = example(cluster, "headless")
    inboxes = both(tenant)
    passes(tenant, *inboxes)

    cluster.operator.process.kill()
    tenant.patch({"suspend": True})
    restart(cluster, "receiver")
    tenant.until(lambda: serves(tenant), 30, "both receivers after their restart")
    passes(tenant, *inboxes)

    cluster.start_operator()
    took = tenant.until_answered(503, within=60)
    tenant.patch({"suspend": False})
    tenant.until_answered(200)
    tenant.wait("Ready")
    print(f"a change made without an operator: in force {took:.2f} s after the start of the next one")


def test_events_are_taken_and_delivered_while_the_api_server_is_away(cluster: Cluster) -> None:
    """Restarts of a receiver pod's containers included: what they serve lies on their disk."""
    tenant = example(cluster, "outage")
    inboxes = both(tenant)
    passes(tenant, *inboxes)

    cluster.plane.kill_apiserver()
    try:
        assert tenant.statuses() == {200}
        passes(tenant, *inboxes)
        for container in ("receiver", "forwarder", "agent"):
            restart(cluster, container)
            tenant.until(lambda: serves(tenant), 30, f"both receivers after the restart of {container}")
            assert tenant.statuses(("acmehooks", "wrong")) == {401}
            passes(tenant, *inboxes)
    finally:
        cluster.plane.start_apiserver()
        cluster.restart_controllers()

    tenant.until(lambda: connected(cluster), 60, "all pods ready, the operator at work")
    tenant.patch({"suspend": True})
    took = tenant.until_answered(503, within=60)
    tenant.patch({"suspend": False})
    tenant.until_answered(200, within=60)
    tenant.wait("Ready", within=60)
    print(f"the first change after the API server came back: {took:.2f} s")


def both(tenant: Tenant) -> tuple[Callable[[str], bool], ...]:
    """Whether both handlers have a message."""
    notifier, analytics = tenant.inbox("notifier"), tenant.inbox("analytics")
    return (
        lambda message: notifier.got(message, route="notify"),
        lambda message: analytics.got(message, route="analytics"),
    )


def passes(tenant: Tenant, *arrived: Callable[[str], bool]) -> None:
    """A fresh event goes all the way."""
    message = fresh()
    tenant.send(message)
    tenant.until(lambda: all(has(message) for has in arrived), 30, f"{message} at all handlers")


def restart(cluster: Cluster, container: str) -> None:
    """Kill it in every receiver pod."""
    for pod in cluster.node.running.values():
        if pod.name.startswith("hookline-default-"):
            process = pod.container(container).process
            assert process is not None
            process.kill()


def serves(tenant: Tenant) -> bool:
    """Whether both receivers are there and accept."""
    pods = tenant.cluster.pods()
    if len(pods) != 2:
        return False
    try:
        return tenant.statuses() == {200}
    except OSError:
        return False


def connected(cluster: Cluster) -> bool:
    """Whether things stand as after the start."""
    return len(cluster.pods()) == 2 and cluster.operator.process.alive()
