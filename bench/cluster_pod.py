"""One receiver pod of the shared plane, made of the operator's own StatefulSet, and an agent that starts from nothing."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.cluster_objects import NODE
from support.kubernetes.api import Refused
from support.kubernetes.installation import Installation
from support.kubernetes.pod import RunningPod

STATEFUL_SET = "hookline-default"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TICK = 0.5


def make_pod(installation: Installation, within: float = 120.0) -> dict[str, Any]:
    """The first Pod of the StatefulSet, which is waited for, as its controller would make it."""
    api, namespace = installation.plane.admin, installation.namespace
    deadline = time.monotonic() + within
    while True:
        try:
            found = api.get("apps/v1", "StatefulSet", namespace, STATEFUL_SET)
            break
        except Refused:
            assert time.monotonic() < deadline, f"no StatefulSet {STATEFUL_SET} after {within:g} s"
            time.sleep(0.2)
    template, name = found["spec"]["template"], f"{STATEFUL_SET}-0"
    claims = [
        {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}}
        for claim in (each["metadata"]["name"] for each in found["spec"].get("volumeClaimTemplates", ()))
    ]
    spec = {**template["spec"], "nodeName": NODE, "volumes": [*template["spec"].get("volumes", ()), *claims]}
    metadata = {**template["metadata"], "name": name, "namespace": namespace}
    metadata.pop("creationTimestamp", None)
    return {"kind": "Pod", **api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})}


@dataclass
class Kept:
    """A Pod that runs, kept by a thread of this process as a kubelet would."""

    installation: Installation
    folder: Path
    running: RunningPod = field(init=False)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Nothing runs before `with`."""
        plane = self.installation.plane
        environment = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(plane.port),
            "HOOKLINE_AGENT_TOKEN_FILE": f"{ACCOUNT}/token",
            "HOOKLINE_AGENT_CA_FILE": f"{ACCOUNT}/ca.crt",
        }
        made, network = make_pod(self.installation), self.installation.network
        processes, claims = self.installation.processes, self.folder / "claims"
        self.running = RunningPod(made, plane, network, processes, self.folder / "pod", claims, environment)
        self._thread = threading.Thread(target=self._run, name="kubelet")

    def __enter__(self) -> Self:
        """Started, not ready yet."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ended."""
        self._stopping.set()
        self._thread.join(60)
        self.running.kill()

    def process(self, container: str) -> int:
        """The number of a container's process."""
        found = self.running.container(container).process
        assert found is not None, container
        return found.pid

    def _run(self) -> None:
        while not self._stopping.wait(TICK):
            try:
                self.running.tick()
            except (OSError, Refused):
                continue
