"""Batches are bounded by bytes as well as by number and time, whatever their typed forms add."""

import json

from hookline_receiver.forwarder.loop import LoopLimits
from support.forwarder import a_book, a_route, a_subscription, an_event
from support.loop import LoopRig, settle

LIMIT = 65_536


def a_message(number: int, text: str) -> bytes:
    """A message with a typed form that is about as long as its body."""
    message = {"id": str(number), "sender": "u1", "receiver": "u2", "receiverType": "user", "text": text}
    message |= {"type": "text", "category": "message", "sentAt": 1_700_000_000 + number, "data": {"text": text}}
    return json.dumps({"trigger": "message_sent", "appId": "a", "data": {"message": message}}).encode()


async def test_a_batch_is_cut_where_the_typed_forms_make_it_too_large() -> None:
    """The claim counts bodies only; a request over gRPC's limit would be refused whole, again and again."""
    rig = LoopRig(a_book(a_subscription(a_route(batch=32))), limits=LoopLimits(message_bytes=LIMIT))
    events = [an_event(a_message(number, "x" * 6_000)) for number in range(5)]
    async with rig.running():
        rig.add(*events)
        await settle()

        assert rig.states(events) == ["Delivered"] * 5
    requests = [request for _, _, request in rig.handlers.requests]
    assert all(one.HasField("payload") for request in requests for one in request.deliveries)
    assert sum(request.ByteSize() for request in requests) > LIMIT > sum(len(event.body) for event in events)
    assert all(request.ByteSize() <= LIMIT for request in requests)


async def test_a_batch_that_is_half_full_in_bytes_waits_for_no_more() -> None:
    """What would come next might not fit any more: waiting would cost time and save no call."""
    rig = LoopRig(a_book(a_subscription(a_route(batch=32, wait=10))), limits=LoopLimits(message_bytes=LIMIT))
    async with rig.running():
        rig.add(an_event(b"x" * 10_000))
        await rig.clock.advance(1)
        assert rig.handlers.sizes("notifier") == []

        rig.add(an_event(b"x" * 15_000), an_event(b"x" * 10_000))
        await settle()

        assert rig.handlers.sizes("notifier") == [3]
        assert rig.handlers.times("notifier") == [1]
