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
from support.manifests import a_subscription
from support.rbac import install_operator_rights
from support.waiting import until


class Operator:
    """The lane as an operator in the namespace *home* would run it; time and uses are what a test says."""

    def __init__(self, client, home, tenant, later=timedelta()):
        self.tenant, self.later, self.uses, self.ids = tenant, later, {}, count()
        self.api = Api(client)
        self.cluster = Cluster(kinds_table(home))
        self.verification = Verification(
            self.api, self.cluster, Authorities(self.api, self.cluster, self.note), self.note
        )
        events = Events(self.api, instance="operator-0", now=self.now, new_id=lambda: f"{next(self.ids)}")
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

    def status(self):
        """What the lane says of the subscription."""
        said = self.lane.contribution(SUBSCRIPTIONS.kind, ObjectKey(self.tenant, "chat"))
        return {each["secretName"]: each["state"] for each in said.fields["credentials"]}, said.conditions[0]


@contextlib.asynccontextmanager
async def an_operator(plane, home, tenant, later=timedelta()):
    async with plane.aio(install_operator_rights(plane, home)) as client:
        operator = Operator(client, home, tenant, later)
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
