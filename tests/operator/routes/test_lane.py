"""The routes lane: what it publishes, when, and what it leaves alone."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from hookline_operator.apply.api import NotLeading, Refused, Unavailable
from hookline_operator.resource_types import ROUTE_TABLES
from hookline_routes import expression
from hookline_routes.resource import ObjectKey, ServiceRef
from hookline_routes.shard import shard_of, spec_of, split
from support.route_lane import (
    FAST,
    HOME,
    Replica,
    TablesMemory,
    World,
    a_gateway_body,
    a_grant_body,
    a_receiver_body,
    a_secret_body,
    a_subscription_body,
    settled,
    until,
)
from support.routes import a_route

CHAT = ObjectKey("acme", "chat")


def judged_so_far() -> int:
    return expression._judged.cache_info().misses


def a_world(count: int = 1, **gateway: object) -> World:
    """A gateway, and so many subscriptions with their Secrets: "chat", "chat-1", …."""
    names = ["chat", *(f"chat-{number}" for number in range(1, count))]
    subscriptions = [a_subscription_body(name) for name in names]
    return World(a_gateway_body(**gateway), *subscriptions, *(a_secret_body(name) for name in names))


async def test_a_gateway_has_all_its_shards_from_the_first() -> None:
    """A pod knows that it has everything when it has 64, empty ones too."""
    api = TablesMemory()

    async with Replica(api, a_world()) as replica:
        await settled(replica)

    assert sorted(api.tables) == [f"default-{index:02d}" for index in range(64)]
    assert list(api.entries()) == ["acme/chat"]
    assert len(api.credentials()) == 1
    assert {body["spec"]["revision"] for body in api.tables.values()} == {1, 2}


async def test_a_restart_writes_nothing_and_makes_no_verifier() -> None:
    """Ten thousand chosen passwords would be minutes of hashing, and every pod would read every table anew."""
    api, world = TablesMemory(), a_world(50)
    async with Replica(api, world) as first:
        await settled(first)
    before = len(api.writes)

    async with Replica(api, world) as second:
        await settled(second)
        revision = second.lane.revision_of(CHAT)

    assert api.writes[before:] == []
    assert len(first.made) == 50
    assert second.made == []
    assert revision is not None
    assert revision.plane == "default"


async def test_a_second_term_of_the_same_replica_writes_nothing() -> None:
    """The lane is made once for a process; losing and winning the Lease must cost nothing."""
    api, world = TablesMemory(), a_world(5)
    replica = Replica(api, world)
    async with replica:
        await settled(replica)
    before = len(api.writes)

    async with replica:
        await settled(replica)

    assert api.writes[before:] == []


async def test_a_change_is_published_in_its_shard_alone() -> None:
    """Every other table would be read by every pod for nothing."""
    api = TablesMemory()
    async with Replica(api, a_world(20)) as replica:
        await settled(replica)
        before = len(api.writes)

        replica.put(a_subscription_body(suspend=True))
        await settled(replica)

    assert len(api.writes[before:]) == 1
    assert api.entries()["acme/chat"].endpoint.suspended


async def test_a_deleted_subscription_is_published_no_more() -> None:
    """A revocation is a publication like any other, but at once."""
    api = TablesMemory()
    async with Replica(api, a_world(2)) as replica:
        await settled(replica)

        replica.remove("WebhookSubscription", "chat")
        await settled(replica)

        assert replica.lane.revision_of(CHAT) is None
        assert replica.lane.report_of("WebhookSubscription", CHAT) is None
    assert list(api.entries()) == ["acme/chat-1"]


async def test_a_revocation_does_not_wait_for_what_is_gathered() -> None:
    """Additions wait a while, so that what belongs together is published together; what refuses does not."""
    api = TablesMemory()
    slow = replace(FAST, soonest=3600.0, latest=3600.0)
    async with Replica(api, a_world(2), slow) as replica:
        await until(lambda: len(api.tables) == 64, "the first publication waits for nothing")
        await until(lambda: len(api.entries()) == 2, "both are there")

        replica.put(a_subscription_body("later"), a_secret_body("later"))
        replica.remove("WebhookSubscription", "chat")
        await until(lambda: "acme/chat" not in api.entries(), "it is revoked at once")

        assert "acme/later" not in api.entries()


async def test_the_old_password_stops_at_once_and_the_new_one_works_soon() -> None:
    """A changed Secret is a revocation of what it held; who needs no gap names two Secrets."""
    api = TablesMemory()
    async with Replica(api, a_world()) as replica:
        await settled(replica)
        (old,) = api.credentials()

        replica.put(a_secret_body(password="two"))
        await settled(replica)

    (new,) = api.credentials()
    assert old != new
    assert [needed.password for needed in replica.made] == ["one", "two"]


async def test_a_deleted_secret_opens_nothing() -> None:
    """And its subscription says why it refuses."""
    api = TablesMemory()
    async with Replica(api, a_world()) as replica:
        await settled(replica)

        replica.remove("Secret", "chat")
        await settled(replica)

    assert api.credentials() == ()
    assert api.entries()["acme/chat"].endpoint.without_credentials == "SecretNotFound"


async def test_a_label_on_a_secret_refuses_nobody() -> None:
    """Its version changes, its credential does not: no hash is made, and no moment is without a verifier."""
    api = TablesMemory()
    seen: set[int] = set()
    async with Replica(api, a_world()) as replica:
        await settled(replica)
        api.refuse = lambda verb, kind, name: seen.add(len(api.credentials()))  # type: ignore[func-returns-value]

        labelled = a_secret_body()
        labelled["metadata"]["labels"] = {"team": "a"}
        replica.put(labelled)
        await settled(replica)

    assert len(replica.made) == 1
    assert seen == {1}
    assert len(api.credentials()) == 1


async def test_rotation_by_two_secrets_has_no_gap() -> None:
    """The new Secret is named beside the old one, entered at the sender, and the old one is let go."""
    api = TablesMemory()
    refs = [{"name": "chat"}, {"name": "next"}]
    async with Replica(api, a_world()) as replica:
        await settled(replica)
        (old,) = api.credentials()
        replica.put(a_secret_body("next", password="two"))

        replica.put(a_subscription_body(auth={"basic": {"secretRefs": refs}}))
        await settled(replica)
        both = api.credentials()
        replica.put(a_subscription_body(auth={"basic": {"secretRefs": refs[1:]}}))
        await settled(replica)

    assert both[0] == old
    assert api.credentials() == both[1:]


async def test_a_generated_credential_is_live_with_its_secret_and_revoked_with_it() -> None:
    """Who names no Secret gets one that belongs to the subscription; only in its own namespace does that count."""
    api, subscription = TablesMemory(), a_subscription_body(auth={})
    uid = subscription["metadata"]["uid"]
    world = World(
        a_gateway_body(),
        subscription,
        a_secret_body("made", password="A1" * 16, owner=uid),
        a_secret_body("by-hand", password="guessable", owner=uid),
        a_secret_body("forged", "mallory", password="B1" * 16, owner=uid),
    )

    async with Replica(api, world) as replica:
        await settled(replica)
        names = [each.partition("@")[0] for each in api.credentials()]
        replica.remove("Secret", "made")
        await settled(replica)

    assert sorted(names) == ["by-hand", "made"]
    assert [each.partition("@")[0] for each in api.credentials()] == ["by-hand"]
    assert [(needed.password, needed.generated) for needed in replica.made if not needed.generated] == [
        ("guessable", False)
    ]


async def test_who_waits_for_a_path_gets_it_in_the_turn_that_frees_it() -> None:
    """The next one by age is served without a change of its own."""
    api = TablesMemory()
    world = World(
        a_gateway_body(),
        a_subscription_body("older", path="/acme/x", day=1),
        a_subscription_body("younger", path="/acme/x", day=2),
        a_secret_body("older"),
        a_secret_body("younger"),
    )
    async with Replica(api, world) as replica:
        await settled(replica)
        assert list(api.entries()) == ["acme/older"]

        replica.remove("WebhookSubscription", "older")
        await settled(replica)

    assert list(api.entries()) == ["acme/younger"]


async def test_another_installations_subscription_is_not_touched() -> None:
    """Its status least of all: two operators would write it in turns for ever."""
    api = TablesMemory()
    theirs = a_subscription_body("theirs", gatewayRef={"name": "default", "namespace": "elsewhere"})
    world = a_world()
    world.put(theirs)

    async with Replica(api, world) as replica:
        await settled(replica)

        assert replica.lane.report_of("WebhookSubscription", ObjectKey("acme", "theirs")) is None
    assert list(api.entries()) == ["acme/chat"]
    assert ("WebhookSubscription", ObjectKey("acme", "theirs")) not in replica.told.status


async def test_only_the_clusters_default_takes_references_without_a_namespace() -> None:
    """Else two installations would serve the same subscription."""
    api = TablesMemory()
    own = a_subscription_body("own", gatewayRef={"name": "default", "namespace": HOME})
    world = a_world()
    world.put(own)

    async with Replica(api, world, replace(FAST, cluster_default=False)) as replica:
        await settled(replica)

        assert replica.lane.report_of("WebhookSubscription", CHAT) is None
    assert list(api.entries()) == ["acme/own"]


async def test_programmed_is_held_against_the_revision_that_brought_the_entry() -> None:
    """Changes of others in the same shard do not make it unprogrammed."""
    api = TablesMemory()
    async with Replica(api, World(a_gateway_body(), a_subscription_body(), a_secret_body())) as replica:
        await settled(replica)
        first = replica.lane.revision_of(CHAT)
        assert first is not None
        number = next(number for number in range(1000) if shard_of(f"u{number}", 64) == first.index)

        replica.put(a_subscription_body("neighbour", uid=f"u{number}"), a_secret_body("neighbour"))
        await settled(replica)
        neighbour = replica.lane.revision_of(ObjectKey("acme", "neighbour"))

        assert replica.lane.revision_of(CHAT) == first
        assert neighbour is not None
        assert neighbour.index == first.index
        assert neighbour.revision > first.revision
        assert ("WebhookSubscription", ObjectKey("acme", "neighbour")) in replica.told.status


async def test_a_sudden_loss_is_confirmed_by_consistent_lists() -> None:
    """A feed that lies must not refuse everybody's events."""
    api = TablesMemory()
    async with Replica(api, a_world(40)) as replica:
        await settled(replica)
        before = len(api.writes)

        for number in range(1, 31):
            body = replica.world.bodies["WebhookSubscription", ObjectKey("acme", f"chat-{number}")]
            lie = {**body, "metadata": {**body["metadata"], "resourceVersion": str(100_000 + number)}}
            replica.hear(lie, "DELETED")
        # What is true is seen again under a version that no lie has gone beyond.
        for number in range(1, 31):
            key = ("WebhookSubscription", ObjectKey("acme", f"chat-{number}"))
            body = replica.world.bodies[key]
            replica.world.bodies[key] = {
                **body,
                "metadata": {**body["metadata"], "resourceVersion": str(200_000 + number)},
            }
        await settled(replica)

    assert replica.verified == 2
    assert len(api.entries()) == 40
    assert api.writes[before:] == []


async def test_a_true_sudden_loss_is_published_once_it_is_confirmed() -> None:
    """Somebody has deleted a namespace."""
    api = TablesMemory()
    async with Replica(api, a_world(40)) as replica:
        await settled(replica)

        for number in range(1, 31):
            replica.remove("WebhookSubscription", f"chat-{number}")
        await settled(replica)

    assert replica.verified == 2
    assert len(api.entries()) == 10


async def test_a_dedicated_subscription_is_served_by_the_shared_plane_too() -> None:
    """People lead its traffic to its own Service in their own time: nothing may be refused before, or on the way back."""
    api = TablesMemory()
    scaling = {"scaling": {"maxReplicas": 4}}
    plane = "default.acme.chat"
    world = a_world(dedicated={"allowed": True})
    async with Replica(api, world) as replica:
        await settled(replica)
        replica.put(a_subscription_body(dataPlane={"mode": "Dedicated", "dedicated": scaling}))
        await settled(replica)
        for ready in (False, True):
            replica.put(a_receiver_body(plane, ready=ready))
            await settled(replica)

            assert api.entries()["acme/chat"].HasField("endpoint")
            assert api.entries(plane)["acme/chat"] == api.entries()["acme/chat"]

        revision = replica.lane.revision_of(CHAT)
        assert revision is not None
        assert (revision.plane, revision.index) == (plane, 0)
        assert len([name for name in api.tables if name.startswith("default.acme.chat")]) == 1


async def test_a_plane_that_was_left_is_served_as_long_as_it_has_pods_and_then_deleted() -> None:
    """Until then its pods may be sent events; what they hold is delivered by them."""
    api = TablesMemory()
    dedicated = {"mode": "Dedicated", "dedicated": {"scaling": {"maxReplicas": 4}}}
    plane = "default.acme.chat"
    world = a_world(dedicated={"allowed": True})
    world.put(a_subscription_body(dataPlane=dedicated))
    world.put(a_receiver_body(plane))
    async with Replica(api, world) as replica:
        await settled(replica)

        replica.put(a_subscription_body())
        await settled(replica)
        assert api.entries(plane)["acme/chat"].HasField("endpoint")
        assert api.entries()["acme/chat"].HasField("endpoint")
        replica.remove("Pod", "receiver-0", HOME)
        await settled(replica)
        await replica.lane.look()
        await settled(replica)

    assert api.entries(plane) == {}
    assert len(api.tables) == 64


async def test_the_tables_of_a_gateway_that_is_gone_are_emptied_and_then_deleted() -> None:
    """Its pods refuse everything while they still run."""
    api = TablesMemory()
    world = a_world()
    world.put(a_receiver_body("default"))
    async with Replica(api, world) as replica:
        await settled(replica)

        replica.remove("WebhookGateway", "default", HOME)
        await settled(replica)
        await replica.lane.look()
        assert len(api.tables) == 64
        assert api.entries() == {}
        replica.remove("Pod", "receiver-0", HOME)
        await replica.lane.look()

    assert api.tables == {}


async def test_a_gateway_that_cannot_be_read_any_more_goes_on_as_it_was() -> None:
    """Nobody meant to refuse everybody; revocations go on all the same."""
    api = TablesMemory()
    async with Replica(api, a_world(2)) as replica:
        await settled(replica)

        replica.put(a_gateway_body(limits={"maxBodySize": "no size"}))
        await settled(replica)
        report = replica.lane.report_of("WebhookGateway", ObjectKey(HOME, "default"))
        assert report is not None
        assert not report.conditions[0].status
        assert len(api.entries()) == 2
        replica.remove("WebhookSubscription", "chat")
        await settled(replica)
        assert list(api.entries()) == ["acme/chat-1"]

    before = len(api.writes)
    async with Replica(api, replica.world) as restarted:
        await settled(restarted)
        await restarted.lane.look()

    assert api.writes[before:] == []
    assert list(api.entries()) == ["acme/chat-1"]


async def test_a_gateway_without_subscriptions_gets_its_tables_too() -> None:
    """Or its pods would never be ready."""
    api = TablesMemory()
    async with Replica(api, World()) as replica:
        await settled(replica)
        assert api.tables == {}

        replica.hear(replica.world.put(a_gateway_body(hostnames=["hooks.example.com"])))
        replica.lane.add([ObjectKey(HOME, "default")])
        await settled(replica)

    assert len(api.tables) == 64
    assert list(api.shard("default", 0).hostnames) == ["hooks.example.com"]
    assert list(api.shard("default", 1).hostnames) == []


async def test_what_a_grant_allowed_is_held_when_it_is_taken_back() -> None:
    """And the endpoints lane hears which Services routes may call."""
    api, other = TablesMemory(), ServiceRef("analytics", "platform", 9000)
    route = a_route(handler={"serviceRef": {"name": "analytics", "namespace": "platform", "port": 9000}})
    world = World(
        a_gateway_body(), a_subscription_body(routes=[route]), a_secret_body(), a_grant_body("platform", "acme")
    )
    async with Replica(api, world) as replica:
        await settled(replica)
        assert replica.lane.services_of("default") == {other}
        assert not api.entries()["acme/chat"].subscription.routes[0].paused

        replica.remove("ReferenceGrant", "from-acme", "platform")
        await settled(replica)

        assert replica.lane.services_of("default") == frozenset()
        assert "default" in replica.told.planes
    assert api.entries()["acme/chat"].subscription.routes[0].paused


async def test_a_table_that_somebody_has_changed_or_deleted_is_put_right() -> None:
    """The integrity of what is published is the operator's."""
    api = TablesMemory()
    async with Replica(api, a_world(20)) as replica:
        await settled(replica)
        names = sorted(api.tables)
        good = {name: body["spec"]["hash"] for name, body in api.tables.items()}
        api.put(ROUTE_TABLES, {**api.tables[names[3]], "spec": {"plane": "default", "index": 3, "data": "!"}})
        api.put(ROUTE_TABLES, {**api.tables[names[4]], "spec": 7})
        del api.objects["RouteTable", HOME, names[5]]
        stray = {**api.tables[names[6]], "metadata": {**api.tables[names[6]]["metadata"], "name": "default-77"}}
        api.put(ROUTE_TABLES, stray)

        await replica.lane.look()
        await settled(replica)

    assert {name: body["spec"]["hash"] for name, body in api.tables.items()} == good


async def test_tables_of_a_plane_without_pods_stay_while_its_gateway_cant_be_read() -> None:
    """Its pods may be on their way to another node: they would find nothing there, and refuse everything."""
    api = TablesMemory()
    gateway = a_gateway_body(dedicated={"allowed": True, "maxPerNamespace": 1})
    own = a_subscription_body(dataPlane={"mode": "Dedicated", "dedicated": {"scaling": {"maxReplicas": 4}}})
    world = World(gateway, own, a_secret_body())
    async with Replica(api, world) as first:
        await settled(first)
    there = {name: body["metadata"]["resourceVersion"] for name, body in api.tables.items()}
    assert len(there) == 65

    world.put(a_gateway_body(hostnames=7))
    async with Replica(api, world) as second:
        await settled(second)
        await second.lane.look()
        await settled(second)

    assert {name: body["metadata"]["resourceVersion"] for name, body in api.tables.items()} == there


async def test_tables_that_were_damaged_while_nobody_led_are_written_anew() -> None:
    """Whatever stands in them."""
    api, world = TablesMemory(), a_world(64)
    async with Replica(api, world) as first:
        await settled(first)
    good = {name: body["spec"]["hash"] for name, body in api.tables.items()}
    for number, name in enumerate(sorted(api.tables)):
        body = api.tables[name]
        spec = dict(body["spec"])
        match number % 4:
            case 0:
                spec["data"] = spec["data"][:-8]
            case 1:
                spec["hash"] = "0" * 64
            case 2:
                spec = {"plane": 3}
        api.put(ROUTE_TABLES, {**body, "spec": spec})

    async with Replica(api, world) as second:
        await settled(second)

    assert {name: body["spec"]["hash"] for name, body in api.tables.items()} != good
    entries = api.entries()
    assert len(entries) == 64
    assert all(len(entry.endpoint.verifiers) == 1 for entry in entries.values())


async def test_another_tag_key_makes_all_verifiers_anew() -> None:
    """Verifiers whose tags were made with a lost key would refuse everybody for ever."""
    api, world = TablesMemory(), a_world(5)
    async with Replica(api, world) as first:
        await settled(first)
    for name, body in list(api.tables.items()):
        shard = api.shard("default", body["spec"]["index"])
        shard.tag_key_id = b"other"
        content = shard.SerializeToString(deterministic=True)
        (chunk,) = split("default", body["spec"]["index"], 64, 9, content)
        api.put(ROUTE_TABLES, {**api.objects["RouteTable", HOME, name], "spec": spec_of(chunk)})

    async with Replica(api, world) as second:
        await settled(second)

    assert len(second.made) == 5
    assert all(body["spec"]["revision"] >= 10 for body in api.tables.values())


async def test_a_shard_that_cannot_be_written_holds_up_no_other() -> None:
    """Whosever fault it is."""
    api = TablesMemory()
    refused = Refused("PUT default-07", 403, "Forbidden", "a policy says no")
    api.refuse = lambda verb, kind, name: refused if name == "default-07" else None
    async with Replica(api, a_world(200)) as replica:
        await until(lambda: len(api.tables) == 63, "all others are there")

        api.refuse = lambda verb, kind, name: None
        await settled(replica)

    assert len(api.tables) == 64
    assert len(api.entries()) == 200


async def test_a_write_without_an_answer_is_not_done_twice() -> None:
    """It was done; whoever asks again finds that out by reading."""
    api = TablesMemory()
    async with Replica(api, a_world()) as replica:
        await settled(replica)
        store, answers = api._store, [Unavailable("PUT", 0, "TimeoutError", "no answer")]

        def unanswered(*arguments: object) -> object:
            stored = store(*arguments)  # type: ignore[arg-type]
            if answers:
                raise answers.pop()
            return stored

        api._store = unanswered  # type: ignore[method-assign,assignment]
        before, verified = len(api.writes), replica.verified
        replica.put(a_subscription_body(suspend=True))
        await settled(replica)

    assert len(api.writes[before:]) == 1
    assert replica.verified == verified
    assert api.entries()["acme/chat"].endpoint.suspended


async def test_the_api_server_may_be_away_when_a_term_begins_and_in_the_middle() -> None:
    """What was published stays; what has changed meanwhile is published afterwards."""
    api, world = TablesMemory(), a_world(3)
    api.away = True
    async with Replica(api, world) as replica:
        await until(lambda: api.reads, "it is tried")
        assert replica.lane.planes() == frozenset()
        api.away = False
        await settled(replica)
        assert len(api.entries()) == 3

        api.away, api.reads = True, 0
        replica.remove("WebhookSubscription", "chat")
        await until(lambda: api.reads, "it is tried")
        assert len(api.entries()) == 3
        api.away = False
        await settled(replica)

    assert sorted(api.entries()) == ["acme/chat-1", "acme/chat-2"]


async def test_a_write_after_the_lease_was_lost_ends_the_term() -> None:
    """And nothing is written."""
    api = TablesMemory()
    async with Replica(api, a_world()) as replica:
        await settled(replica)
        before = dict(api.objects)

        api.refuse = lambda verb, kind, name: NotLeading("the Lease is not surely held")
        replica.put(a_subscription_body(suspend=True))
        await until(replica.term.done, "the term ends")

        with pytest.raises(NotLeading):
            replica.term.result()
        assert api.objects == before
        replica.lead()


async def test_two_that_both_believe_they_lead_end_where_the_world_is() -> None:
    """Conditional writes and reading again: neither brings back what the other has taken away."""
    api, world = TablesMemory(), a_world(30)
    one, other = Replica(api, world), Replica(api, world)
    async with one, other:
        await settled(one)
        await settled(other)
        for number in range(1, 30):
            if number % 3:
                body = world.remove("WebhookSubscription", f"chat-{number}")
                one.hear(body, "DELETED")
                other.hear(body, "DELETED")
            else:
                body = world.put(a_subscription_body(f"chat-{number}", suspend=True))
                one.hear(body)
                other.hear(body)
            await asyncio.sleep(0.001)
        await settled(one)
        await settled(other)
        # One may have been second in a shard, and has then learnt that from the conflict.
        await one.lane.look()
        await other.lane.look()
        await settled(one)
        await settled(other)

    names = {"acme/chat"} | {f"acme/chat-{number}" for number in range(3, 30, 3)}
    entries = api.entries()
    assert entries.keys() == names
    assert all(entries[name].endpoint.suspended for name in names - {"acme/chat"})


async def test_two_leaders_agree_on_the_verifiers_that_are_published() -> None:
    """Each has salts of its own: they must not write each other's over for ever."""
    api, world = TablesMemory(), a_world(10)
    one, other = Replica(api, world), Replica(api, world)
    async with one, other:
        await settled(one)
        await settled(other)
        for replica in (one, other):
            await replica.lane.look()
            await settled(replica)
        before = len(api.writes)
        for replica in (one, other, one, other):
            await replica.lane.look()
            await settled(replica)

    assert api.writes[before:] == []
    assert all(len(entry.endpoint.verifiers) == 1 for entry in api.entries().values())


async def test_a_replica_that_lags_brings_nothing_back() -> None:
    """It becomes leader with a view of minutes ago: it verifies before it writes."""
    api, world = TablesMemory(), a_world(10)
    leader, lagging = Replica(api, world), Replica(api, world)
    world.shown_to(lagging.cluster)
    async with leader:
        await settled(leader)
        leader.remove("WebhookSubscription", "chat")
        leader.remove("Secret", "chat-1")
        leader.put(a_subscription_body("chat-2", suspend=True))
        await settled(leader)
    seen: list[tuple[bool, int, bool]] = []

    def watch(*_: str) -> None:
        entries = api.entries()
        seen.append(
            ("acme/chat" in entries, len(api.credentials("acme/chat-1")), entries["acme/chat-2"].endpoint.suspended)
        )

    api.refuse = watch
    async with lagging:
        await settled(lagging)
        lagging.put(a_subscription_body("chat-3", suspend=True))
        await settled(lagging)
        watch()

    assert set(seen) == {(False, 0, True)}


async def test_killed_in_the_middle_of_publishing_the_next_one_finishes() -> None:
    """Some shards are written, some are not: all that is read is what is stored."""
    api, world = TablesMemory(), a_world(100)
    first = Replica(api, world)
    written = 0

    def killed(*_: str) -> Exception | None:
        nonlocal written
        written += 1
        return NotLeading("killed") if written > 20 else None

    api.refuse = killed
    first.lead()
    await until(first.term.done, "it is gone")
    assert 10 < len(api.tables) <= 20
    api.refuse = lambda *_: None

    async with Replica(api, world) as second:
        await settled(second)
    before = len(api.writes)
    async with Replica(api, world) as third:
        await settled(third)

    assert len(api.entries()) == 100
    assert third.made == []
    assert api.writes[before:] == []


async def test_a_conflict_is_answered_by_reading_and_verifying_before_writing() -> None:
    """What is written next was observed after what it replaces."""
    api = TablesMemory()
    async with Replica(api, a_world()) as replica:
        await settled(replica)
        home = replica.lane.revision_of(CHAT)
        assert home is not None
        name = f"default-{home.index:02d}"
        verified = replica.verified
        api.put(ROUTE_TABLES, api.tables[name])
        log: list[str] = []
        real = replica.verify

        async def verify() -> None:
            log.append("verify")
            await real()

        replica.lane._verify = verify
        api.refuse = lambda verb, kind, name: log.append(verb)  # type: ignore[func-returns-value]
        replica.put(a_subscription_body(suspend=True))
        await settled(replica)

    assert replica.verified == verified + 1
    assert log == ["replace", "verify", "replace"]
    assert api.entries()["acme/chat"].endpoint.suspended


async def test_expressions_are_judged_ahead_by_a_replica_that_waits() -> None:
    """They are the slow part of compiling: taking over must not wait for them."""
    match = {"expression": "event.data.never_seen_before == 'x'"}
    replica = Replica(TablesMemory(), a_world())
    replica.put(a_subscription_body(routes=[a_route(match=match)]))
    before = judged_so_far()
    preparing = asyncio.create_task(replica.lane.prepare())

    await until(lambda: judged_so_far() > before, "it is judged")
    preparing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await preparing

    before = judged_so_far()
    async with replica:
        await settled(replica)
    assert judged_so_far() == before


async def test_nobodys_expressions_hold_up_anybody_elses_change() -> None:
    """32 subscriptions with 32 long expressions each are many seconds of compiling; another tenant's change goes on."""

    def costly(name: str) -> dict[str, object]:
        long = " && ".join(f"event.{name}{number}.b == {number}" for number in range(80))
        routes = [a_route(f"r{number}", match={"expression": f"{long} && event.r == {number}"}) for number in range(32)]
        return a_subscription_body(name, "mallory", routes=routes)

    api = TablesMemory()
    async with Replica(api, a_world()) as replica:
        await settled(replica)
        before = judged_so_far()
        replica.put(*(costly(f"m{number}") for number in range(4)))
        await until(lambda: judged_so_far() > before, "they are judged")

        replica.put(a_subscription_body(suspend=True))
        await until(lambda: api.entries()["acme/chat"].endpoint.suspended, "the other's change is published")

        assert judged_so_far() - before < 4 * 32
        await settled(replica)
    assert len(api.entries()) == 5
