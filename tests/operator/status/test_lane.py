import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime

from hookline_operator.apply.api import Refused
from hookline_operator.apply.events import EventLimits, Events
from hookline_operator.apply.status import StatusLane, StatusPace
from hookline_operator.decide.conditions import Said
from hookline_operator.decide.endpoints import Resolved, ServiceReason
from hookline_operator.decide.status import Contribution
from hookline_operator.ports import ShardRevision
from hookline_operator.resource_types import GATEWAYS, SUBSCRIPTIONS
from hookline_routes.problem import Reason
from hookline_routes.resource import ObjectKey, ServiceRef
from support.memory_api import MemoryApi
from support.status import a_condition, a_declared, a_gateway, a_problem, a_report
from support.waiting import until

CHAT = ("WebhookSubscription", ObjectKey("acme", "chat"))
DEFAULT = ("WebhookGateway", ObjectKey("hookline", "default"))
QUICK = StatusPace(per_second=1000, burst=1000, interval=0.02)
HANDLER = ServiceRef("handler", "acme", 9000)


class World:
    """What the lane reads, an API server in memory, and the lane. The cluster sees what is written only when told to."""

    def __init__(self, *declared, pace=QUICK, limits=None):
        self.subscriptions = {}
        self.gateways = {DEFAULT[1]: a_gateway()}
        self.reports = {}
        self.revisions = {}
        self.pods = {"default": 2}
        self.late = ()
        self.endpoints = {}
        self.contributions = {}
        self.api = MemoryApi()
        self.names = iter(range(1_000_000))
        for each in (*declared, a_gateway()):
            self.declare(each)
        self.lane = self.make(pace, limits)

    def make(self, pace=QUICK, limits=None):
        events = Events(
            self.api, instance="operator-0", now=self.now, new_id=lambda: f"{next(self.names):x}", limits=limits
        )
        return StatusLane(
            self, self, self, self, self.api, events, now=self.now, contributors=(self,), pace=pace or QUICK
        )

    def now(self):
        return datetime.now(UTC)

    def declare(self, declared, report=None, revision=1):
        """The API server has it, the cluster knows of it, and it was compiled and published."""
        kind = SUBSCRIPTIONS if declared.kind == "WebhookSubscription" else GATEWAYS
        metadata = {"name": declared.key.name, "namespace": declared.key.namespace, "uid": declared.uid}
        stored = self.api.put(
            kind, {"metadata": {**metadata, "generation": declared.generation}, "status": dict(declared.status)}
        )
        declared = replace(declared, resource_version=int(stored["metadata"]["resourceVersion"]))
        objects = self.subscriptions if kind is SUBSCRIPTIONS else self.gateways
        objects[declared.key] = declared
        self.reports[declared.kind, declared.key] = report or a_report(declared)
        if revision:
            self.revisions[declared.key] = ShardRevision("default", 3, revision)
        return declared

    def catch_up(self):
        """The feed brings everything that is stored."""
        for objects, kind in ((self.subscriptions, "WebhookSubscription"), (self.gateways, "WebhookGateway")):
            for key, declared in objects.items():
                stored = self.api.objects[kind, key.namespace, key.name]
                version = int(stored["metadata"]["resourceVersion"])
                objects[key] = replace(declared, status=stored.get("status", {}), resource_version=version)

    def report_of(self, kind, key):
        return self.reports.get((kind, key))

    def gateway_of(self, key):
        return DEFAULT[1]

    def attached_to(self, gateway):
        return len(self.subscriptions)

    def revision_of(self, key):
        return self.revisions.get(key)

    def pods_of(self, plane):
        return self.pods.get(plane, 0)

    def synced_of(self, plane):
        return self.pods_of(plane) - len(self.late)

    def behind(self, shard):
        return tuple(self.late)

    def resolved(self, ref):
        return self.endpoints.get(ref, Resolved(("10.0.0.1:1",)))

    def contribution(self, kind, key):
        return self.contributions.get((kind, key), Contribution())

    def status(self, key=CHAT):
        return self.api.objects[key[0], key[1].namespace, key[1].name].get("status", {})

    def said(self, kind="Ready", key=CHAT):
        found = {each["type"]: each for each in self.status(key).get("conditions", ())}
        return (found[kind]["status"], found[kind]["reason"]) if kind in found else None

    def statuses_written(self):
        return [name for verb, _, name in self.api.writes if verb == "merge"]

    def events(self):
        return [each for (kind, _, _), each in self.api.objects.items() if kind == "Event"]

    def notes(self):
        return [(each["type"], each["reason"]) for each in self.events()]


@contextlib.asynccontextmanager
async def running(world, *keys):
    world.lane.add(keys or [CHAT])
    task = asyncio.create_task(world.lane.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def idle(world):
    """Nothing is ready or worked on; what waits out its patience still does."""
    await until(lambda: not world.lane.queue and not world.lane.queue.working)


async def test_a_served_subscription_gets_its_whole_status_in_one_write():
    """And the Event that `kubectl describe` shows."""
    world = World(a_declared())

    async with running(world):
        await until(lambda: world.said() == ("True", "Ready") and bool(world.events()))

    assert world.statuses_written() == ["chat"]
    assert world.status()["url"] == "https://hooks.example.com/acme/chat"
    assert world.notes() == [("Normal", "Ready")]
    event = world.events()[0]
    assert event["regarding"] == {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "namespace": "acme",
        "name": "chat",
        "uid": "uid-chat",
    }


async def test_nothing_is_written_at_rest_nor_by_the_next_leader():
    """Every write is decided by comparing with what is there; so is every Event."""
    world = World(a_declared())
    async with running(world, CHAT, DEFAULT):
        await until(lambda: bool(world.said() and world.said(key=DEFAULT)))
        await idle(world)
        mark = len(world.api.writes)
        world.lane.add([CHAT, DEFAULT])
        await idle(world)
        world.catch_up()
        world.lane.add([CHAT, DEFAULT])
        await idle(world)
    world.lane = world.make()

    async with running(world, CHAT, DEFAULT):
        await idle(world)

    assert len(world.api.writes) == mark


async def test_a_new_leader_that_has_heard_of_no_pod_writes_nothing():
    """Agents are connected to within seconds; ten thousand statuses must not say otherwise meanwhile."""
    world = World(a_declared())
    async with running(world, CHAT, DEFAULT):
        await until(lambda: bool(world.said() and world.said(key=DEFAULT)))
        await idle(world)
    world.catch_up()
    mark = len(world.api.writes)
    world.late = ("receiver-0", "receiver-1")
    world.lane = world.make()

    async with running(world, CHAT, DEFAULT):
        await until(lambda: world.lane.queue.waiting == 2)
        world.late = ()
        world.lane.served_changed("default", {3})
        await until(lambda: not world.lane.queue and not world.lane.queue.working)

    assert len(world.api.writes) == mark


async def test_what_was_not_compiled_in_this_term_is_left_alone():
    """That, and what belongs to another installation."""
    world = World(a_declared())
    world.reports.clear()

    async with running(world):
        await idle(world)

    assert world.api.writes == []


async def test_a_report_of_an_older_spec_is_not_written_over_a_newer_one():
    """observedGeneration would say what was never looked at."""
    world = World(a_declared(generation=2))
    world.reports[CHAT] = a_report(a_declared(generation=1))

    async with running(world):
        await idle(world)
        assert world.api.writes == []
        world.reports[CHAT] = a_report(a_declared(generation=2))
        world.lane.add([CHAT])
        await until(lambda: world.status().get("observedGeneration") == 2)


async def test_programmed_is_true_only_after_every_ready_pod_serves_it():
    """The next event may come to the one that does not."""
    world = World(a_declared())
    world.late = ("receiver-1",)

    async with running(world):
        await until(lambda: world.lane.queue.waiting == 1)
        world.lane.served_changed("default", {3})
        await idle(world)
        assert world.said("Programmed") is None
        world.late = ()
        world.lane.served_changed("default", {4})
        await idle(world)
        assert world.said("Programmed") is None
        world.lane.served_changed("default", {3})
        await until(lambda: world.said("Programmed") == ("True", "Programmed"))

    assert world.statuses_written().count("chat") == 1


async def test_what_lasts_is_written_though_it_might_have_passed():
    """A person who waits must see what for."""
    world = World(a_declared())
    world.late = ("receiver-1",)

    async with running(world):
        await until(lambda: world.said("Programmed") == ("False", "Pending"))

    assert world.notes() == [("Warning", "Pending")]


async def test_bad_news_is_written_at_once():
    """A Secret that is gone has stopped working already."""
    declared = a_declared()
    world = World()
    world.declare(declared, a_report(declared, references=[a_problem(Reason.SECRET_NOT_FOUND)]), revision=0)
    began = time.monotonic()

    async with running(world):
        await until(lambda: world.said() == ("False", "SecretNotFound"))

    assert time.monotonic() - began < 1.5


async def test_all_subscriptions_of_a_plane_learn_that_it_has_no_pod():
    """Programmed must be the truth."""
    world = World(*(a_declared(name) for name in ("a", "b", "c")))
    keys = [("WebhookSubscription", key) for key in world.subscriptions]
    async with running(world, *keys, DEFAULT):
        await until(lambda: len(world.statuses_written()) == 4)
        world.catch_up()
        world.pods["default"] = 0
        world.lane.add([DEFAULT])
        await until(lambda: world.lane.queue.waiting >= 4)

        world.pods["default"] = 2
        world.lane.add([DEFAULT])
        await idle(world)

    assert len(world.statuses_written()) == 4


async def test_subscriptions_learn_of_their_handlers_services():
    """Those that name the Service, and no others."""
    world = World(
        a_declared(), a_declared("other", routes=[{"name": "r", "handler": {"serviceRef": {"name": "x", "port": 1}}}])
    )
    keys = [("WebhookSubscription", key) for key in world.subscriptions]
    async with running(world, *keys):
        await until(lambda: len(world.statuses_written()) == 2)
        world.catch_up()
        world.endpoints[HANDLER] = Resolved((), ServiceReason.SERVICE_NOT_FOUND, "Service acme/handler does not exist")
        world.lane.endpoints_changed([HANDLER])
        await until(lambda: world.said("ResolvedRefs") == ("False", "ServiceNotFound"))

    assert world.statuses_written().count("other") == 1


async def test_conditions_of_others_survive_even_when_the_view_of_them_is_old():
    """Conditions are one list, which a merge replaces whole: it is made on what is stored."""
    world = World(a_declared())
    theirs = a_condition("example.com/Approved")
    stored = world.api.objects["WebhookSubscription", "acme", "chat"]
    world.api.put(SUBSCRIPTIONS, {**stored, "status": {"conditions": [theirs]}})

    async with running(world):
        await until(lambda: world.said() == ("True", "Ready"))

    assert theirs in world.status()["conditions"]


async def test_a_spec_that_changed_meanwhile_waits_for_its_own_report():
    """A conflict because of a newer spec is not solved by writing what was found of the old one."""
    world = World(a_declared())
    stored = world.api.objects["WebhookSubscription", "acme", "chat"]
    world.api.put(SUBSCRIPTIONS, {**stored, "metadata": {**stored["metadata"], "generation": 2}})

    async with running(world):
        await idle(world)

    assert world.api.writes == []


async def test_an_object_that_is_gone_is_forgotten():
    """Deleted between the look and the write."""
    world = World(a_declared())
    del world.api.objects["WebhookSubscription", "acme", "chat"]

    async with running(world):
        await idle(world)

    assert world.api.writes == []
    assert world.lane.queue.waiting == 0


async def test_one_that_cannot_be_written_does_not_hold_up_the_others():
    """Each key has a backoff of its own."""
    world = World(a_declared("bad"), *(a_declared(f"good-{index}") for index in range(20)))
    world.api.refuse = lambda verb, kind, name: Refused("PATCH", 422, "Invalid", "no") if name == "bad" else None
    keys = [("WebhookSubscription", key) for key in world.subscriptions]

    async with running(world, *keys):
        await until(lambda: len(world.statuses_written()) == 20)
        assert world.lane.queue.failures(("WebhookSubscription", ObjectKey("acme", "bad"))) >= 1


async def test_writes_are_rationed():
    """A restart of all receivers may change ten thousand statuses; the API server has others to serve."""
    world = World(*(a_declared(f"s-{index}") for index in range(60)), pace=StatusPace(per_second=100, burst=10))
    keys = [("WebhookSubscription", key) for key in world.subscriptions]
    began = time.monotonic()

    async with running(world, *keys):
        await until(lambda: len(world.statuses_written()) == 60)

    assert time.monotonic() - began >= 0.4


async def test_a_tenant_with_many_does_not_hold_up_another_with_one():
    """The queue takes namespaces in turns."""
    many = [a_declared(f"s-{index}", "greedy") for index in range(200)]
    world = World(*many, a_declared("one", "modest"), pace=StatusPace(per_second=50, burst=4, workers=2))
    keys = [("WebhookSubscription", key) for key in world.subscriptions]

    async with running(world, *keys):
        await until(lambda: "one" in world.statuses_written())

    assert len(world.statuses_written()) <= 6


async def test_fast_changes_of_one_object_cost_a_write_a_second():
    """Nobody uses up what all share."""
    world = World(a_declared(), pace=StatusPace(per_second=1000, burst=1000, interval=0.2))
    began = time.monotonic()
    async with running(world):
        for generation in range(2, 60):
            world.declare(a_declared(generation=generation, status=world.status()))
            world.lane.add([CHAT])
            await asyncio.sleep(0.01)
        took = time.monotonic() - began
        await until(lambda: world.status().get("observedGeneration") == 59)

    assert len(world.statuses_written()) <= took / 0.2 + 2


async def test_another_lane_writes_through_this_one():
    """One writer of each status: no two lanes fight over its list of conditions."""
    world = World(a_declared())
    said = Said("RotationPending", True, "RotationPending", "enter the new password at CometChat")
    async with running(world):
        await until(lambda: world.said() is not None)
        types = frozenset({"RotationPending"})
        world.contributions[CHAT] = Contribution((said,), {"credentials": [{"secretName": "x"}]}, types)
        world.lane.add([CHAT])
        await until(lambda: world.said("RotationPending") == ("True", "RotationPending"))
        assert world.status()["credentials"] == [{"secretName": "x"}]
        await until(lambda: ("Normal", "RotationPending") in world.notes())
        world.contributions[CHAT] = Contribution((), {"credentials": None}, types)
        world.lane.add([CHAT])
        await until(lambda: world.said("RotationPending") is None)

    assert "credentials" not in world.status()


async def test_the_same_is_not_told_again_soon():
    """A Secret that comes and goes would fill the list of Events."""
    world = World(a_declared())
    declared = a_declared()
    bad = a_report(declared, references=[a_problem(Reason.SECRET_NOT_FOUND)])
    async with running(world):
        for report in (bad, None) * 4:
            world.catch_up()
            world.reports[CHAT] = report or a_report(declared)
            world.lane.add([CHAT])
            await until(
                lambda report=report: world.said() == (("False", "SecretNotFound") if report else ("True", "Ready"))
            )

    assert sorted(world.notes()) == [("Normal", "Ready"), ("Warning", "SecretNotFound")]


async def test_events_are_rationed_and_one_that_fails_is_let_go():
    """Statuses hold the truth; Events are a courtesy."""
    world = World(*(a_declared(f"s-{index}") for index in range(30)), limits=EventLimits(per_second=0.001, burst=5))
    world.api.refuse = lambda verb, kind, name: (
        Refused("POST", 403, "Forbidden", "no") if kind == "Event" and "s-1." in name else None
    )
    keys = [("WebhookSubscription", key) for key in world.subscriptions]

    async with running(world, *keys):
        await until(lambda: len(world.statuses_written()) == 30)

    assert len(world.events()) == 4


async def test_thousands_that_are_right_are_looked_at_without_stalling_the_loop():
    """The loop publishes routes and renews the Lease at the same time."""
    world = World(*(a_declared(f"s-{index}", f"ns-{index % 500}") for index in range(2000)))
    keys = [("WebhookSubscription", key) for key in world.subscriptions]
    pauses = []

    async def watch():
        while True:
            at = time.monotonic()
            await asyncio.sleep(0.001)
            pauses.append(time.monotonic() - at)

    async with running(world, *keys):
        await until(lambda: len(world.statuses_written()) == 2000, within=60)
        world.catch_up()
        mark = len(world.api.writes)
        watcher = asyncio.create_task(watch())
        world.lane.add(keys)
        await until(lambda: not world.lane.queue and not world.lane.queue.working, within=60)
        watcher.cancel()

    assert len(world.api.writes) == mark
    assert sorted(pauses)[len(pauses) // 2] < 0.05
