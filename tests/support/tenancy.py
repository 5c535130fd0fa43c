"""
A cluster in which the product runs, and tenants who use it as people do: with kubectl, a password and an HTTP client.

    with running_installation(...) as cluster:
        acme = cluster.tenant("acme")
        notifier = acme.handler("notifier")
        acme.apply(manifest)
        acme.wait("Ready")
        acme.post(an_event_of("m-1")).statuses        # one answer of each receiver pod

What decides is what the receiver pods answer and what handlers get; statuses are read with kubectl.
"""

import base64
import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hookline_kit.server import TLS, Server, ServerSettings
from hookline_operator.decide.planes.pod import HTTP_PORT, PLANE_ANNOTATION
from support.acme import (
    CLIENT_SECRET,
    HOST,
    PORT,
    a_grant,
    a_tls_secret,
    acme_gateway,
    acme_yaml,
    an_authority,
    an_event,
    platform_of,
)
from support.certificates import Certificates, make_certificates
from support.inbox import Inbox
from support.kubernetes.api import Object
from support.kubernetes.background import Background
from support.kubernetes.guard import Guard
from support.kubernetes.installation import Installation, Operator, install
from support.kubernetes.network import Address, Network
from support.kubernetes.node import CONTROLLERS, Node
from support.kubernetes.objects import a_pod, a_service, run_pod
from support.kubernetes.plane import ControlPlane, KubectlFailed
from support.kubernetes.pod import RunningPod
from support.kubernetes.process import Process, Processes
from support.manifests import PASSWORD, USERNAME, as_yaml

ELSEWHERE = "elsewhere"
"""The node of the handlers' Pods: they run in the test itself."""

LOOK_EVERY = 0.05
"""Seconds: to ask is work for receivers and handlers too, on the machine that everything else runs on."""

Credential = tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """What a receiver pod said."""

    pod: str
    status: int
    headers: Mapping[str, str]
    """By names in small letters."""
    body: Any


@dataclass
class Cluster:
    """A control plane with controllers, a node, the operator and its receiver pods."""

    installation: Installation
    node: Node
    operator: Operator
    certificates: Certificates
    """The gateway's client certificate and its authority."""
    folder: Path
    background: Background
    settings: Mapping[str, str]
    """The operator's."""
    controllers: Process
    suffix: str = ""
    """Of all tenants' namespaces: so that tests can be run again in the same cluster."""
    _ports: dict[tuple[str, int], int] = field(default_factory=dict)
    _servers: list[Server] = field(default_factory=list)

    @property
    def plane(self) -> ControlPlane:
        """The API server."""
        return self.installation.plane

    @property
    def network(self) -> Network:
        """Where pods are."""
        return self.installation.network

    def kubectl(self, *arguments: str, input: str | None = None, timeout: float = 60.0) -> str:
        """As the platform's administrator, in the installation's namespace."""
        return self.plane.kubectl(*arguments, input=input, namespace=self.installation.namespace, timeout=timeout)

    def apply(self, *things: str | Object) -> None:
        """`kubectl apply` of texts and objects, each in its own namespace."""
        for thing in things:
            self.plane.kubectl("apply", "-f", "-", input=thing if isinstance(thing, str) else as_yaml(thing))

    def tenant(self, namespace: str, labels: Mapping[str, str] | None = None) -> "Tenant":
        """One in a namespace of its own, with the namespace of another team beside it."""
        namespace += self.suffix
        for name in (namespace, platform_of(namespace)):
            metadata = {"name": name, "labels": {**(labels or {})}}
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        return Tenant(self, namespace)

    def pods(self, gateway: str = "default") -> list[RunningPod]:
        """Those of the gateway's plane that are ready."""
        ready = self.node.ready(self.installation.namespace)
        return [pod for pod in ready if pod.pod["metadata"]["annotations"][PLANE_ANNOTATION] == gateway]

    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.plane.kubeconfig()

    def reach(self, address: str, port: int = HTTP_PORT) -> int:
        """The port of this machine that leads there."""
        if (address, port) not in self._ports:
            self._ports[address, port] = self.network.reach(address, port)
        return self._ports[address, port]

    def serve(self, inbox: Inbox, tls: TLS | None = None) -> Address:
        """Let *inbox* listen at an address of a pod, on the port of the example's handlers."""
        server = Server(inbox.handle, ServerSettings(host="127.0.0.1", port=0, tls=tls, notice=0.0, grace=1.0))
        self.background.run(server.start())
        self._servers.append(server)
        inbox.server = server
        return self.network.expose(server.port, at_port=PORT)

    def post(self, pod: RunningPod, path: str, body: bytes, credential: Credential | None, host: str = HOST) -> Answer:
        """One request to one receiver pod."""
        headers = {"Host": host, "Content-Type": "application/json"}
        if credential is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(credential).encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.reach(pod.address), timeout=20)
        try:
            connection.request("POST", path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            return Answer(pod.name, answer.status, {k.lower(): v for k, v in answer.getheaders()}, _decoded(content))
        finally:
            connection.close()

    def start_operator(self) -> None:
        """Another one, after the one before it has ended."""
        self.operator = self.installation.start_operator(gateway=acme_gateway(), **self.settings)

    def restart_controllers(self) -> None:
        """After the API server was away: by themselves they are back after a minute."""
        self.controllers.kill()
        self.controllers = self.plane.start_controllers(*CONTROLLERS)

    def close(self) -> None:
        """End the handlers."""
        for server in self._servers:
            self.background.run(server.stop())
        self.background.close()


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


@dataclass
class Tenant:
    """A team with a namespace."""

    cluster: Cluster
    namespace: str
    gateway: str = "default"
    """Whose receivers are asked."""
    inboxes: dict[str, Inbox] = field(default_factory=dict)
    _pods: dict[tuple[str, str], dict[str, Address]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Of the example's subscription."""
        return f"/{self.namespace}/chat"

    @property
    def platform(self) -> str:
        """The namespace of the other team."""
        return platform_of(self.namespace)

    def apply(self, *things: str | Object) -> None:
        """`kubectl apply` of texts and objects."""
        self.cluster.apply(*things)

    def kubectl(self, *arguments: str, input: str | None = None, timeout: float = 60.0) -> str:
        """In the tenant's namespace."""
        return self.cluster.plane.kubectl(*arguments, input=input, namespace=self.namespace, timeout=timeout)

    def patch(self, spec: Object, name: str = "chat") -> None:
        """`kubectl patch` of a subscription's spec."""
        self.kubectl("patch", "webhooksubscription", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def manifest(self, kind: str) -> Object:
        """The example's object of that kind, in this namespace."""
        (found,) = yaml.safe_load_all(acme_yaml(self.namespace, kind))
        return dict(found)

    def change_routes(self, change: Callable[[list[Object]], object]) -> float:
        """Change the example's routes; seconds until all receivers serve them so, by the status."""
        routes = self.subscription()["spec"]["routes"]
        change(routes)
        begun = time.monotonic()
        self.patch({"routes": routes})
        self.wait("Programmed")
        return time.monotonic() - begun

    def surroundings(self) -> list[Object]:
        """The authority and the grant that the example needs."""
        authority = self.cluster.folder / self.namespace / "notifier" / "tls" / "ca.crt"
        return [an_authority(self.namespace, "notifier-ca", authority), a_grant(self.namespace)]

    def subscription(self, name: str = "chat") -> Object:
        """As it is now."""
        found: Object = json.loads(self.kubectl("get", "webhooksubscription", name, "-o", "json"))
        return found

    def conditions(self, name: str = "chat") -> dict[str, Object]:
        """By type; none before the operator has spoken of this generation."""
        found = self.subscription(name)
        generation = found["metadata"]["generation"]
        conditions = found.get("status", {}).get("conditions", [])
        return {each["type"]: each for each in conditions if each["observedGeneration"] == generation}

    def says(self, kind: str, status: str, reason: str = "", name: str = "chat") -> bool:
        """Whether the condition of that type is so, for the object as it is now."""
        found = self.conditions(name).get(kind, {})
        return found.get("status") == status and reason in ("", found.get("reason"))

    def wait(self, condition: str = "Ready", name: str = "chat", within: int = 30) -> None:
        """`kubectl wait`."""
        arguments = ("wait", f"--for=condition={condition}", f"--timeout={within}s", f"webhooksubscription/{name}")
        try:
            self.kubectl(*arguments, timeout=within + 30)
        except KubectlFailed as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def handler(self, name: str, namespace: str = "", *, tls: bool = False, pods: int = 1) -> Inbox:
        """A Service with so many Pods, which all are the inbox that is given back."""
        namespace = namespace or self.namespace
        inbox = self.inboxes.setdefault(f"{namespace}/{name}", Inbox())
        self.apply(a_service(namespace, name, PORT))
        for index in range(pods):
            self.add_pod(
                name, f"{name}-{index}", namespace, inbox=inbox, tls=self.tls(name, namespace) if tls else None
            )
        return inbox

    def inbox(self, name: str) -> Inbox:
        """Of the Service of that name, in either namespace."""
        (found,) = [inbox for key, inbox in self.inboxes.items() if key.endswith(f"/{name}")]
        return found

    def tls(self, name: str, namespace: str, folder: str = "tls") -> TLS:
        """A server certificate for the Service from an authority of its own; the gateway's clients only."""
        certificates = make_certificates(self.cluster.folder / namespace / name / folder, f"{name}.{namespace}.svc")
        return TLS(certificates.server.certificate, certificates.server.key, self.cluster.certificates.authority)

    def add_pod(self, service: str, pod: str, namespace: str = "", *, inbox: Inbox, tls: TLS | None = None) -> Address:
        """A ready Pod that the Service selects."""
        namespace = namespace or self.namespace
        address = self.cluster.serve(inbox, tls)
        run_pod(self.cluster.plane.admin, a_pod(namespace, pod, {"app": service}, nodeName=ELSEWHERE), address.host)
        self._pods.setdefault((namespace, service), {})[pod] = address
        return address

    def remove_pod(self, service: str, pod: str, namespace: str = "") -> None:
        """The Pod goes, and what listened at its address."""
        namespace = namespace or self.namespace
        self.kubectl("delete", "pod", pod, "--namespace", namespace, "--force", "--grace-period=0")
        self.cluster.network.end(self._pods[namespace, service].pop(pod))

    def post(
        self,
        body: bytes,
        credential: Credential | None = (USERNAME, PASSWORD),
        *,
        name: str = "chat",
        path: str = "",
        host: str = HOST,
    ) -> list[Answer]:
        """The same to every receiver pod."""
        path = path or f"/{self.namespace}/{name}"
        return [self.cluster.post(pod, path, body, credential, host) for pod in self.cluster.pods(self.gateway)]

    def statuses(self, credential: Credential | None = (USERNAME, PASSWORD), **options: Any) -> set[int]:
        """What all receivers answer to a fresh event."""
        found = {answer.status for answer in self.post(an_event(fresh()), credential, **options)}
        assert found, f"no receiver of the gateway {self.gateway} is ready"
        return found

    def send(self, message: str, *, host: str = HOST, **changes: Any) -> None:
        """An event of the message *message* to the first receiver, which accepts it."""
        pod, event = self.cluster.pods(self.gateway)[0], an_event(message, **changes)
        answer = self.cluster.post(pod, self.path, event, (USERNAME, PASSWORD), host)
        assert answer.status == 200, answer

    def delivered(self, inbox: Inbox, route: str, within: float = 15.0, **changes: Any) -> float:
        """Send a fresh event to the first receiver; seconds until *inbox* has it by *route*."""
        message, begun = fresh(), time.monotonic()
        self.send(message, **changes)
        self.until(lambda: inbox.got(message, route=route), within, f"{message} by {route}")
        return time.monotonic() - begun

    def until(self, holds: Callable[[], bool], within: float = 15.0, what: str = "") -> float:
        """Seconds until *holds*, counted from now; if it does not, the objects and logs as they are."""
        begun = time.monotonic()
        while not holds():
            assert time.monotonic() - begun < within, f"not within {within:g} s: {what}\n{self.story()}"
            time.sleep(LOOK_EVERY)
        return time.monotonic() - begun

    def until_answered(
        self, status: int, credential: Credential | None = (USERNAME, PASSWORD), within: float = 10.0, **options: Any
    ) -> float:
        """Seconds until every receiver answers so, counted from now."""
        what = f"{status} from all receivers"
        return self.until(lambda: self.statuses(credential, **options) == {status}, within, what)

    def story(self) -> str:
        """Where it stands, for a test that fails."""
        try:
            told = self.kubectl("get", "webhooksubscriptions,services,endpointslices,pods", "-o", "yaml")
        except KubectlFailed as error:
            told = str(error)
        return f"{told}\n{self.cluster.operator.process.tail(30)}"


_NUMBERS = itertools.count(1)


def fresh() -> str:
    """An id of a message that no other event has."""
    return f"m-{next(_NUMBERS)}"


@contextmanager
def running_cluster(
    plane: ControlPlane, network: Network, processes: Processes, guard: Guard, folder: Path, **settings: str
) -> Iterator[Cluster]:
    """
    The product, at work: two receiver pods of the example's gateway are ready.

    *plane* is one's own; *settings* are the operator's.
    """
    network.mirror(plane.port)
    controllers = plane.start_controllers(*CONTROLLERS)
    installation = install(plane, network, processes, folder)
    certificates = make_certificates(folder / "gateway")
    plane.admin.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": ELSEWHERE}})
    plane.admin.apply(a_tls_secret(installation.namespace, CLIENT_SECRET, certificates))
    settings = {"authority_seconds": "2", **settings}
    operator = installation.start_operator(gateway=acme_gateway(), **settings)
    with Node(plane, network, guard, folder) as node:
        cluster = Cluster(
            installation, node, operator, certificates, folder, Background("handlers"), settings, controllers
        )
        try:
            node.wait_ready(installation.namespace, 2, within=90)
            yield cluster
        finally:
            cluster.close()


def example_tenant(cluster: Cluster, namespace: str) -> Tenant:
    """A tenant who has everything that the example names, and not yet the example."""
    tenant = cluster.tenant(namespace)
    tenant.handler("notifier", tls=True)
    tenant.handler("analytics", tenant.platform)
    tenant.apply(*tenant.surroundings())
    return tenant


def example(cluster: Cluster, namespace: str) -> Tenant:
    """A tenant with the example at work."""
    tenant = example_tenant(cluster, namespace)
    tenant.apply(acme_yaml(tenant.namespace, "Secret", "WebhookSubscription"))
    tenant.wait("Ready")
    return tenant
