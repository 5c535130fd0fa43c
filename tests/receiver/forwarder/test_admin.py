"""What people ask a forwarder, over its socket and without one."""

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import grpc
import pytest
from google.protobuf import json_format

from hookline.admin.v1 import admin_pb2 as pb
from hookline.admin.v1 import admin_pb2_grpc as rpc
from hookline_receiver.carrying.fanout import fan_out
from hookline_receiver.event import Event
from hookline_receiver.forwarder.admin import PAGE, AdminServer, EventAdminServicer
from hookline_receiver.forwarder.offline import serving_offline
from hookline_receiver.forwarder.process import open_sqlite
from hookline_receiver.forwarder.settings import Settings
from hookline_receiver.store.port import Dead, DeadReason, Settlement
from hookline_receiver.store.sqlite import StoreRefused
from support.forwarder import DataFolder, a_book, a_route, a_subscription, an_event, reject
from support.loop import LoopRig, settle


@asynccontextmanager
async def asking(rig: LoopRig, path: Path) -> AsyncIterator["rpc.EventAdminServiceAsyncStub"]:
    """A client of the service over *rig*'s store."""
    servicer = EventAdminServicer(
        rig.runner, lambda: rig.book.routes.keys() if rig.book else None, rig.clock.now, rig.dispatcher.wake
    )
    server = AdminServer(servicer, path)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            yield rpc.EventAdminServiceStub(channel)
    finally:
        await server.stop()


async def with_dead_letters(count: int) -> tuple[LoopRig, list[Event]]:
    """A rig whose handler has rejected *count* events."""
    rig = LoopRig(a_book(a_subscription(a_route(batch=64))))
    rig.handlers.scripts["notifier"] = reject
    events = [an_event() for _ in range(count)]
    async with rig.running():
        rig.add(*events)
        for _ in range(10):
            await settle()
    rig.handlers.scripts.clear()
    rig.handlers.requests.clear()
    return rig, events


async def code_of(call: object) -> grpc.StatusCode:
    """The status that *call* ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call  # type: ignore[misc]
    return error.value.code()


async def test_dead_letters_are_listed_oldest_first_across_pages(tmp_path: Path) -> None:
    """However many there are, with the handler's reason and what names them."""
    rig, events = await with_dead_letters(PAGE + 20)
    async with asking(rig, tmp_path / "a.sock") as admin:
        letters = [one.dead_letter async for one in admin.ListDeadLetters(pb.ListDeadLettersRequest())]
        few = [one async for one in admin.ListDeadLetters(pb.ListDeadLettersRequest(limit=3))]

    assert [letter.ingest_id for letter in letters] == [str(UUID(bytes=event.ingest_id)) for event in events]
    assert len(few) == 3
    first = letters[0]
    assert (first.reason, first.detail, first.attempts) == ("Rejected", "not for us", 1)
    assert first.delivery_id == f"{first.ingest_id}/notify"
    assert (first.namespace, first.subscription, first.route, first.trigger) == (
        "acme",
        "chat",
        "notify",
        "message_sent",
    )


async def test_redriven_dead_letters_are_delivered(tmp_path: Path) -> None:
    """The handler was mended: one command, and everything arrives, marked as sent again."""
    rig, events = await with_dead_letters(30)
    rig.dispatcher = LoopRig(rig.book, store=rig.store, clock=rig.clock).dispatcher
    rig = LoopRig(rig.book, store=rig.store, clock=rig.clock)
    async with asking(rig, tmp_path / "a.sock") as admin, rig.running():
        dry = await admin.Redrive(pb.RedriveRequest(all=True, dry_run=True))
        assert rig.states(events) == ["Dead"] * 30
        some = await admin.Redrive(pb.RedriveRequest(selection=pb.Selection(reason="Rejected"), limit=10))
        rest = await admin.Redrive(pb.RedriveRequest(all=True))
        for _ in range(10):
            await settle()

        assert (dry.redriven, some.redriven, rest.redriven) == (30, 10, 20)
        assert rig.states(events) == ["Delivered"] * 30
    sent = [one for _, _, request in rig.handlers.requests for one in request.deliveries]
    assert all(one.event.attributes["hooklinereplay"].ce_boolean for one in sent)


async def test_a_redrive_of_everything_must_be_meant(tmp_path: Path) -> None:
    """A forgotten filter would send a year's dead letters again."""
    rig, events = await with_dead_letters(1)
    async with asking(rig, tmp_path / "a.sock") as admin:
        assert await code_of(admin.Redrive(pb.RedriveRequest())) is grpc.StatusCode.INVALID_ARGUMENT
        nonsense = pb.RedriveRequest(selection=pb.Selection(ingest_ids=["no uuid"]))
        assert await code_of(admin.Redrive(nonsense)) is grpc.StatusCode.INVALID_ARGUMENT
    assert rig.states(events) == ["Dead"]


async def test_dead_letters_of_routes_that_are_gone_stay(tmp_path: Path) -> None:
    """There is nobody to send them to; the answer says how many."""
    rig, events = await with_dead_letters(2)
    rig.book = a_book(a_subscription(a_route("other")))
    async with asking(rig, tmp_path / "a.sock") as admin:
        answer = await admin.Redrive(pb.RedriveRequest(all=True))

    assert (answer.redriven, answer.without_route) == (0, 2)
    assert rig.states(events) == ["Dead"] * 2


async def test_an_events_story_is_told_with_each_attempt(tmp_path: Path) -> None:
    """What was received, when it was stored, who was called and what they said."""
    rig, events = await with_dead_letters(1)
    ident = str(UUID(bytes=events[0].ingest_id))
    async with asking(rig, tmp_path / "a.sock") as admin:
        found = await admin.ShowEvent(pb.ShowEventRequest(id=ident))
        by_delivery = await admin.ShowEvent(pb.ShowEventRequest(id=f"{ident}/notify"))
        nothing = await admin.ShowEvent(pb.ShowEventRequest(id="never-heard-of"))

    story = json_format.MessageToDict(found.events[0])
    assert (story["ingestId"], story["trigger"], story["size"]) == (ident, "message_sent", str(len(events[0].body)))
    [delivery] = story["deliveries"]
    assert (delivery["deliveryId"], delivery["state"]) == (f"{ident}/notify", "Dead")
    [attempt] = delivery["attempts"]
    assert (attempt["number"], attempt["code"], attempt["detail"]) == (1, "Rejected", "not for us")
    assert attempt["endpoint"] == "notifier:1"
    assert by_delivery == found
    assert not nothing.events


async def test_the_backlog_is_counted_by_route(tmp_path: Path) -> None:
    """What waits, and what died."""
    rig, _ = await with_dead_letters(3)
    rig.add(an_event(), an_event())
    async with asking(rig, tmp_path / "a.sock") as admin:
        answer = await admin.GetBacklog(pb.GetBacklogRequest())

    [route] = answer.routes
    assert (route.subscription, route.route, route.pending, route.dead) == ("chat", "notify", 2, 3)
    assert route.oldest_pending.ToNanoseconds() == rig.clock.time


async def test_only_its_owner_may_use_the_socket(tmp_path: Path) -> None:
    """It shows and redrives every tenant's events."""
    path = tmp_path / "run" / "a.sock"
    async with asking(LoopRig(a_book()), path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_socket_left_behind_is_replaced_and_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    """After kill -9 the file is still there; and the kernel takes 107 bytes of path only."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    (deep / "a.sock").touch()
    rig = LoopRig(a_book())
    server = AdminServer(EventAdminServicer(rig.runner, rig.book.routes.keys, rig.clock.now), deep / "a.sock")
    await server.start()
    folder = os.open(deep, os.O_PATH | os.O_DIRECTORY)
    try:
        async with grpc.aio.insecure_channel(f"unix:/proc/self/fd/{folder}/a.sock") as channel:
            answer = await rpc.EventAdminServiceStub(channel).GetBacklog(pb.GetBacklogRequest(), timeout=5)
            assert not answer.routes
    finally:
        os.close(folder)
        await server.stop()
    assert not (deep / "a.sock").exists()


def test_without_a_forwarder_the_store_itself_is_asked(tmp_path: Path) -> None:
    """The gateway is down, and that is when somebody wants to know."""
    data = DataFolder(tmp_path)
    data.route(a_subscription(a_route()))
    settings = Settings(data_dir=tmp_path)
    store = open_sqlite(settings)
    book = a_book(a_subscription(a_route()))
    event = an_event()
    store.add([fan_out(event, book.subscriptions["uid-chat"]).arrival], {}, event.received_at_ns)
    [claim] = store.claim(next(iter(book.routes)), 1, 1 << 20, event.received_at_ns, event.received_at_ns + 1)
    dead = Settlement(claim.delivery_id, claim.fence, Dead(DeadReason.REJECTED, "no"), None)
    store.settle([dead], event.received_at_ns)
    store.close()

    with serving_offline(tmp_path) as path, grpc.insecure_channel(f"unix:{path}") as channel:
        admin = rpc.EventAdminServiceStub(channel)
        letters = list(admin.ListDeadLetters(pb.ListDeadLettersRequest(), timeout=10))
        answer = admin.Redrive(pb.RedriveRequest(all=True), timeout=10)

    assert [one.dead_letter.detail for one in letters] == ["no"]
    assert answer.redriven == 1


def test_without_a_forwarder_a_store_that_is_in_use_or_missing_says_so(tmp_path: Path) -> None:
    """Two owners of one store would be the end of it."""
    with pytest.raises(FileNotFoundError, match="no event store"), serving_offline(tmp_path):
        pass
    store = open_sqlite(Settings(data_dir=tmp_path))
    try:
        with pytest.raises(StoreRefused), serving_offline(tmp_path):
            pass
    finally:
        store.close()
