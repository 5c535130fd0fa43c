"""
The project as it is installed: its kinds, its rights, operators as processes.

    with Node(own_plane, network, guard, tmp_path) as node:
        installation = install(own_plane, network, processes, tmp_path)
        operator = installation.start_operator()
        node.wait_ready(installation.namespace, 2)

Operators run inside the network (they call the agents of receiver pods), with the chart's rights and nothing more.
"""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from support.kubernetes.api import Object
from support.kubernetes.kinds import install_kinds
from support.kubernetes.network import Network
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Process, Processes
from support.rbac import install_agent_rights, install_operator_rights

NAMESPACE = "hookline"
OPS_PORT = 8085


@dataclass(frozen=True)
class Operator:
    """One replica."""

    name: str
    address: str
    process: Process


@dataclass(frozen=True)
class Installation:
    """One installation in a cluster."""

    plane: ControlPlane
    network: Network
    processes: Processes
    folder: Path
    namespace: str
    token: str
    """The operator's."""
    _names: "itertools.count[int]" = field(default_factory=itertools.count)

    def start_operator(self, *, server: str = "", gateway: Object | None = None, **settings: str) -> Operator:
        """
        Start a replica; nothing is waited for.

        *server*: where it finds the API server (a fault proxy's URL); *gateway*: the `spec` of the default gateway;
        *settings*: as in HOOKLINE_OPERATOR_*, in small letters.
        """
        name = f"hookline-operator-{next(self._names)}"
        address = self.network.address()
        given = {
            "namespace": self.namespace,
            "name": name,
            "cluster_default": "true",
            "ops_bind": f"{address}:{OPS_PORT}",
            "pod_settings": self._file("pods.yaml", {"image": "none"}),
            "default_gateway": self._file(f"{name}.yaml", gateway or {}),
            **settings,
        }
        environment = {f"HOOKLINE_OPERATOR_{key.upper()}": value for key, value in given.items()}
        environment["KUBECONFIG"] = str(self.plane.kubeconfig(self.token, server=server, namespace=self.namespace))
        command = [sys.executable, "-m", "hookline_operator"]
        return Operator(name, address, self.processes.start(name, command, environment=environment))

    def _file(self, name: str, content: Object) -> str:
        path = self.folder / name
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return str(path)


def install(
    plane: ControlPlane,
    network: Network,
    processes: Processes,
    folder: Path,
    *,
    namespace: str = NAMESPACE,
    secret_namespaces: Sequence[str] = (),
) -> Installation:
    """Make the namespace, the kinds and the rights; *secret_namespaces* as in `install_operator_rights`."""
    plane.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    install_kinds(plane)
    install_agent_rights(plane, namespace)
    token = install_operator_rights(plane, namespace, secret_namespaces)
    return Installation(plane, network, processes, folder, namespace, token)
