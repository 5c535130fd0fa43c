"""
A hostile tenant against the operator as a process, on a real API server: everything that it may write, as fast as it can.

What is held to: nothing raises, another tenant's revocation and addition are published while it lasts, and neither the
operator's memory, nor its log, nor the statuses that it writes grow with the attack. How long changes take beside
the same without an attack is printed (`-s`): a busy machine would make a limit of it a matter of luck.
"""

import contextlib
import itertools
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from hookline.routing.v1.table_pb2 import RouteEntry, RouteShard
from hookline_operator.decide.shards import stored
from hookline_routes.shard import join, shard_of
from support.kubernetes.api import Object, Refused
from support.kubernetes.fixtures import NewNamespace
from support.kubernetes.installation import Installation, Operator, install
from support.kubernetes.network import Network
from support.kubernetes.objects import a_service
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Processes
from support.route_lane import a_secret_body, a_subscription_body
from support.routes import a_route
from support.waiting import until_sync

API = "hookline.dev/v1alpha1"
SECONDS = 6.0
"""Of the attack."""
MANY = 30
"""Subscriptions that are toggled."""


@pytest.fixture
def installation(
    kinds: None,
    plane: ControlPlane,
    network: Network,
    processes: Processes,
    tmp_path: Path,
    new_namespace: NewNamespace,
) -> Installation:
    """One in a namespace of its own of the shared cluster."""
    return install(plane, network, processes, tmp_path, namespace=new_namespace("hookline"))


def clean(body: Object) -> Object:
    """Without what the API server gives it."""
    metadata = {name: body["metadata"][name] for name in ("namespace", "name")}
    return {**body, "metadata": metadata}


def subscription(namespace: str, name: str, gateway: str, **spec: object) -> Object:
    """Of the installation in the namespace *gateway*."""
    ref = {"name": "default", "namespace": gateway}
    return clean(a_subscription_body(name, namespace, gatewayRef=ref, **spec))


def the_largest(change: int) -> list[Object]:
    """As many routes, and as much in each, as the schema lets through."""
    triggers = [f"{change}_{each:03d}_trigger" for each in range(128)]
    expression = " || ".join(f"event.data.message.type == 't{change}{each}'" for each in range(40))
    return [a_route(f"r{each}", match={"triggers": triggers, "expression": expression}) for each in range(32)]


def a_huge_slice(namespace: str, index: int, change: int) -> Object:
    """A thousand endpoints, of all kinds that lead elsewhere."""
    addresses = [f"10.{change % 200}.{each // 250}.{each % 250 + 1}" for each in range(997)]
    addresses += ["8.8.8.8", "10.96.0.1", "192.168.0.1"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": f"forged-{index}",
            "labels": {"kubernetes.io/service-name": "notifier"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in addresses],
        "ports": [{"name": "", "port": 9000, "protocol": "TCP"}],
    }


class Attack:
    """Writes without a pause, in several threads, until it ends; what the API server refuses is part of it."""

    def __init__(self, plane: ControlPlane, namespace: str, gateway: str) -> None:
        self.plane, self.namespace, self.gateway = plane, namespace, gateway
        self.count = 0
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def prepare(self) -> None:
        """What is changed later."""
        api = self.plane.api()
        api.apply(clean(a_service(self.namespace, "notifier", 9000)) | {"spec": a_service("x", "n", 9000)["spec"]})
        for number in range(2):
            api.apply(subscription(self.namespace, f"large-{number}", self.gateway, routes=the_largest(0)))
        for number in range(MANY):
            auth = {"basic": {"secretRefs": [{"name": f"login-{each}"} for each in range(4)]}}
            api.apply(subscription(self.namespace, f"many-{number}", self.gateway, auth=auth))
        for number in range(4):
            api.apply(clean(a_secret_body(f"login-{number}", self.namespace)))

    def __enter__(self) -> Self:
        for way in (self._largest, self._many, self._secrets, self._slices, self._conflicts, self._services):
            thread = threading.Thread(target=self._repeat, args=(way,), name=way.__name__)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, way: Callable[[int], Object]) -> None:
        api = self.plane.api()
        for change in itertools.count(1):
            if self._over.is_set():
                break
            with contextlib.suppress(Refused, OSError):
                api.apply(way(change))
            self.count += 1
        api.close()

    def _largest(self, change: int) -> Object:
        return subscription(self.namespace, f"large-{change % 2}", self.gateway, routes=the_largest(change))

    def _many(self, change: int) -> Object:
        return subscription(self.namespace, f"many-{change % MANY}", self.gateway, suspend=bool(change // MANY % 2))

    def _secrets(self, change: int) -> Object:
        return clean(a_secret_body(f"login-{change % 4}", self.namespace, f"password-{change}"))

    def _slices(self, change: int) -> Object:
        return a_huge_slice(self.namespace, change % 20, change)

    def _conflicts(self, change: int) -> Object:
        path = f"/{self.namespace}/p{change % 3}"
        return subscription(self.namespace, f"many-{change % MANY}", self.gateway, path=path)

    def _services(self, change: int) -> Object:
        kind = {"type": "ExternalName", "externalName": "example.com"} if change % 2 else {}
        return a_service(self.namespace, f"service-{change % 10}", 9000, **kind)


class Victim:
    """Another tenant, whose changes are waited for in the published tables."""

    def __init__(self, plane: ControlPlane, namespace: str, gateway: str) -> None:
        self.api, self.namespace, self.gateway = plane.api(), namespace, gateway
        self._uid = ""

    def prepare(self) -> None:
        """One subscription with a password."""
        self.api.apply(clean(a_secret_body("chat", self.namespace)))
        self.api.apply(subscription(self.namespace, "chat", self.gateway))
        stored = self.api.get(API, "WebhookSubscription", self.namespace, "chat")
        self._uid = stored["metadata"]["uid"]
        self.until(lambda entry: len(entry.endpoint.verifiers) == 1)

    def revoke_and_restore(self) -> float:
        """Seconds until a suspension is published, and until it is over."""
        begun = time.monotonic()
        for suspend in (True, False):
            self.api.apply(subscription(self.namespace, "chat", self.gateway, suspend=suspend))
            self.until(lambda entry, wanted=suspend: entry.endpoint.suspended == wanted)
        return time.monotonic() - begun

    def until(self, holds: Callable[[RouteEntry], bool]) -> None:
        """Wait until the published entry is so."""
        until_sync(lambda: any(map(holds, self._entries())), 120, f"what {self.namespace} has changed is published")

    def _entries(self) -> list[RouteEntry]:
        name = f"default-{shard_of(self._uid, 64):02d}"
        try:
            chunks = [stored(self.api.get(API, "RouteTable", self.gateway, name)).chunk]
            for number in range(1, chunks[0].chunks if chunks[0] else 1):
                chunks.append(stored(self.api.get(API, "RouteTable", self.gateway, f"{name}-{number}")).chunk)
            shard = RouteShard.FromString(join([each for each in chunks if each]))
        except (Refused, ValueError):
            return []
        return [entry for entry in shard.entries if entry.subscription.ref.uid == self._uid]


def metric(installation: Installation, operator: Operator, name: str) -> float:
    """Its value; -1 if it is not there."""
    port = installation.network.reach(operator.address, 8085)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return -1
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"hookline_operator_{name} ")), -1)


def resident(operator: Operator) -> float:
    """MiB of memory."""
    status = Path(f"/proc/{operator.process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def test_a_hostile_tenant_does_not_stop_the_operator_nor_another_tenant(
    installation: Installation, plane: ControlPlane, new_namespace: NewNamespace
) -> None:
    """All of it at once: the largest subscriptions, Secrets of many, forged slices, conflicts, Services that change type."""
    evil, victim = new_namespace("evil"), new_namespace("victim")
    operator = installation.start_operator()
    operator.process.wait_for(lambda: metric(installation, operator, "published") == 1, 90, "published")
    attack, other = Attack(plane, evil, installation.namespace), Victim(plane, victim, installation.namespace)
    attack.prepare()
    other.prepare()
    quiet = [other.revoke_and_restore() for _ in range(2)]
    memory, logged = resident(operator), len(operator.process.log())
    mark, begun, busy = plane.audit.mark(), time.monotonic(), []

    with attack:
        while time.monotonic() - begun < SECONDS or not busy:
            busy.append(other.revoke_and_restore())
    lasted = time.monotonic() - begun

    writes = plane.audit.writes(mark, namespace=installation.namespace)
    tables = [call for call in writes if call.resource == "routetables"]
    statuses = [call for call in plane.audit.writes(mark, namespace=evil) if call.subresource == "status"]
    grown, lines = resident(operator) - memory, operator.process.log()[logged:].count("\n")
    print(
        f"\n{attack.count / lasted:.0f} changes a second for {lasted:.0f} s; revocation and restoration: quiet "
        f"{min(quiet):.2f} s, attacked {sorted(busy)[len(busy) // 2]:.2f} s (worst {max(busy):.2f} s); "
        f"{len(tables) / lasted:.0f} tables, {len(statuses) / lasted:.0f} statuses written a second; "
        f"memory +{grown:.0f} MiB; {lines / lasted:.0f} lines of log a second"
    )
    assert operator.process.alive
    assert "term failed" not in operator.process.log(), "something raised that ends a lane"
    assert grown < 300
    assert len(statuses) <= 100 + 50 * lasted
    assert lines <= 100 * lasted
