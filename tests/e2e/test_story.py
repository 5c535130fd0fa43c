"""A chaotic run, after which every event's story must be what its sender and its handlers saw."""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import grpc
from click.testing import CliRunner

from hookline.handler.v1 import handler_pb2 as pb
from hookline_cli.main import cli
from support.forwarder import Handler, Status, serving
from support.gateway import BRISK, Gateway, a_message, client, gateway, listeners
from support.manifests import a_route, a_secret, a_subscription
from support.waiting import until

EVENTS = 40
MILLISECOND = 0.0011
"""`show --json` tells times to the millisecond, cut off."""
PLANS = (
    ("Accepted",),
    ("Accepted",),
    ("Accepted",),
    ("RetryAfter", "Accepted"),
    ("RetryAfter", "RetryAfter", "Accepted"),
    ("UNAVAILABLE", "Accepted"),
    ("INTERNAL", "RetryAfter", "Accepted"),
    ("Rejected", "Accepted"),
    ("RetryAfter", "Rejected", "Accepted"),
)
"""What the handler answers for an event, one after another; after a rejection it takes a person."""


@dataclass
class Sent:
    """One event as its sender knows it."""

    body: bytes
    begun: float
    ended: float
    repeats: int = 0


@dataclass
class Call:
    """One delivery as the handler saw it."""

    route: str
    at: float
    replay: bool
    answered: str


@dataclass
class Witness:
    """A handler that answers by plan and remembers everything, by the event's ingest id."""

    plans: dict[bytes, tuple[str, ...]]
    calls: dict[str, list[Call]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    answered: Counter[str] = field(default_factory=Counter)
    """Steps of its plan that each delivery has had."""

    def behave(self, request: pb.DeliverRequest) -> pb.DeliverResponse:
        """Answer by plan; a status in one event's plan is the whole call's, and no step of the others' plans."""
        planned = [self._planned(delivery) for delivery in request.deliveries]
        statuses = [answer for answer in planned if answer.isupper()]
        for delivery, answer in zip(request.deliveries, planned, strict=True):
            self._remember(delivery, statuses[0] if statuses else answer)
            self.answered[delivery.delivery_id] += not statuses or answer == statuses[0]
        if statuses:
            raise Status(grpc.StatusCode[statuses[0]], "chaos")
        return pb.DeliverResponse(
            outcomes=[outcome(delivery, answer) for delivery, answer in zip(request.deliveries, planned, strict=True)]
        )

    def _planned(self, delivery: pb.Delivery) -> str:
        plan = self.plans.get(delivery.event.binary_data, ())
        step = self.answered[delivery.delivery_id]
        return plan[step] if step < len(plan) else "Accepted"

    def _remember(self, delivery: pb.Delivery, answer: str) -> None:
        attributes = delivery.event.attributes
        ingest_id, route = attributes["hooklineingestid"].ce_string, attributes["hooklineroute"].ce_string
        replay = "hooklinereplay" in attributes and attributes["hooklinereplay"].ce_boolean
        self.bodies[ingest_id] = delivery.event.binary_data
        self.calls.setdefault(ingest_id, []).append(Call(route, time.time(), replay, answer))


def outcome(delivery: pb.Delivery, answer: str) -> pb.Outcome:
    """The handler's own word for one delivery."""
    if answer == "RetryAfter":
        return pb.Outcome(delivery_id=delivery.delivery_id, retry_after=pb.RetryAfter(reason="not now"))
    if answer == "Rejected":
        return pb.Outcome(delivery_id=delivery.delivery_id, rejected=pb.Rejected(reason="not for us"))
    return pb.Outcome(delivery_id=delivery.delivery_id, accepted=pb.Accepted())


async def test_every_events_story_is_what_sender_and_handlers_saw(tmp_path):
    """A person believes what `hookline show` says; in the worst hour most of all."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    plans = {a_message(number): chance.choice(PLANS) for number in range(EVENTS)}
    unrouted = [a_message(EVENTS + number, trigger="message_deleted") for number in range(5)]
    bodies = [*plans, *unrouted]
    chance.shuffle(bodies)
    witness = Witness(plans)
    retry = {"retry": BRISK}
    routes = [
        {**a_route("notify", "witness", delivery=retry), "match": {"triggers": ["message_sent"]}},
        {**a_route("sync", "syncer", delivery=retry), "match": {"triggers": ["message_sent"]}},
    ]
    late = {**a_route("late", "witness", delivery=retry), "match": {"triggers": ["message_deleted"]}}
    with listeners(tmp_path, syncer="accept") as others:
        syncer = others["syncer"]
        async with serving(Handler(witness.behave)) as server:
            addresses = {"witness": server.address, "syncer": syncer.address}
            with gateway(tmp_path / "gateway", a_secret(), a_subscription(*routes), handlers=addresses) as running:
                sent = await send(running.url, bodies, chance, lambda: kill_and_start(syncer))
                await settled(running, lambda event: event["trigger"] == "message_deleted" or ended(event))
                rejected = {body for body, plan in plans.items() if "Rejected" in plan}
                assert len(running.dead()) == len(rejected)

                done = await ask(running, "redrive", "--all", "--rate", "200", "--json")
                assert json.loads(done)["redriven"] == len(rejected)
                await settled(running, lambda event: event["trigger"] == "message_deleted" or delivered(event))
                running.say(a_secret(), a_subscription(*routes, late))
                running.command.line("the changed manifests are in force")
                await until(lambda: replayed(running, len(unrouted)))
                again = chance.choice(sorted(witness.calls))
                done = await ask(running, "replay", f"{again}/notify", "--json")
                assert json.loads(done)["deliveries"] == 1
                await settled(running, delivered)

                events = {event["ingest_id"]: event for event in await listed(running)}
                told = {each: json.loads(await ask(running, "show", each, "--json")) for each in events}
    assert {witness.bodies[each] for each in told} == set(bodies)
    assert len(told) == len(bodies)
    for ingest_id, story in told.items():
        body = witness.bodies[ingest_id]
        assert_as_sent(story, sent[body])
        assert_as_handled(story, witness.calls[ingest_id])
        assert_as_printed(story, [one for one in syncer.deliveries() if one["body"] == body])
        assert (events[ingest_id]["event_id"], events[ingest_id]["duplicates"]) == (
            story["event_id"],
            story["duplicates"],
        )
    answers = Counter(call.answered for calls in witness.calls.values() for call in calls)
    assert set(answers) >= {"Accepted", "RetryAfter"}, f"no chaos: {answers}"


def assert_as_sent(story: dict[str, Any], sent: Sent) -> None:
    """Received when the sender sent it, as large as it was, repeated as often as it was repeated."""
    assert sent.begun - MILLISECOND <= at(story["received_at"]) <= sent.ended, story
    assert at(story["received_at"]) <= at(story["stored_at"]) + MILLISECOND
    assert (story["size"], story["duplicates"]) == (len(sent.body), sent.repeats)
    assert story["trigger"] == json.loads(sent.body)["trigger"]
    assert story["unrouted"] == ""


def assert_as_handled(story: dict[str, Any], calls: list[Call]) -> None:
    """Each call of the witness is an attempt, with its answer and around its time, and there is no other attempt."""
    deliveries = {one["route"]: one for one in story["deliveries"]}
    assert set(deliveries) == ({"notify", "sync"} if story["trigger"] == "message_sent" else {"late"})
    for route in {call.route for call in calls}:
        seen = [call for call in calls if call.route == route]
        attempts = deliveries[route]["attempts"]
        assert [one["code"] for one in attempts] == [call.answered for call in seen], story
        assert [one["number"] for one in attempts] == list(range(1, len(seen) + 1))
        for attempt, call in zip(attempts, seen, strict=True):
            assert at(attempt["started_at"]) <= call.at <= at(attempt["ended_at"]) + MILLISECOND, story
        assert deliveries[route]["replay"] == seen[-1].replay
        assert (deliveries[route]["state"], deliveries[route]["reason"]) == ("Delivered", "")
    assert {call.route for call in calls} == set(deliveries) - {"sync"}


def assert_as_printed(story: dict[str, Any], printed: list[dict[str, Any]]) -> None:
    """The handler that was killed printed before it answered: at least what was accepted, at most what was tried."""
    for delivery in story["deliveries"]:
        if delivery["route"] == "sync":
            codes = [one["code"] for one in delivery["attempts"]]
            assert codes[-1] == "Accepted", story
            assert codes.count("Accepted") == 1, story
            assert 1 <= len(printed) <= len(codes), (story, printed)
            assert {one["id"] for one in printed} == {story["event_id"]}
            return
    assert printed == []


async def send(url: str, bodies: list[bytes], chance: random.Random, disturb: Any) -> dict[bytes, Sent]:
    """Send all, some of them again right away or later; disturb in the middle."""
    sent: dict[bytes, Sent] = {}
    async with client(url) as sender:
        for number, body in enumerate(bodies):
            if number == len(bodies) // 2:
                await asyncio.to_thread(disturb)
            begun = time.time()
            assert await sender.post(body) == 200
            sent[body] = Sent(body, begun, time.time())
            for _ in range(chance.choice([0, 0, 0, 1, 2])):
                repeated = chance.choice(list(sent))
                assert await sender.post(repeated) == 200
                sent[repeated].repeats += 1
    return sent


def kill_and_start(listener: Any) -> None:
    """Without notice, in the middle of its work."""
    listener.stop(kill=True)
    listener.start()


async def ask(running: Gateway, command: str, *arguments: str) -> str:
    """What a command prints; in this process, as it is asked often."""
    words = [command, *arguments, "--data", str(running.data)]
    done = await asyncio.to_thread(CliRunner().invoke, cli, words)
    assert done.exit_code == 0, (words, done.output)
    return str(done.stdout)


async def listed(running: Gateway) -> list[dict[str, Any]]:
    """Every event."""
    return [json.loads(line) for line in (await ask(running, "events", "--json", "--limit", "1000")).splitlines()]


async def settled(running: Gateway, holds: Any) -> None:
    """Wait until all events have come so far."""

    async def all_hold() -> bool:
        return all(holds(event) for event in await listed(running))

    await until(all_hold, within=40, what="deliveries to settle")


async def replayed(running: Gateway, expected: int) -> bool:
    """Whether a replay of what is unrouted reached so many; tried again, as the new route may not be in force yet."""
    done = json.loads(await ask(running, "replay", "--unrouted", "--json"))
    return bool(done["events"] == expected)


def ended(event: dict[str, Any]) -> bool:
    """Every delivery of it has ended."""
    return all(one["state"] in ("Delivered", "Dead") for one in event["deliveries"])


def delivered(event: dict[str, Any]) -> bool:
    """Every delivery of it, of which there is one at least, was delivered."""
    return bool(event["deliveries"]) and all(one["state"] == "Delivered" for one in event["deliveries"])


def at(text: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
