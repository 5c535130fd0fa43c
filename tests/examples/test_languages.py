"""Handlers in Go and TypeScript, against the real gateway: that any language will do is a fact."""

import asyncio
import json
from pathlib import Path

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hookline_kit import Accepted, Reject
from hookline_kit.testing import HandlerClient, a_delivery
from support.gateway import BRISK, client, gateway
from support.languages import Program, build_go, build_typescript
from support.manifests import a_route, a_secret, a_subscription
from support.waiting import until

SAMPLES = Path(__file__).parents[1] / "data" / "cometchat" / "samples"
SERVICE = "hookline.handler.v1.EventHandlerService"
BUILDS = {"go": build_go, "typescript": build_typescript}

CALL_ENDED = json.dumps(
    {
        "trigger": "call_ended",
        "data": {"sessionId": "s1", "created_at": 1_700_000_000, "destroyed_at": 1_700_000_065, "status": "ended"},
        "appId": "app1",
        "region": "eu",
        "webhook": "hook",
        "type": "call",
    }
).encode()
BROKEN = b'{"trigger":"message_sent","appId":"app1","data":{"message":{"id":"9","sentAt":"yesterday"}}}'
UNKNOWN = b'{"trigger":"message_teleported","appId":"app1","data":{}}'


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("go", marks=pytest.mark.needs_go),
        pytest.param("typescript", marks=pytest.mark.needs_node),
    ],
)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The example, built once for all tests."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    return BUILDS[request.param](tmp_path_factory.mktemp(request.param), reporter.write_line)


def lines_of(out: Path) -> list[dict[str, str]]:
    """What the program has written."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def sample(name: str) -> bytes:
    """A documented payload."""
    return (SAMPLES / f"{name}.json").read_bytes()


async def test_every_event_has_one_line_made_from_its_typed_payload(program: Program, tmp_path: Path) -> None:
    """The way through gateway, gRPC and generated code, with times, lists, unknown and broken payloads."""
    says = {
        sample("message_sent"): "cometchat-uid-1 sent 2 characters to user cometchat-uid-2",
        sample("message_edited"): "cometchat-uid-1 edited message 1",
        sample("message_reaction_added"): "cometchat-uid-1 reacted to message <messageId>",
        sample("group_member_added"): "cometchat-uid-1 added cometchat-uid-2 to group cometchat-guid-1",
        sample("user_blocked"): "user_blocked",
        CALL_ENDED: "call s1 ended after 65 seconds",
        UNKNOWN: "message_teleported",
    }
    out = tmp_path / "activity.jsonl"
    manifests = (a_secret(), a_subscription(a_route("activity", "activity", delivery={"retry": BRISK})))
    with (
        program.serving(out) as (_, address),
        gateway(tmp_path / "gateway", *manifests, handlers={"activity": address}) as running,
    ):
        async with client(running.url) as sender:
            for body in [*says, BROKEN, CALL_ENDED]:
                assert await sender.post(body) == 200
        await until(lambda: len(lines_of(out)) == len(says) and len(running.dead()) == 1)
        (letter,) = running.dead()

    assert sorted(line["what"] for line in lines_of(out)) == sorted(says.values())
    ended = next(line for line in lines_of(out) if line["type"] == "com.cometchat.call_ended")
    assert ended["subject"] == "session/s1"
    assert ended["time"].startswith("2023-11-14T22:14:25")
    assert "data.message.sentAt" in letter["detail"]


async def test_an_event_delivered_again_has_no_second_line(program: Program, tmp_path: Path) -> None:
    """Delivery is at least once: within a batch, in a later one, and after the program was killed in the midst."""
    out = tmp_path / "activity.jsonl"
    first, second = (a_delivery({"trigger": "something_new", "n": n}, event_id=f"e-{n}") for n in range(2))
    with program.serving(out) as (running, address):
        async with HandlerClient(address) as caller:
            assert await caller.deliver(first, first) == [Accepted(), Accepted()]
            assert await caller.deliver(first) == [Accepted()]
        running.process.kill()
        running.process.wait(10)
    with out.open("a") as torn:
        torn.write('{"source":"cut off by a cra')

    with program.serving(out) as (_, address):
        async with HandlerClient(address) as caller:
            assert await caller.deliver(first, second) == [Accepted(), Accepted()]

    assert [line["id"] for line in lines_of(out)] == ["e-0", "e-1"]


async def test_a_broken_payload_is_rejected_alone(program: Program, tmp_path: Path) -> None:
    """One poison event must not take its batch along."""
    good, broken = a_delivery({"trigger": "new"}), a_delivery({"trigger": "message_sent"}, untyped="MALFORMED")
    with program.serving(tmp_path / "activity.jsonl") as (_, address):
        async with HandlerClient(address) as caller:
            outcomes = await caller.deliver(good, broken)

    assert outcomes == [Accepted(), Reject("malformed payload: ")]


async def test_the_program_says_when_it_stops_and_finishes_what_it_has(program: Program, tmp_path: Path) -> None:
    """A rollout then costs no retry."""
    out = tmp_path / "activity.jsonl"
    flags = ("--notice", "3s") if program.name == "go" else ("--notice-ms", "3000")
    with program.serving(out, *flags) as (running, address):
        async with aio.insecure_channel(address) as channel, HandlerClient(address) as caller:
            health = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=SERVICE)
            assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
            updates = health.Watch(request)
            assert (await updates.read()).status == health_pb2.HealthCheckResponse.SERVING

            running.process.terminate()

            assert (await updates.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            updates.cancel()
            assert await caller.deliver(a_delivery({"trigger": "new"})) == [Accepted()]
        assert await asyncio.to_thread(running.process.wait, 20) == 0

    assert len(lines_of(out)) == 1
