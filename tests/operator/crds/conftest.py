"""A control plane with definitions and policies in force, for the tests of this folder alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.crds import install_api, install_policies
from support.kubernetes.api import Api
from support.kubernetes.guard import Guard
from support.kubernetes.plane import ControlPlane


@pytest.fixture(scope="session")
def guarded(
    kubernetes_programs: Mapping[str, Path], guard: Guard, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """The policies hold cluster-wide, so the run's shared plane can't have them. Namespaces: hookline, acme, globex."""
    with ControlPlane(tmp_path_factory.mktemp("guarded"), kubernetes_programs, guard) as started:
        install_api(started)
        install_policies(started, "hookline")
        for name in ("hookline", "acme", "globex"):
            started.api().create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield started


@pytest.fixture(scope="session")
def api(guarded: ControlPlane) -> Api:
    """Its client, as an administrator."""
    return guarded.api()
