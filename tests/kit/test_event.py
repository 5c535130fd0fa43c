from datetime import UTC, datetime

import pytest

from hookline.cometchat.v1 import payload_pb2
from hookline.handler.v1 import handler_pb2
from hookline_kit.event import event_of
from hookline_kit.testing import a_delivery
from support.handlers import SAMPLES, a_body, an_event


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_the_body_arrives_byte_for_byte(sample):
    """Handlers may hash or archive what CometChat sent."""
    event = event_of(a_delivery(sample))

    assert event.body == sample.read_bytes()
    assert event.json()["trigger"] == event.trigger


def test_everything_the_contract_says_of_an_event_is_there():
    """A handler's author should not have to read attributes."""
    delivery = a_delivery(
        a_body("group_created"),
        partition_key="group_g1",
        event_id="e-1",
        namespace="acme",
        subscription="chat",
        route="sync",
        attempt=3,
        replay=True,
        attributes={"traceparent": "00-aa-bb-01", "subject": "group/g1"},
    )
    delivery.event.attributes["time"].ce_timestamp.FromDatetime(datetime(2025, 5, 1, tzinfo=UTC))

    event = event_of(delivery)

    assert (event.id, event.source) == ("e-1", "/cometchat/app1/acme/chat")
    assert (event.type, event.trigger, event.category) == ("com.cometchat.group_created", "group_created", "group")
    assert (event.namespace, event.subscription, event.route) == ("acme", "chat", "sync")
    assert (event.partition_key, event.subject, event.traceparent) == ("group_g1", "group/g1", "00-aa-bb-01")
    assert (event.attempt, event.replay) == (3, True)
    assert event.time == datetime(2025, 5, 1, tzinfo=UTC)
    assert event.delivery_id == f"{event.ingest_id}/sync"


def test_an_event_with_nothing_but_a_body_is_still_an_event():
    """Another sender of the contract may leave attributes out; the handler must not fall over."""
    event = event_of(handler_pb2.Delivery(delivery_id="d-1"))

    assert (event.attempt, event.replay, event.time, event.category) == (1, False, None, "unknown")
    assert event.untyped == "UNSPECIFIED"


def test_a_typed_payload_is_told_from_its_absence():
    """Absent must stay distinguishable from empty."""
    typed = event_of(a_delivery(a_body(), payload=payload_pb2.Payload()))
    untyped = event_of(a_delivery(a_body()))

    assert typed.payload == payload_pb2.Payload()
    assert typed.untyped == ""
    assert untyped.payload is None
    assert untyped.untyped == "UNKNOWN_TRIGGER"


def test_showing_an_event_does_not_show_what_people_wrote():
    """Events end up in logs by accident; private texts must not."""
    event = event_of(a_delivery(a_body(text="secret words")))

    assert b"secret words" in event.body
    assert "secret words" not in repr(event)


def test_json_is_decoded_once():
    """Several functions and the author's own code may ask."""
    event = an_event()

    assert event.json() is event.json()
