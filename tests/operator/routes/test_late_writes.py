"""Writes that a leader of old had under way, and that arrive when another one leads."""

from dataclasses import replace

from hookline_operator.resource_types import ROUTE_TABLES
from support.route_lane import (
    FAST,
    HOME,
    Replica,
    TablesMemory,
    World,
    a_gateway_body,
    a_secret_body,
    a_subscription_body,
    settled,
    until,
)


async def test_a_late_write_of_an_old_leader_is_undone_soon() -> None:
    """It comes after the new leader has read the tables, to a shard that the new one has no reason to write."""
    api, world = TablesMemory(), World(a_gateway_body(), a_subscription_body(), a_secret_body())
    async with Replica(api, world, replace(FAST, first_looks=(0.05,) * 400)) as replica:
        await settled(replica)
        name, body = next((name, body) for name, body in api.tables.items() if body["spec"]["revision"] == 2)
        good = body["spec"]["hash"]
        late = next(body for body in api.tables.values() if body["spec"]["revision"] == 1)["spec"]

        await api.replace(ROUTE_TABLES, HOME, name, {**body, "spec": {**late, "index": body["spec"]["index"]}})
        await until(lambda: api.tables[name]["spec"]["hash"] == good, "the shard is as it was")
        await settled(replica)

    assert sorted(api.entries()) == ["acme/chat"]


async def test_looking_soon_writes_nothing_at_rest() -> None:
    """Each write is read by every pod."""
    api, world = TablesMemory(), World(a_gateway_body(), a_subscription_body(), a_secret_body())
    async with Replica(api, world) as first:
        await settled(first)
    before = len(api.writes)

    async with Replica(api, world, replace(FAST, first_looks=(0.0,) * 5)) as second:
        await settled(second)
        await second.lane.look()
        await settled(second)

    assert api.writes[before:] == []
