"""
The fixtures of tests against a real API server; tests/conftest.py loads them for every layer.

| fixture | what a test gets |
|---|---|
| `plane` | the run's control plane, shared: nothing may stop it or disturb others' objects |
| `namespace` | a fresh namespace in it, emptied afterwards |
| `new_namespace` | the same as a function, for as many as a test needs: `acme = new_namespace("acme")` |
| `own_plane` | a control plane of the test's own, to stop, pause, compact |
| `new_plane` | the same as a function that takes PlaneOptions |
| `kinds` | nothing: from now on `plane` serves the project's kinds and ReferenceGrants |
| `controller_manager` | the path of kube-controller-manager, for `ControlPlane.start_controllers` in a plane of one's own |
| `network` | addresses for pods (see `support.kubernetes.network`); `plane` can be reached from inside |
| `processes` | starts programs, inside `network` if the test uses that one too |
| `fault_proxy` | a proxy before `plane` (see `support.kubernetes.proxy` and `faults`), to be reached from inside `network` too |

A test that uses one of these needs no marker: what it needs of the machine follows from the fixture.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from support.kubernetes.api import Refused
from support.kubernetes.guard import Guard
from support.kubernetes.kinds import install_kinds
from support.kubernetes.network import Network
from support.kubernetes.plane import ControlPlane, PlaneOptions
from support.kubernetes.process import Processes
from support.kubernetes.proxy import FaultProxy
from tools.kubernetes import provide
from tools.kubernetes.programs import CONTROL_PLANE

NEEDED_BY = {
    "kubernetes_programs": "needs_kubernetes",
    "controller_manager": "needs_controller_manager",
    "network": "needs_network_namespace",
}
"""Fixture → marker of what it needs."""

CONTROLLERS = "kube-controller-manager"

NewPlane = Callable[..., ControlPlane]
NewNamespace = Callable[..., str]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses these fixtures, before conftest.py leaves out what this machine can't carry."""
    for item in items:
        for fixture, marker in NEEDED_BY.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    """Ends what this run started, should the run be killed."""
    watching = Guard()
    yield watching
    watching.close()


@pytest.fixture(scope="session")
def kubernetes_programs(request: pytest.FixtureRequest) -> dict[str, Path]:
    """Paths of etcd, kube-apiserver and kubectl; built now, for all to see, if they never were."""
    return _provide(request, *CONTROL_PLANE)


@pytest.fixture(scope="session")
def controller_manager(request: pytest.FixtureRequest, kubernetes_programs: dict[str, Path]) -> Path:
    """The program; with it, planes can start controllers."""
    kubernetes_programs.update(_provide(request, CONTROLLERS))
    return kubernetes_programs[CONTROLLERS]


def _provide(request: pytest.FixtureRequest, *names: str) -> dict[str, Path]:
    capturing = request.config.pluginmanager.getplugin("capturemanager")
    assert capturing is not None
    with capturing.global_and_fixture_disabled():
        return provide(names)


@pytest.fixture(scope="session")
def plane(
    kubernetes_programs: Mapping[str, Path], guard: Guard, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """The run's control plane."""
    with ControlPlane(tmp_path_factory.mktemp("plane"), kubernetes_programs, guard) as started:
        yield started


@pytest.fixture(scope="session")
def kinds(plane: ControlPlane) -> None:
    """Let the run's control plane serve the project's kinds."""
    install_kinds(plane)


@pytest.fixture
def new_plane(kubernetes_programs: Mapping[str, Path], guard: Guard, tmp_path: Path) -> Iterator[NewPlane]:
    """Start control planes of the test's own: `new_plane(PlaneOptions(watch_cache=False))`."""
    started: list[ControlPlane] = []

    def start(options: PlaneOptions | None = None) -> ControlPlane:
        made = ControlPlane(tmp_path / f"plane-{len(started)}", kubernetes_programs, guard, options)
        started.append(made)
        made.start()
        return made

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def own_plane(new_plane: NewPlane) -> ControlPlane:
    """A control plane of the test's own."""
    return new_plane()


@pytest.fixture
def new_namespace(plane: ControlPlane) -> Iterator[NewNamespace]:
    """Make namespaces of unique names: `new_namespace("acme", labels={...})`."""
    made: list[str] = []
    api = plane.admin

    def make(prefix: str = "test", labels: Mapping[str, str] | None = None) -> str:
        name = f"{prefix}-{os.urandom(4).hex()}"
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**(labels or {})}}})
        made.append(name)
        return name

    yield make
    for name in made:
        empty(plane, name)


@pytest.fixture
def namespace(new_namespace: NewNamespace) -> str:
    """A fresh namespace."""
    return new_namespace()


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """A network of the test's own; the shared control plane, if the test uses it, has the same address inside."""
    with Network() as made:
        if "plane" in request.fixturenames:
            made.mirror(request.getfixturevalue("plane").port)
        yield made


@pytest.fixture
def processes(request: pytest.FixtureRequest, guard: Guard, tmp_path: Path) -> Iterator[Processes]:
    """Starts the programs of the test; ended with it."""
    inside = request.getfixturevalue("network") if "network" in request.fixturenames else None
    with Processes(tmp_path / "log", guard, inside) as made:
        yield made


@pytest.fixture
def fault_proxy(request: pytest.FixtureRequest, plane: ControlPlane) -> Iterator[FaultProxy]:
    """A proxy before the shared control plane, of the test's own."""
    inside = request.getfixturevalue("network") if "network" in request.fixturenames else None
    with FaultProxy(plane, inside) as made:
        yield made


PASSING = (("discovery.k8s.io/v1", "EndpointSlice"), ("v1", "Service"), ("v1", "Pod"), ("v1", "Secret"))
"""What of a test's objects is worth removing beside our own kinds, so that nobody watches ever more of them."""


def empty(plane: ControlPlane, namespace: str) -> None:
    """Remove a namespace's objects. The namespace itself would stay for ever: there is nobody who ends it."""
    api = plane.admin
    for api_version, kind in (*PASSING, *our_kinds(plane)):
        api.delete_all(api_version, kind, namespace)


def our_kinds(plane: ControlPlane, group: str = "hookline.dev") -> list[tuple[str, str]]:
    """The namespaced kinds of the project's own group that the API server serves by now."""
    api = plane.admin
    try:
        versions = [version["groupVersion"] for version in api.request("GET", f"/apis/{group}")["versions"]]
    except Refused:
        return []
    return [
        (version, found["kind"])
        for version in versions
        for found in api.request("GET", f"/apis/{version}")["resources"]
        if found["namespaced"] and "/" not in found["name"]
    ]
