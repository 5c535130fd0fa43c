"""The lane against a real API server, with the rights that the chart grants and no others."""

import asyncio
import base64
import contextlib
import re
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from hookline_operator.apply.api import Api
from hookline_operator.apply.credentials import CredentialsLane, CredentialsPace
from hookline_operator.apply.events import Events
from hookline_operator.observe.authorities import Authorities
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.kinds import kinds as kinds_table
from hookline_operator.observe.verification import Verification
from hookline_operator.resource_types import SUBSCRIPTIONS
from hookline_routes.resource import ObjectKey
from support.kubernetes.call import matching
from support.kubernetes.faults import LoseAnswer, Reset
from support.manifests import a_subscription
from support.rbac import install_operator_rights
from support.waiting import until


class Operator:
    """The lane as an operator in the namespace *home* would run it; time and uses are what a test says."""

    def __init__(self, client, home, tenant):
        self.tenant, self.later, self.uses, self.ids = tenant, timedelta(), {}, count()
        self.api = Api(client)
        self.cluster = Cluster(kinds_table(home))
        self.verification = Verification(
            self.api, self.cluster, Authorities(self.api, self.cluster, self.note), self.note
        )
        events = Events(self.api, instance="operator-0", now=self.now, new_id=lambda: f"{id(self):x}-{next(self.ids)}")
        pace = CredentialsPace(interval=0.0, settle=0.0)
        self.lane = CredentialsLane(self.cluster, self, self, self.api, events, now=self.now, pace=pace)

    def now(self):
        return datetime.now(UTC) + self.later

    def note(self, change):
        self.lane.add(self.cluster.subscriptions)

    def report_of(self, kind, key):
        return key if key.namespace == self.tenant else None

    def gateway_of(self, key):
        return ObjectKey("hookline", "default")

    def last_used(self, uid):
        return self.uses

    def use(self, secret):
        """CometChat has used it now."""
        self.uses[f"{secret['metadata']['name']}@{secret['metadata']['resourceVersion']}"] = self.now()
        self.lane.used([secret["metadata"]["ownerReferences"][0]["uid"]])

    async def settle(self):
        """What the API server says is known, and all is done that follows from it."""
        await self.verification.verify()
        self.lane.add(self.cluster.subscriptions)
        await until(lambda: not (len(self.lane.queue) or self.lane.queue.working))
        await self.verification.verify()
        await until(lambda: not (len(self.lane.queue) or self.lane.queue.working))

    def status(self):
        """What the lane says of the subscription."""
        said = self.lane.contribution(SUBSCRIPTIONS.kind, ObjectKey(self.tenant, "chat"))
        return {each["secretName"]: each["state"] for each in said.fields["credentials"]}, said.conditions[0]


@contextlib.asynccontextmanager
async def an_operator(plane, home, tenant, server=""):
    async with plane.aio(install_operator_rights(plane, home), server=server) as client:
        operator = Operator(client, home, tenant)
        await operator.verification.load()
        task = asyncio.create_task(operator.lane.run())
        try:
            yield operator
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def secrets_of(plane, tenant):
    found = plane.admin.objects("v1", "Secret", tenant)
    return sorted(found, key=lambda each: int(each["metadata"]["annotations"]["hookline.dev/serial"]))


def names(found):
    return [each["metadata"]["name"] for each in found]


def annotate(plane, tenant, **annotations):
    stored = plane.admin.get("hookline.dev/v1alpha1", "WebhookSubscription", tenant, "chat")
    given = {f"hookline.dev/{name}": value for name, value in annotations.items()}
    plane.admin.patch(stored, {"metadata": {"annotations": given}})


@pytest.mark.usefixtures("kinds")
async def test_a_credential_is_made_that_cometchat_takes(plane, namespace, new_namespace):
    """Letters and digits, a username of 50 at most, a password of 100; owned, so that it goes with its subscription."""
    tenant = new_namespace("tenant")
    (stored,) = plane.admin.apply(a_subscription(namespace=tenant, secrets=()))
    async with an_operator(plane, namespace, tenant) as operator:
        await until(lambda: bool(secrets_of(plane, tenant)))
        await operator.settle()

    (secret,) = secrets_of(plane, tenant)
    values = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    assert re.fullmatch(r"[A-Za-z0-9]{8,50}", values["username"])
    assert re.fullmatch(r"[A-Za-z0-9]{40}", values["password"])
    assert (secret["type"], secret["immutable"]) == ("kubernetes.io/basic-auth", True)
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (stored["metadata"]["uid"], True)
    assert [each["reason"] for each in plane.admin.objects("events.k8s.io/v1", "Event", tenant)] == [
        "CredentialCreated"
    ]


@pytest.mark.usefixtures("kinds")
async def test_a_rotation_from_request_to_retirement(plane, namespace, new_namespace):
    """Both are there until the new one has been in use for the overlap; nothing is written meanwhile."""
    tenant = new_namespace("tenant")
    plane.admin.apply(a_subscription(namespace=tenant, secrets=()))
    async with an_operator(plane, namespace, tenant) as operator:
        await operator.settle()
        (old,) = secrets_of(plane, tenant)
        operator.use(old)
        annotate(plane, tenant, rotate="2026-03")
        await operator.settle()
        first, new = secrets_of(plane, tenant)
        assert first["metadata"]["uid"] == old["metadata"]["uid"]
        states, condition = operator.status()
        assert list(states.values()) == ["Active", "Pending"]
        assert (condition.true, condition.reason) == (True, "EnterNewCredential")
        assert f"Secret {tenant}/{new['metadata']['name']} at CometChat" in condition.message
        mark = plane.audit.mark()
        operator.later += timedelta(seconds=10)
        operator.use(new)
        operator.later += timedelta(hours=23, minutes=59)
        await operator.settle()
        assert list(operator.status()[0].values()) == ["Retiring", "Active"]
        assert plane.audit.writes(mark, namespace=tenant) == []
        operator.later += timedelta(minutes=1)
        await operator.settle()

        assert names(secrets_of(plane, tenant)) == names([new])
        await operator.settle()
        assert operator.status()[0] == {new["metadata"]["name"]: "Active"}


@pytest.mark.usefixtures("kinds")
async def test_revocations_by_annotation_and_by_hand(plane, namespace, new_namespace):
    """Each is followed by another one, and by nothing else."""
    tenant = new_namespace("tenant")
    plane.admin.apply(a_subscription(namespace=tenant, secrets=()))
    async with an_operator(plane, namespace, tenant) as operator:
        await operator.settle()
        (first,) = secrets_of(plane, tenant)
        annotate(plane, tenant, revoke=first["metadata"]["name"])
        await operator.settle()
        (second,) = secrets_of(plane, tenant)
        plane.admin.delete(second)
        await operator.settle()
        (third,) = secrets_of(plane, tenant)
        mark = plane.audit.mark()
        await operator.settle()

    assert len({first["metadata"]["name"], second["metadata"]["name"], third["metadata"]["name"]}) == 3
    assert plane.audit.writes(mark, namespace=tenant) == []


@pytest.mark.usefixtures("kinds")
async def test_one_that_something_else_holds_on_to_is_gone_all_the_same(plane, namespace, new_namespace):
    """A finalizer keeps the object, not the password."""
    tenant = new_namespace("tenant")
    plane.admin.apply(a_subscription(namespace=tenant, secrets=()))
    async with an_operator(plane, namespace, tenant) as operator:
        await operator.settle()
        (held,) = secrets_of(plane, tenant)
        held = plane.admin.patch(held, {"metadata": {"finalizers": ["example.com/held"]}})
        annotate(plane, tenant, revoke=held["metadata"]["name"])
        await operator.settle()
        left = [
            each.key.name for each in operator.cluster.secrets_owned_by(held["metadata"]["ownerReferences"][0]["uid"])
        ]
        assert len(left) == 1
        assert held["metadata"]["name"] not in left
    plane.admin.patch(held, {"metadata": {"finalizers": None}})


@pytest.mark.usefixtures("kinds")
async def test_a_restart_reads_no_secret_and_writes_nothing(plane, namespace, new_namespace):
    """By the API server's own log of calls."""
    tenant = new_namespace("tenant")
    plane.admin.apply(a_subscription(namespace=tenant, secrets=()))
    async with an_operator(plane, namespace, tenant) as operator:
        await operator.settle()
    mark = plane.audit.mark()
    async with an_operator(plane, namespace, tenant) as operator:
        await operator.settle()

    calls = [each for each in plane.audit.calls(mark, namespace=tenant) if each.resource == "secrets"]
    assert calls == []


@pytest.mark.usefixtures("kinds")
async def test_two_that_make_it_at_once_make_one(plane, namespace, new_namespace):
    """An old leader's call may be on its way while the new one begins: the API server takes the first by its name."""
    tenant = new_namespace("tenant")
    plane.admin.apply(a_subscription(namespace=tenant, secrets=()))
    async with contextlib.AsyncExitStack() as stack:
        operators = [await stack.enter_async_context(an_operator(plane, namespace, tenant)) for _ in range(4)]
        await asyncio.gather(*(each.settle() for each in operators))
        await asyncio.gather(*(each.settle() for each in operators))
        annotate(plane, tenant, rotate="1")
        await asyncio.gather(*(each.settle() for each in operators))
        await asyncio.gather(*(each.settle() for each in operators))

    assert len(secrets_of(plane, tenant)) == 2


@pytest.mark.parametrize("fault", ["lose the answer", "reset before"])
@pytest.mark.usefixtures("kinds")
async def test_an_operator_that_dies_at_the_write_leaves_one(plane, namespace, new_namespace, fault_proxy, fault):
    """With the answer lost nobody knows whether it was made; the next one finds out."""
    tenant = new_namespace("tenant")
    plane.admin.apply(a_subscription(namespace=tenant, secrets=()))
    kind = LoseAnswer() if fault == "lose the answer" else Reset()
    with fault_proxy.inject(kind, matching(verb="create", resource="secrets"), times=1) as rule:
        async with an_operator(plane, namespace, tenant, server=fault_proxy.url) as operator:
            await until(lambda: rule.hits == 1)
            assert operator.lane.queue is not None
        async with an_operator(plane, namespace, tenant, server=fault_proxy.url) as operator:
            await operator.settle()
            await operator.settle()

    assert len(secrets_of(plane, tenant)) == 1
