"""
An agent from cold, beside a real API server: time until the whole snapshot is on disk, and memory, by subscriptions.

In between, one subscription changes again and again: from the API server's answer until a real receiver's worker serves it
is not measured here, but until it is in the receiver's file.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from bench.routes import endpoint, subscription
from hookline.routing.v1.table_pb2 import RouteEntry

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.agent import AGENT_TOKEN, PLANE, Publisher
from support.kubernetes.kinds import install_kinds
from support.kubernetes.plane import ADMIN_TOKEN, ControlPlane, PlaneOptions, a_control_plane, free_ports

COUNTS = (100, 1_000, 10_000)
STARTS = 3
CHANGES = 20


def main() -> None:
    """Print a table."""
    print(
        f"{'subscriptions':>13} {'imports':>9} {'snapshot':>9} {'start to snapshot':>18} {'peak memory':>12} {'a change':>9}"
    )
    with a_control_plane(PlaneOptions(audit=False)) as plane:
        install_kinds(plane)
        api = plane.api()
        for count in COUNTS:
            namespace = f"bench-{count}"
            api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            publisher = Publisher(plane, namespace)
            for number in range(count):
                entry = RouteEntry(endpoint=endpoint(number), subscription=subscription(number))
                publisher.entries[entry.subscription.ref.uid] = entry
            publisher.publish_all()
            runs = [run(plane, publisher, changes=CHANGES if n == STARTS - 1 else 0) for n in range(STARTS)]
            imports, snapshot, memory = (statistics.median(each[n] for each in runs) for n in range(3))
            change = statistics.median(runs[-1][3])
            total = imports + snapshot
            print(
                f"{count:13} {imports:7.2f} s {snapshot:7.2f} s {total:16.2f} s {memory:8.0f} MiB {change * 1000:6.0f} ms",
                flush=True,
            )


def run(plane: ControlPlane, publisher: Publisher, changes: int) -> tuple[float, float, float, Sequence[float]]:
    """Seconds until it begins to work, from there until the snapshot is whole, MiB at most, seconds of each change."""
    return cold(plane, publisher.namespace, lambda file: [change(publisher, file, n) for n in range(changes)])


def cold(
    plane: ControlPlane, namespace: str, then: Callable[[Path], Sequence[float]] = lambda _: ()
) -> tuple[float, float, float, Sequence[float]]:
    """The same of an agent in *namespace*, whatever publishes there; *then* is given the receiver's file."""
    with tempfile.TemporaryDirectory() as folder:
        data, log = Path(folder), Path(folder) / "log"
        for name, content in (
            ("tagKey", bytes(32)),
            ("agentToken", AGENT_TOKEN.encode()),
            ("token", ADMIN_TOKEN.encode()),
        ):
            (data / name).write_bytes(content)
        began, wall = time.perf_counter(), time.time()
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "hookline_receiver.agent"],
                env=environment(plane, namespace, data),
                stdout=out,
                stderr=out,
            )
        try:
            file = data / "routes" / "receiver.binpb"
            wait(file.exists)
            whole = time.perf_counter() - began
            first = re.search(r'"time": "([^"]+)"', log.read_text().splitlines()[0])
            imports = started(first[1]) - wall if first else 0.0
            times = then(file)
            time.sleep(1.5)  # gRPC comes after the first snapshot, and takes its memory then
            peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
            assert peak is not None
            return imports, whole - imports, int(peak[1]) / 1024, times
        finally:
            process.kill()
            process.wait()


def started(stamp: str) -> float:
    """Seconds since the epoch of a log line's time."""
    return datetime.fromisoformat(stamp).timestamp()


def change(publisher: Publisher, file: Path, number: int) -> float:
    """Change one subscription; seconds from the API server's answer until it is in the receiver's file."""
    entry = RouteEntry(endpoint=endpoint(number, number + 1), subscription=subscription(number, number + 1))
    before = file.stat().st_mtime_ns
    publisher.put(entry)
    answered = time.perf_counter()
    wait(lambda: file.stat().st_mtime_ns != before)
    return max(0.0, time.perf_counter() - answered)


def wait(holds: Callable[[], bool]) -> None:
    """At most a minute."""
    until = time.monotonic() + 60
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("nothing came")
        time.sleep(0.001)


def environment(plane: ControlPlane, namespace: str, data: Path) -> dict[str, str]:
    """Of the agent; no receiver and no forwarder run."""
    ports = list(free_ports(4))
    settings = {
        "DATA_DIR": str(data),
        "PLANE": PLANE,
        "NAMESPACE": namespace,
        "KEYS_DIR": str(data),
        "SERVER": plane.server,
        "TOKEN_FILE": str(data / "token"),
        "CA_FILE": str(plane.authority),
        "RECEIVER_OPS": f"127.0.0.1:{ports[0]}",
        "FORWARDER_OPS": f"127.0.0.1:{ports[1]}",
        "REPORT_BIND": f"127.0.0.1:{ports[2]}",
        "OPS_BIND": f"127.0.0.1:{ports[3]}",
    }
    return {**os.environ, **{f"HOOKLINE_AGENT_{name}": value for name, value in settings.items()}}


if __name__ == "__main__":
    main()
