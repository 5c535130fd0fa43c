"""Errors that nobody foresaw: they touch the one subscription that they are about."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from hookline_operator.apply.routes import RoutesLane
from hookline_routes.problem import Reason
from hookline_routes.resource import ObjectKey
from support.route_lane import (
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

CHAT, OTHER = ObjectKey("acme", "chat"), ObjectKey("acme", "other")


def a_world() -> World:
    """Two subscriptions."""
    names = ("chat", "other")
    bodies = [body for name in names for body in (a_subscription_body(name), a_secret_body(name))]
    return World(a_gateway_body(), *bodies)


def reason_of(lane: RoutesLane, key: ObjectKey) -> str:
    """Of the condition Accepted."""
    report = lane.report_of("WebhookSubscription", key)
    assert report is not None
    return report.conditions[0].reason


async def test_a_subscription_that_fails_to_compile_stays_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """It would end every term of every replica, and nobody's routes would be published any more."""
    api = TablesMemory()
    async with Replica(api, a_world()) as replica:
        await settled(replica)
        before = api.entries()["acme/chat"]
        replica.verifiers.faults = frozenset({"two"})

        replica.put(a_secret_body("chat", password="two"))
        await settled(replica)
        replica.lane.add([CHAT])
        replica.put(a_subscription_body("other", suspend=True))
        await settled(replica)

        assert not replica.term.done()
        assert api.entries()["acme/chat"] == before
        assert reason_of(replica.lane, CHAT) == Reason.INTERNAL_ERROR
        assert api.entries()["acme/other"].endpoint.suspended
        logged = [record for record in caplog.records if record.exc_info]
        assert [record.__dict__["subscription"] for record in logged] == ["acme/chat"]

        replica.verifiers.faults = frozenset()
        replica.lane.add([CHAT])
        await settled(replica)
        assert api.entries()["acme/chat"] != before
        assert reason_of(replica.lane, CHAT) == "Accepted"


async def test_one_that_fails_to_compile_and_has_another_path_gives_up_the_old_one() -> None:
    """The path may be another subscription's by now, and a table with one path twice is no table."""
    api = TablesMemory()
    async with Replica(api, a_world()) as replica:
        await settled(replica)
        replica.verifiers.faults = frozenset({"one"})

        replica.put(a_subscription_body("chat", path="/acme/elsewhere"))
        await settled(replica)

        assert list(api.entries()) == ["acme/other"]
        assert reason_of(replica.lane, CHAT) == Reason.INTERNAL_ERROR


async def test_one_that_never_compiled_keeps_no_term_from_beginning() -> None:
    """A new leader meets it first."""
    api = TablesMemory()
    replica = Replica(api, World(*a_world().bodies.values(), a_secret_body("other", password="two")))
    replica.verifiers.faults = frozenset({"two"})
    async with replica:
        await settled(replica)

        assert list(api.entries()) == ["acme/chat"]
        assert reason_of(replica.lane, OTHER) == Reason.INTERNAL_ERROR


async def test_an_expression_that_fails_to_be_judged_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Judging ahead runs in every replica: it would end both processes, again and again."""

    def judge(texts: Sequence[str]) -> None:
        raise RuntimeError(f"a fault of ours at {len(texts)}")

    world = a_world()
    world.put(a_subscription_body("chat", routes=[a_route(match={"expression": "event.trigger == 'x'"})]))
    api = TablesMemory()
    replica = Replica(api, world, judge=judge)
    await replica.verify()
    waiting = asyncio.create_task(replica.lane.prepare())
    try:
        await until(lambda: waiting.done() or caplog.records, "it is judged")
        assert not waiting.done()
        async with replica:
            await settled(replica)
    finally:
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting

    assert sorted(api.entries()) == ["acme/chat", "acme/other"]
    assert len([record for record in caplog.records if record.exc_info]) == 1
