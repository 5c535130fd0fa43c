"""The product itself on the test bed: its own pods, its own operator, its own rights."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline_operator.decide.planes.pod import AGENT_OPS_PORT, HTTP_PORT
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
    installation.start_operator()

    first, second = node.wait_ready(installation.namespace, 2, within=90)

    assert first.page(HTTP_PORT, "/nobody/here")[0] == 401
    status = json.loads(second.page(AGENT_OPS_PORT, "/status")[1])
    assert (status["plane"], status["in_sync"]) == ("default", True)
