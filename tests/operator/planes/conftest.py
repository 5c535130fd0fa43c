"""A cluster with real controllers in which the product runs, for the tests of this folder that look at whole planes."""

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
    """At work."""
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(folder / "plane", kubernetes_programs, guard))
        network = stack.enter_context(Network())
        processes = stack.enter_context(Processes(folder / "log", guard, network))
        yield stack.enter_context(running_cluster(plane, network, processes, guard, folder))
