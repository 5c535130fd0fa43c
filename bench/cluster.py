"""
The operator and a receiver pod on a real API server, by the number of subscriptions: `python -m bench.cluster [SIZE ...]`.

For each size a control plane of its own, loaded with subscriptions (20 in a namespace), as many Secrets and passwords, and
two Services with Pod and EndpointSlice in each namespace. Then, each beside what it is compared with in the same run:

    first start     nothing published, no verifier made, no status written: until all has come to rest
    at rest         writes of the operator in a minute, without its Lease's; its processor time
    changes         20 a second: a subscription is suspended or goes on; from the API server's answer to the patch until the
                    receiver's answer to a POST is another one
    agent           from cold, by itself, beside the running one: until its snapshot is whole; memory
    restart         the operator again: seconds and memory beside a plain list and decode of the same objects; writes

A run of 100 and 1,000 takes some three minutes, 10,000 about ten. What the machine does besides is in all of it.
"""

import asyncio
import base64
import http.client
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from bench import agent as cold_agent
from bench.cluster_objects import NODE, USERNAME, Size, Writer, name, password
from bench.cluster_pod import Kept
from hookline_operator.decide.planes.pod import HTTP_PORT
from support.kubernetes.guard import Guard
from support.kubernetes.installation import OPS_PORT, Installation, Operator, install
from support.kubernetes.network import Network
from support.kubernetes.plane import ADMIN_TOKEN, ControlPlane
from support.kubernetes.process import Processes
from tools.kubernetes import provide

SIZES = (100, 1_000, 10_000)
REST = 60.0
"""Seconds in which nothing should be written."""
STILL = 10.0
"""Seconds without a write after which the operator has come to rest."""
LONGEST = 600.0
"""Seconds that are waited for that at most."""
STATUSES = "200"
"""Written in a second at most; 50 unless set: the first start of 10,000 would be about those."""
LEASE = {"lease_duration": "60", "lease_held": "45"}
"""A leader that gets a tenth of a core loses a Lease of six seconds while it takes over, and begins again."""
RATE = 20
CHANGES = 300
CHANGED = 150
"""Subscriptions that take turns."""
POLL, SHARE = 0.02, 0.1
"""Seconds between two requests for one change, and at least this share of what it has taken so far: the error of its way."""
LATEST = 20.0
TICKS = os.sysconf("SC_CLK_TCK")


def main(sizes: list[int]) -> None:
    """Print a table for each size."""
    for size in sizes:
        print(f"{size:,} subscriptions; load {os.getloadavg()[0]:.1f}", flush=True)
        with bed() as installation:
            for what, said in Run(Size(size), installation).figures():
                print(f"  {what:48} {said}", flush=True)


@contextmanager
def bed() -> Iterator[Installation]:
    """An installation on a control plane of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        guard = stack.enter_context(closing(Guard()))
        plane = stack.enter_context(ControlPlane(folder / "plane", provide(), guard))
        network = stack.enter_context(Network())
        processes = stack.enter_context(Processes(folder / "log", guard, network))
        network.mirror(plane.port)
        yield install(plane, network, processes, folder)


@dataclass(frozen=True)
class Usage:
    """What a process has taken so far."""

    processor: float
    """Seconds."""
    memory: float
    """MiB now."""
    peak: float


def usage(pid: int) -> Usage:
    """As the kernel says."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    now, peak = (int(re.findall(rf"{each}:\s+(\d+)", status)[0]) / 1024 for each in ("VmRSS", "VmHWM"))
    return Usage((int(fields[11]) + int(fields[12])) / TICKS, now, peak)


@dataclass
class Run:
    """One size."""

    size: Size
    installation: Installation
    operator: Operator = field(init=False)
    plain: list[dict[str, float]] = field(default_factory=list)

    @property
    def plane(self) -> ControlPlane:
        """The control plane."""
        return self.installation.plane

    def figures(self) -> Iterator[tuple[str, str]]:
        """What was measured, as it comes."""
        self.plane.admin.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        seconds = asyncio.run(self._load())
        yield f"{self.size.objects:,} objects written", f"{seconds:.0f} s"
        yield "plain list and decode", self._list()
        yield from self._first_start()
        with Kept(self.installation, self.installation.folder) as pod:
            yield from self._settle()
            yield from self._rest()
            yield from asyncio.run(self._changes(pod))
            yield from self._agents(pod)
            yield "plain list and decode", self._list()
            yield from self._restart()
            yield "plain list and decode", self._list()

    async def _load(self) -> float:
        async with self._writer() as writer:
            return await writer.load(self.size)

    def _writer(self) -> Writer:
        return Writer(self.plane.server, self.plane.tls, ADMIN_TOKEN)

    def _list(self) -> str:
        began = time.perf_counter()
        arguments = ["127.0.0.1", str(self.plane.port), str(self.plane.authority), ADMIN_TOKEN]
        done = subprocess.run(
            [sys.executable, "-m", "bench.plain_list", *arguments], check=True, capture_output=True, text=True
        )
        said: dict[str, float] = json.loads(done.stdout)
        said["start"] = time.perf_counter() - began
        self.plain.append(said)
        return (
            f"{said['seconds']:.2f} s ({said['start']:.2f} s with the interpreter's start, "
            f"{said['processor']:.2f} s of a core), {said['memory']:.0f} MiB, {said['objects']:.0f} objects"
        )

    # The operator.

    def _start(self) -> Iterator[tuple[str, str]]:
        """Until it is ready, and until it has published."""
        pods = self.installation.folder / "bench-pods.yaml"
        pods.write_text("{image: none, workers: 1}\n", encoding="utf-8")
        began = time.perf_counter()
        self.operator = self.installation.start_operator(
            gateway={"replicas": 1}, pod_settings=str(pods), status_per_second=STATUSES, **LEASE
        )
        for what, shown in (("complete", "all listed"), ("published", "published: ready")):
            self._wait(lambda what=what: self._metrics().get(what) == 1)  # type: ignore[misc]
            seconds, used = time.perf_counter() - began, usage(self.operator.process.pid)
            cost = f"{seconds:.2f} s ({used.processor:.2f} s of a core), {used.peak:.0f} MiB at most"
            yield f"operator, {shown}", f"{cost}; {self._beside(seconds, used)}"

    def _beside(self, seconds: float, used: Usage) -> str:
        start, processor, memory = (
            sum(each[what] for each in self.plain) / len(self.plain) for what in ("start", "processor", "memory")
        )
        return (
            f"x{seconds / start:.1f} (x{used.processor / processor:.1f}), x{used.peak / memory:.1f} of the plain list"
        )

    def _first_start(self) -> Iterator[tuple[str, str]]:
        self._mark, self._began = self.plane.audit.mark(), time.perf_counter()
        for what, said in self._start():
            yield f"first start: {what}", said

    def _settle(self) -> Iterator[tuple[str, str]]:
        seconds = self._until_still(self._began)
        used = usage(self.operator.process.pid)
        yield (
            "first start: at rest",
            f"{seconds:.0f} s ({used.processor:.1f} s of a core), {used.memory:.0f} MiB, {used.peak:.0f} MiB at most",
        )
        yield "first start: writes", self._writes(self._mark)
        yield "subscriptions that are Ready", f"{self._ready():,} of {self.size.subscriptions:,}"

    def _rest(self) -> Iterator[tuple[str, str]]:
        mark, before = self.plane.audit.mark(), usage(self.operator.process.pid)
        time.sleep(REST)
        after = usage(self.operator.process.pid)
        yield f"at rest: writes in {REST:.0f} s", self._writes(mark)
        yield (
            "at rest: operator",
            f"{(after.processor - before.processor) / REST:.1%} of a core, {after.memory:.0f} MiB",
        )

    def _restart(self) -> Iterator[tuple[str, str]]:
        began = time.perf_counter()
        self.operator.process.stop()
        yield "stopped within", f"{time.perf_counter() - began:.2f} s"
        mark, began = self.plane.audit.mark(), time.perf_counter()
        for what, said in self._start():
            yield f"restart: {what}", said
        busy = self._until_idle(began)
        used = usage(self.operator.process.pid)
        yield "restart: busy until", f"{busy:.1f} s ({used.processor:.2f} s of a core), {used.peak:.0f} MiB at most"
        time.sleep(max(0.0, REST - (time.perf_counter() - began)))
        yield f"restart: writes in {REST:.0f} s", self._writes(mark)
        missing = re.findall(r'"missing": (\d+)', self.operator.process.log())
        yield "restart: verifiers to be made", " ".join(missing)

    def _metrics(self) -> dict[str, float]:
        connection = http.client.HTTPConnection(self.operator.address, OPS_PORT, timeout=10)
        try:
            connection.sock = self.installation.network.connect(self.operator.address, OPS_PORT, 10)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except OSError:
            return {}
        finally:
            connection.close()
        pairs = (line.rpartition(" ") for line in text.splitlines() if line.startswith("hookline_operator_"))
        return {found.removeprefix("hookline_operator_"): float(value) for found, _, value in pairs}

    def _wait(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LONGEST
        while not holds():
            self.operator.process.check()
            if time.monotonic() > deadline:
                raise TimeoutError(self.operator.process.tail())
            time.sleep(0.1)

    def _until_still(self, began: float) -> float:
        """Seconds from *began* to the last write, once there was none for a while."""
        writes, last = -1.0, time.perf_counter()
        while time.perf_counter() - last < STILL and time.perf_counter() - began < LONGEST:
            found = self._metrics().get("api_writes_total", writes)
            if found != writes:
                writes, last = found, time.perf_counter()
            time.sleep(0.5)
        return last - began

    def _until_idle(self, began: float) -> float:
        """Seconds from *began* until the operator takes less than a tenth of a core for three seconds."""
        idle = 0
        while idle < 3 and time.perf_counter() - began < LONGEST:
            before = usage(self.operator.process.pid).processor
            time.sleep(1.0)
            idle = idle + 1 if usage(self.operator.process.pid).processor - before < 0.1 else 0
        return time.perf_counter() - began - idle

    def _writes(self, mark: int) -> str:
        """The operator's, by kind, the Lease's apart."""
        calls = self.plane.audit.writes(mark)
        ours = Counter(call.right[2] for call in calls if call.user.endswith(":hookline-operator"))
        leases = ours.pop("leases", 0)
        listed = ", ".join(f"{count} {what}" for what, count in ours.most_common())
        return f"{ours.total()}{f' ({listed})' if listed else ''}, and {leases} of its Lease"

    def _ready(self) -> int:
        api, more, ready = self.plane.admin, "", 0
        while True:
            path = f"/apis/hookline.dev/v1alpha1/webhooksubscriptions?limit=500{more}"
            answer = api.request("GET", path)
            ready += sum(_is_ready(each) for each in answer["items"])
            if not answer["metadata"].get("continue"):
                return ready
            more = f"&continue={answer['metadata']['continue']}"

    # Changes.

    async def _changes(self, pod: Kept) -> list[tuple[str, str]]:
        changed = min(CHANGED, self.size.subscriptions)
        async with self._writer() as writer:
            poll = Poll(self.installation, pod.running.address)
            for number in range(changed):  # the first request of each costs the slow check of its password
                await poll.until(self.size, number, suspended=False)
            before = (usage(self.operator.process.pid), usage(pod.process("agent")))
            ways = await self._ways(writer, poll, changed)
            answers = [answer for answer, _, _ in ways]
            after = (usage(self.operator.process.pid), usage(pod.process("agent")))
        lines = [(f"changes, {RATE} a second: the API server's answer", _spread(answers))]
        lines += [
            (f"from there to the receiver: {what}", _spread([way for _, way, urgent in ways if urgent == wanted]))
            for what, wanted in (("suspended", True), ("going on", False))
        ]
        costs = [1000 * (b.processor - a.processor) / CHANGES for a, b in zip(before, after, strict=True)]
        lines.append(("changes: of a core, each", f"operator {costs[0]:.0f} ms, agent {costs[1]:.0f} ms"))
        return lines

    async def _ways(self, writer: Writer, poll: "Poll", changed: int) -> list[tuple[float, float, bool]]:
        async def change(number: int, suspended: bool) -> tuple[float, float, bool]:
            asked = time.perf_counter()
            await writer.suspend(self.size, number, suspended)
            return time.perf_counter() - asked, await poll.until(self.size, number, suspended), suspended

        began, tasks = time.perf_counter(), []
        for number in range(CHANGES):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            tasks.append(asyncio.create_task(change(number % changed, number // changed % 2 == 0)))
        return list(await asyncio.gather(*tasks))

    # Agents.

    def _agents(self, pod: Kept) -> Iterator[tuple[str, str]]:
        running = {each: usage(pod.process(each)) for each in ("agent", "forwarder", "receiver")}
        yield "pod, at most", ", ".join(f"{what} {used.peak:.0f} MiB" for what, used in running.items())
        runs = [cold_agent.cold(self.plane, self.installation.namespace) for _ in range(3)]
        imports, snapshot, memory = (sorted(each)[1] for each in list(zip(*runs, strict=True))[:3])
        yield (
            "agent from cold: snapshot whole",
            f"{snapshot:.2f} s after its imports ({imports:.2f} s), {memory:.0f} MiB",
        )


@dataclass
class Poll:
    """POSTs what is no event, with the right password: 503 while the subscription is suspended, else 400."""

    installation: Installation
    host: str
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(64))

    async def until(self, size: Size, number: int, suspended: bool) -> float:
        """Seconds from now until the receiver answered so; infinite if it does not for too long."""
        began = asked = time.perf_counter()
        while asked - began < LATEST:
            async with self.slots:
                status = await asyncio.wait_for(self._post(size, number), LATEST)
            now = time.perf_counter()
            if status == (503 if suspended else 400):
                return now - began
            await asyncio.sleep(max(asked + POLL - now, (now - began) * SHARE))
            asked = time.perf_counter()
        return math.inf

    async def _post(self, size: Size, number: int) -> int:
        made = self.installation.network.new_socket()
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (self.host, HTTP_PORT))
        reader, writer = await asyncio.open_connection(sock=made)
        credential = base64.b64encode(f"{USERNAME}:{password(number)}".encode()).decode()
        writer.write(
            f"POST /{size.place(number)}/{name(number)} HTTP/1.1\r\nHost: it\r\nAuthorization: Basic {credential}\r\n"
            "Content-Length: 2\r\nConnection: close\r\n\r\n{}".encode()
        )
        try:
            return int((await reader.readline()).split()[1])
        finally:
            writer.close()


def _is_ready(body: dict[str, Any]) -> bool:
    conditions = body.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(max(0.0, each) for each in seconds)
    shown = (f"{label} {ordered[math.ceil(share * len(ordered)) - 1] * 1000:.0f}" for label, share in SHARES)
    return f"{', '.join(shown)} ms ({len(ordered)})"


SHARES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("most", 1.0))


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or list(SIZES))
