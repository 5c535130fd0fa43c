"""The forwarder as a process: real journals in, a real gRPC handler out."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest

from hookline.admin.v1 import admin_pb2 as admin
from hookline.admin.v1 import admin_pb2_grpc as rpc
from hookline.handler.v1 import handler_pb2 as pb
from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.event import Event
from hookline_receiver.forwarder.process import open_sqlite
from hookline_receiver.forwarder.settings import Settings
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.record import encode
from support.forwarder import (
    DataFolder,
    ForwarderProcess,
    Handler,
    Status,
    a_route,
    a_subscription,
    accept,
    an_event,
    reject,
    serving,
)
from support.waiting import until


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """An empty data folder."""
    return DataFolder(tmp_path)


@asynccontextmanager
async def journalled(data: DataFolder, *events: Event) -> AsyncIterator[SegmentJournal]:
    """A worker's journal that holds *events*."""
    journal = SegmentJournal.open(data.journal)
    try:
        for event in events:
            await journal.append(encode(event))
        yield journal
    finally:
        await journal.close()


@asynccontextmanager
async def running(data: DataFolder, **settings: str) -> AsyncIterator[ForwarderProcess]:
    """A forwarder that must end well."""
    forwarder = ForwarderProcess(data, settings)
    forwarder.start()
    try:
        yield forwarder
        assert await asyncio.to_thread(forwarder.stop) == 0
    finally:
        forwarder.kill()


def lines(forwarder: ForwarderProcess) -> list[dict[str, object]]:
    """What it said."""
    return [json.loads(line) for line in forwarder.log.read_text().splitlines()]


async def test_what_was_journalled_reaches_the_handler_byte_for_byte(data: DataFolder) -> None:
    """This is the promise: a 200 means journalled, and journalled means delivered."""
    handler = Handler()
    events = [an_event(b'{ "trigger" : "message_sent", "n": %d }\n' % number) for number in range(100)]
    forwarder = ForwarderProcess(data)
    async with serving(handler) as server:
        data.route(a_subscription(a_route(batch=16)))
        data.endpoints(notifier=[server.address])
        forwarder.start()
        journal = SegmentJournal.open(data.journal)
        try:
            for event in events:
                await journal.append(encode(event))

            await until(lambda: len(handler.bodies) >= 100)
        finally:
            await journal.close()
            assert forwarder.stop() == 0
    assert sorted(handler.bodies) == sorted(event.body for event in events)


async def test_a_forwarder_that_was_killed_goes_on_where_it_was(data: DataFolder) -> None:
    """Whatever was in flight when it died is delivered by the next one, at once: nobody else can hold its leases."""
    handler = Handler()
    forwarder = ForwarderProcess(data, {"LEASE_MARGIN": "300"})
    async with serving(handler) as server:
        data.route(a_subscription(a_route(batch=4)))
        data.endpoints(notifier=[server.address])
        journal = SegmentJournal.open(data.journal)
        events = [an_event() for _ in range(300)]
        try:
            for round_number in range(3):
                forwarder.start()
                for event in events[round_number * 100 : round_number * 100 + 100]:
                    await journal.append(encode(event))
                await until(lambda seen=round_number: len(set(handler.bodies)) > seen * 100 + 20)  # type: ignore[misc]
                forwarder.kill()
            forwarder.start()
            await until(lambda: len(set(handler.bodies)) == 300)
        finally:
            await journal.close()
            forwarder.signal(signal.SIGTERM)
            assert forwarder.stop() == 0
    assert set(handler.bodies) == {event.body for event in events}


async def test_sigterm_lets_what_is_under_way_end(data: DataFolder) -> None:
    """A rolling update makes no duplicates."""
    release = asyncio.Event()

    async def slowly(request: pb.DeliverRequest) -> pb.DeliverResponse:
        await release.wait()
        return accept(request)

    handler = Handler(slowly)
    async with serving(handler) as server, journalled(data, an_event()):
        data.route(a_subscription(a_route(timeout=20)))
        data.endpoints(notifier=[server.address])
        forwarder = ForwarderProcess(data)
        forwarder.start()
        await until(lambda: len(handler.requests) == 1)
        forwarder.signal(signal.SIGTERM)
        ending = asyncio.ensure_future(asyncio.to_thread(forwarder.stop))
        await until(lambda: "forwarder stops" in forwarder.log.read_text())
        release.set()
        assert await ending == 0

        async with running(data), journalled(data, an_event()):
            await until(lambda: len(handler.requests) == 2)
    assert len(set(handler.bodies)) == 2


async def test_a_handler_that_hangs_keeps_no_pod_from_ending(data: DataFolder) -> None:
    """After its patience the forwarder ends; the event comes again."""

    async def hang(request: pb.DeliverRequest) -> pb.DeliverResponse:
        await asyncio.sleep(60)
        return accept(request)

    handler = Handler(hang)
    async with serving(handler) as server, journalled(data, an_event()):
        data.route(a_subscription(a_route(timeout=50)))
        data.endpoints(notifier=[server.address])
        async with running(data, STOP_PATIENCE="0.2"):
            await until(lambda: len(handler.requests) == 1)
        handler.behaviour = accept
        async with running(data):
            await until(lambda: len(handler.requests) == 2)


async def test_a_handler_that_dies_and_comes_back_gets_everything(data: DataFolder) -> None:
    """Nothing is lost in between, and it is found again within seconds."""
    handler = Handler()
    events = [an_event() for _ in range(60)]
    async with journalled(data, *events[:20]) as journal, serving(handler) as server:
        data.route(a_subscription(a_route(batch=4)))
        data.endpoints(notifier=[server.address])
        async with running(data):
            await until(lambda: len(handler.bodies) == 20)
            await server.server.stop(0)
            for event in events[20:40]:
                await journal.append(encode(event))
            await until(lambda: "UNAVAILABLE" in (data.root / "forwarder.log").read_text())
            async with serving(handler, address=server.address):
                for event in events[40:]:
                    await journal.append(encode(event))
                await until(lambda: set(handler.bodies) == {event.body for event in events})


async def test_endpoints_and_routes_are_followed_while_it_runs(data: DataFolder) -> None:
    """A Service without pods, a pod that starts, a route that is added: no restart for any of it."""
    first, second = Handler(), Handler()
    async with serving(first) as one, serving(second) as two, journalled(data, an_event()) as journal:
        data.route(a_subscription(a_route()))
        data.endpoints(notifier=[])
        async with running(data) as forwarder:
            await until(lambda: "has no ready endpoint" in (data.root / "forwarder.log").read_text())
            data.endpoints(notifier=[one.address])
            await until(lambda: len(first.requests) == 1)

            data.route(a_subscription(a_route(), a_route("more", service="other")))
            data.endpoints(notifier=[one.address], other=[two.address])
            await until(lambda: tables_read(forwarder) == 2)
            await journal.append(encode(an_event()))
            await until(lambda: len(second.requests) == 1)


def tables_read(forwarder: ForwarderProcess) -> int:
    """How many route tables it took in."""
    return sum(
        line["message"] == "a table was read" and str(line["file"]).endswith("forwarder.binpb")
        for line in lines(forwarder)
    )


async def test_a_dead_letter_is_shown_and_redriven_over_the_socket(data: DataFolder) -> None:
    """What `hookline dead`, `show` and `redrive` do."""
    handler = Handler(reject)
    event = an_event()
    async with serving(handler) as server, journalled(data, event):
        data.route(a_subscription(a_route()))
        data.endpoints(notifier=[server.address])
        async with running(data), grpc.aio.insecure_channel(f"unix:{data.root}/run/admin.sock") as channel:
            people = rpc.EventAdminServiceStub(channel)
            await until(lambda: len(handler.requests) == 1)
            letters: list[admin.DeadLetter] = []
            while not letters:
                letters = [
                    one.dead_letter
                    async for one in people.ListDeadLetters(admin.ListDeadLettersRequest(), wait_for_ready=True)
                ]
            handler.behaviour = accept
            answer = await people.Redrive(admin.RedriveRequest(selection=admin.Selection(reason="Rejected")))
            await until(lambda: len(handler.requests) == 2)

            assert (answer.redriven, letters[0].trigger) == (1, "message_sent")
            assert handler.deliveries[1].event.attributes["hooklinereplay"].ce_boolean


async def test_it_says_how_it_is(data: DataFolder) -> None:
    """Liveness, readiness and metrics, for kubelet and Prometheus; and the receivers' share table."""
    handler = Handler()
    async with serving(handler) as server, journalled(data, an_event(b"x" * 1000)):
        data.endpoints(notifier=[server.address])
        async with running(data) as forwarder:
            await until(lambda: any(line["message"] == "ops port listens" for line in lines(forwarder)))
            port = next(line["port"] for line in lines(forwarder) if line["message"] == "ops port listens")

            async def page(path: str) -> str:
                def fetch() -> str:
                    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                        return str(response.read().decode())

                return await asyncio.to_thread(fetch)

            assert await page("/livez") == "ok\n"
            with pytest.raises(OSError, match="503"):
                await page("/readyz")
            data.route(a_subscription(a_route()))
            await until(lambda: len(handler.requests) == 1)
            assert await page("/readyz") == "ready\n"
            metrics = await page("/metrics")
            assert 'hookline_forwarder_attempts_total{outcome="Accepted"} 1.0' in metrics
            assert "hookline_forwarder_carried_events_total 1.0" in metrics
            assert "hookline_forwarder_time_to_delivery_seconds_count 1.0" in metrics
            await until((data.root / "share" / "pending.binpb").exists)
            table = routing.PendingTable.FromString((data.root / "share" / "pending.binpb").read_bytes())
            assert table.format == 1


async def test_logs_hold_no_bodies_and_no_handlers_words(data: DataFolder) -> None:
    """Both may be private; they are in the event's story, for those who may see it."""
    replies = iter([reject, accept])

    def moody(request: pb.DeliverRequest) -> pb.DeliverResponse:
        behaviour = next(replies, None)
        if behaviour is None:
            raise Status(grpc.StatusCode.INTERNAL, "KeyError: 'SESAME'")
        return behaviour(request)

    handler = Handler(moody)
    events = [an_event(b'{"secret":"SESAME"}') for _ in range(3)]
    async with serving(handler) as server, journalled(data, *events):
        data.route(a_subscription(a_route()))
        data.endpoints(notifier=[server.address])
        async with running(data, LOG_LEVEL="DEBUG") as forwarder:
            await until(lambda: len(handler.requests) >= 3)
        log = forwarder.log.read_text()
    assert "SESAME" not in log
    assert "not for us" not in log
    ended = [line for line in lines(forwarder) if line["message"] == "a call ended"]
    assert {line["level"] for line in ended} == {"ERROR", "DEBUG", "WARNING"}


def test_it_does_not_start_on_a_store_that_another_one_owns(data: DataFolder) -> None:
    """Two owners would deliver everything twice and corrupt the file."""
    store = open_sqlite(Settings(data_dir=data.root))
    forwarder = ForwarderProcess(data)
    try:
        forwarder.start()
        assert forwarder.process is not None
        assert forwarder.process.wait(20) == 69
    finally:
        store.close()
        forwarder.kill()
    assert "can't start" in forwarder.log.read_text()


def test_it_does_not_start_with_a_setting_that_it_does_not_know(data: DataFolder) -> None:
    """The message names it."""
    forwarder = ForwarderProcess(data, {"MAX_CALS": "7"})
    forwarder.start()
    assert forwarder.process is not None

    assert forwarder.process.wait(20) == 78
    assert "HOOKLINE_FORWARDER_MAX_CALS is not a setting" in forwarder.log.read_text()
