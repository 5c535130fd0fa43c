"""A control plane with the chart's roles, for the tests of this folder alone: roles hold in the whole cluster."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.kubernetes.guard import Guard
from support.kubernetes.kinds import install_kinds
from support.kubernetes.plane import ControlPlane
from support.rbac import ROLES, install_agent_rights, install_operator_rights


@pytest.fixture(scope="session")
def ruled(
    kubernetes_programs: Mapping[str, Path], guard: Guard, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """An installation in hookline with Secrets anywhere, one in narrow with those of acme; tenants acme and globex."""
    with ControlPlane(tmp_path_factory.mktemp("ruled"), kubernetes_programs, guard) as started:
        install_kinds(started)
        for name in ("hookline", "narrow", "acme", "globex"):
            started.api().create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        install_operator_rights(started, "hookline")
        install_operator_rights(started, "narrow", ["acme"])
        install_agent_rights(started, "hookline")
        started.install(ROLES / "tenants.yaml")
        yield started
