import asyncio
import contextlib
import time

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_operator.apply.api import Unavailable
from hookline_operator.apply.endpoint_tables import EndpointTables
from hookline_operator.apply.endpoints import EndpointsLane, Pace
from hookline_operator.observe.objects import KindName
from hookline_operator.resource_types import ENDPOINT_TABLES
from hookline_routes.resource import ObjectKey
from hookline_routes.shard import chunk_of, join, shard_of, spec_of, split
from support.memory_api import MemoryApi
from support.service_endpoints import a_cluster, a_pod, a_service, a_slice, an_endpoint, see, the_port
from support.waiting import until

NOTIFIER = ObjectKey("acme", "notifier")
QUICK = Pace(soon=0.02, gather=0.05, interval=0.1)


class Routes:
    """What the routes lane knows."""

    def __init__(self, **services):
        self.services = services
        self.compiled = True

    def has_published(self):
        return self.compiled

    def planes(self):
        return self.services.keys() if self.compiled else ()

    def services_of(self, plane):
        found = self.services[plane]
        return None if found is None else frozenset(found)


class World:
    """A lane, and all that it stands between."""

    def __init__(self, *bodies, routes=None, pace=QUICK, api=None):
        self.cluster = a_cluster(*bodies)
        self.routes = routes or Routes(default=[the_port()])
        self.api = api or MemoryApi()
        self.verified = []
        self.spoken = []
        self.pace = pace
        self.on_verify = lambda: None
        self.lane = self.make()

    def make(self):
        tables = EndpointTables(self.api, "hookline")
        return EndpointsLane(
            self.cluster,
            self.routes,
            tables,
            self.verify,
            namespace="hookline",
            pace=self.pace,
            on_resolved=self.spoken.append,
        )

    async def verify(self, kinds):
        self.verified.append(kinds)
        self.on_verify()

    def see(self, *bodies, event="MODIFIED"):
        for body in bodies:
            see(self.cluster, body, event)
        self.lane.add([NOTIFIER])

    def table(self, plane="default"):
        """The services of all shards of a plane that are published."""
        objects = [each["spec"] for (kind, _, _), each in self.api.objects.items() if kind == "EndpointTable"]
        specs = [spec for spec in objects if spec["plane"] == plane]
        found = {}
        for index in {spec["index"] for spec in specs}:
            content = join(chunk_of(spec) for spec in specs if spec["index"] == index)
            for one in routing.EndpointTable.FromString(content).services:
                found[(one.namespace, one.service, one.port)] = tuple(one.addresses) or one.reason
        return found

    def notifier(self):
        """Once all sixteen shards are there."""
        return self.table().get(("acme", "notifier", 9000)) if len(self.api.objects) >= 16 else None


@contextlib.asynccontextmanager
async def running(world):
    world.lane.add([NOTIFIER])
    task = asyncio.create_task(world.lane.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def ready(*names):
    """The notifier with these Pods, "a" at 10.0.0.97 and so on."""
    addresses = {name: f"10.0.0.{ord(name[0])}" for name in names}
    return [
        a_service(),
        *(a_pod(name, address) for name, address in addresses.items()),
        a_slice(*(an_endpoint(address, name) for name, address in addresses.items())),
    ]


async def test_every_shard_of_a_plane_is_published_empty_ones_too():
    """A new receiver pod knows by that that it has everything."""
    world = World(*ready("a"), routes=Routes(**{"default": [the_port()], "default.acme.chat": [the_port()]}))

    async with running(world):
        await until(lambda: len(world.api.objects) == 17)

    shared = [each["spec"] for each in world.api.objects.values() if each["spec"]["plane"] == "default"]
    assert sorted(spec["index"] for spec in shared) == list(range(16))
    assert {spec["shards"] for spec in shared} == {16}
    assert world.notifier() == ("10.0.0.97:50051",)
    assert world.table("default.acme.chat") == world.table()


async def test_tables_bear_the_names_and_labels_that_agents_select_by():
    """docs/operator.md, "Kinds of our own"."""
    world = World(*ready("a"))

    async with running(world):
        await until(lambda: len(world.api.objects) == 16)

    one = world.api.objects[("EndpointTable", "hookline", "default-03")]
    assert one["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "hookline-operator",
        "hookline.dev/plane": "default",
    }
    assert (one["spec"]["index"], one["spec"]["revision"], one["spec"]["chunks"]) == (3, 1, 1)


async def test_nothing_is_written_at_rest_nor_by_the_next_leader():
    """Every write is decided by comparing with what is there."""
    world = World(*ready("a", "b"))
    async with running(world):
        await until(lambda: world.notifier() == ("10.0.0.97:50051", "10.0.0.98:50051"))
        mark = len(world.api.writes)
        world.lane.add([NOTIFIER])
        world.lane.routes_changed(["default"])
        await until(lambda: not world.lane.queue)
    world.lane = world.make()
    world.verified.clear()

    async with running(world):
        await until(lambda: world.lane.resolved(the_port()).addresses != () and not world.lane.queue)
        world.see(a_pod("c", "10.0.0.99"))
        await until(lambda: not world.lane.queue)
        assert len(world.api.writes) == mark
        assert world.verified == []

        world.see(*ready("a", "c"))
        await until(lambda: world.notifier() == ("10.0.0.97:50051", "10.0.0.99:50051"))

    assert len(world.api.writes) == mark + 1


async def test_the_first_write_of_a_term_is_verified_after_what_it_replaces_was_read():
    """Nothing older replaces anything newer: a replica whose feed lags by minutes becomes leader."""
    api = MemoryApi()
    first = World(*ready("b"), api=api)
    async with running(first):
        await until(lambda: first.notifier() == ("10.0.0.98:50051",))

    lagging = World(*ready("a"), api=api)
    reads_before = api.reads

    def catch_up():
        assert api.reads > reads_before
        assert lagging.notifier() == ("10.0.0.98:50051",)
        lagging.see(*ready("c"))
        see(lagging.cluster, a_pod("a", "10.0.0.97"), "DELETED")

    lagging.on_verify = catch_up
    seen = []
    api.refuse = lambda verb, kind, name: seen.append(lagging.lane.resolved(the_port()).addresses)
    async with running(lagging):
        await until(lambda: lagging.notifier() == ("10.0.0.99:50051",))

    assert lagging.verified == [(KindName.SERVICES, KindName.SLICES, KindName.PODS)]
    assert seen == [("10.0.0.99:50051",)]


async def test_a_conflict_reads_what_is_there_and_verifies_before_the_next_write():
    """Another leader wrote: what it wrote may be of newer observations than ours."""
    world = World(*ready("a"))
    async with running(world):
        await until(lambda: world.notifier() == ("10.0.0.97:50051",))
        index = shard_of("acme/notifier", 16)
        theirs = world.api.objects[("EndpointTable", "hookline", f"default-{index:02d}")]
        theirs["spec"] = spec_of(split("default", index, 16, 7, b"")[0])
        world.api.put(ENDPOINT_TABLES, theirs)
        world.verified.clear()

        world.see(*ready("b"))
        await until(lambda: world.notifier() == ("10.0.0.98:50051",))

    assert len(world.verified) == 1
    stored = world.api.objects[("EndpointTable", "hookline", f"default-{index:02d}")]
    assert stored["spec"]["revision"] == 8


async def test_nothing_is_published_for_a_plane_whose_routes_are_not_known_yet():
    """A new leader that has not compiled yet must not take every handler's endpoints away."""
    world = World(*ready("a"))
    async with running(world):
        await until(lambda: world.notifier() is not None)
    mark = len(world.api.writes)
    world.routes.compiled = False
    world.lane.routes_changed(["default"])

    async with running(world):
        await until(lambda: not world.lane.queue)
        world.lane.routes_changed(["default"])
        await asyncio.sleep(QUICK.interval)
        assert len(world.api.writes) == mark

        world.routes.compiled = True
        world.routes.services["default"] = [the_port(), the_port(9001)]
        world.lane.routes_changed(["default"])
        await until(lambda: len(world.table()) == 2)

    assert world.notifier() == ("10.0.0.97:50051",)


async def test_a_rollout_of_a_hundred_pods_costs_writes_by_its_length_and_not_by_its_pods():
    """Each write goes to every receiver pod of every tenant."""
    names = [f"old-{index}" for index in range(100)]
    old = {name: f"10.1.0.{index + 1}" for index, name in enumerate(names)}
    new = {f"new-{index}": f"10.2.0.{index + 1}" for index in range(100)}
    world = World(
        a_service(), *(a_pod(*pod) for pod in old.items()), a_slice(*(an_endpoint(a, n) for n, a in old.items()))
    )
    async with running(world):
        await until(lambda: len(world.notifier() or ()) == 100)
        mark, began = len(world.api.writes), time.monotonic()
        pods = dict(old)
        for name, (fresh, address) in zip(names, new.items(), strict=True):
            del pods[name]
            pods[fresh] = address
            world.see(a_pod(fresh, address), a_slice(*(an_endpoint(a, n) for n, a in pods.items())))
            await asyncio.sleep(0.01)
        took = time.monotonic() - began
        await until(lambda: all(address.startswith("10.2.") for address in world.notifier()))

    assert len(world.notifier()) == 100
    assert len(world.api.writes) - mark <= took / QUICK.interval + 2
    assert len(world.api.writes) - mark < 50


async def test_an_address_that_went_is_published_sooner_than_one_that_came():
    """It may be another Pod's soon; one more endpoint can wait."""
    world = World(*ready("a", "b"), pace=Pace(soon=0.02, gather=3600.0, interval=0.02))
    async with running(world):
        await until(lambda: world.notifier() == ("10.0.0.97:50051", "10.0.0.98:50051"))
        world.see(*ready("a", "b", "c"))
        await until(lambda: len(world.lane.resolved(the_port()).addresses) == 3)
        mark = len(world.api.writes)
        world.see(a_slice(an_endpoint("10.0.0.97", "a"), an_endpoint("10.0.0.99", "c")))
        await until(lambda: world.notifier() == ("10.0.0.97:50051", "10.0.0.99:50051"))

    assert len(world.api.writes) == mark + 1


async def test_the_first_endpoint_of_a_service_is_published_soon():
    """Events are waiting for it."""
    world = World(a_service(), pace=Pace(soon=0.02, gather=3600.0, interval=0.02))
    async with running(world):
        await until(lambda: "finds no Pod" in (world.notifier() or ""))
        world.see(*ready("a"))
        await until(lambda: world.notifier() == ("10.0.0.97:50051",))


async def test_who_speaks_of_a_service_hears_when_its_reason_changes_and_not_of_each_address():
    """Hundreds of subscriptions may name one Service."""
    world = World(*ready("a"))
    async with running(world):
        await until(lambda: world.notifier() is not None)
        world.see(*ready("a", "b"))
        await until(lambda: len(world.notifier()) == 2)
        assert world.spoken == []

        see(world.cluster, a_slice(), "DELETED")
        world.lane.add([NOTIFIER])
        await until(lambda: isinstance(world.notifier(), str))

    assert world.spoken == [frozenset({the_port()})]


async def test_a_sudden_loss_of_many_services_is_verified_before_it_is_published():
    """A feed that began anew half-way must not take away everybody's handlers."""
    names = [f"service-{index}" for index in range(40)]
    bodies = [
        body
        for index, name in enumerate(names)
        for body in (
            a_service(name),
            a_pod(f"{name}-0", f"10.3.0.{index + 1}"),
            a_slice(an_endpoint(f"10.3.0.{index + 1}"), service=name),
        )
    ]
    world = World(*bodies, routes=Routes(default=[the_port(name=name) for name in names]))
    async with running(world):
        await until(lambda: len(world.table()) == 40 and not any(isinstance(a, str) for a in world.table().values()))
        world.verified.clear()
        mark = len(world.api.writes)
        for name in names:
            see(world.cluster, a_slice(service=name), "DELETED")

        def all_back():
            for body in bodies:
                see(world.cluster, {**body, "metadata": dict(body["metadata"])})

        world.on_verify = all_back
        world.lane.add([ObjectKey("acme", name) for name in names])
        await until(lambda: world.verified != [] and not world.lane.queue)
        await asyncio.sleep(QUICK.interval * 2)

    assert len(world.verified) == 1
    assert len(world.api.writes) == mark


async def test_tables_of_a_plane_that_is_gone_are_removed_after_verifying():
    """Else a plane made anew under the name would begin with old endpoints."""
    world = World(*ready("a"), routes=Routes(**{"default": [the_port()], "default.acme.chat": [the_port()]}))
    async with running(world):
        await until(lambda: len(world.api.objects) == 17)
        del world.routes.services["default.acme.chat"]
        world.lane.routes_changed(["default.acme.chat"])
        await until(lambda: len(world.api.objects) == 16)
        assert world.notifier() == ("10.0.0.97:50051",)

        world.routes.services["default.acme.chat"] = [the_port()]
        world.lane.routes_changed(["default.acme.chat"])
        await until(lambda: world.table("default.acme.chat") == world.table())


class SlowToDelete(MemoryApi):
    """Answers a deletion when it is told to."""

    def __init__(self):
        super().__init__()
        self.asked = 0
        self.answers = asyncio.Event()

    async def delete(self, kind, namespace, name):
        self.asked += 1
        await self.answers.wait()
        return await super().delete(kind, namespace, name)


async def test_routes_that_change_while_a_plane_is_being_removed_do_not_end_the_term():
    """Turns come many times a second, an API server under load takes seconds for a deletion: all tenants would wait."""
    routes = Routes(**{"default": [the_port()], "default.acme.chat": [the_port()]})
    world = World(*ready("a"), routes=routes, api=SlowToDelete())
    async with running(world) as lane:
        await until(lambda: len(world.api.objects) == 17)
        del world.routes.services["default.acme.chat"]
        world.lane.routes_changed(["default.acme.chat"])
        await until(lambda: world.api.asked == 1)

        world.routes.services["default"] = [the_port(), the_port(9001)]
        world.lane.routes_changed(["default"])
        await until(lambda: len(world.table()) == 2)
        world.api.answers.set()

        await until(lambda: len(world.api.objects) == 16)
        world.routes.services["default"] = [the_port(9001)]
        world.lane.routes_changed(["default"])
        await until(lambda: lane.done() or list(world.table()) == [("acme", "notifier", 9001)])
        assert not lane.done()
    assert world.api.asked == 1


async def test_a_tenant_whose_service_changes_all_the_time_delays_nobody():
    """Two Services of one shard: the other one's change waits for one publication at most."""
    shared = shard_of("acme/notifier", 16)
    other = next(name for name in map(str, range(1000)) if shard_of(f"modest/{name}", 16) == shared)
    ref = the_port(name=other, namespace="modest")
    world = World(*ready("a"), a_service(other, "modest"), routes=Routes(default=[the_port(), ref]))

    async def flap():
        while True:
            for name in "abcdefgh":
                world.see(*ready(name))
                await asyncio.sleep(0.01)

    async with running(world):
        await until(lambda: len(world.table()) == 2)
        hostile = asyncio.create_task(flap())
        took = []
        for turn in range(1, 6):
            address = f"10.9.0.{turn}"
            see(world.cluster, a_pod("it", address, namespace="modest"))
            see(
                world.cluster,
                a_slice(an_endpoint(address, "it", namespace="modest"), service=other, namespace="modest"),
            )
            began = time.monotonic()
            world.lane.add([ObjectKey("modest", other)])
            await until(lambda address=address: world.table()["modest", other, 9000] == (f"{address}:50051",))
            took.append(time.monotonic() - began)
        hostile.cancel()

    assert sorted(took)[2] < QUICK.interval * 3


async def test_tables_that_were_left_over_while_no_operator_ran_are_removed():
    """Their plane went with a subscription that nobody saw go."""
    world = World(*ready("a"), routes=Routes(**{"default": [the_port()], "default.acme.chat": [the_port()]}))
    async with running(world):
        await until(lambda: len(world.api.objects) == 17)
    del world.routes.services["default.acme.chat"]
    world.lane = world.make()

    async with running(world):
        await until(lambda: len(world.api.objects) == 16)
        assert world.notifier() == ("10.0.0.97:50051",)


async def test_services_that_no_route_names_any_more_leave_the_tables():
    """A table must not grow with what once was."""
    world = World(*ready("a"), routes=Routes(default=[the_port(), the_port(9001)]))
    async with running(world):
        await until(lambda: len(world.table()) == 2)
        world.routes.services["default"] = [the_port(9001)]
        world.lane.routes_changed(["default"])
        await until(lambda: list(world.table()) == [("acme", "notifier", 9001)])


async def test_an_api_server_that_is_away_is_waited_for():
    """And then what is true by then is written, once."""
    world = World(*ready("a"))
    async with running(world):
        await until(lambda: world.notifier() is not None)
        world.api.away = True
        world.see(*ready("b"))
        await until(lambda: world.lane.resolved(the_port()).addresses == ("10.0.0.98:50051",))
        mark = len(world.api.writes)
        world.see(*ready("c"))
        world.api.away = False
        await until(lambda: world.notifier() == ("10.0.0.99:50051",))

    assert len(world.api.writes) <= mark + 1


async def test_a_write_whose_answer_was_lost_is_not_made_twice_with_one_revision():
    """Whether it was done is not known: the conflict tells, and the stored object."""
    world = World(*ready("a"))
    async with running(world):
        await until(lambda: world.notifier() is not None)
        index = shard_of("acme/notifier", 16)
        name = f"default-{index:02d}"
        replace = world.api.replace

        async def lose_the_answer(kind, namespace, name, body):
            await replace(kind, namespace, name, body)
            world.api.replace = replace
            raise Unavailable("PUT", 0, "TimeoutError", "no answer")

        world.api.replace = lose_the_answer
        world.see(*ready("b"))
        await until(lambda: world.notifier() == ("10.0.0.98:50051",))
        world.see(*ready("c"))
        await until(lambda: world.notifier() == ("10.0.0.99:50051",))

    assert world.api.objects[("EndpointTable", "hookline", name)]["spec"]["revision"] == 3


async def test_a_deleted_table_is_written_again_at_the_next_look():
    """A person may delete one; new receiver pods would wait for it forever."""
    world = World(*ready("a"), pace=Pace(soon=0.02, gather=0.02, interval=0.02, read_again=0.1))
    async with running(world):
        await until(lambda: len(world.api.objects) == 16)
        del world.api.objects[("EndpointTable", "hookline", "default-05")]
        await until(lambda: ("EndpointTable", "hookline", "default-05") in world.api.objects)
