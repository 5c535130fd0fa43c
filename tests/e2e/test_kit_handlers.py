"""The real forwarder and handlers made with the kit: TLS on both sides, renewals, endpoints that come and go, tracing."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_kit import TLS, Event, Handler, ServerSettings
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.record import encode
from support.certificates import Certificates, Pair, make_certificates
from support.forwarder import DataFolder, ForwarderProcess, a_route, a_subscription, an_event
from support.receiver import a_receiver, an_endpoint
from support.waiting import until

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Recording:
    """A kit's handler that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.handler = Handler()
        self.handler.default(self._take)

    async def _take(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """The folder that journal and forwarder share."""
    return DataFolder(tmp_path / "data")


@asynccontextmanager
async def forwarding(data: DataFolder, **settings: str) -> AsyncIterator[ForwarderProcess]:
    """A forwarder that must end well."""
    forwarder = ForwarderProcess(data, {"BREAKER_LONGEST_OPEN": "1", **settings})
    forwarder.start()
    try:
        yield forwarder
        assert await asyncio.to_thread(forwarder.stop) == 0
    finally:
        forwarder.kill()


class Stream:
    """Events that keep coming, one every 10 ms or so."""

    def __init__(self, journal: SegmentJournal) -> None:
        self._journal = journal
        self.bodies: list[bytes] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            event = an_event()
            await self._journal.append(encode(event))
            self.bodies.append(event.body)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def streaming(data: DataFolder) -> AsyncIterator[Stream]:
    """Events for the length of the block."""
    journal = SegmentJournal.open(data.journal)
    stream = Stream(journal)
    task = asyncio.ensure_future(stream.run())
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await journal.close()


def put(pair: Pair, place: Pair) -> None:
    """Renew the files of *place*, as a mounted Secret is renewed: each file whole."""
    for fresh, known in ((pair.key, place.key), (pair.certificate, place.certificate)):
        beside = known.with_suffix(".new")
        beside.write_bytes(fresh.read_bytes())
        beside.replace(known)


def secured(made: Certificates, name: str = "localhost") -> routing.Subscription:
    """The subscription's route, to a handler that *made* vouches for."""
    return a_subscription(a_route(tls=routing.TLS(ca_pem=made.authority.read_bytes(), server_name=name)))


def failures(forwarder: ForwarderProcess) -> list[str]:
    """What calls that did not go well ended with."""
    said = [json.loads(line) for line in forwarder.log.read_text().splitlines()]
    return [f"{line['code']}: {line['detail']}" for line in said if line["message"] == "a call ended"]


def unavailable(forwarder: ForwarderProcess) -> bool:
    """Whether a call did not get through."""
    return any(one.startswith("UNAVAILABLE") for one in failures(forwarder))


async def quiet(recording: Recording, stream: Stream) -> None:
    """Return when nothing of what keeps coming reaches the handler any more; what was under way may still."""

    async def nothing_came() -> bool:
        held, sent = len(recording.events), len(stream.bodies)
        await until(lambda: len(stream.bodies) > sent + 50)
        return len(recording.events) == held

    await until(nothing_came)


async def test_both_sides_of_mutual_tls_are_renewed_under_load_without_a_restart(
    tmp_path: Path, data: DataFolder
) -> None:
    """Certificates live for weeks, authorities for years; both end while events keep coming, and none may be lost."""
    old, new = make_certificates(tmp_path / "old"), make_certificates(tmp_path / "new")
    server, client = make_certificates(tmp_path / "live").server, make_certificates(tmp_path / "forwarder").client
    trusted = tmp_path / "trusted.crt"
    put(old.server, server)
    put(old.client, client)
    trusted.write_bytes(old.authority.read_bytes())
    tls = TLS(server.certificate, server.key, client_ca=trusted)
    recording = Recording()
    data.route(secured(old))
    async with (
        recording.handler.serving(settings=ServerSettings(tls=tls, notice=0.0)) as serving,
        streaming(data) as stream,
    ):
        data.endpoints(notifier=[serving.address])
        settings = {"CLIENT_CERTIFICATE": str(client.certificate), "CLIENT_KEY": str(client.key)}
        async with forwarding(data, **settings) as forwarder:
            await until(lambda: len(recording.events) >= 20)
            assert failures(forwarder) == []
            trusted.write_bytes(new.authority.read_bytes())
            put(new.server, server)
            # What is connected stays; who connects anew meets the new certificate.
            put(new.client, client)
            await until(lambda: unavailable(forwarder))
            await quiet(recording, stream)

            data.route(secured(new, "somebody.else"))
            failed = len(failures(forwarder))
            await until(lambda: len(failures(forwarder)) > failed)
            await quiet(recording, stream)

            data.route(secured(new))
            sent = list(stream.bodies)
            await until(lambda: set(sent) <= {event.body for event in recording.events})


async def test_endpoints_come_and_go_under_load_and_no_event_comes_twice(data: DataFolder) -> None:
    """
    A rolling update of the handler: each pod says that it goes, is taken out of the table, and ends.

    No call fails that reached a handler; one that was begun in the moment in which a pod said so is begun again.
    """
    recordings = [Recording() for _ in range(4)]
    current = recordings[0].handler.serving(settings=ServerSettings(notice=0.5))
    address = (await current.__aenter__()).address
    data.endpoints(notifier=[address])
    data.route(a_subscription(a_route(batch=4)))
    async with streaming(data) as stream, forwarding(data) as forwarder:
        await until(lambda: len(recordings[0].events) >= 10)
        for recording in recordings[1:]:
            following = recording.handler.serving(settings=ServerSettings(notice=0.5))
            fresh = (await following.__aenter__()).address
            data.endpoints(notifier=[address, fresh])
            await until(lambda one=recording: len(one.events) >= 10)  # type: ignore[misc]
            ending = asyncio.ensure_future(current.__aexit__(None, None, None))
            data.endpoints(notifier=[fresh])
            await ending
            current, address = following, fresh
        sent = list(stream.bodies)
        await until(lambda: set(sent) <= {event.body for one in recordings for event in one.events})
        assert [one for one in failures(forwarder) if "backend unhealthy" not in one] == []
        await current.__aexit__(None, None, None)
    seen = Counter(event.body for one in recordings for event in one.events)
    assert max(seen[body] for body in sent) == 1


async def test_a_handler_that_says_it_is_not_serving_gets_nothing_until_it_does(data: DataFolder) -> None:
    """Health on the handler's side: who waits for a database says so, and events wait without being thrown at it."""
    recording = Recording()
    async with recording.handler.serving() as serving:
        data.endpoints(notifier=[serving.address])
        data.route(a_subscription(a_route()))
        async with streaming(data) as stream, forwarding(data) as forwarder:
            await until(lambda: len(recording.events) >= 5)
            await serving._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
            await until(lambda: unavailable(forwarder))
            await quiet(recording, stream)

            await serving._health.set("", health_pb2.HealthCheckResponse.SERVING)
            sent = list(stream.bodies)
            await until(lambda: set(sent) <= {event.body for event in recording.events})


async def test_a_handler_tells_over_tls_which_services_it_has(tmp_path: Path) -> None:
    """So that a person with grpcurl and a certificate can look at a handler without its .proto files."""
    made = make_certificates(tmp_path)
    tls = TLS(made.server.certificate, made.server.key)
    credentials = grpc.ssl_channel_credentials(made.authority.read_bytes())
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    async with Recording().handler.serving(settings=ServerSettings(tls=tls, notice=0.0)) as serving:
        port = serving.address.rpartition(":")[2]
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
            answers = stub.ServerReflectionInfo(iter([ask]))
            names = [one.name async for answer in answers for one in answer.list_services_response.service]
    assert {"hookline.handler.v1.EventHandlerService", "grpc.health.v1.Health"} <= set(names)


async def test_a_senders_traceparent_reaches_the_handler(data: DataFolder) -> None:
    """From the HTTP header through journal, store and call: whoever follows a trace finds the handler's part of it."""
    recording = Recording()
    data.route(a_subscription(a_route()))
    async with recording.handler.serving() as serving:
        data.endpoints(notifier=[serving.address])
        with a_receiver(data.root, an_endpoint(uid="uid-chat")) as receiver:
            async with forwarding(data):
                answer = await asyncio.to_thread(lambda: receiver.post(traceparent=TRACE))
                assert answer.status == 200
                await until(lambda: len(recording.events) == 1)
    assert recording.events[0].traceparent == TRACE
