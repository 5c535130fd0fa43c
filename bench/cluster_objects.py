"""
A cluster's objects for `bench.cluster`, and writing them: subscriptions in namespaces of 20, each with a Secret of its own.

A namespace has two Services, each with a ready Pod and its EndpointSlice. Every password is another one.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

Object = dict[str, Any]

IN_A_NAMESPACE = 20
SERVICES = 2
AT_ONCE = 12
PORT = 9000
NODE = "elsewhere"
"""Where the handlers' Pods are said to run."""
USERNAME = "acmehooks"
CORE = "/api/v1/namespaces"
SLICES = "/apis/discovery.k8s.io/v1/namespaces"
OURS = "/apis/hookline.dev/v1alpha1/namespaces"
MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Size:
    """So many subscriptions."""

    subscriptions: int

    @property
    def namespaces(self) -> int:
        """Twenty subscriptions are in each."""
        return max(1, self.subscriptions // IN_A_NAMESPACE)

    @property
    def objects(self) -> int:
        """Of all kinds; a Service comes with a Pod and a slice."""
        return self.namespaces * (1 + 3 * SERVICES) + 2 * self.subscriptions

    def place(self, number: int) -> str:
        """The namespace of subscription *number*: neighbours are in different ones."""
        return f"t{number % self.namespaces}"


def name(number: int) -> str:
    """Of a subscription and of its Secret."""
    return f"s{number}"


def password(number: int) -> str:
    """No two are the same."""
    return f"a-long-password-{number:08}"


def subscription(number: int) -> Object:
    """Two routes, one of them with an expression."""
    notify = {"triggers": ["message_sent", "user_mentioned"], "expression": "event.data.message.type == 'text'"}
    matches: tuple[tuple[str, Object], ...] = (("notify", notify), ("analytics", {}))
    routes = [
        {"name": route, "match": match, "handler": {"serviceRef": {"name": f"h{index}", "port": PORT}}}
        for index, (route, match) in enumerate(matches)
    ]
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {"name": name(number)},
        "spec": {
            "appIds": [f"app{number}"],
            "auth": {"basic": {"secretRefs": [{"name": name(number)}]}},
            "routes": routes,
        },
    }


def secret(number: int) -> Object:
    """With a password that somebody has chosen: its verifier is slow to make."""
    data = {"username": USERNAME, "password": password(number)}
    return {"metadata": {"name": name(number)}, "type": "kubernetes.io/basic-auth", "stringData": data}


def service(index: int) -> Object:
    """Headless, so that nobody has to find it an address."""
    ports = [{"name": "grpc", "port": PORT}]
    return {"metadata": {"name": f"h{index}"}, "spec": {"clusterIP": "None", "selector": {"app": "h"}, "ports": ports}}


def pod(index: int) -> Object:
    """Bound to a node that nobody plays."""
    spec = {"nodeName": NODE, "containers": [{"name": "main", "image": "none"}]}
    return {"metadata": {"name": f"h{index}-0", "labels": {"app": "h"}}, "spec": spec}


def pod_status(address: str) -> Object:
    """It runs, and is ready."""
    conditions = [{"type": each, "status": "True"} for each in ("Ready", "ContainersReady")]
    return {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}}


def a_slice(index: int, address: str, uid: str) -> Object:
    """As the controller writes it."""
    target = {"kind": "Pod", "name": f"h{index}-0", "uid": uid}
    return {
        "metadata": {"name": f"h{index}-1", "labels": {"kubernetes.io/service-name": f"h{index}"}},
        "addressType": "IPv4",
        "ports": [{"name": "grpc", "port": PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}, "targetRef": target}],
    }


@dataclass
class Writer:
    """Writes objects, several at once; use it in one event loop, `async with`."""

    server: str
    tls: Any
    token: str
    session: aiohttp.ClientSession = field(init=False)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self.tls, limit=AT_ONCE)
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        self.session = aiohttp.ClientSession(self.server, connector=connector, headers=headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def load(self, size: Size) -> float:
        """Everything; the seconds that it took."""
        began = time.perf_counter()
        await self._all(self.post(CORE, each) for each in _namespaces(size))
        await self._all(self._service(number, index) for number in range(size.namespaces) for index in range(SERVICES))
        await self._all(self._subscription(size, number) for number in range(size.subscriptions))
        return time.perf_counter() - began

    async def post(self, path: str, body: Object) -> Object:
        """Create one; what was stored."""
        return await self._call("POST", path, body, "application/json")

    async def patch(self, path: str, change: Object) -> Object:
        """Merge *change* into one; what was stored."""
        return await self._call("PATCH", path, change, MERGE)

    async def suspend(self, size: Size, number: int, suspended: bool) -> None:
        """Change a subscription as `kubectl patch` does."""
        path = f"{OURS}/{size.place(number)}/webhooksubscriptions/{name(number)}"
        await self.patch(path, {"spec": {"suspend": suspended}})

    async def _subscription(self, size: Size, number: int) -> None:
        place = size.place(number)
        await self.post(f"{CORE}/{place}/secrets", secret(number))
        await self.post(f"{OURS}/{place}/webhooksubscriptions", subscription(number))

    async def _service(self, number: int, index: int) -> None:
        place, address = f"t{number}", f"10.{index}.{number // 250}.{number % 250 + 1}"
        await self.post(f"{CORE}/{place}/services", service(index))
        made = await self.post(f"{CORE}/{place}/pods", pod(index))
        await self.patch(f"{CORE}/{place}/pods/h{index}-0/status", pod_status(address))
        await self.post(f"{SLICES}/{place}/endpointslices", a_slice(index, address, made["metadata"]["uid"]))

    async def _call(self, method: str, path: str, body: Object, kind: str) -> Object:
        data, headers = json.dumps(body), {"Content-Type": kind}
        async with self.session.request(method, path, data=data, headers=headers) as answer:
            content: Object = await answer.json()
            assert answer.status < 300, f"{method} {path}: {answer.status} {content.get('message')}"
            return content

    async def _all(self, calls: Any) -> None:
        waiting = iter(calls)

        async def work() -> None:
            for call in waiting:
                await call

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def _namespaces(size: Size) -> Iterator[Object]:
    for number in range(size.namespaces):
        yield {"metadata": {"name": f"t{number}"}}
