"""An installation without receivers on a control plane of its own: what operators publish is watched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.kubernetes.installation import Installation, install
from support.kubernetes.network import Network
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Processes
from support.published import Publications


@pytest.fixture
def installation(own_plane: ControlPlane, network: Network, processes: Processes, tmp_path: Path) -> Installation:
    """With a control plane of the test's own: nobody else changes anything."""
    network.mirror(own_plane.port)
    return install(own_plane, network, processes, tmp_path)


@pytest.fixture
def publications(installation: Installation) -> Iterator[Publications]:
    """Everything that is published in the test; at its end nothing was half, and nothing that was revoked came back."""
    with Publications(installation.plane, installation.namespace) as watching:
        yield watching
    assert watching.error is None, watching.error
    assert watching.broken == []
