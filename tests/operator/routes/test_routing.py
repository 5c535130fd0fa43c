"""A turn: what it comes to depends on what is true, not on how it came to be known."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline.routing.v1.table_pb2 import RouteShard
from hookline_operator.decide.routing import RoutingState
from hookline_operator.decide.shards import PublishedShard, ShardName, content_of, shard_with, shards_in
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.dependents import dependents
from hookline_operator.observe.kinds import kinds
from hookline_routes.attach import Rules
from hookline_routes.inputs import NeededVerifier
from hookline_routes.problem import Reason
from hookline_routes.resource import ObjectKey
from support.route_lane import (
    HOME,
    KINDS,
    World,
    a_gateway_body,
    a_grant_body,
    a_receiver_body,
    a_secret_body,
    a_subscription_body,
    a_view,
    quick,
    see,
)
from support.routes import a_route

CHAT = ObjectKey("acme", "chat")
RULES = Rules(HOME, cluster_default=True)
DEDICATED = {"mode": "Dedicated", "dedicated": {"scaling": {"maxReplicas": 4}}}


class Made:
    """Verifiers that are made, but for those of some passwords."""

    def __init__(self, *but: str) -> None:
        self.but = set(but)

    def find(self, needed: NeededVerifier) -> routing.Verifier | None:
        """See `routing.Verifiers`."""
        return None if needed.password in self.but else quick(needed, f"{needed.credential:.16}".ljust(16).encode())


def a_state(view: Cluster, verifiers: Made | None = None, **limits: int) -> RoutingState:
    """One that has looked at all."""
    state = RoutingState(RULES, b"key", **limits)
    keys: Collection[ObjectKey] = tuple(view.subscriptions)
    while keys:
        keys = state.turn(view, keys, verifiers or Made()).more
    state.turn(view, (), verifiers or Made())
    return state


def everything(state: RoutingState, view: Cluster) -> Mapping[str, object]:
    """All that a state says."""
    keys = [("WebhookSubscription", key) for key in view.subscriptions]
    keys += [("WebhookGateway", key) for key in view.gateways]
    return {
        "contents": {str(shard): state.content(shard) for shard in state.shards()},
        "hashes": {str(shard): state.hash(shard) for shard in state.shards()},
        "reports": {key: state.report_of(*key) for key in keys},
        "services": {plane: state.services_of(plane) for plane in state.planes()},
        "planes": state.planes(),
        "gateways": {key: state.gateway_of(key) for key in view.subscriptions},
        "attached": {key: state.attached_to(key) for key in view.gateways},
        "homes": {key: state.home_of(key) for key in view.subscriptions},
    }


NAMES = ("chat", "b", "c")
names, places = st.sampled_from(NAMES), st.sampled_from(("acme", "other"))
routes = st.sampled_from(
    (
        a_route(),
        a_route(handler={"serviceRef": {"name": "analytics", "namespace": "platform", "port": 9000}}),
        a_route(match={"expression": "no such"}),
    )
)
specs = st.fixed_dictionaries(
    {"routes": routes.map(lambda each: [each]), "suspend": st.booleans()},
    optional={
        "dataPlane": st.just(DEDICATED),
        "path": st.sampled_from(("/acme/x", "/acme/y")),
        "auth": st.just({}),
        "gatewayRef": st.sampled_from(({"name": "default", "namespace": "elsewhere"}, {"name": "second"})),
    },
)
subscriptions = st.builds(
    lambda name, place, day, uid, spec: a_subscription_body(name, place, day, f"{uid}-{place}-{name}", **spec),
    names,
    places,
    st.integers(1, 3),
    st.sampled_from(("u", "v")),
    specs,
)
gateways = st.builds(
    a_gateway_body,
    st.sampled_from(("default", "second")),
    limits=st.sampled_from(({}, {"maxSubscriptions": 2}, {"maxBodySize": "1Mi"})),
    hostnames=st.sampled_from(([], ["hooks.example.com"])),
    dedicated=st.sampled_from(({}, {"allowed": True, "maxPerNamespace": 1}, {"allowed": True})),
)
secrets = st.builds(a_secret_body, names, places, st.sampled_from(("one", "two")), st.sampled_from(("", "u-acme-b")))
pods = st.builds(
    lambda plane, ready: a_receiver_body(plane, f"of-{plane}", ready=ready),
    st.sampled_from(("default", "default.acme.chat", "second.other.b")),
    st.booleans(),
)
bodies = st.one_of(
    subscriptions, subscriptions, secrets, gateways, pods, st.builds(a_grant_body, st.just("platform"), places)
)
steps = st.lists(st.tuples(st.sampled_from(("put", "put", "put", "remove", "turn")), bodies), max_size=30)


@settings(max_examples=250, deadline=None)
@given(
    start=st.lists(bodies, max_size=12),
    steps=steps,
    but=st.sets(st.sampled_from(("one", "two"))),
    most=st.integers(0, 3),
)
def test_whatever_the_turns_the_state_is_that_of_one_go(
    start: list[dict[str, Any]], steps: list[tuple[str, dict[str, Any]]], but: set[str], most: int
) -> None:
    """And the shards and reports that a turn names are all that have changed: nothing else is published or written."""
    world, verifiers = World(a_gateway_body(), *start), Made(*but)
    view = Cluster(kinds(HOME), HOME)
    world.shown_to(view)
    state = a_state(view, verifiers)
    queue: set[ObjectKey] = set()
    for step, body in [*steps, ("turn", {})]:
        if step == "put":
            change = see(view, world.put(body))
        elif step == "remove":
            metadata = body["metadata"]
            key = (body["kind"], ObjectKey(metadata["namespace"], metadata["name"]))
            if key not in world.bodies:
                continue
            change = see(view, world.remove(body["kind"], metadata["name"], metadata["namespace"]), "DELETED")
        else:
            before = everything(state, view)
            changed: set[object] = set()
            while queue or not changed:
                changed.add("once")
                turn = state.turn(view, sorted(queue), verifiers, most=len(queue) + most)
                changed |= {str(shard) for shard in turn.shards} | turn.reports
                queue = set(turn.more)
                if not turn.more:
                    break
                # A turn that has no room for others is followed by one with them as its keys.
            after = everything(state, view)
            assert after == everything(a_state(view, verifiers), view)
            for what in ("contents", "reports"):
                old, new = before[what], after[what]
                assert isinstance(old, dict)
                assert isinstance(new, dict)
                assert {each for each in new if new[each] != old.get(each)} <= changed
            continue
        if change:
            queue |= dependents(change, view).routes


@settings(max_examples=60, deadline=None)
@given(some=st.lists(bodies, max_size=14), chance=st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_seen_does_not_show(some: list[dict[str, Any]], chance: Any) -> None:
    """Two replicas come to the same bytes, and so does one after a restart."""
    latest = {(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]): body for body in some}
    fixed = [
        {**body, "metadata": {**body["metadata"], "resourceVersion": str(100 + number)}}
        for number, body in enumerate([a_gateway_body(), *latest.values()])
    ]
    views = []
    for _ in range(2):
        view = Cluster(kinds(HOME), HOME)
        for body in chance.sample(fixed, len(fixed)):
            view.admit(KINDS[body["kind"]], body)
        views.append(view)

    one, other = (everything(a_state(view), view) for view in views)

    assert one == other


def test_what_is_put_together_of_bytes_is_what_the_message_would_be() -> None:
    """Agents read it as a message; readers of any language may write it again."""
    view = a_view(a_gateway_body(hostnames=["b.example.com", "a.example.com"]), a_subscription_body(), a_secret_body())
    state = a_state(view)

    for shard in shards_in("default"):
        content = state.content(shard)
        message = RouteShard.FromString(content)
        assert message.SerializeToString(deterministic=True) == content
        assert message.tag_key_id == b"key"
        assert list(message.hostnames) == (["a.example.com", "b.example.com"] if shard.index == 0 else [])


def test_entries_are_sorted_by_uid_and_a_long_one_is_framed_right() -> None:
    """The order of a dict must not show; lengths beyond one byte neither."""
    content = content_of({"b": b"\x0a\x00" * 3, "a": b"\x0a\x00" * 9000}, (), b"")

    shard = RouteShard.FromString(content)

    assert len(shard.entries) == 2
    assert content.index(b"\x0a\x00" * 9000) < len(content) - 8


def test_a_turn_compiles_so_many_others_and_names_the_rest() -> None:
    """A gateway's change must not hold up everybody's for ten thousand compilations."""
    names = [f"s{number}" for number in range(20)]
    world = World(a_gateway_body(), *map(a_subscription_body, names))
    view = Cluster(kinds(HOME), HOME)
    world.shown_to(view)
    state = a_state(view)

    see(view, world.put(a_gateway_body(limits={"maxBodySize": "1Mi"})))
    first = state.turn(view, (), Made(), most=8)
    second = state.turn(view, first.more, Made(), most=8)

    assert len(first.more) == 12
    assert second.more == ()
    assert everything(state, view) == everything(a_state(view), view)


def test_what_loses_its_place_goes_whatever_the_room() -> None:
    """A revocation waits for nothing, least of all for what is compiled."""
    names = [f"s{number}" for number in range(20)]
    world = World(a_gateway_body(), *map(a_subscription_body, names))
    view = Cluster(kinds(HOME), HOME)
    world.shown_to(view)
    state = a_state(view)

    see(view, world.put(a_gateway_body(allowedNamespaces={"from": "Same"})))
    turn = state.turn(view, (), Made(), most=0)

    assert turn.more == ()
    assert turn.urgent == turn.shards != frozenset()
    assert not any(state.entries(shard) for shard in state.shards())


@pytest.mark.parametrize(
    ("change", "urgent"),
    [
        ({"suspend": True}, True),
        ({"appIds": ["one"]}, True),
        ({"path": "/acme/elsewhere"}, True),
        ({"auth": {"basic": {"secretRefs": [{"name": "other"}]}}}, True),
        ({"auth": {"basic": {"secretRefs": [{"name": "chat"}, {"name": "other"}]}}}, False),
        ({"routes": [a_route("more")]}, False),
        ({"rateLimit": {"requestsPerSecond": 5}}, False),
    ],
    ids=["suspended", "app-ids", "path", "other-secret", "one-more-secret", "routes", "rate"],
)
def test_what_is_allowed_no_more_is_urgent(change: dict[str, Any], urgent: bool) -> None:
    """And what is allowed in addition may wait for its like."""
    world = World(a_gateway_body(), a_subscription_body(), a_secret_body(), a_secret_body("other", password="two"))
    view = Cluster(kinds(HOME), HOME)
    world.shown_to(view)
    state = a_state(view)

    see(view, world.put(a_subscription_body(**change)))
    turn = state.turn(view, (CHAT,), Made())

    home = shard_with("default", "uid-acme-chat")
    assert turn.shards == {home}
    assert (turn.urgent == {home}) is urgent


@pytest.mark.parametrize("same_shard", [True, False])
def test_a_subscription_that_was_made_anew_takes_nothing_of_the_old_ones(same_shard: bool) -> None:
    """Another uid is another subscription: the old one's entry is gone, wherever the new one's is."""
    world = World(a_gateway_body(), a_subscription_body(uid="old"), a_secret_body())
    view = Cluster(kinds(HOME), HOME)
    world.shown_to(view)
    state, home = a_state(view), shard_with("default", "old")
    uids = (f"new-{number}" for number in range(1000))
    new = next(uid for uid in uids if (shard_with("default", uid) == home) is same_shard)

    see(view, world.put(a_subscription_body(uid=new)))
    turn = state.turn(view, (CHAT,), Made())

    assert {uid for shard in state.shards() for uid in state.entries(shard)} == {new}
    assert home in turn.urgent
    assert state.subscription_with("old") is None
    assert state.subscription_with(new) == CHAT


def test_a_subscription_that_is_being_deleted_is_served_no_more() -> None:
    """Whoever's finalizer it still waits for."""
    body = a_subscription_body()
    body["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z"
    body["metadata"]["finalizers"] = ["example.com/slow"]

    state = a_state(a_view(a_gateway_body(), body, a_secret_body()))

    assert not any(state.entries(shard) for shard in state.shards())


def test_an_unreadable_subscription_is_reported_by_the_installation_it_refers_to() -> None:
    """Two installations would write its status in turns."""
    broken = a_subscription_body(routes=[])
    theirs = a_subscription_body("theirs", routes=[], gatewayRef={"name": "default", "namespace": "elsewhere"})

    state = a_state(a_view(a_gateway_body(), broken, theirs))

    report = state.report_of("WebhookSubscription", CHAT)
    assert report is not None
    assert report.problems[0].field == "spec.routes"
    assert state.report_of("WebhookSubscription", ObjectKey("acme", "theirs")) is None


def test_a_gateway_that_never_could_be_read_leaves_dedicated_planes_as_they_are_too() -> None:
    """A release that can't read a gateway any more must not have pods of their own refuse everything."""
    unreadable = a_gateway_body(hostnames=7)
    own = a_subscription_body(dataPlane=DEDICATED)
    view = a_view(
        unreadable, own, a_secret_body(), a_receiver_body("default.acme.chat"), a_receiver_body("second", "r")
    )

    state = a_state(view)

    assert state.frozen() == {"default", "default.acme.chat"}
    assert {shard.plane for shard in state.shards()} == {"second"}


def test_a_gateway_that_is_mended_has_all_its_shards_published() -> None:
    """Also those without entries: a pod is ready once it has all 64."""
    world = World(a_gateway_body(hostnames=7))
    view = Cluster(kinds(HOME), HOME)
    world.shown_to(view)
    state = a_state(view)

    see(view, world.put(a_gateway_body()))
    turn = state.turn(view, (), Made())

    assert turn.shards == set(shards_in("default"))
    assert state.frozen() == frozenset()


def test_the_largest_have_to_go_where_a_shard_is_too_large() -> None:
    """Somebody's many huge subscriptions must not keep others' small ones, and their revocations, from being published."""
    huge = [a_route(f"r{number}", match={"expression": f"event.a == '{'x' * 1500}'"}) for number in range(8)]
    world = World(a_gateway_body(dedicated={"allowed": True, "maxPerNamespace": 9}))
    # All of one shard: that of a dedicated plane has one subscription, so they are found by their uids.
    home = shard_with("default", "small")
    uids = [uid for uid in (f"u{number}" for number in range(4000)) if shard_with("default", uid) == home][:5]
    world.put(a_subscription_body("small", uid="small"))
    for uid in uids:
        world.put(a_subscription_body(uid, uid=uid, routes=huge))
    view = Cluster(kinds(HOME), HOME)
    world.shown_to(view)

    state = a_state(view, shard_bytes=30_000)

    there = set(state.entries(home))
    assert "small" in there
    assert len(there) == 3
    crowded = next(uid for uid in uids if uid not in there)
    report = state.report_of("WebhookSubscription", ObjectKey("acme", crowded))
    assert report is not None
    assert report.problems[-1].reason is Reason.TOO_LARGE
    assert not report.conditions[0].status

    for uid in uids[:4]:
        see(view, world.remove("WebhookSubscription", uid), "DELETED")
    turn = state.turn(view, [ObjectKey("acme", uid) for uid in uids[:4]], Made())

    assert set(state.entries(home)) == {"small", uids[4]}
    assert uids[4] in there or ("WebhookSubscription", ObjectKey("acme", uids[4])) in turn.reports


def test_a_loss_counts_what_is_published_and_would_be_no_more() -> None:
    """More than 20, and more than a tenth of the plane."""
    names = [f"s{number}" for number in range(100)]
    world = World(a_gateway_body(), *map(a_subscription_body, names))
    view = Cluster(kinds(HOME), HOME)
    world.shown_to(view)
    state = a_state(view)
    published: dict[ShardName, PublishedShard] = {
        shard: PublishedShard(1, state.hash(shard), dict(state.entries(shard))) for shard in state.shards()
    }

    def without(count: int) -> bool:
        for name in names[:count]:
            if ("WebhookSubscription", ObjectKey("acme", name)) in world.bodies:
                see(view, world.remove("WebhookSubscription", name), "DELETED")
        state.turn(view, [ObjectKey("acme", name) for name in names[:count]], Made())
        loss = state.loss("default", published)
        assert len(loss.lost) == count
        assert loss.published == 100
        return loss.is_sudden()

    assert not without(20)
    assert without(21)
    assert not replace(state.loss("default", published), published=1000).is_sudden()
