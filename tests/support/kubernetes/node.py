"""
A kubelet without containers: runs the Pods of a control plane as processes (`support.kubernetes.pod`).

    own_plane.start_controllers(*CONTROLLERS)
    with Node(own_plane, network, guard, tmp_path) as node:
        ...                                     # a StatefulSet is applied, by the operator or by kubectl
        node.wait_ready("hookline", 2)
        node.pod("hookline", "hookline-default-0").container("agent").process.kill()

Pods come from real controllers, or from a test. The node takes every Pod that no other has, and leaves alone those that a
test speaks for itself (`support.kubernetes.objects.run_pod`): of those it knows nothing, as long as they name another node.
"""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from support.kubernetes.api import Object, Refused
from support.kubernetes.guard import Guard
from support.kubernetes.network import Network
from support.kubernetes.plane import ControlPlane
from support.kubernetes.pod import RunningPod
from support.kubernetes.process import Processes

CONTROLLERS = (
    "statefulset-controller",
    "deployment-controller",
    "replicaset-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "namespace-controller",
)
"""What makes Pods of workloads and endpoints of Pods."""
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
EVERY = 0.2
"""Seconds between two looks at the API server and at each Pod."""


class Node:
    """One node, named *name*."""

    def __init__(
        self,
        plane: ControlPlane,
        network: Network,
        guard: Guard,
        folder: Path,
        *,
        name: str = "node-a",
        api_port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """*api_port*: where Pods find the API server, if by way of a fault proxy; *environment*: for all containers."""
        self.name = name
        self.running: dict[str, RunningPod] = {}
        """By uid."""
        self.errors: list[Exception] = []
        self._plane = plane
        self._network = network
        self._folder = folder / name
        self._processes = Processes(folder / "log", guard, network)
        self._environment = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(api_port or plane.port),
            "HOOKLINE_AGENT_TOKEN_FILE": f"{ACCOUNT}/token",
            "HOOKLINE_AGENT_CA_FILE": f"{ACCOUNT}/ca.crt",
            **(environment or {}),
        }
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)
        self._register()
        self._thread.start()

    def pod(self, namespace: str, name: str) -> RunningPod:
        """One that runs here; KeyError if there is none."""
        found = [one for one in list(self.running.values()) if (one.namespace, one.name) == (namespace, name)]
        if not found:
            raise KeyError(f"{namespace}/{name} does not run on {self.name}")
        return found[-1]

    def ready(self, namespace: str) -> list[RunningPod]:
        """Those that are ready, by name."""
        return sorted(
            (one for one in list(self.running.values()) if one.namespace == namespace and one.ready), key=_name
        )

    def wait_ready(self, namespace: str, count: int, within: float = 60.0) -> list[RunningPod]:
        """Return when exactly so many are ready."""
        deadline = time.monotonic() + within
        while len(found := self.ready(namespace)) != count:
            assert not self.errors, self.errors
            assert time.monotonic() < deadline, f"{len(found)} of {count} ready after {within:g} s\n{self.tails()}"
            time.sleep(0.05)
        return found

    def tails(self, lines: int = 15) -> str:
        """The end of each container's log."""
        containers = [one for pod in list(self.running.values()) for one in pod.containers if one.process is not None]
        return "\n".join(one.process.tail(lines) for one in containers if one.process is not None)

    def close(self) -> None:
        """End all Pods at once, and the node."""
        self._stopping.set()
        self._thread.join(60)
        self._processes.close()
        assert not self.errors, self.errors

    def __enter__(self) -> Self:
        """At work."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ended."""
        self.close()

    def _register(self) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name}}
        self._plane.admin.apply(node)
        conditions = [{"type": "Ready", "status": "True"}]
        self._plane.admin.set_status(node, {"conditions": conditions})

    def _run(self) -> None:
        while not self._stopping.wait(EVERY):
            try:
                self._tick()
            except (OSError, Refused):
                self._go_on()
            except Exception as error:
                self.errors.append(error)
                raise

    def _tick(self) -> None:
        found = {pod["metadata"]["uid"]: pod for pod in self._plane.admin.objects("v1", "Pod")}
        for uid in set(self.running) - set(found):
            self.running.pop(uid).kill()
        for uid, pod in found.items():
            if not pod["spec"].get("nodeName"):
                self._bind(pod)
            elif pod["spec"]["nodeName"] == self.name:
                self._carry_on(uid, pod)

    def _go_on(self) -> None:
        """The API server is away: what runs goes on, and what ends is started again."""
        for pod in self.running.values():
            if pod.ending_since is None:
                pod.keep()

    def _carry_on(self, uid: str, pod: Object) -> None:
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            grace = float(metadata.get("deletionGracePeriodSeconds", 0))
            if uid not in self.running or self.running[uid].end(grace):
                self._plane.admin.delete(pod)
                self.running.pop(uid, None)
            return
        if uid not in self.running:
            place = self._folder / f"{metadata['namespace']}.{metadata['name']}.{uid[:8]}"
            self.running[uid] = RunningPod(
                pod, self._plane, self._network, self._processes, place, self._folder / "claims", self._environment
            )
        self.running[uid].tick()

    def _bind(self, pod: Object) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
        target = {"apiVersion": "v1", "kind": "Node", "name": self.name}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": target}
        self._plane.admin.request("POST", path, binding)


def _name(pod: RunningPod) -> str:
    return pod.name
