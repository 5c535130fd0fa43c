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
from hookline_receiver.event import Event, SubscriptionRef
from hookline_receiver.forwarder.admin import PAGE, AdminServer, EventAdminServicer
from hookline_receiver.forwarder.offline import serving_offline
from hookline_receiver.forwarder.process import open_sqlite
from hookline_receiver.forwarder.settings import Settings
from hookline_receiver.store.port import Dead, DeadReason, Settlement
from hookline_receiver.store.sqlite import StoreRefused
from support.forwarder import CHAT, DataFolder, a_book, a_route, a_subscription, an_event, reject
from support.loop import LoopRig, settle


@asynccontextmanager
async def asking(rig: LoopRig, path: Path) -> AsyncIterator["rpc.EventAdminServiceAsyncStub"]:
    """A client of the service over *rig*'s store."""
    servicer = EventAdminServicer(rig.runner, lambda: rig.book, rig.clock.now, rig.dispatcher.wake)
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
    server = AdminServer(EventAdminServicer(rig.runner, lambda: rig.book, rig.clock.now), deep / "a.sock")
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


async def test_events_are_listed_by_what_is_asked_newest_first_if_wanted(tmp_path: Path) -> None:
    """What came in, and where it stands, without knowing an id."""
    rig, events = await with_dead_letters(3)
    rig.book = a_book(a_subscription(a_route(triggers=["group_created"])))
    unrouted = an_event(trigger="user_blocked")
    rig.add(unrouted)
    async with asking(rig, tmp_path / "a.sock") as admin:
        every = [one.event async for one in admin.ListEvents(pb.ListEventsRequest())]
        newest = [one.event async for one in admin.ListEvents(pb.ListEventsRequest(limit=2, newest_first=True))]
        lost = pb.ListEventsRequest(selection=pb.EventSelection(unrouted=True))
        [alone] = [one.event async for one in admin.ListEvents(lost)]

    ids = [str(UUID(bytes=event.ingest_id)) for event in (*events, unrouted)]
    assert [one.ingest_id for one in every] == ids
    assert [one.ingest_id for one in newest] == ids[:1:-1]
    assert (every[0].deliveries[0].state, every[0].deliveries[0].reason) == ("Dead", "Rejected")
    assert (alone.trigger, alone.unrouted, list(alone.deliveries)) == ("user_blocked", "NoRouteMatched", [])


async def test_an_unrouted_event_is_replayed_to_the_route_that_it_has_now(tmp_path: Path) -> None:
    """It was answered 200 while its route was missing; a person adds the route, and asks."""
    rig = LoopRig(a_book(a_subscription(a_route(triggers=["group_created"]))))
    events = [an_event() for _ in range(3)]
    rig.add(*events)
    rig.book = a_book(a_subscription(a_route(triggers=["message_sent"])))
    request = pb.ReplayRequest(selection=pb.EventSelection(unrouted=True))
    async with asking(rig, tmp_path / "a.sock") as admin, rig.running():
        dry = await admin.Replay(pb.ReplayRequest(selection=request.selection, dry_run=True))
        assert rig.states(events) == []
        done = await admin.Replay(request)
        for _ in range(10):
            await settle()

        assert done == dry == pb.ReplayResponse(events=3, deliveries=3)
        assert rig.states(events) == ["Delivered"] * 3
        assert (await admin.Replay(request)).events == 0
    sent = [one for _, _, call in rig.handlers.requests for one in call.deliveries]
    assert all(one.event.attributes["hooklinereplay"].ce_boolean for one in sent)


async def test_a_replay_goes_on_where_a_step_ended_and_only_to_the_routes_that_are_wanted(tmp_path: Path) -> None:
    """A large one is done bit by bit; and one handler's loss is no reason to send to all."""
    book = a_book(a_subscription(a_route("notify"), a_route("other")))
    rig = LoopRig(book)
    events = [an_event() for _ in range(5)]
    async with rig.running():
        rig.add(*events)
        for _ in range(10):
            await settle()
    rig = LoopRig(book, store=rig.store, clock=rig.clock)
    async with asking(rig, tmp_path / "a.sock") as admin:
        first = await admin.Replay(pb.ReplayRequest(all=True, routes=["other"], limit=2))
        rest = await admin.Replay(pb.ReplayRequest(all=True, routes=["other"], limit=100, after=first.next))

    assert (first.events, rest.events, rest.next) == (2, 3, 0)
    assert rig.states(events) == ["Delivered", "Pending"] * 5


async def test_a_redrive_of_what_is_rejected_at_once_comes_to_its_end(tmp_path: Path) -> None:
    """It dies again before the next page is read; met again and again, the command would never return."""
    rig, _ = await with_dead_letters(PAGE + 20)
    async with asking(rig, tmp_path / "a.sock") as admin:
        first = await admin.Redrive(pb.RedriveRequest(all=True, limit=PAGE))
        for claim in rig.store.claim(next(iter(rig.book.routes)), 1000, 1 << 30, rig.clock.time, rig.clock.time + 1):
            result = Dead(DeadReason.REJECTED, "again")
            rig.store.settle([Settlement(claim.delivery_id, claim.fence, result, None)], rig.clock.time)
        rest = await admin.Redrive(pb.RedriveRequest(all=True, after=first.next))

    assert (first.redriven, rest.redriven, rest.next) == (PAGE, 20, 0)


async def test_a_users_events_are_erased_and_counted(tmp_path: Path) -> None:
    """What names the user goes, in every subscription; what does not, stays."""
    rig = LoopRig(a_book(a_subscription(a_route())))
    alice = an_event(b'{"trigger":"message_sent","data":{"message":{"sender":"alice"}}}')
    bob = an_event(b'{"trigger":"message_sent","data":{"message":{"sender":"bob"}}}')
    rig.add(alice, bob)
    request = pb.EraseRequest(user="alice")
    async with asking(rig, tmp_path / "a.sock") as admin:
        dry = await admin.Erase(pb.EraseRequest(user="alice", dry_run=True))
        assert len(rig.states([alice, bob])) == 2
        done = await admin.Erase(request)
        counts = await admin.ListErasures(pb.ListErasuresRequest())

    assert dry == done == pb.EraseResponse(events=1, unended=1)
    assert (rig.states([alice]), rig.states([bob])) == ([], ["Pending"])
    [tomb] = counts.erasures
    assert (tomb.day, tomb.namespace, tomb.subscription, tomb.events) == ("2027-01-15", "acme", "chat", 1)


async def test_nothing_is_replayed_or_erased_that_was_not_selected(tmp_path: Path) -> None:
    """A forgotten filter would be everybody's data."""
    rig = LoopRig(a_book(a_subscription(a_route())))
    event = an_event()
    rig.add(event)
    async with asking(rig, tmp_path / "a.sock") as admin:
        assert await code_of(admin.Replay(pb.ReplayRequest())) is grpc.StatusCode.INVALID_ARGUMENT
        assert await code_of(admin.Erase(pb.EraseRequest())) is grpc.StatusCode.INVALID_ARGUMENT
        wrong = pb.EventSelection(state="Lost")
        assert await code_of(admin.Replay(pb.ReplayRequest(selection=wrong))) is grpc.StatusCode.INVALID_ARGUMENT
    assert rig.states([event]) == ["Pending"]


async def test_a_subscription_made_anew_under_the_old_name_inherits_nothing(tmp_path: Path) -> None:
    """It may be another tenant, to whom the old one's events must not go, by whatever a person asks for."""
    rig = LoopRig(a_book(a_subscription(a_route())))
    events = [an_event() for _ in range(2)]
    rig.add(*events)
    anew = SubscriptionRef("another-uid", CHAT.namespace, CHAT.name)
    rig.book = a_book(a_subscription(a_route(), ref=anew))
    assert rig.store.retire(rig.book.routes.keys(), 10, rig.clock.time) == 2
    async with asking(rig, tmp_path / "a.sock") as admin, rig.running():
        redriven = await admin.Redrive(pb.RedriveRequest(all=True))
        replayed = await admin.Replay(pb.ReplayRequest(all=True))
        rig.add(an_event(subscription=anew))
        for _ in range(10):
            await settle()

        assert (redriven.redriven, redriven.without_route) == (0, 2)
        assert (replayed.deliveries, replayed.without_route) == (0, 2)
        assert rig.states(events) == ["Dead"] * 2
        letters = [one.dead_letter async for one in admin.ListDeadLetters(pb.ListDeadLettersRequest())]
        assert {one.reason for one in letters} == {"RouteRemoved"}
    assert len(rig.handlers.requests) == 1


async def test_an_event_of_a_subscription_that_went_before_it_was_carried_is_kept(tmp_path: Path) -> None:
    """It was answered 200: it must be seen, and why it went nowhere."""
    rig = LoopRig(a_book())
    rig.add(an_event())
    async with asking(rig, tmp_path / "a.sock") as admin:
        [found] = [one.event async for one in admin.ListEvents(pb.ListEventsRequest())]

    assert found.unrouted == "SubscriptionRemoved"
