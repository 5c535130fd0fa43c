"""The product itself on the test bed: its own pods, its own operator, its own rights."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline_operator.decide.planes.manifests import manifests
from hookline_operator.decide.planes.plane import Plane
from hookline_operator.decide.planes.pod import AGENT_OPS_PORT, HTTP_PORT, PodSettings
from hookline_routes.resource import ObjectKey
from support.kubernetes.api import Object
from support.kubernetes.guard import Guard
from support.kubernetes.installation import Installation, install
from support.kubernetes.network import Network
from support.kubernetes.node import CONTROLLERS, Node
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Processes


@pytest.fixture
def installation(
    controller_manager: Path, own_plane: ControlPlane, network: Network, processes: Processes, tmp_path: Path
) -> Installation:
    """One in a cluster of its own, with controllers."""
    network.mirror(own_plane.port)
    own_plane.start_controllers(*CONTROLLERS)
    return install(own_plane, network, processes, tmp_path)


@pytest.fixture
def node(installation: Installation, guard: Guard, tmp_path: Path) -> Iterator[Node]:
    """Runs its pods."""
    with Node(installation.plane, installation.network, guard, tmp_path) as made:
        yield made


def test_receiver_pods_run_as_the_operator_describes_them(installation: Installation, node: Node) -> None:
    """The template's commands, paths, ports and probes fit the programs, and the agent's rights suffice."""
    operator = installation.start_operator()
    api, namespace = installation.plane.admin, installation.namespace
    operator.process.wait_for(lambda: bool(gateways(installation)), within=60, what="the default gateway")
    (gateway,) = gateways(installation)
    plane = Plane("default", ObjectKey(namespace, "default"), gateway["metadata"]["uid"], 2, None, 1 << 30, "", "")
    api.apply(*(dict(each) for each in manifests(plane, PodSettings(image="none"))))

    first, second = node.wait_ready(namespace, 2, within=90)

    assert first.page(HTTP_PORT, "/nobody/here")[0] == 401
    status = json.loads(second.page(AGENT_OPS_PORT, "/status")[1])
    assert (status["plane"], status["in_sync"]) == ("default", True)


def gateways(installation: Installation) -> list[Object]:
    """Those of the installation."""
    return installation.plane.admin.objects("hookline.dev/v1alpha1", "WebhookGateway", installation.namespace)
