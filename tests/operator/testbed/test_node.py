"""Pods as processes: what the operator makes is run for real, by the controllers' own rules."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.kubernetes.api import Object
from support.kubernetes.guard import Guard
from support.kubernetes.network import Network
from support.kubernetes.node import CONTROLLERS, Node
from support.kubernetes.plane import ControlPlane
from support.waiting import until_sync

SERVE = """
import http.server, os, pathlib, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(pathlib.Path(os.environ["FILE"]).read_bytes() + os.environ["NAME"].encode())

def end(*_):
    with open(os.environ["JOURNAL"] + "/ends", "a") as file:
        file.write(os.environ["NAME"] + "\\n")
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
host, _, port = os.environ["BIND"].rpartition(":")
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


def a_container(name: str, port: int) -> Object:
    """A program that answers with the content of a mounted Secret and its name, and writes down its end."""
    environment = {"BIND": f"[::]:{port}", "FILE": "/etc/it/word", "JOURNAL": "/data/journal", "NAME": name}
    return {
        "name": name,
        "image": "none",
        "command": ["python", "-c", SERVE],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "ports": [{"name": name, "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/", "port": port}, "failureThreshold": 1},
        "startupProbe": {"httpGet": {"path": "/", "port": port}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data/journal", "subPath": "journal"},
            {"name": "secret", "mountPath": "/etc/it"},
        ],
    }


def a_stateful_set(replicas: int) -> Object:
    """Two containers a Pod, one of them a native sidecar."""
    sidecar = {**a_container("beside", 8081), "restartPolicy": "Always"}
    pod = {
        "metadata": {"labels": {"app": "it"}},
        "spec": {
            "initContainers": [sidecar],
            "containers": [a_container("main", 8080)],
            "volumes": [{"name": "secret", "secret": {"secretName": "it"}}],
        },
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    spec = {
        "replicas": replicas,
        "serviceName": "it",
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": "it"}},
        "template": pod,
        "volumeClaimTemplates": [claim],
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata(), "spec": spec}


def metadata() -> Object:
    """Everything here is called so."""
    return {"name": "it", "namespace": "default"}


@pytest.fixture
def node(
    own_plane: ControlPlane, controller_manager: Path, network: Network, guard: Guard, tmp_path: Path
) -> Iterator[Node]:
    """A node with controllers that give it work, and a Service."""
    network.mirror(own_plane.port)
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata(), "stringData": {"word": "hello "}}
    own_plane.admin.apply({**service, "spec": {"selector": {"app": "it"}, "ports": ports}}, secret)
    own_plane.start_controllers(*CONTROLLERS)
    with Node(own_plane, network, guard, tmp_path) as made:
        yield made


@pytest.fixture
def own_plane(controller_manager: Path, own_plane: ControlPlane) -> ControlPlane:
    """One that has controllers."""
    return own_plane


def test_pods_run_and_end_by_the_controllers_rules(node: Node, own_plane: ControlPlane, tmp_path: Path) -> None:
    """Names, order, volumes, endpoints, probes: what a receiver pod relies on."""
    api = own_plane.admin
    api.apply(a_stateful_set(2))

    first, second = node.wait_ready("default", 2)
    assert [first.name, second.name] == ["it-0", "it-1"]
    assert first.page(8080, "/") == (200, b"hello main")
    assert first.page(8081, "/") == (200, b"hello beside")
    until_sync(lambda: ready_endpoints(own_plane) == {first.address, second.address}, what="both are endpoints")

    api.patch(a_stateful_set(1), {"spec": {"replicas": 1}})
    node.wait_ready("default", 1)
    until_sync(lambda: ready_endpoints(own_plane) == {first.address}, what="one is left")
    ends = tmp_path / "node-a" / "claims" / "default" / "data-it-1" / "journal" / "ends"
    until_sync(lambda: ends.exists() and ends.read_text() == "main\nbeside\n", what="the sidecar ends last")


def test_a_container_that_dies_is_started_again(node: Node, own_plane: ControlPlane) -> None:
    """The tests of kill -9 in a pod: its Service leaves it out meanwhile."""
    own_plane.admin.apply(a_stateful_set(1))
    (pod,) = node.wait_ready("default", 1)
    until_sync(lambda: ready_endpoints(own_plane) == {pod.address}, what="it is an endpoint")
    beside = pod.container("beside").process
    killed = pod.container("main").process
    assert killed is not None

    killed.kill()

    until_sync(lambda: ready_endpoints(own_plane) == set(), what="it is none")
    node.wait_ready("default", 1)
    assert pod.container("main").restarts == 1
    assert pod.container("beside").process is beside


def test_a_changed_secret_reaches_the_pod(node: Node, own_plane: ControlPlane) -> None:
    """Rotation is read from files."""
    own_plane.admin.apply(a_stateful_set(1))
    (pod,) = node.wait_ready("default", 1)

    changed = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata(), "stringData": {"word": "bye "}}
    own_plane.admin.apply(changed)

    until_sync(lambda: pod.page(8080, "/")[1] == b"bye main", what="the new word is served")


def ready_endpoints(plane: ControlPlane) -> set[str]:
    """Addresses that the endpoint controller leads to."""
    return {
        address
        for each in plane.admin.objects("discovery.k8s.io/v1", "EndpointSlice", "default")
        for endpoint in each.get("endpoints") or ()
        if endpoint["conditions"].get("ready")
        for address in endpoint["addresses"]
    }
