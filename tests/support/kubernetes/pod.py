"""
A Pod as processes: its containers' programs on this machine, at an address of the network, with its volumes as folders.

What of a container is real: its command, its environment, its files (through symbolic links in a folder that stands for its
root), its ports, its place in the order of start and end. What is not: image, user, limits, isolation. Paths of mounts that
occur in commands and environment are put below that folder; `[::]`, `0.0.0.0` and `127.0.0.1` before a port become the Pod's
address, as all Pods share one network namespace.
"""

import http.client
import re
import sys
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from support.kubernetes.api import Object, Refused
from support.kubernetes.network import Network
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Process, Processes

ANYWHERE = re.compile(r"^(\[::\]|0\.0\.0\.0|127\.0\.0\.1)(?=:\d+$)")
PROBE_SECONDS = 1.0
RESTART_AFTER = 1.0
"""Seconds; a real kubelet waits longer and longer."""


@dataclass
class Container:
    """One program of a Pod."""

    spec: Object
    root: Path
    sidecar: bool
    process: Process | None = None
    started: bool = False
    """Whether its startup probe has passed."""
    ready: bool = False
    failures: int = 0
    restarts: int = 0
    ended_at: float | None = None

    @property
    def name(self) -> str:
        """As in the Pod."""
        return str(self.spec["name"])

    def running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.alive()

    def path(self, inside: str) -> str:
        """Where what it calls *inside* is, if it is on one of its volumes or above one; else the same."""
        asked = PurePosixPath(inside)
        mounts = [PurePosixPath(mount["mountPath"]) for mount in self.spec.get("volumeMounts", ())]
        if asked.is_absolute() and any(asked.is_relative_to(each) or each.is_relative_to(asked) for each in mounts):
            return str(self.root / asked.relative_to("/"))
        return inside

    def state(self) -> Object:
        """As in the Pod's status."""
        now = {"running": {"startedAt": stamp()}} if self.running() else {"waiting": {"reason": "NotRunning"}}
        names = {"name": self.name, "image": self.spec["image"], "imageID": ""}
        return {**names, "ready": self.ready, "started": self.started, "restartCount": self.restarts, "state": now}


@dataclass
class RunningPod:
    """One Pod. `tick` carries it on; nothing happens between."""

    pod: Object
    plane: ControlPlane
    network: Network
    processes: Processes
    folder: Path
    claims: Path
    """Folder of what outlives Pods: persistent volumes by the names of their claims."""
    environment: Mapping[str, str]
    address: str = ""
    containers: list[Container] = field(default_factory=list)
    said: Object = field(default_factory=dict)
    """The status as it was written last."""
    ending_since: float | None = None

    def __post_init__(self) -> None:
        """Make its folders."""
        self.address = self.network.address()
        spec = self.pod["spec"]
        sidecars = [each for each in spec.get("initContainers", ()) if each.get("restartPolicy") == "Always"]
        for each, sidecar in (*((one, True) for one in sidecars), *((one, False) for one in spec["containers"])):
            container = Container(each, self.folder / each["name"] / "root", sidecar)
            self.containers.append(container)
            self._mount(container)

    @property
    def name(self) -> str:
        """As in its metadata."""
        return str(self.pod["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """As in its metadata."""
        return str(self.pod["metadata"]["namespace"])

    @property
    def ready(self) -> bool:
        """Whether every container is."""
        return self.ending_since is None and all(one.ready and one.running() for one in self.containers)

    def container(self, name: str) -> Container:
        """One of them."""
        return next(one for one in self.containers if one.name == name)

    def tick(self) -> None:
        """Start what is due, start again what has ended, probe, and say how it stands if that has changed."""
        for volume in self._volumes():
            self._refresh(volume)
        self.keep()
        self._report()

    def keep(self) -> None:
        """The part of `tick` that needs no API server: start, start again, probe."""
        for one in self.containers:
            self._keep(one)
            if one.sidecar and not one.started:
                break  # the next one starts when this one has

    def end(self, grace: float) -> bool:
        """Carry its end on: the main containers first, then sidecars in reverse; True when all have ended."""
        if self.ending_since is None:
            self.ending_since = time.monotonic()
            self._report()
        main = [one for one in self.containers if not one.sidecar]
        waves = [main, *([one] for one in reversed(self.containers) if one.sidecar)]
        if time.monotonic() - self.ending_since > grace:
            self.kill()
        for wave in waves:
            living = [one for one in wave if one.running()]
            for one in living:
                if one.ended_at is None:
                    one.ended_at = time.monotonic()
                    one.process.terminate()  # type: ignore[union-attr]
            if living:
                return False
        return True

    def kill(self) -> None:
        """End all at once, as a machine that fails does."""
        for one in self.containers:
            if one.process is not None:
                one.process.kill()

    def _keep(self, one: Container) -> None:
        if one.process is None:
            one.process = self._start(one)
        elif not one.process.alive():
            one.started = one.ready = False
            one.ended_at = one.ended_at or time.monotonic()
            if time.monotonic() - one.ended_at > RESTART_AFTER:
                one.process, one.ended_at, one.restarts = self._start(one), None, one.restarts + 1
        one.started = one.started or self._passes(one, "startupProbe")
        if one.started and self._passes(one, "readinessProbe"):
            one.ready, one.failures = True, 0
        else:
            one.failures += 1
            if one.failures >= one.spec.get("readinessProbe", {}).get("failureThreshold", 3):
                one.ready = False

    def _passes(self, one: Container, probe: str) -> bool:
        asked = one.spec.get(probe, {}).get("httpGet")
        if not one.running():
            return False
        if asked is None:
            return True
        port = asked["port"]
        if isinstance(port, str):
            port = next(each["containerPort"] for each in one.spec["ports"] if each["name"] == port)
        return self.page(port, asked["path"])[0] in range(200, 400)

    def page(self, port: int, path: str) -> tuple[int, bytes]:
        """What the Pod answers there; (0, b"") if it does not."""
        connection = http.client.HTTPConnection(self.address, port, timeout=PROBE_SECONDS)
        try:
            connection.sock = self.network.connect(self.address, port, PROBE_SECONDS)
            connection.sock.settimeout(PROBE_SECONDS)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def _start(self, one: Container) -> Process:
        command = [one.path(part) for part in (*one.spec.get("command", ()), *one.spec.get("args", ()))]
        program = sys.executable if command[0] in ("python", "python3") else command[0]
        environment = {**self.environment, **dict(self._environment(one.spec.get("env", ())))}
        given = {name: ANYWHERE.sub(self.address, one.path(value)) for name, value in environment.items()}
        return self.processes.start(f"{self.name}.{one.name}", [program, *command[1:]], environment=given)

    def _environment(self, entries: Sequence[Object]) -> Iterator[tuple[str, str]]:
        fields = {
            "metadata.name": self.name,
            "metadata.namespace": self.namespace,
            "metadata.uid": self.pod["metadata"]["uid"],
            "status.podIP": self.address,
            "spec.nodeName": self.pod["spec"].get("nodeName", ""),
        }
        for entry in entries:
            source = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            yield entry["name"], fields[source] if source else entry.get("value", "")

    def _mount(self, container: Container) -> None:
        for mount in container.spec.get("volumeMounts", ()):
            source = self._place(mount["name"]) / mount.get("subPath", "")
            source.mkdir(parents=True, exist_ok=True)
            target = container.root / PurePosixPath(mount["mountPath"]).relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
        for volume in self._volumes():
            self._refresh(volume)

    def _volumes(self) -> Sequence[Object]:
        return self.pod["spec"].get("volumes", ())  # type: ignore[no-any-return]

    def _place(self, volume: str) -> Path:
        found = next((each for each in self._volumes() if each["name"] == volume), {})
        claim = found.get("persistentVolumeClaim", {}).get("claimName")
        return self.claims / self.namespace / claim if claim else self.folder / "volumes" / volume

    def _refresh(self, volume: Object) -> None:
        """Write a volume's files if they are not what they should be. A real kubelet takes up to a minute."""
        place = self._place(volume["name"])
        place.mkdir(parents=True, exist_ok=True)
        if "secret" in volume:
            self._write(place, self._data("Secret", volume["secret"]["secretName"]))
        elif "configMap" in volume:
            self._write(place, self._data("ConfigMap", volume["configMap"]["name"]))
        for source in volume.get("projected", {}).get("sources", ()):
            if "serviceAccountToken" in source and not (place / source["serviceAccountToken"]["path"]).exists():
                token = self.plane.service_account(self.namespace, self.pod["spec"]["serviceAccountName"])
                self._write(place, {source["serviceAccountToken"]["path"]: token.encode()})
            elif source.get("configMap", {}).get("name") == "kube-root-ca.crt":
                self._write(place, {"ca.crt": self.plane.authority.read_bytes()})

    def _data(self, kind: str, name: str) -> Mapping[str, bytes]:
        try:
            found = self.plane.admin.get("v1", kind, self.namespace, name)
        except Refused:
            return {}
        texts = {key: value.encode() for key, value in found.get("data", {}).items()}
        return {key: b64decode(value) for key, value in texts.items()} if kind == "Secret" else texts

    @staticmethod
    def _write(place: Path, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            path = place / name
            if not path.exists() or path.read_bytes() != content:
                fresh = path.with_name(f".{name}.new")
                fresh.write_bytes(content)
                fresh.replace(path)

    def _report(self) -> None:
        truth = {True: "True", False: "False"}
        running = any(one.running() for one in self.containers if not one.sidecar) or self.ending_since is not None
        short = {
            "phase": "Running" if running else "Pending",
            "ready": self.ready,
            "containers": [(one.name, one.ready, one.started, one.restarts, one.running()) for one in self.containers],
        }
        if short == self.said:
            return
        self.said = short
        kinds = {"Initialized": running, "ContainersReady": self.ready, "Ready": self.ready, "PodScheduled": True}
        status = {
            "phase": short["phase"],
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "conditions": [
                {"type": kind, "status": truth[holds], "lastTransitionTime": stamp()} for kind, holds in kinds.items()
            ],
            "initContainerStatuses": [one.state() for one in self.containers if one.sidecar],
            "containerStatuses": [one.state() for one in self.containers if not one.sidecar],
        }
        self.plane.admin.set_status({"apiVersion": "v1", "kind": "Pod", **self.pod}, status)


def stamp() -> str:
    """Now, as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
