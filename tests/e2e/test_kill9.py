"""
kill -9 of everything, at random moments, under load: nothing that was answered 200 is lost, nothing is invented.

The seed is printed; HOOKLINE_TEST_SEED repeats a run's choices (not its timing). HOOKLINE_TEST_KILLS sets how many.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.gateway import BRISK, Client, Gateway, Listener, a_message, basic, gateway, listeners
from support.manifests import a_route, a_secret, a_subscription
from support.processes import descendants
from support.waiting import until

KILLS = int(os.environ.get("HOOKLINE_TEST_KILLS", "100"))
BUDGET = 280.0
"""Seconds of killing at most: a machine too slow for that many kills fails the test, and says so."""

SENDERS = 6
REFUSED = "message_deleted"
"""The trigger whose handler refuses: its events must all end as dead letters."""

RETRY = {"retry": BRISK}
MANIFESTS = (
    a_secret(),
    a_subscription(
        a_route("all", "taker", delivery=RETRY),
        a_route("ordered", "orderly", delivery={**RETRY, "ordering": "Conversation"}),
        a_route("refused", "refuser", match={"triggers": [REFUSED]}, delivery=RETRY),
    ),
    a_secret(namespace="globex"),
    a_subscription(
        a_route("cel", "taker", match={"expression": "event.data.message.type == 'text'"}, delivery=RETRY),
        namespace="globex",
    ),
)


@dataclass
class Sent:
    """What the senders know: every body that was ever sent, and those that got a 200, by tenant."""

    bodies: dict[str, set[bytes]] = field(default_factory=lambda: {"acme": set(), "globex": set()})
    accepted: dict[str, set[bytes]] = field(default_factory=lambda: {"acme": set(), "globex": set()})
    statuses: Counter[int | None] = field(default_factory=Counter)


class Load:
    """Senders with CometChat's patience: three attempts for each event, then the next one."""

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.sent = Sent()
        self._stop = asyncio.Event()
        self._random = random.Random(seed)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(SENDERS):
                tasks.create_task(self._sender(number))

    def stop(self) -> None:
        self._stop.set()

    async def _sender(self, number: int) -> None:
        tenant = "globex" if number % 3 == 2 else "acme"
        connection = Client(self.url, f"/{tenant}/chat", basic())
        event = number
        while not self._stop.is_set():
            event += SENDERS
            trigger = REFUSED if event % 7 == 0 else "message_sent"
            body = a_message(event, f"c{event % 12}_user_d", "x" * self._random.choice((1, 200, 20_000)), trigger)
            await self._send(connection, tenant, body)
            await asyncio.sleep(0.005)
        connection.close()

    async def _send(self, connection: Client, tenant: str, body: bytes) -> None:
        self.sent.bodies[tenant].add(body)
        for _ in range(3):
            status = await connection.post(body)
            self.sent.statuses[status] += 1
            if status == 200:
                self.sent.accepted[tenant].add(body)
                return
            if self._stop.is_set():
                return
            await asyncio.sleep(0.2)


class Killer:
    """Kills at random moments what the test has started, and says what."""

    def __init__(self, seed: int, handlers: Sequence[Listener]) -> None:
        self._random = random.Random(seed)
        self._handlers = handlers
        self.killed: Counter[str] = Counter()

    async def run(self, running: Gateway, kills: int, deadline: float) -> None:
        """Kill one process after another."""
        while self.killed.total() < kills and time.monotonic() < deadline:
            await asyncio.sleep(self._random.uniform(0.0, 1.5))
            what = self._random.choices(("worker", "master", "forwarder", "handler"), (4, 2, 3, 2))[0]
            if what == "handler":
                await self._kill_handler()
                continue
            candidates = running.processes()[what]
            if candidates:
                self._random.choice(candidates).kill()
                self.killed[what] += 1

    async def run_all(self, running: Gateway) -> None:
        """Kill everything at once: the whole gateway, `hookline dev` included, and every handler."""
        await asyncio.sleep(self._random.uniform(0.0, 1.5))
        victims = descendants(running.command.process.pid)
        running.command.process.kill()
        for victim in victims:
            victim.kill()
        for handler in self._handlers:
            handler.stop(kill=True)
        self.killed["everything"] += 1
        self.killed["of everything"] += len(victims) + len(self._handlers)
        await until(lambda: not any(victim.alive() for victim in victims))

    async def _kill_handler(self) -> None:
        handler = self._random.choice(self._handlers)
        await asyncio.to_thread(handler.stop, kill=True)
        self.killed["handler"] += 1
        await asyncio.to_thread(handler.start)


@pytest.fixture
def seed() -> int:
    """From HOOKLINE_TEST_SEED, or a new one; printed."""
    chosen = int(os.environ.get("HOOKLINE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"HOOKLINE_TEST_SEED={chosen}")
    return chosen


async def test_nothing_accepted_is_lost_and_nothing_is_invented_whatever_is_killed(tmp_path: Path, seed: int):
    """The product's promise: a 200 means delivered at least once, or a dead letter."""
    rounds, begun = 6, time.monotonic()
    with listeners(tmp_path, taker="accept", orderly="accept", refuser="reject") as handlers, ExitStack() as stack:
        addresses = {name: handler.address for name, handler in handlers.items()}
        killer = Killer(seed, list(handlers.values()))
        load: Load | None = None
        loading: asyncio.Task[None] | None = None
        port = 0
        for each in range(rounds):
            running = await asyncio.to_thread(stack.enter_context, _gateway(tmp_path, addresses, port))
            port = int(running.url.rpartition(":")[2])
            if load is None:
                load = Load(running.url, seed)
                loading = asyncio.create_task(load.run())
            kills = (KILLS * (each + 1)) // rounds
            await killer.run(running, kills, begun + BUDGET * (each + 1) / rounds)
            if each < rounds - 1:
                await killer.run_all(running)
                for handler in handlers.values():
                    await asyncio.to_thread(handler.start)
        assert load is not None
        assert loading is not None
        load.stop()
        await loading
        await _settle(load.sent, handlers, within=60)
        print(f"{dict(killer.killed)} in {time.monotonic() - begun:.0f} s; answers {dict(load.sent.statuses)}")
        _account(load.sent, handlers, running)
        assert killer.killed.total() >= KILLS


def _gateway(folder: Path, addresses: dict[str, str], port: int):
    options = ["--workers", "3"]
    return gateway(folder / "gateway", *MANIFESTS, handlers=addresses, options=options, port=port)


async def _settle(sent: Sent, handlers: dict[str, Listener], within: float) -> None:
    """Return when everything accepted has arrived, or no more is to be expected: what is missing then is lost."""
    deadline = time.monotonic() + within
    while any(_missing(sent, handlers).values()) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)


def _missing(sent: Sent, handlers: dict[str, Listener]) -> dict[str, set[bytes]]:
    """Accepted bodies that a route has not delivered, by route."""
    arrived: dict[str, set[bytes]] = {"all": set(), "ordered": set(), "refused": set(), "cel": set()}
    for handler in handlers.values():
        for delivery in handler.deliveries():
            arrived[delivery["route"]].add(delivery["body"])
    acme, globex = sent.accepted["acme"], sent.accepted["globex"]
    refused = {body for body in acme if REFUSED.encode() in body}
    wanted = {"all": acme, "ordered": acme, "refused": refused, "cel": globex}
    return {route: bodies - arrived[route] for route, bodies in wanted.items()}


def _account(sent: Sent, handlers: dict[str, Listener], running: Gateway) -> None:
    """Every event that got a 200 is there, whole; nothing is there that was not sent; what was refused is dead."""
    assert sum(map(len, sent.accepted.values())) > 100, "the load was too small to mean anything"
    lost = {route: sorted(bodies)[:3] for route, bodies in _missing(sent, handlers).items() if bodies}
    assert not lost, "accepted, but neither delivered nor a dead letter"
    refused = set()
    for handler in handlers.values():
        for delivery in handler.deliveries():
            tenant = delivery["subscription"].partition("/")[0]
            assert delivery["body"] in sent.bodies[tenant], delivery
            if delivery["route"] == "refused":
                refused.add(delivery["id"])
    letters = running.dead()
    assert {letter["reason"] for letter in letters} == {"Rejected"}
    assert {letter["event_id"] for letter in letters} == refused
    _assert_order(sent.accepted["acme"], handlers["orderly"])


def _assert_order(accepted: set[bytes], handler: Listener) -> None:
    """Of each conversation, whose messages one sender sends one by one, the first arrivals are in order."""
    by_conversation: dict[str, list[int]] = {}
    for body in dict.fromkeys(body for body in handler.bodies() if body in accepted):
        message = json.loads(body)["data"]["message"]
        by_conversation.setdefault(message["conversationId"], []).append(int(message["id"]))
    for numbers in by_conversation.values():
        assert numbers == sorted(numbers)
