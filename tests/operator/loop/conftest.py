"""One running installation for all tests of a module; each tenant has a namespace of its own."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.kubernetes.guard import Guard
from support.kubernetes.network import Network
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Processes
from support.tenancy import Cluster, running_cluster


@pytest.fixture(scope="module")
def cluster(
    controller_manager: Path,
    kubernetes_programs: Mapping[str, Path],
    guard: Guard,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """A cluster in which the product is at work."""
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(folder / "plane", kubernetes_programs, guard))
        network = stack.enter_context(Network())
        processes = stack.enter_context(Processes(folder / "log", guard, network))
        yield stack.enter_context(running_cluster(plane, network, processes, guard, folder))
