"""The forwarder as a process: real journals in, a real gRPC handler out."""

import signal
from pathlib import Path

import pytest

from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.record import encode
from support.forwarder import (
    DataFolder,
    ForwarderProcess,
    Handler,
    a_route,
    a_subscription,
    an_event,
    serving,
)
from support.waiting import until


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """An empty data folder."""
    return DataFolder(tmp_path)


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
    forwarder = ForwarderProcess(data)
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
