"""An admin service with things to tell, on a socket where `hookline dev` would have its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from hookline.admin.v1 import admin_pb2, admin_pb2_grpc
from hookline_cli.people.connection import short_path

INGEST_ID = "01976f2c-7b10-7c3e-8a4f-0123456789ab"
NOON = Timestamp(seconds=1_750_000_000, nanos=250_000_000)
LATER = Timestamp(seconds=1_750_000_001, nanos=750_000_000)


def a_dead_letter(**given: object) -> admin_pb2.DeadLetter:
    letter = admin_pb2.DeadLetter(
        delivery_id=f"{INGEST_ID}/notify",
        ingest_id=INGEST_ID,
        event_id="e-1",
        namespace="acme",
        subscription="chat",
        route="notify",
        trigger="message_sent",
        reason="Rejected",
        detail="spam",
        attempts=3,
        received_at=NOON,
        died_at=LATER,
    )
    letter.MergeFrom(admin_pb2.DeadLetter(**given))
    return letter


def a_story() -> admin_pb2.EventStory:
    attempt = admin_pb2.Attempt(
        number=1, started_at=NOON, ended_at=LATER, code="UNAVAILABLE", detail="refused", endpoint="127.0.0.1:9000"
    )
    pending = admin_pb2.DeliveryStory(
        delivery_id=f"{INGEST_ID}/notify", route="notify", state="Pending", due_at=LATER, attempts=[attempt]
    )
    untried = admin_pb2.DeliveryStory(delivery_id=f"{INGEST_ID}/sync", route="sync", state="Waiting")
    return admin_pb2.EventStory(
        ingest_id=INGEST_ID,
        event_id="e-1",
        namespace="acme",
        subscription="chat",
        trigger="message_sent",
        received_at=NOON,
        stored_at=LATER,
        size=1234,
        duplicates=2,
        deliveries=[pending, untried],
    )


def an_event(**given: object) -> admin_pb2.EventSummary:
    notify = admin_pb2.DeliveryStory(delivery_id=f"{INGEST_ID}/notify", route="notify", state="Dead", reason="Rejected")
    event = admin_pb2.EventSummary(
        ingest_id=INGEST_ID,
        event_id="e-1",
        namespace="acme",
        subscription="chat",
        trigger="message_sent",
        category="message",
        received_at=NOON,
        stored_at=LATER,
        size=1234,
        duplicates=2,
        deliveries=[notify],
    )
    event.MergeFrom(admin_pb2.EventSummary(**given))
    return event


class FakeAdmin(admin_pb2_grpc.EventAdminServiceServicer):
    """Answers with what it was given, and keeps what it was asked."""

    def __init__(self) -> None:
        self.letters: list[admin_pb2.DeadLetter] = []
        self.stories: dict[str, list[admin_pb2.EventStory]] = {}
        self.redriven = 0
        self.without_route = 0
        self.events: list[admin_pb2.EventSummary] = []
        self.replays: list[admin_pb2.ReplayResponse] = []
        self.erasing: list[admin_pb2.EraseResponse] = []
        self.erasures: list[admin_pb2.Erasure] = []
        self.redrives: list[admin_pb2.RedriveResponse] = []
        self.asked: list[object] = []

    def ListDeadLetters(self, request, context):
        self.asked.append(request)
        for letter in self.letters[: request.limit]:
            yield admin_pb2.ListDeadLettersResponse(dead_letter=letter)

    def Redrive(self, request, context):
        self.asked.append(request)
        if self.redrives:
            return self.redrives.pop(0)
        redriven = min(self.redriven, request.limit or self.redriven)
        return admin_pb2.RedriveResponse(redriven=redriven, without_route=self.without_route)

    def ShowEvent(self, request, context):
        self.asked.append(request)
        return admin_pb2.ShowEventResponse(events=self.stories.get(request.id, []))

    def ListEvents(self, request, context):
        self.asked.append(request)
        for event in self.events[: request.limit]:
            yield admin_pb2.ListEventsResponse(event=event)

    def Replay(self, request, context):
        self.asked.append(request)
        return self.replays.pop(0) if self.replays else admin_pb2.ReplayResponse()

    def Erase(self, request, context):
        self.asked.append(request)
        return self.erasing.pop(0) if self.erasing else admin_pb2.EraseResponse()

    def ListErasures(self, request, context):
        return admin_pb2.ListErasuresResponse(erasures=self.erasures)

    def GetBacklog(self, request, context):
        context.abort(grpc.StatusCode.INTERNAL, "the store is broken")


@contextmanager
def admin_on(data: Path, servicer: admin_pb2_grpc.EventAdminServiceServicer) -> Iterator[None]:
    """Serve *servicer* where the forwarder on *data* would."""
    (data / "run").mkdir(parents=True)
    server = grpc.server(ThreadPoolExecutor(2))
    admin_pb2_grpc.add_EventAdminServiceServicer_to_server(servicer, server)
    with short_path(data / "run", "admin.sock") as path:
        server.add_insecure_port(f"unix:{path}")
        server.start()
        try:
            yield
        finally:
            server.stop(0).wait()
