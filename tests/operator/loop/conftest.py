"""One running installation for all of these tests, each tenant in a namespace of its own; it ends with the last of them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.kubernetes.guard import Guard
from support.kubernetes.network import Network
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Processes
from support.tenancy import Cluster, running_cluster

RUNNING = pytest.StashKey[ExitStack]()
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def cluster(
    pytestconfig: pytest.Config,
    controller_manager: Path,
    kubernetes_programs: Mapping[str, Path],
    guard: Guard,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """A cluster in which the product is at work."""
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        pytestconfig.stash[RUNNING] = stack
        plane = stack.enter_context(ControlPlane(folder / "plane", kubernetes_programs, guard))
        network = stack.enter_context(Network())
        processes = stack.enter_context(Processes(folder / "log", guard, network))
        yield stack.enter_context(running_cluster(plane, network, processes, guard, folder))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Leave nothing running beside the tests of other folders."""
    if nextitem is None or not nextitem.path.is_relative_to(HERE):
        item.config.stash.get(RUNNING, ExitStack()).close()
