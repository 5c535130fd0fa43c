"""The routes lane while one tenant changes the largest subscriptions that there can be, as fast as it can."""

import asyncio
import dataclasses
import time
from typing import Any

from hookline_operator.apply.ration import Ration, RationLimits
from hookline_operator.apply.routes import BESIDE
from hookline_operator.decide.routing import RoutingState, Turn
from hookline_routes.shard import shard_of
from support.route_lane import (
    FAST,
    Body,
    Replica,
    TablesMemory,
    World,
    a_gateway_body,
    a_secret_body,
    a_subscription_body,
    settled,
    until,
)
from support.routes import a_route

VICTIM = "acme/chat"


def the_largest(name: str, change: int = 0) -> Body:
    """A subscription of evil's with as many routes, and as much in each of them, as can be had; *change* makes it another."""
    triggers = [f"{change}_{each:03d}_{name}" for each in range(128)]
    expression = f"event.data.message.text == '{change}{'x' * 100}'"
    routes = [a_route(f"r{each}", match={"triggers": triggers, "expression": expression}) for each in range(32)]
    auth = {"basic": {"secretRefs": [{"name": "login"}]}}
    return a_subscription_body(name, "evil", routes=routes, auth=auth, appIds=[f"{each:064d}" for each in range(64)])


def a_small_one(name: str, port: int = 9000) -> Body:
    """One of evil's that costs little."""
    return a_subscription_body(name, "evil", routes=[a_route(handler={"serviceRef": {"name": "h", "port": port}})])


def a_world(*bodies: Body) -> World:
    """With a victim who is served."""
    return World(a_gateway_body(), a_subscription_body(), a_secret_body(), *bodies)


def named_alike(count: int, index: int) -> list[str]:
    """Names of evil's subscriptions that share a shard."""
    names = (f"s{number}" for number in range(100_000))
    found: list[str] = []
    while len(found) < count:
        name = next(names)
        if shard_of(f"uid-evil-{name}", 64) == index:
            found.append(name)
    return found


class Counting(RoutingState):
    """Keeps what each turn was given."""

    turns: list[tuple[Any, ...]]

    def turn(self, view: Any, keys: Any, verifiers: Any, most: int = 256) -> Turn:
        """As it is."""
        self.turns = [*getattr(self, "turns", []), tuple(map(str, keys))]
        return super().turn(view, keys, verifiers, most)


def counted(replica: Replica) -> Counting:
    """From now on the replica's turns are counted."""
    state = replica.lane._state  # there is no other place where turns can be seen one by one
    state.__class__ = Counting
    assert isinstance(state, Counting)
    state.turns = []
    return state


async def test_a_change_waits_for_one_turn_of_anothers_largest_subscriptions_at_most() -> None:
    """Forty of them that name one Secret are all to be compiled when that changes: everybody would wait for a second."""
    names = [f"big{number}" for number in range(40)]
    api = TablesMemory()
    async with Replica(api, a_world(*map(the_largest, names))) as replica:
        await settled(replica)
        state = counted(replica)

        replica.put(a_secret_body("login", "evil", "two"))
        replica.put(a_subscription_body(suspend=True))
        await settled(replica)

    turns = [turn for turn in state.turns if turn]
    assert max(sum(key.startswith("evil/") for key in turn) for turn in turns) == 1, "of the largest one makes a turn"
    assert next(number for number, turn in enumerate(turns) if VICTIM in turn) <= 1
    assert api.entries()[VICTIM].endpoint.suspended


async def test_small_ones_share_a_turn() -> None:
    """A turn each would cost ten thousand of them ten times as much."""
    names = [f"small{number}" for number in range(64)]
    async with Replica(TablesMemory(), a_world(*map(a_small_one, names))) as replica:
        await settled(replica)
        state = counted(replica)

        replica.put(*(a_small_one(name, 9001) for name in names))
        await settled(replica)

    assert max(map(len, state.turns)) == 32


async def test_places_that_become_free_are_given_away_over_several_turns() -> None:
    """Whoever frees a hundred paths at once has a hundred waiting ones compiled."""
    holders = [a_subscription_body(f"a{n}", "evil", day=1, path=f"/evil/p{n}") for n in range(40)]
    waiting = [a_subscription_body(f"b{n}", "evil", day=2, path=f"/evil/p{n}") for n in range(40)]
    api = TablesMemory()
    async with Replica(api, a_world(*holders, *waiting)) as replica:
        await settled(replica)
        state = counted(replica)

        for n in range(40):
            replica.remove("WebhookSubscription", f"a{n}", "evil")
        await settled(replica)

    assert len(state.turns) > 40 / (32 + BESIDE)
    assert {name for name in api.entries() if name.startswith("evil/")} == {f"evil/b{n}" for n in range(40)}


async def test_a_tenants_changes_are_not_written_without_end_and_anothers_at_once() -> None:
    """A hundred changes a second of one would have every pod read, and etcd keep, the tables of all a hundred times."""
    index = shard_of("uid-acme-chat", 64)
    names = named_alike(3, index)
    ration = RationLimits(per_second=50_000.0, burst=500_000.0, each=50_000)
    api = TablesMemory()
    world = a_world(*map(a_small_one, names))
    async with Replica(api, world, dataclasses.replace(FAST, ration=ration)) as replica:
        await settled(replica)
        before, begun = api.tables[f"default-{index:02d}"]["spec"]["revision"], time.monotonic()
        for change in range(100):
            replica.put(*(a_small_one(name, 9001 + change) for name in names))
            await asyncio.sleep(0.003)
        spent = time.monotonic() - begun
        written = api.tables[f"default-{index:02d}"]["spec"]["revision"] - before

        assert written <= 11 + spent, f"{written} writes in {spent:.1f} s"

        replica.put(a_subscription_body(suspend=True))
        await until(lambda: api.entries()[VICTIM].endpoint.suspended, "the victim's change is published")
        assert time.monotonic() - begun < 60
        took = api.tables[f"default-{index:02d}"]["spec"]["revision"] - before - written
        assert took <= 2, "the victim's change waits for no write but its own"
        await settled(replica)

    ports = {api.entries()[f"evil/{name}"].subscription.routes[0].handler.port for name in names}
    assert ports == {9100}, "what waited was published in the end"


def test_a_ration_is_of_each_namespace() -> None:
    """And a write that somebody else needs too is not held back."""
    now = [100.0]
    ration = Ration(RationLimits(per_second=10.0, burst=100.0, each=0), clock=lambda: now[0])

    ration.charge(["evil"], 100)
    assert ration.wait(["evil"]) == 0
    ration.charge(["evil"], 50)

    assert ration.wait(["evil"]) == 5
    assert ration.wait(["evil", "acme"]) == 0
    assert ration.wait([]) == 0
    now[0] += 5
    assert ration.wait(["evil"]) == 0
