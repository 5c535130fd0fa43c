"""What tenants' senders notice of the operator's and the API server's troubles: nothing, but what was meant for them."""

import statistics
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hookline_operator.decide.planes.pod import AGENT_OPS_PORT
from support.kubernetes.call import Request, matching
from support.kubernetes.faults import Answer, Stall, WatchError
from support.kubernetes.guard import Guard
from support.kubernetes.installation import Operator
from support.kubernetes.network import Network
from support.kubernetes.plane import ControlPlane
from support.kubernetes.pod import Container, RunningPod
from support.kubernetes.process import Processes
from support.kubernetes.proxy import FaultProxy
from support.manifests import PASSWORD, USERNAME, a_secret
from support.tenancy import HOST, Cluster, Tenant, acme_gateway, an_event, example, fresh, running_cluster
from support.waiting import until_sync

SWEEP = 10.0
"""Seconds between two sweeps of these operators; 45 by default."""
LEASE = 6.0
"""Seconds of a Lease, by default."""
watching = matching(verb="watch")


@dataclass
class World:
    """A cluster whose operators reach the API server by way of a proxy."""

    cluster: Cluster
    proxy: FaultProxy
    operators: list[Operator]

    @property
    def leader(self) -> Operator:
        """Who holds the Lease."""
        (found,) = [each for each in self.operators if each.name == self.holder()]
        return found

    def holder(self) -> str:
        """By name; "" for nobody."""
        leases = self.cluster.plane.admin.objects(
            "coordination.k8s.io/v1", "Lease", self.cluster.installation.namespace
        )
        return next((str(lease["spec"].get("holderIdentity") or "").partition("_")[0] for lease in leases), "")

    def start_operator(self) -> Operator:
        """One more."""
        started = self.cluster.installation.start_operator(gateway=acme_gateway(), **self.cluster.settings)
        self.operators.append(started)
        return started

    def wait_follower(self) -> None:
        """Until the one that does not lead is ready to."""
        for each in self.operators:
            port = self.cluster.reach(each.address, 8085)
            each.process.wait_for(lambda port=port: is_ready(port), 60, f"{each.name} ready")


def is_ready(port: int) -> bool:
    """Whether what listens there says so."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def world(
    controller_manager: Path,
    kubernetes_programs: Mapping[str, Path],
    guard: Guard,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """Two operators, two receiver pods."""
    folder = tmp_path_factory.mktemp("serving")
    with (
        ControlPlane(folder / "plane", kubernetes_programs, guard) as plane,
        Network() as network,
        Processes(folder / "log", guard, network) as processes,
        FaultProxy(plane, network) as proxy,
        running_cluster(
            plane, network, processes, guard, folder, server=proxy.url, sweep_seconds=str(SWEEP)
        ) as cluster,
    ):
        made = World(cluster, proxy, [cluster.operator])
        made.start_operator()
        made.wait_follower()
        yield made


@dataclass
class Sender:
    """Sends one event after another to every receiver, and counts what it is answered."""

    tenant: Tenant
    answers: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def sending(self) -> Iterator["Sender"]:
        """For as long as the block takes."""
        ending = threading.Event()

        def send() -> None:
            while not ending.wait(0.02):
                try:
                    self.answers.update(answer.status for answer in self.tenant.post(an_event(fresh())))
                except OSError as error:
                    self.errors.append(repr(error))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield self
        finally:
            ending.set()
            thread.join(30)


def seconds_until_a_change_is_served(tenant: Tenant, name: str, begun: float) -> float:
    """A Secret of that name, made now: until every receiver takes its password, counted from *begun*."""
    credential = (name.replace("-", ""), "Zz9fKq2LmX7tVb4R")
    tenant.apply(a_secret(name, tenant.namespace, username=credential[0], password=credential[1]))
    refs = [{"name": "cometchat"}, {"name": name}]
    tenant.patch({"auth": {"basic": {"secretRefs": refs}}})
    tenant.until_answered(200, credential, within=30)
    return time.monotonic() - begun


def unneeded(request: Request) -> bool:
    """Match writes that a revocation does not need."""
    return request.writes and request.resource not in ("leases", "routetables")


def test_a_planned_end_of_the_leader_costs_less_than_a_lease(world: World) -> None:
    """A rolling update of the operator is nothing to wait for; what is served is served on."""
    tenant = example(world.cluster, "planned")
    usual = seconds_until_a_change_is_served(tenant, "before", time.monotonic())
    took = []
    with Sender(tenant).sending() as sender:
        for index in range(3):
            leader = world.leader
            begun = time.monotonic()
            leader.process.terminate()
            took.append(seconds_until_a_change_is_served(tenant, f"planned-{index}", begun))
            leader.process.wait(30)
            world.operators.remove(leader)
            world.start_operator()
            world.wait_follower()

    seconds = [round(each, 2) for each in took]
    print(f"measured: from SIGTERM until a change made after it is served: {seconds} s ({usual:.2f} s without)")
    assert min(took) - usual < LEASE / 2, "the Lease was not given back: it had to run out"
    assert set(sender.answers) == {200}
    assert sender.errors == []


def test_a_crash_of_the_leader_costs_less_than_ten_seconds(world: World) -> None:
    """The other one waits for the Lease to run out, and no longer; what is served is served on."""
    tenant = example(world.cluster, "crash")
    usual = seconds_until_a_change_is_served(tenant, "before", time.monotonic())
    with Sender(tenant).sending() as sender:
        leader = world.leader
        begun = time.monotonic()
        leader.process.kill()
        took = seconds_until_a_change_is_served(tenant, "crashed", begun)
        world.operators.remove(leader)
        world.start_operator()
        world.wait_follower()

    print(f"measured: from kill -9 until a change made after it is served: {took:.2f} s ({usual:.2f} s without)")
    assert took - usual < 10
    assert set(sender.answers) == {200}
    assert sender.errors == []


def test_a_revocation_does_not_wait_for_anything_else_that_fails(world: World) -> None:
    """A leaked password stops working within a second of the API server's event, though statuses can't be written."""
    tenant = example(world.cluster, "leaked")
    took = []

    with world.proxy.inject(Answer(503), unneeded) as rule:
        for index in range(3):
            credential = (f"leaked{index}", "Zz9fKq2LmX7tVb4R")
            seconds_until_a_change_is_served(tenant, credential[0], time.monotonic())
            secret = {"apiVersion": "v1", "kind": "Secret"}
            metadata = {"namespace": tenant.namespace, "name": credential[0]}
            world.cluster.plane.admin.delete({**secret, "metadata": metadata})
            took.append(tenant.until_answered(401, credential, within=10))
    assert rule.hits > 0
    tenant.patch({"auth": {"basic": {"secretRefs": [{"name": "cometchat"}]}}})
    tenant.wait("Ready", within=60)

    print(f"measured: from a Secret's deletion to 401 at all receivers: {[round(each, 2) for each in took]} s")
    assert statistics.median(took) < 1


def test_what_was_deleted_in_a_gap_that_ends_in_410_accepts_nothing(world: World) -> None:
    """Nobody tells of deletions in a gap: a sweep finds them, in its time, and no ghost accepts an event afterwards."""
    secret, gone, suspended = (example(world.cluster, f"gap-{each}") for each in ("secret", "gone", "suspended"))
    untouched = example(world.cluster, "gap-untouched")
    leader = world.leader

    with Sender(untouched).sending() as sender:
        # Watches hang for nobody's fault, and what they did not say is forgotten when they are begun anew.
        silent = world.proxy.inject(Stall(), watching)
        world.proxy.reset(watching)
        secret.kubectl("delete", "secret", "cometchat")
        gone.kubectl("delete", "webhooksubscription", "chat")
        suspended.patch({"suspend": True})
        assert (secret.statuses(), gone.statuses()) == ({200}, {200}), "the operator was told, there is no gap"
        expired = world.proxy.inject(WatchError(410), watching, times=20)
        silent.lift()
        world.proxy.reset(watching)
        begun = time.monotonic()
        secret.until_answered(503, within=SWEEP + 10)
        gone.until_answered(401, within=SWEEP + 10)
        suspended.until_answered(503, within=SWEEP + 10)
        took = time.monotonic() - begun

    print(f"measured: ghosts gone {took:.2f} s after the gap ended, with a sweep every {SWEEP:g} s")
    assert expired.hits > 0
    assert world.leader is leader, "a new term verifies everything: this was to be one term"
    assert set(sender.answers) == {200}
    expired.lift()


def test_while_the_api_server_is_away_everything_serves_on_through_restarts(world: World) -> None:
    """Receivers need nobody to accept, nobody to deliver, and nobody to start again."""
    cluster = world.cluster
    tenant = example(cluster, "away")
    inbox = tenant.inbox("notifier")
    pods = cluster.pods()
    cluster.plane.kill_apiserver()
    begun = time.monotonic()

    for pod in pods:
        restart(tenant, pod, "agent", "forwarder", "receiver")
    leader = world.operators[0]
    leader.process.kill()
    world.operators.remove(leader)
    world.start_operator()
    for pod in pods:
        assert accepts(cluster, tenant, pod) == 200
        status = pod.page(AGENT_OPS_PORT, "/readyz")[0]
        assert status == 200, f"the agent of {pod.name} is not ready"
    message = fresh()
    cluster.post(pods[0], tenant.path, an_event(message), (USERNAME, PASSWORD), HOST)
    until_sync(lambda: inbox.got(message, route="notify"), 30, "an event accepted and delivered meanwhile")
    away = time.monotonic() - begun

    cluster.plane.start_apiserver()
    back = time.monotonic()
    took = seconds_until_a_change_is_served(tenant, "afterwards", back)
    tenant.wait("Ready", within=60)
    print(f"measured: API server away for {away:.1f} s; a change made when it was back is served after {took:.2f} s")


def accepts(cluster: Cluster, tenant: Tenant, pod: RunningPod) -> int:
    """What that receiver answers to an event."""
    return cluster.post(pod, tenant.path, an_event(fresh()), (USERNAME, PASSWORD), HOST).status


def restart(tenant: Tenant, pod: RunningPod, *containers: str) -> None:
    """Kill each program of the pod in turn, and have it started again as a kubelet does, without an API server."""
    for name in containers:
        container = pod.container(name)
        assert container.process is not None
        before = container.process.pid
        container.process.kill()

        def is_back(container: Container = container, before: int = before) -> bool:
            pod.keep()
            return pod.ready and container.process is not None and container.process.pid != before

        until_sync(is_back, 60, f"{name} of {pod.name} is back")
        assert accepts(tenant.cluster, tenant, pod) == 200
