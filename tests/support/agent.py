"""
The agent as it runs: `python -m hookline_receiver.agent` beside a real receiver and forwarder, fed by a publisher of tables.

    with a_pod(tmp_path, plane, namespace, processes) as pod:
        pod.publisher.put(a_tenant("chat"))
        pod.agent.start()
"""

import http.client
import json
import re
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline.routing.v1.table_pb2 import RouteEntry, RouteShard
from hookline_receiver.event import SubscriptionRef
from hookline_routes.shard import ENDPOINT_SHARDS, ROUTE_SHARDS, TableChunk, shard_of, spec_of, split, table_name
from hookline_routes.verifier import tag_key_id
from support.forwarder import DataFolder, ForwarderProcess, a_route, a_subscription
from support.kubernetes.api import Refused
from support.kubernetes.plane import ADMIN_TOKEN, ControlPlane, free_ports
from support.kubernetes.process import Process, Processes
from support.receiver import TAG_KEY, Credential, Receiver, an_endpoint
from support.waiting import until_sync

PLANE = "default"
AGENT_TOKEN = "token-of-operator-and-agents"
API = "hookline.dev/v1alpha1"


def a_tenant(name: str = "chat", *credentials: Credential, namespace: str = "acme", uid: str = "") -> RouteEntry:
    """A subscription with both its parts."""
    uid = uid or f"uid-{namespace}-{name}"
    endpoint = an_endpoint(f"/{namespace}/{name}", *credentials, uid=uid)
    subscription = a_subscription(a_route(), ref=SubscriptionRef(uid, namespace, name))
    return RouteEntry(endpoint=endpoint, subscription=subscription)


class Publisher:
    """Writes tables as the operator does: each shard with a revision of its own, only those that change."""

    def __init__(self, plane: ControlPlane, namespace: str, name: str = PLANE, shards: int = ROUTE_SHARDS) -> None:
        self.namespace = namespace
        self.name = name
        self.shards = shards
        self.entries: dict[str, RouteEntry] = {}
        self.hostnames: tuple[str, ...] = ()
        self.tag_key = TAG_KEY
        """By which the tables name the key of their tags."""
        self.revisions: dict[int, int] = {}
        self._api = plane.api()

    def publish_all(self) -> None:
        """Every table, empty ones too."""
        for index in range(self.shards):
            self.publish(index)
        for index in range(ENDPOINT_SHARDS if self.shards > 1 else 1):
            self.endpoints(index)

    def put(self, *entries: RouteEntry) -> list[int]:
        """Publish the shards of *entries*, which come or change; their indexes."""
        self.entries.update({entry.subscription.ref.uid: entry for entry in entries})
        return self._touch({entry.subscription.ref.uid for entry in entries})

    def remove(self, *entries: RouteEntry) -> list[int]:
        """The same without them."""
        for entry in entries:
            del self.entries[entry.subscription.ref.uid]
        return self._touch({entry.subscription.ref.uid for entry in entries})

    def content(self, index: int) -> bytes:
        """The shard as it is to be published."""
        entries = [each for uid, each in sorted(self.entries.items()) if shard_of(uid, self.shards) == index]
        shard = RouteShard(
            format=1,
            entries=entries,
            hostnames=self.hostnames if index == 0 else (),
            tag_key_id=tag_key_id(self.tag_key),
        )
        return shard.SerializeToString(deterministic=True)

    def publish(self, index: int) -> None:
        """One shard, with its next revision."""
        self.revisions[index] = self.revisions.get(index, 0) + 1
        for chunk in split(self.name, index, self.shards, self.revisions[index], self.content(index)):
            self.write("RouteTable", chunk)

    def endpoints(self, index: int = 0, revision: int = 1, **addresses: Sequence[str]) -> None:
        """One shard of the endpoint table; services of namespace acme, port 9000."""
        rows = [
            routing.ServiceEndpoints(namespace="acme", service=service, port=9000, addresses=where)
            for service, where in sorted(addresses.items())
        ]
        content = routing.EndpointTable(format=1, services=rows).SerializeToString(deterministic=True)
        shards = ENDPOINT_SHARDS if self.shards > 1 else 1
        for chunk in split(self.name, index, shards, revision, content):
            self.write("EndpointTable", chunk)

    def write(self, kind: str, chunk: TableChunk, **spec: Any) -> None:
        """Create or replace one object; *spec* overrides fields."""
        thing = {
            "apiVersion": API,
            "kind": kind,
            "metadata": {
                "name": chunk.name,
                "namespace": self.namespace,
                "labels": {"hookline.dev/plane": self.name, "app.kubernetes.io/managed-by": "hookline-operator"},
            },
            "spec": {**spec_of(chunk), **spec},
        }
        try:
            self._api.create(thing)
        except Refused as refused:
            if refused.status != 409:
                raise
            self._api.patch(thing, {"spec": thing["spec"]})

    def delete(self, index: int, chunk: int = 0, kind: str = "RouteTable") -> None:
        """Delete one object."""
        name = table_name(self.name, index, chunk)
        self._api.delete({"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": self.namespace}})

    def _touch(self, uids: set[str]) -> list[int]:
        indexes = sorted({shard_of(uid, self.shards) for uid in uids})
        for index in indexes:
            self.publish(index)
        return indexes


@dataclass
class AgentProcess:
    """`python -m hookline_receiver.agent` on a data folder."""

    processes: Processes
    settings: dict[str, str]
    ops_port: int
    report_port: int
    process: Process | None = None

    def start(self, **settings: str) -> Process:
        """Start it; nothing is waited for."""
        environment = {f"HOOKLINE_AGENT_{name}": value for name, value in {**self.settings, **settings}.items()}
        self.process = self.processes.start(
            "agent", [sys.executable, "-m", "hookline_receiver.agent"], environment=environment
        )
        return self.process

    def page(self, path: str) -> tuple[int, bytes]:
        """What its ops port says; (0, b"") where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ops_port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def ready(self) -> bool:
        """What its pod's readiness probe sees."""
        return self.page("/readyz")[0] == 200

    def status(self) -> Mapping[str, Any]:
        """What it says of itself; {} where nobody listens."""
        code, body = self.page("/status")
        found: Mapping[str, Any] = json.loads(body) if code == 200 else {}
        return found

    def in_sync(self) -> bool:
        """Whether everything published is served."""
        return bool(self.status().get("in_sync"))

    def trouble(self) -> str:
        """Why it is not in sync."""
        return str(self.status().get("trouble", ""))

    def metric(self, name: str) -> float:
        """One of its numbers."""
        found = re.search(rf"^hookline_agent_{name} (.*)$", self.page("/metrics")[1].decode(), re.MULTILINE)
        assert found is not None, name
        return float(found[1])


@dataclass
class Pod:
    """The three programs of a receiver pod, on one data folder."""

    data: Path
    publisher: Publisher
    agent: AgentProcess
    receiver: Receiver
    forwarder: ForwarderProcess
    keys: Path = Path()
    started: list[Any] = field(default_factory=list)

    def start(self, *, agent: bool = True) -> None:
        """Start all three, in the order of the pod's containers, and wait until what is published is served."""
        if agent:
            self.agent.start()
        self.forwarder.start()
        self.receiver.start(ready=False)
        until_sync(lambda: all(self.agent.status().get("running", {"": False}).values()), 30, "the agent sees both run")
        self.settle()

    def settle(self, within: float = 30.0) -> None:
        """Wait until everything published is served."""
        until_sync(self.synced, within, f"in sync: {self.agent.trouble()}")

    def synced(self) -> bool:
        """Whether the agent says that everything published is served, at the revisions that were."""
        status = self.agent.status()
        wanted = [self.publisher.revisions[index] for index in range(self.publisher.shards)]
        return bool(status.get("in_sync")) and status["revisions"] == wanted

    def posts(self, name: str = "chat", namespace: str = "acme", **how: Any) -> int:
        """The status of the answer to an event."""
        return self.receiver.post(f"/{namespace}/{name}", **how).status

    def subscriptions(self) -> set[str]:
        """uids in the forwarder's files."""
        return uids_in_files(self.data / "routes" / "forwarder.binpb", routing.ForwarderSnapshot)

    def endpoints(self) -> set[str]:
        """uids in the receiver's files."""
        return uids_in_files(self.data / "routes" / "receiver.binpb", routing.ReceiverSnapshot)


def uids_in_files(index: Path, message: Any) -> set[str]:
    """The subscriptions of an index and its parts."""
    read = message.FromString(index.read_bytes())
    found: set[str] = set()
    for part in read.parts:
        content = message.FromString((index.with_suffix(".parts") / f"{part.name}.binpb").read_bytes())
        if message is routing.ReceiverSnapshot:
            found |= {each.subscription.uid for each in content.endpoints}
        else:
            found |= {each.ref.uid for each in content.subscriptions}
    return found


@contextmanager
def a_pod(
    folder: Path, plane: ControlPlane, namespace: str, processes: Processes, *, workers: int = 1, **settings: str
) -> Iterator[Pod]:
    """A pod of a plane whose tables are written by its publisher; nothing of it is started."""
    data = DataFolder(folder / "data")
    keys = folder / "keys"
    keys.mkdir()
    (keys / "tagKey").write_bytes(TAG_KEY)
    (keys / "agentToken").write_text(AGENT_TOKEN)
    (keys / "token").write_text(ADMIN_TOKEN)
    report_port, ops_port, forwarder_port = free_ports(3)
    receiver = Receiver(data.root, {}, workers)
    forwarder = ForwarderProcess(data, {"OPS_BIND": f"127.0.0.1:{forwarder_port}"})
    environment = {
        "DATA_DIR": str(data.root),
        "PLANE": PLANE,
        "NAMESPACE": namespace,
        "KEYS_DIR": str(keys),
        "SERVER": plane.server,
        "TOKEN_FILE": str(keys / "token"),
        "CA_FILE": str(plane.authority),
        "RECEIVER_OPS": f"127.0.0.1:{receiver.ops_port}",
        "FORWARDER_OPS": f"127.0.0.1:{forwarder_port}",
        "REPORT_BIND": f"127.0.0.1:{report_port}",
        "OPS_BIND": f"127.0.0.1:{ops_port}",
        "LINGER": "0.3",
        **settings,
    }
    agent = AgentProcess(processes, environment, ops_port, report_port)
    pod = Pod(data.root, Publisher(plane, namespace), agent, receiver, forwarder, keys)
    try:
        yield pod
    finally:
        receiver.close()
        if forwarder.process is not None and forwarder.process.poll() is None:
            forwarder.kill()


def decoded(data: str) -> bytes:
    """The bytes of a table's data."""
    return b64decode(data)
