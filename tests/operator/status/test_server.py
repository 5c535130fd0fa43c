"""The lane against a real API server, with the rights that the chart grants and no others."""

import asyncio
import contextlib
from datetime import UTC, datetime
from itertools import count

import pytest

from hookline_operator.apply.api import Api
from hookline_operator.apply.events import Events
from hookline_operator.apply.status import StatusLane
from hookline_operator.decide.endpoints import Resolved
from hookline_operator.observe.authorities import Authorities
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.kinds import kinds as kinds_table
from hookline_operator.observe.objects import Declared
from hookline_operator.observe.verification import Verification
from hookline_operator.ports import ShardRevision
from hookline_routes.problem import Reason
from hookline_routes.resource import ObjectKey
from support.manifests import a_subscription
from support.rbac import install_operator_rights
from support.status import a_condition, a_problem, a_report
from support.waiting import until


class Operator:
    """The lane as an operator in the namespace *home* would run it; other lanes say what a test says."""

    def __init__(self, client, home, tenant):
        self.home, self.namespaces = home, (home, tenant)
        self.api = Api(client)
        self.cluster = Cluster(kinds_table(home))
        self.verification = Verification(
            self.api, self.cluster, Authorities(self.api, self.cluster, self.note), self.note
        )
        self.problems, self.late, self.ids = [], (), count()
        events = Events(self.api, instance="operator-0", now=self.now, new_id=lambda: f"{next(self.ids)}")
        self.lane = StatusLane(self.cluster, self, self, self, self.api, events, now=self.now)

    def now(self):
        return datetime.now(UTC)

    def note(self, change):
        if isinstance(change.new, Declared):
            self.lane.add([(change.new.kind, change.key)])

    def report_of(self, kind, key):
        objects = self.cluster.subscriptions if kind == "WebhookSubscription" else self.cluster.gateways
        ours = key in objects and key.namespace in self.namespaces
        return a_report(objects[key], references=self.problems) if ours else None

    def gateway_of(self, key):
        return ObjectKey(self.home, "default")

    def attached_to(self, gateway):
        return 1

    def revision_of(self, key):
        return ShardRevision("default", 0, 1)

    def pods_of(self, plane):
        return 2

    def synced_of(self, plane):
        return 2

    def behind(self, shard):
        return self.late

    def resolved(self, ref):
        return Resolved(("10.0.0.1:1",))


@contextlib.asynccontextmanager
async def an_operator(plane, home, tenant):
    async with plane.aio(install_operator_rights(plane, home)) as client:
        operator = Operator(client, home, tenant)
        await operator.verification.load()
        task = asyncio.create_task(operator.lane.run())
        try:
            yield operator
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def a_gateway(home):
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookGateway",
        "metadata": {"name": "default", "namespace": home},
        "spec": {"hostnames": ["hooks.example.com"]},
    }


def stored(plane, namespace, name="chat", kind="WebhookSubscription"):
    return plane.admin.get("hookline.dev/v1alpha1", kind, namespace, name)


def ready(thing):
    found = [each for each in thing.get("status", {}).get("conditions", ()) if each["type"] == "Ready"]
    return (found[0]["status"], found[0]["reason"]) if found else None


@pytest.mark.usefixtures("kinds")
async def test_kubectl_waits_for_ready(plane, namespace, new_namespace):
    """What a person's script does after `kubectl apply`; and what `kubectl get` shows."""
    tenant = new_namespace("tenant")
    plane.admin.apply(a_gateway(namespace), a_subscription(namespace=tenant))

    async with an_operator(plane, namespace, tenant):
        waiting = ("wait", "--for=condition=Ready", "webhooksubscription/chat", "--timeout=30s")
        said = await asyncio.to_thread(plane.kubectl, *waiting, namespace=tenant)
        gateway = ("wait", "--for=condition=Ready", "webhookgateway/default", "--timeout=30s")
        await asyncio.to_thread(plane.kubectl, *gateway, namespace=namespace)
        table = await asyncio.to_thread(plane.kubectl, "get", "webhooksubscriptions", namespace=tenant)
        await until(lambda: bool(plane.admin.objects("events.k8s.io/v1", "Event", tenant)))

    assert "condition met" in said
    assert f"https://hooks.example.com/{tenant}/chat" in table
    event = plane.admin.objects("events.k8s.io/v1", "Event", tenant)[0]
    assert (event["reason"], event["type"], event["reportingController"]) == (
        "Ready",
        "Normal",
        "hookline.dev/operator",
    )
    described = plane.kubectl("describe", "webhooksubscription", "chat", namespace=tenant)
    assert "everything it declares is in force" in described


@pytest.mark.usefixtures("kinds")
async def test_a_wait_is_not_satisfied_by_the_status_of_an_older_spec(plane, namespace, new_namespace):
    """kubectl compares observedGeneration: the condition of before the change does not count."""
    tenant = new_namespace("tenant")
    plane.admin.apply(a_gateway(namespace), a_subscription(namespace=tenant))
    async with an_operator(plane, namespace, tenant) as operator:
        await until(lambda: ready(stored(plane, tenant)) == ("True", "Ready"))
        operator.problems = [a_problem(Reason.SECRET_NOT_FOUND, "Secret tenant/x does not exist")]
        plane.admin.apply(a_subscription(namespace=tenant, suspend=True))
        waiting = ("wait", "--for=condition=Ready=False", "webhooksubscription/chat", "--timeout=30s")
        waited = asyncio.create_task(asyncio.to_thread(plane.kubectl, *waiting, namespace=tenant))
        await operator.verification.verify()
        await waited

    found = stored(plane, tenant)
    assert ready(found) == ("False", "SecretNotFound")
    assert {each["observedGeneration"] for each in found["status"]["conditions"]} == {found["metadata"]["generation"]}


@pytest.mark.usefixtures("kinds")
async def test_a_restart_writes_nothing(plane, namespace, new_namespace):
    """By the API server's own log of calls; Events neither."""
    tenant = new_namespace("tenant")
    plane.admin.apply(a_gateway(namespace), a_subscription(namespace=tenant))
    async with an_operator(plane, namespace, tenant):
        await until(lambda: ready(stored(plane, tenant)) is not None)
        await until(lambda: ready(stored(plane, namespace, "default", "WebhookGateway")) is not None)
        await until(lambda: len(plane.admin.objects("events.k8s.io/v1", "Event", tenant)) == 1)
    mark = plane.audit.mark()

    async with an_operator(plane, namespace, tenant) as operator:
        await until(lambda: not operator.lane.queue and not operator.lane.queue.working)

    writes = [call for place in (tenant, namespace) for call in plane.audit.writes(mark, namespace=place)]
    assert [call for call in writes if "rbac" not in repr(call) and "serviceaccount" not in repr(call)] == []


@pytest.mark.usefixtures("kinds")
async def test_what_others_write_into_a_status_meanwhile_is_kept(plane, namespace, new_namespace):
    """The API server refuses a merge on an old version, and the lane looks again."""
    tenant = new_namespace("tenant")
    plane.admin.apply(a_gateway(namespace), a_subscription(namespace=tenant))
    async with an_operator(plane, namespace, tenant) as operator:
        await until(lambda: ready(stored(plane, tenant)) == ("True", "Ready"))
        theirs = a_condition("example.com/Approved", reason="Reviewed")
        found = stored(plane, tenant)
        plane.admin.set_status(found, {"conditions": [*found["status"]["conditions"], theirs]})

        operator.problems = [a_problem(Reason.SECRET_NOT_FOUND)]
        operator.lane.add([("WebhookSubscription", ObjectKey(tenant, "chat"))])
        await until(lambda: ready(stored(plane, tenant)) == ("False", "SecretNotFound"))

    assert theirs in stored(plane, tenant)["status"]["conditions"]
