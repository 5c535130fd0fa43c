"""The lane against a real API server, with the rights that the chart grants and no others."""

import asyncio
import contextlib
import os

import pytest

from hookline.routing.v1.table_pb2 import RouteShard
from hookline_operator.apply.api import Api, NotLeading
from hookline_operator.apply.route_tables import RouteTables
from hookline_operator.apply.routes import Listeners, RoutesLane, RoutesSettings
from hookline_operator.decide.shards import ShardName, published, stored
from hookline_operator.observe.authorities import Authorities
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.dependents import dependents
from hookline_operator.observe.kinds import kinds as kinds_table
from hookline_operator.observe.verification import Verification
from hookline_routes.resource import ObjectKey
from hookline_routes.shard import CHUNK_BYTES, content_hash, join
from support.rbac import install_operator_rights
from support.route_lane import a_gateway_body, a_secret_body, a_subscription_body
from support.routes import TAG_KEY
from support.waiting import until

API = "hookline.dev/v1alpha1"


class Replica:
    """The lane as an operator in the namespace *home* would run it; it looks at the cluster when told to."""

    def __init__(self, client, plane, home, may_write=None):
        self.plane, self.home = plane, home
        self.api = Api(client, may_write=may_write)
        self.cluster = Cluster(kinds_table(home), home)
        self.verification = Verification(
            self.api, self.cluster, Authorities(self.api, self.cluster, self.note), self.note
        )
        settings = RoutesSettings(home, cluster_default=False, look_every=3600.0)
        listeners = Listeners(status=lambda keys: None, endpoints=lambda planes: None)
        self.lane = RoutesLane(self.cluster, self.api, self.verification.verify, TAG_KEY, settings, listeners)
        self.term = None

    def note(self, change):
        keys = dependents(change, self.cluster)
        self.lane.add(keys.routes, urgent=keys.urgent)

    async def __aenter__(self):
        self.term = asyncio.create_task(self.lane.run())
        return self

    async def __aexit__(self, *_):
        self.term.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.term

    async def settled(self):
        await until(lambda: self.term.done() or self.lane.is_idle(), 60)
        if self.term.done():
            self.term.result()


class Tenant:
    """Writes subscriptions and their Secrets, and reads what is published of them."""

    def __init__(self, plane, home, namespace):
        self.plane, self.home, self.namespace = plane, home, namespace

    def subscribe(self, name, **spec):
        ref = {"name": "default", "namespace": self.home}
        body = a_subscription_body(name, self.namespace, gatewayRef=ref, **spec)
        for field in ("uid", "generation", "creationTimestamp"):
            del body["metadata"][field]
        self.plane.admin.apply(body)

    def keep(self, name, password="one"):
        body = a_secret_body(name, self.namespace, password)
        del body["metadata"]["uid"]
        self.plane.admin.apply(body)

    def remove(self, version, kind, name):
        metadata = {"namespace": self.namespace, "name": name}
        self.plane.admin.delete({"apiVersion": version, "kind": kind, "metadata": metadata})

    def tables(self):
        return self.plane.admin.objects(API, "RouteTable", self.home)

    def entries(self):
        """Published entries by name."""
        chunks = [each.chunk for each in map(stored, self.tables()) if each.chunk]
        found = {}
        for index in {chunk.index for chunk in chunks}:
            shard = RouteShard.FromString(join(chunk for chunk in chunks if chunk.index == index))
            found |= {entry.subscription.ref.name: entry for entry in shard.entries}
        return found

    def versions(self):
        return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in self.tables()}


@pytest.fixture
def tenant(plane, namespace, new_namespace, kinds):
    gateway = a_gateway_body()
    gateway["metadata"] = {"name": "default", "namespace": namespace}
    plane.admin.apply(gateway)
    return Tenant(plane, namespace, new_namespace("tenant"))


@pytest.fixture
def token(plane, namespace, kinds):
    return install_operator_rights(plane, namespace)


async def test_what_is_declared_is_published_and_a_restart_writes_nothing(plane, namespace, tenant, token):
    """The kinds' schemas take what is written, the rights are enough, and at rest nothing is written."""
    for number in range(20):
        tenant.subscribe(f"s{number}")
        tenant.keep(f"s{number}")
    async with plane.aio(token) as client, Replica(client, plane, namespace) as first:
        await first.settled()
        assert first.lane.verifiers.count == 20
    versions, entries = tenant.versions(), tenant.entries()
    assert len(versions) == 64
    assert entries.keys() == {f"s{number}" for number in range(20)}
    assert all(len(entry.endpoint.verifiers) == 1 for entry in entries.values())

    async with plane.aio(token) as client, Replica(client, plane, namespace) as second:
        await second.settled()
        await second.lane.look()
        await second.settled()
        assert second.lane.verifiers.count == 0
        assert second.api.writes == 0
        assert second.lane.revision_of(ObjectKey(tenant.namespace, "s3")) is not None

    assert tenant.versions() == versions


async def test_a_replica_that_saw_nothing_for_long_brings_nothing_back(plane, namespace, tenant, token):
    """It knows what was so minutes ago, and becomes leader."""
    for name in ("kept", "deleted", "revoked", "suspended"):
        tenant.subscribe(name)
        tenant.keep(name)
    async with plane.aio(token) as client, plane.aio(token) as other:
        lagging = Replica(other, plane, namespace)
        await lagging.verification.load()
        async with Replica(client, plane, namespace) as leader:
            await leader.settled()
            tenant.remove(API, "WebhookSubscription", "deleted")
            tenant.remove("v1", "Secret", "revoked")
            tenant.subscribe("suspended", suspend=True)
            await leader.verification.verify()
            await leader.settled()
        before = tenant.versions()

        async with lagging:
            await lagging.settled()

    entries = tenant.entries()
    assert tenant.versions() == before
    assert entries.keys() == {"kept", "revoked", "suspended"}
    assert not entries["revoked"].endpoint.verifiers
    assert entries["suspended"].endpoint.suspended


async def test_two_leaders_at_once_end_where_the_cluster_is(plane, namespace, tenant, token):
    """Neither writes over what it has not read."""
    for number in range(12):
        tenant.subscribe(f"s{number}")
        tenant.keep(f"s{number}")
    async with (
        plane.aio(token) as client,
        plane.aio(token) as other,
        Replica(client, plane, namespace) as one,
        Replica(other, plane, namespace) as two,
    ):
        await one.settled()
        await two.settled()
        for number in range(0, 12, 2):
            tenant.remove(API, "WebhookSubscription", f"s{number}")
            tenant.subscribe(f"s{number + 1}", suspend=True)
            await asyncio.gather(one.verification.verify(), two.verification.verify())
        for replica in (one, two):
            await replica.settled()
            await replica.lane.look()
            await replica.settled()

    entries = tenant.entries()
    assert entries.keys() == {f"s{number}" for number in range(1, 12, 2)}
    assert all(entry.endpoint.suspended and len(entry.endpoint.verifiers) == 1 for entry in entries.values())


async def test_killed_in_the_middle_of_publishing_the_next_one_finishes(plane, namespace, tenant, token):
    """Some of the 64 tables are written."""
    for number in range(10):
        tenant.subscribe(f"s{number}")
        tenant.keep(f"s{number}")
    left = [25]

    def may_write():
        left[0] -= 1
        return 10.0 if left[0] > 0 else 0.0

    async with plane.aio(token) as client, Replica(client, plane, namespace, may_write) as killed:
        await until(killed.term.done, 60)
        with pytest.raises(NotLeading):
            killed.term.result()
        killed.term = asyncio.create_task(asyncio.sleep(0))
    assert 0 < len(tenant.tables()) < 64

    async with plane.aio(token) as client, Replica(client, plane, namespace) as second:
        await second.settled()

    assert len(tenant.tables()) == 64
    assert len(tenant.entries()) == 10


async def test_a_shard_of_several_objects_fits_what_etcd_takes(plane, namespace, token, kinds):
    """And shrinks again; the real server has the last word on sizes."""
    shard, content = ShardName("default", 3), RouteShard(format=1, tag_key_id=os.urandom(CHUNK_BYTES * 5 // 2))
    large = content.SerializeToString()
    async with plane.aio(token) as client:
        tables = RouteTables(Api(client), namespace)

        await tables.write(shard, large, {})
        there = [stored(each) for each in plane.admin.objects(API, "RouteTable", namespace)]
        await tables.write(shard, b"", {})

    assert len(there) == 3
    assert published(there).hash == content_hash(large)
    (last,) = map(stored, plane.admin.objects(API, "RouteTable", namespace))
    assert last.revision == 2
