"""The lane against a real API server, with the rights that the chart grants and no others."""

import asyncio
import contextlib

import pytest

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_operator.apply.api import Api
from hookline_operator.apply.endpoint_tables import EndpointTables
from hookline_operator.apply.endpoints import EndpointsLane, Pace
from hookline_operator.observe.authorities import Authorities
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.kinds import kinds as kinds_table
from hookline_operator.observe.verification import Verification
from hookline_routes.resource import ObjectKey, ServiceRef
from hookline_routes.shard import chunk_of, join
from support.kubernetes.network import Address
from support.kubernetes.objects import a_pod, a_service, a_slice, make_service, run_pod
from support.rbac import install_operator_rights
from support.waiting import until

PORT = 50051


class Operator:
    """The lane as an operator in the namespace *home* would run it; it looks at the cluster when told to."""

    def __init__(self, client, plane, home, refs):
        self.plane, self.home, self.refs = plane, home, refs
        self.api = Api(client)
        self.cluster = Cluster(kinds_table(home))
        self.verification = Verification(
            self.api, self.cluster, Authorities(self.api, self.cluster, self.note), self.note
        )
        tables = EndpointTables(self.api, home)
        self.lane = EndpointsLane(
            self.cluster, self, tables, self.verification.verify, namespace=home, pace=Pace(0.02, 0.05, 0.1)
        )

    def note(self, change):
        self.lane.add(ObjectKey(ref.namespace, ref.name) for ref in self.refs)

    def planes(self):
        return ("default",)

    def services_of(self, plane):
        return frozenset(self.refs)

    def has_published(self):
        return True

    def published(self):
        """What the agents of receiver pods read."""
        found = {}
        specs = [each["spec"] for each in self.plane.admin.objects("hookline.dev/v1alpha1", "EndpointTable", self.home)]
        if len(specs) < 16:
            return found
        for spec in specs:
            table = routing.EndpointTable.FromString(join([chunk_of(spec)]))
            for one in table.services:
                found[one.namespace, one.service] = tuple(one.addresses) or one.reason
        return found


@contextlib.asynccontextmanager
async def an_operator(plane, home, refs):
    token = install_operator_rights(plane, home)
    async with plane.aio(token) as client:
        operator = Operator(client, plane, home, refs)
        task = asyncio.create_task(operator.lane.run())
        try:
            yield operator
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.mark.usefixtures("kinds")
async def test_endpoints_of_a_service_are_published_and_follow_it(plane, namespace, new_namespace):
    """From objects as controllers write them to what a forwarder calls."""
    tenant = new_namespace("tenant")
    make_service(plane.admin, tenant, "chat", [Address("198.18.0.1", PORT), Address("198.18.0.2", PORT)])
    ref = ServiceRef("chat", tenant, PORT)

    async with an_operator(plane, namespace, [ref]) as operator:
        await until(lambda: operator.published().get((tenant, "chat")) == ("198.18.0.1:50051", "198.18.0.2:50051"))

        make_service(plane.admin, tenant, "chat", [Address("198.18.0.3", PORT)])
        await operator.verification.verify()
        await until(lambda: operator.published()[tenant, "chat"] == ("198.18.0.3:50051",))

        plane.admin.delete(a_service(tenant, "chat"))
        await operator.verification.verify()
        await until(lambda: operator.published()[tenant, "chat"] == f"Service {tenant}/chat does not exist")


@pytest.mark.usefixtures("kinds")
async def test_a_restart_writes_nothing(plane, namespace, new_namespace):
    """By the API server's own log of calls."""
    tenant = new_namespace("tenant")
    make_service(plane.admin, tenant, "chat", [Address("198.18.0.1", PORT)])
    refs = [ServiceRef("chat", tenant, PORT)]
    async with an_operator(plane, namespace, refs) as operator:
        await until(lambda: operator.published().get((tenant, "chat")) == ("198.18.0.1:50051",))

    async with plane.aio(install_operator_rights(plane, namespace)) as client:
        operator = Operator(client, plane, namespace, refs)
        await operator.verification.load()
        mark = plane.audit.mark()
        task = asyncio.create_task(operator.lane.run())
        await until(lambda: operator.lane.resolved(refs[0]).addresses != () and not operator.lane.queue)
        await asyncio.sleep(0.3)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    assert plane.audit.writes(mark, namespace=namespace) == []


def hand_made(tenant, *addresses, **more):
    """A slice as a tenant may write it."""
    found = a_slice("chat", [a_pod(tenant, "any")], [Address("198.18.9.9", PORT)], name="by-hand", **more)
    found["endpoints"] = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    return found


@pytest.mark.usefixtures("kinds")
async def test_what_hostile_tenants_write_into_a_real_api_server_is_refused(plane, namespace, new_namespace):
    """The API server lets slices point anywhere but at loopback and link-local addresses."""
    victim, tenant = new_namespace("victim"), new_namespace("hostile")
    api = plane.admin
    run_pod(api, a_pod(victim, "database"), "198.18.7.7")
    api.apply(a_service(tenant, "chat"), hand_made(tenant, "198.18.7.7", "192.0.2.1"))
    external = a_service(tenant, "external", type="ExternalName", externalName="kubernetes.default.svc")
    without = a_service(tenant, "without")
    del without["spec"]["selector"], external["spec"]["selector"]
    api.apply(external, without)
    run_pod(api, a_pod(tenant, "mine"), "198.18.8.8")
    api.apply(
        {
            **hand_made(tenant, "198.18.8.8"),
            "metadata": {
                **hand_made(tenant)["metadata"],
                "name": "mine",
                "labels": {"kubernetes.io/service-name": "without"},
            },
        }
    )
    refs = [ServiceRef(name, tenant, PORT) for name in ("chat", "external", "without")]

    async with an_operator(plane, namespace, refs) as operator:
        await until(lambda: len(operator.published()) == 3)
        found = operator.published()

    assert found[tenant, "chat"] == (
        f"Service {tenant}/chat has no ready endpoint: endpoints not used: an address that no Pod of the Service's namespace has"
    )
    assert "is of type ExternalName" in found[tenant, "external"]
    assert "has no selector" in found[tenant, "without"]
    assert "victim" not in repr(found)
