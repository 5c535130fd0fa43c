"""
The receiver as it runs: `python -m hookline_receiver` in processes of its own, on free ports of the loopback interface.

    with a_receiver(tmp_path, an_endpoint("/acme/chat")) as receiver:
        answer = receiver.post("/acme/chat", b'{"trigger": "message_sent"}')
        assert answer.status == 200 and len(receiver.events()) == 1
"""

import base64
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hookline.routing.v1.snapshot_pb2 import Endpoint, PendingBytes, PendingTable, RateLimit, ReceiverSnapshot
from hookline.routing.v1.snapshot_pb2 import SubscriptionRef as SubscriptionRefMessage
from hookline_receiver.event import Event
from hookline_receiver.journal.port import Damage
from hookline_receiver.journal.reader import discover
from hookline_receiver.record import decode
from hookline_routes.verifier import make_verifier
from support.waiting import until_sync

TAG_KEY = bytes(range(32))
USERNAME, PASSWORD = "acmehooks", "9fKq2LmX7tVb4RzN"
EVENT = b'{"trigger":"message_sent","appId":"26753af2c0d24b10","data":{"message":{"id":"7"}}}'


@dataclass(frozen=True)
class Credential:
    """A credential that opens an endpoint; not *generated*: chosen, so verified by a slow hash."""

    username: str = USERNAME
    password: str = PASSWORD
    generated: bool = True
    version: str = "1"


def an_endpoint(
    path: str = "/acme/chat",
    *credentials: Credential,
    max_body_bytes: int = 64 * 1024,
    rate: tuple[float, int] | None = None,
    uid: str = "",
    **fields: Any,
) -> Endpoint:
    """An endpoint; without *credentials*: opened by USERNAME and PASSWORD. Give `verifiers=()` for none at all."""
    _, namespace, name = path.split("/", 2)
    endpoint = Endpoint(
        path=path,
        subscription=SubscriptionRefMessage(uid=uid or f"uid-{namespace}-{name}", namespace=namespace, name=name),
        max_body_bytes=max_body_bytes,
        rate_limit=RateLimit(requests_per_second=rate[0], burst=rate[1]) if rate else None,
        **fields,
    )
    if "verifiers" not in fields:
        endpoint.verifiers.extend(a_verifier(path, credential) for credential in credentials or (Credential(),))
    return endpoint


def a_verifier(path: str, credential: Credential) -> Any:
    """The verifier of *credential* at *path*."""
    salt = (f"{path} {credential.version}".encode() + bytes(16))[:16]
    return make_verifier(
        f"{path.removeprefix('/').replace('/', '.')}-{credential.username}@{credential.version}",
        credential.username,
        credential.password,
        generated=credential.generated,
        salt=salt,
        tag_key=TAG_KEY,
    )


def a_snapshot(
    *endpoints: Endpoint, version: str = "1", hostnames: Sequence[str] = (), **fields: Any
) -> ReceiverSnapshot:
    """A snapshot with *endpoints*."""
    ordered = sorted(endpoints, key=lambda endpoint: endpoint.path)
    given = {"format": 1, "version": version, "tag_key": TAG_KEY, **fields}
    return ReceiverSnapshot(endpoints=ordered, hostnames=hostnames, **given)


def basic(username: str = USERNAME, password: str = PASSWORD) -> str:
    """The Authorization header that shows a credential."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@dataclass(frozen=True)
class HttpAnswer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """The one word of a refusal."""
        return str(json.loads(self.body)["reason"])


@dataclass(frozen=True)
class Line:
    """One sample of the metrics: its name, labels and value."""

    name: str
    labels: Mapping[str, str]
    value: float


class Receiver:
    """One receiver, its files and its processes."""

    program: Sequence[str] = ("-m", "hookline_receiver")
    """What Python is started with."""

    def __init__(self, data: Path, environment: Mapping[str, str], workers: int) -> None:
        self.data = data
        self.workers = workers
        self.log_file = data / "receiver.log"
        self.port = 0
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", 0))  # held, not listened on: nobody else gets it meanwhile
        self.ops_port = int(self._reserved.getsockname()[1])
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, ready: bool = True) -> None:
        """Start the processes and, if *ready*, wait until every worker could make an event durable."""
        settings = {
            "DATA_DIR": str(self.data),
            "BIND": f"127.0.0.1:{self.port}",
            "OPS_BIND": f"127.0.0.1:{self.ops_port}",
            "WORKERS": str(self.workers),
            **self._environment,
        }
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HOOKLINE_RECEIVER_")}
        environment |= {f"HOOKLINE_RECEIVER_{name}": value for name, value in settings.items()}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        until_sync(lambda: self._listening() or self._ended(), what=f"listening: {self.log_file}")
        assert self._listening(), f"the receiver ended:\n{self.log()}"
        self.port = self._listening()
        if ready:
            until_sync(lambda: self.ready() or self._ended(), what=f"ready: {self.log_file}")
            assert not self._ended(), f"the receiver ended:\n{self.log()}"

    def stop(self, within: float = 30.0) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def kill(self) -> None:
        """SIGKILL to master and workers at once."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def close(self) -> None:
        """Leave nothing running."""
        if self.process is not None:
            self.kill()
        self._reserved.close()

    def publish(self, *endpoints: Endpoint, version: str, **fields: Any) -> None:
        """Replace the snapshot, and return once every worker serves it."""
        self.write_snapshot(a_snapshot(*endpoints, version=version, **fields).SerializeToString())
        until_sync(lambda: {worker["version"] for worker in self.status()} == {version}, what=f"version {version}")

    def write_snapshot(self, content: bytes) -> None:
        """Replace the snapshot's file."""
        replace_file(self.data / "routes" / "receiver.binpb", content)

    def write_pending(self, pending: Mapping[str, int]) -> None:
        """Replace the forwarder's table of pending bytes, by uid."""
        rows = [PendingBytes(uid=uid, bytes=size) for uid, size in pending.items()]
        table = PendingTable(format=1, subscriptions=rows)
        replace_file(self.data / "share" / "pending.binpb", table.SerializeToString())

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> HttpAnswer:
        """One request; on a connection of its own unless one is given."""
        used = connection or self.connect()
        try:
            used.request(method, path, body, dict(headers or {}), encode_chunked=not isinstance(body, bytes | None))
            answer = used.getresponse()
            return HttpAnswer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            if connection is None:
                used.close()

    def post(
        self, path: str = "/acme/chat", body: Any = EVENT, auth: str | None = basic(), **headers: str
    ) -> HttpAnswer:
        """A POST as CometChat sends it; header names with "_" for "-"."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if auth is not None:
            given["Authorization"] = auth
        return self.request("POST", path, body, {"Content-Type": "Application/json", **given})

    def post_gzip(self, path: str, body: bytes) -> HttpAnswer:
        """The same, packed."""
        return self.post(path, gzip.compress(body), Content_Encoding="gzip")

    def connect(self, timeout: float = 10.0) -> http.client.HTTPConnection:
        """A connection that may be kept alive."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def send(self, raw: bytes, timeout: float = 10.0) -> bytes:
        """Everything that comes back for *raw* until the other side closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            connection.sendall(raw)
            came = b""
            with suppress(TimeoutError, ConnectionError):
                while piece := connection.recv(65536):
                    came += piece
            return came

    def ops(self, path: str) -> HttpAnswer:
        """What the ops port says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ops_port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return HttpAnswer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def status(self) -> Sequence[Mapping[str, Any]]:
        """What each worker says of itself."""
        found: Sequence[Mapping[str, Any]] = json.loads(self.ops("/status").body)
        return found

    def ready(self) -> bool:
        """Whether all workers are there and ready."""
        try:
            return len(self.status()) == self.workers and self.ops("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def metrics(self) -> Sequence[Line]:
        """The metrics of all workers."""
        return list(_lines(self.ops("/metrics").body.decode()))

    def metric(self, metric: str, /, **labels: str) -> float:
        """The sum of all samples of *metric* whose labels include *labels*."""
        return sum(x.value for x in self.metrics() if x.name == metric and labels.items() <= x.labels.items())

    def events(self, journals: Path | None = None) -> Sequence[Event]:
        """What the journals hold, of living and dead workers, each in its order."""
        found: list[Event] = []
        for reader in discover(journals or self.data / "journal"):
            for entry in reader.read(None, time.monotonic_ns()):
                assert not isinstance(entry, Damage), entry
                found.append(decode(entry.payload))
            reader.close()
        return found

    def log(self) -> str:
        """Everything that was logged, of all starts."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def log_lines(self, message: str) -> Sequence[Mapping[str, Any]]:
        """The logged lines with *message*."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"] == message]

    def worker_pids(self) -> Sequence[int]:
        """The workers' process ids."""
        return [int(worker["pid"]) for worker in self.status()]

    def _listening(self) -> int:
        assert self.process is not None
        own = f"({self.process.pid})"
        found = [m[1] for m in re.finditer(r"Listening at: \S+?:(\d+) (\(\d+\))", self.log()) if m[2] == own]
        return int(found[-1]) if found else 0

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


@contextmanager
def a_receiver(
    folder: Path, *endpoints: Endpoint, workers: int = 1, start: bool = True, **settings: str
) -> Iterator[Receiver]:
    """
    A receiver with its data in *folder*, ready, and ended with the block.

    *settings* are its environment variables without the prefix: `APPEND_TIMEOUT="1"`.
    """
    receiver = Receiver(folder, settings, workers)
    folder.mkdir(parents=True, exist_ok=True)
    receiver.write_snapshot(a_snapshot(*(endpoints or (an_endpoint(),))).SerializeToString())
    try:
        if start:
            receiver.start()
        yield receiver
    finally:
        receiver.close()


def replace_file(file: Path, content: bytes) -> None:
    """Replace *file* whole, as route files are."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    with new.open("wb") as stream:
        stream.write(content)
        os.fsync(stream.fileno())
    new.replace(file)


def _lines(text: str) -> Iterator[Line]:
    for line in text.splitlines():
        if found := re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line):
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
            yield Line(found[1], labels, float(found[3]))
