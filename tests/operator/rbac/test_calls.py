"""Operator and agent are run with the chart's rights: nothing that they ask for is denied, and nothing is granted in vain."""

import asyncio
import sys
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

import pytest
import yaml

from hookline_operator.apply.api import Api as OperatorApi
from hookline_operator.observe.kinds import kinds
from support.crds import a_gateway, a_subscription, rendered
from support.kubernetes.api import Api, Object
from support.kubernetes.audit import Call
from support.kubernetes.network import Address
from support.kubernetes.objects import make_service
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Process, Processes
from support.rbac import AGENT, OPERATOR, ROLES, Right, account, rights

OURS = "hookline.dev/v1alpha1"
CREATED = 201
MEDDLINGS = 10


def needed(call: Call, granted: Collection[Right]) -> set[Right]:
    """Without which *call* would have been denied: of several, the narrowest ones."""
    verb, group, resource = call.right
    # Server-side apply of what is not there needs the right to create it, too.
    verbs = {verb, "create"} if verb == "patch" and call.status == CREATED else {verb}
    fitting = {
        right
        for right in granted
        if right.verb in verbs
        and right.resource == f"{group}/{resource}"
        and right.namespace in ("", call.namespace)
        and right.name in ("", call.name)
    }
    narrowest = max((_narrowness(right) for right in fitting), default=0)
    return {right for right in fitting if _narrowness(right) == narrowest}


def _narrowness(right: Right) -> int:
    return bool(right.namespace) + bool(right.name)


def in_vain(calls: Iterable[Call], granted: Collection[Right]) -> set[Right]:
    """Rights that no call needed."""
    return set(granted).difference(*(needed(call, granted) for call in calls))


def start_operator(
    plane: ControlPlane, processes: Processes, folder: Path, namespace: str = "hookline", **more: str
) -> Process:
    """The operator of an installation, with the rights that the chart gives it; *more* settings."""
    for name, content in (("gateway", {"hostnames": ["hooks.example.com"]}), ("pods", {"image": "none"})):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    settings = {
        "namespace": namespace,
        "cluster_default": "true",
        "default_gateway": str(folder / "gateway.yaml"),
        "pod_settings": str(folder / "pods.yaml"),
        "ops_bind": "127.0.0.1:0",
        "authority_seconds": "1",
        "sweep_seconds": "2",
        **more,
    }
    environment = {f"HOOKLINE_OPERATOR_{key.upper()}": value for key, value in settings.items()}
    environment["KUBECONFIG"] = str(plane.kubeconfig(plane.service_account(namespace, OPERATOR)))
    return processes.start("operator", [sys.executable, "-m", "hookline_operator"], environment=environment)


class Scene:
    """What people do, so that the operator does all that it can."""

    def __init__(self, plane: ControlPlane, processes: Processes, folder: Path) -> None:
        self.plane, self.processes, self.folder = plane, processes, folder
        self.api: Api = plane.api()
        self.mark = plane.audit.mark()
        self.operator = start_operator(plane, processes, folder)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for what the operator does."""
        self.operator.wait_for(holds, within=40, what=what)

    def tables(self, kind: str, plane: str) -> list[Object]:
        """The published ones of a plane."""
        return [each for each in self.api.objects(OURS, kind, "hookline") if each["spec"]["plane"] == plane]

    def revision(self, kind: str) -> int:
        """How often tables of the gateway "default" were published, all together."""
        return sum(each["spec"]["revision"] for each in self.tables(kind, "default"))

    def publishes_after(self, kind: str, change: Callable[[], object], what: str) -> None:
        """Make a change and wait until it is in the tables of that kind."""
        before = self.revision(kind)
        change()
        self.until(lambda: self.revision(kind) > before, f"{kind} after {what}")

    def meddle_until_read_again(self, kind: str, change: Callable[[bool], object]) -> None:
        """Touch tables behind the operator's back until one of its writes meets a conflict, and it reads a table again."""
        for attempt in range(MEDDLINGS):
            for each in self.tables(kind, "default"):
                self.api.patch(each, {"metadata": {"annotations": {"example.com/by": f"hand {attempt}"}}})
            self.publishes_after(kind, partial(change, bool(attempt % 2)), f"change {attempt}")
            asked = self.plane.audit.calls(self.mark, user=account("hookline", OPERATOR), verb="get")
            if any(call.resource == f"{kind.lower()}s" for call in asked):
                return
        raise AssertionError(f"no {kind} was read again in {MEDDLINGS} meddlings")

    def autoscalers(self) -> set[int]:
        """How many pods each of them makes at most."""
        found = self.api.objects("autoscaling/v2", "HorizontalPodAutoscaler", "hookline")
        return {each["spec"]["maxReplicas"] for each in found}

    def credentials(self, name: str) -> set[str]:
        """Secrets that the operator made for a subscription of acme."""
        found = self.api.objects("v1", "Secret", "acme")
        return {
            each["metadata"]["name"]
            for each in found
            if name in [owner["name"] for owner in each["metadata"].get("ownerReferences", [])]
        }

    def left_of(self, name: str) -> set[str]:
        """Objects of a dedicated plane: their names hold its subscription's."""
        kinds = (("v1", "Service"), ("apps/v1", "StatefulSet"), ("autoscaling/v2", "HorizontalPodAutoscaler"))
        every = (each["metadata"]["name"] for kind in kinds for each in self.api.objects(*kind, "hookline"))
        return {each for each in every if name in each}

    def pods_wanted(self) -> set[int]:
        """How many each StatefulSet is to have."""
        return {each["spec"]["replicas"] for each in self.api.objects("apps/v1", "StatefulSet", "hookline")}


def play(scene: Scene) -> None:
    """Two runs of the operator, with a subscription, its handler's pods, a second gateway, and meddlers."""
    api = scene.api
    scene.until(lambda: len(scene.tables("RouteTable", "default")) == 64, "the tables of the default gateway")
    username, password = "acmehooks", "9fKq2LmX7tVb4RzN"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cometchat", "namespace": "acme"}}
    api.create(
        {**secret, "type": "kubernetes.io/basic-auth", "stringData": {"username": username, "password": password}}
    )
    handler = {"serviceRef": {"name": "notifier", "port": 50051}, "tls": {"caRef": {"name": "notifier-ca"}}}
    routes = [{"name": "notify", "handler": handler}]
    subscription = a_subscription("acme", auth={"basic": {"secretRefs": [{"name": "cometchat"}]}}, routes=routes)
    scene.publishes_after("RouteTable", lambda: api.create(subscription), "a subscription came")
    address = Address("198.18.7.7", 50051)

    def notifier(unready: bool) -> object:
        return make_service(api, "acme", "notifier", [address], ready=not unready)

    scene.publishes_after("EndpointTable", lambda: notifier(False), "a pod came")
    scene.meddle_until_read_again("EndpointTable", lambda odd: notifier(not odd))
    scene.meddle_until_read_again("RouteTable", lambda odd: api.patch(subscription, {"spec": {"suspend": not odd}}))
    second = a_gateway("hookline", "second", scaling={"maxReplicas": 3}, dedicated={"allowed": True})
    api.create(second)
    own = {"mode": "Dedicated", "dedicated": {"scaling": {"maxReplicas": 2}}}
    dedicated = a_subscription("acme", "own", gatewayRef={"name": "second"}, dataPlane=own)
    api.create(dedicated)
    scene.until(lambda: scene.autoscalers() == {2, 3}, "both planes of the second gateway")
    api.patch(second, {"spec": {"scaling": {"maxReplicas": 4}}})
    scene.until(lambda: scene.autoscalers() == {2, 4}, "more pods at most")
    api.patch(second, {"spec": {"scaling": None, "replicas": 3}})
    scene.until(lambda: scene.autoscalers() == {2}, "a fixed number of pods")
    api.patch(second, {"spec": {"replicas": 4}})
    scene.until(lambda: 4 in scene.pods_wanted(), "another number of pods")
    scene.until(lambda: len(scene.credentials("own")) == 1, "credentials that the operator made")
    (made,) = scene.credentials("own")
    api.patch(dedicated, {"metadata": {"annotations": {"hookline.dev/revoke": made}}})
    scene.until(lambda: not scene.credentials("own") & {made}, "they are revoked")
    # Nobody runs its pods here, and a plane whose pods are away may hold events: a person says that it is to have none.
    for each in api.objects("apps/v1", "StatefulSet", "hookline"):
        if "own" in each["metadata"]["name"]:
            api.patch(each, {"spec": {"replicas": 0}})
    api.delete(dedicated)
    scene.until(lambda: not scene.left_of("own"), "no plane for a subscription")
    api.delete(second)
    scene.operator.stop()
    internal = api.get("v1", "Secret", "hookline", "hookline-internal")
    api.patch(internal, {"data": {"agentToken": None}})
    scene.operator = start_operator(scene.plane, scene.processes, scene.folder)
    scene.until(
        lambda: "agentToken" in api.get("v1", "Secret", "hookline", "hookline-internal")["data"], "a token again"
    )
    scene.until(lambda: not scene.tables("RouteTable", "second"), "the second gateway's routes go")
    scene.until(lambda: not scene.tables("EndpointTable", "second"), "and its endpoints")
    api.delete(subscription)


async def read_each_kind(plane: ControlPlane) -> None:
    """What verification does with an object that a watch has missed: reads it alone. Too rare to wait for."""
    async with plane.aio(plane.service_account("hookline", OPERATOR)) as client:
        for kind in kinds("hookline"):
            for place in kind.types:
                await OperatorApi(client).get(place, "hookline" if place.namespaced else "", "hookline")


@pytest.fixture(scope="module")
def calls(ruled: ControlPlane, guard: object, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """All that the operator asked of the API server while people did everything that concerns it."""
    folder = tmp_path_factory.mktemp("calls")
    with Processes(folder, guard) as processes:  # type: ignore[arg-type]
        mark = ruled.audit.mark()
        play(Scene(ruled, processes, folder))
        asyncio.run(read_each_kind(ruled))
        return ruled.audit.calls(mark, user=account("hookline", OPERATOR))


def test_nothing_that_the_operator_asks_for_is_denied(calls: list[Call]) -> None:
    """A call that is denied fails for ever, and perhaps only on the day when it is needed."""
    assert {(call.right, call.namespace) for call in calls if call.status == 403} == set()
    assert len(calls) > 100


def test_nothing_is_granted_to_the_operator_in_vain(calls: list[Call]) -> None:
    """What it does not need, whoever takes it over should not have."""
    files = ("operator.yaml", "secrets-of-the-cluster.yaml")
    granted = {right for name in files for right in rights(rendered(ROLES / name, "hookline"), "hookline")}

    assert in_vain(calls, granted) == set()


def test_an_operator_of_named_namespaces_asks_for_no_others_secrets(
    ruled: ControlPlane, processes: Processes, tmp_path: Path
) -> None:
    """It would log a denial every minute, and never be ready."""
    mark = ruled.audit.mark()
    operator = start_operator(ruled, processes, tmp_path, "narrow", secret_namespaces="acme", cluster_default="false")
    tables = ruled.api().resource(OURS, "RouteTable").path("narrow")

    operator.wait_for(lambda: len(ruled.api().request("GET", tables)["items"]) == 64, within=40, what="its tables")
    operator.stop()

    asked = ruled.audit.calls(mark, user=account("narrow", OPERATOR))
    assert {(call.right, call.namespace) for call in asked if call.status == 403} == set()
    assert {call.namespace for call in asked if call.resource == "secrets" and call.verb == "watch"} == {
        "acme",
        "narrow",
    }


def test_an_agent_uses_all_that_it_may_do_and_is_denied_nothing(
    ruled: ControlPlane, processes: Processes, tmp_path: Path
) -> None:
    """Its token is the only one in the pod that faces the Internet."""
    for key, content in (("tagKey", bytes(32)), ("agentToken", b"token")):
        (tmp_path / key).write_bytes(content)
    account_folder = ruled.account_folder("hookline", AGENT)
    settings = {
        "data_dir": str(tmp_path),
        "plane": "default",
        "namespace": "hookline",
        "keys_dir": str(tmp_path),
        "server": ruled.server,
        "token_file": str(account_folder / "token"),
        "ca_file": str(account_folder / "ca.crt"),
        "report_bind": "127.0.0.1:0",
        "ops_bind": "127.0.0.1:0",
    }
    granted = rights(rendered(ROLES / "agent.yaml", "hookline"), "hookline")
    mark = ruled.audit.mark()

    def asked() -> list[Call]:
        return ruled.audit.calls(mark, user=account("hookline", AGENT))

    environment = {f"HOOKLINE_AGENT_{key.upper()}": value for key, value in settings.items()}
    agent = processes.start("agent", [sys.executable, "-m", "hookline_receiver.agent"], environment=environment)
    agent.wait_for(lambda: not in_vain(asked(), granted), within=30, what="all its rights are used")
    agent.stop()

    assert {call.right for call in asked() if call.status == 403} == set()


def test_the_test_sees_what_is_in_vain(calls: list[Call]) -> None:
    """A right that nothing needs, and one of another namespace, are found."""
    nothing = Right("", "/nodes", "list")
    elsewhere = Right("globex", f"{OURS.split('/')[0]}/routetables", "list")

    assert in_vain(calls, {nothing, elsewhere, Right("", "/pods", "list")}) == {nothing, elsewhere}
