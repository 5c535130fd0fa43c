"""The wire form, by the comments of the contract."""

from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from hookline.cloudevents.v1.cloudevents_pb2 import CloudEvent
from hookline.handler.v1 import handler_pb2 as pb
from hookline_receiver.forwarder.message import Built, Oversize, Typer, build, pack
from hookline_receiver.store.port import Claimed
from support.forwarder import a_claim, an_event

NONE = pb.Untyped(reason=pb.Untyped.REASON_UNKNOWN_TRIGGER)
SAMPLES = Path(__file__).parents[2] / "data" / "cometchat" / "samples"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_envelope_is_as_the_contract_says() -> None:
    """Handlers in other languages have nothing but the comments of the .proto to go by."""
    event = an_event(b'{"x":1}', time_ms=1_700_000_000_123, partition_key="group_7", traceparent=TRACE)

    cloud = envelope(a_claim(event, attempts=2, replay=True))

    assert cloud.id == "event-id"
    assert cloud.source == "/cometchat/app/acme/chat"
    assert cloud.spec_version == "1.0"
    assert cloud.type == "com.cometchat.message_sent"
    assert cloud.binary_data == b'{"x":1}'
    said = {name: getattr(value, str(value.WhichOneof("attr"))) for name, value in cloud.attributes.items()}
    assert said.pop("time").ToMilliseconds() == 1_700_000_000_123
    assert said == {
        "datacontenttype": "application/json",
        "subject": event.identity.subject,
        "partitionkey": "group_7",
        "traceparent": TRACE,
        "hooklinenamespace": "acme",
        "hooklinesubscription": "chat",
        "hooklineroute": "notify",
        "hooklinecategory": "message",
        "hooklineingestid": str(UUID(bytes=event.ingest_id)),
        "hooklineattempt": 3,
        "hooklinereplay": True,
    }


def test_what_an_event_does_not_have_is_absent() -> None:
    """An empty attribute is not allowed by CloudEvents, and would read as a value."""
    attributes = envelope(a_claim(an_event())).attributes

    assert {"partitionkey", "traceparent", "hooklinereplay"}.isdisjoint(attributes)


def test_the_time_is_that_of_acceptance_where_the_payload_has_none_or_nonsense() -> None:
    """A time that no Timestamp can hold must not make the event undeliverable."""
    for said in (0, -5, 1 << 62):
        event = an_event(received_at_ns=1_700_000_000_000_000_000, time_ms=said)

        assert envelope(a_claim(event)).attributes["time"].ce_timestamp.seconds == 1_700_000_000


def test_an_event_that_fits_into_no_message_is_told_by_its_size() -> None:
    """It fails visibly instead of being refused by every handler for ever."""
    event = an_event(b"x" * 10_000)

    oversize = build(a_claim(event), NONE, limit=10_000)

    assert isinstance(oversize, Oversize)
    assert oversize.size > 10_000
    assert isinstance(build(a_claim(event), NONE, limit=oversize.size), Built)


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=40))
def test_requests_hold_everything_once_in_order_and_within_the_limit(sizes: list[int]) -> None:
    """gRPC servers refuse messages above their limit whole."""
    limit = 8_000
    built = [build(a_claim(an_event(b"x" * size), delivery_id=index), NONE, limit) for index, size in enumerate(sizes)]
    fitting = [one for one in built if isinstance(one, Built)]

    requests = pack(fitting, limit)

    assert [one.claimed.delivery_id for request in requests for one in request] == list(range(len(sizes)))
    for request in requests:
        assert pb.DeliverRequest(deliveries=[one.message for one in request]).ByteSize() <= limit


def test_the_typed_form_travels_beside_the_raw_body() -> None:
    """Handlers should not have to parse CometChat's JSON."""
    body = (SAMPLES / "message_sent.json").read_bytes()
    event = an_event(body)

    built = build(a_claim(event), Typer().of(event))

    assert isinstance(built, Built)
    assert built.message.payload.WhichOneof("event") == "message_sent"
    assert built.message.event.binary_data == body


def test_the_typed_form_is_left_out_where_it_would_not_fit_and_says_so() -> None:
    """The raw body goes before it: it is all that some handlers read."""
    event = an_event((SAMPLES / "message_sent.json").read_bytes())
    typed = Typer().of(event)
    raw = build(a_claim(event), NONE)
    assert isinstance(raw, Built)
    limit = raw.size + 150

    built = build(a_claim(event), typed, limit)

    assert isinstance(built, Built)
    assert built.message.untyped.reason == pb.Untyped.REASON_TOO_LARGE
    assert str(limit) in built.message.untyped.detail
    assert built.size <= limit


def test_the_typed_form_is_worked_out_once_for_all_routes_and_tries() -> None:
    """It costs more than everything else that is done for a delivery."""
    typer, event = Typer(limit=2), an_event()

    assert not typer.known(event)
    first = typer.of(event)
    assert typer.of(event) is first
    assert typer.known(event)
    for _ in range(2):
        typer.of(an_event())
    assert not typer.known(event)


def test_a_delivery_is_named_the_same_at_every_attempt() -> None:
    """The outcome refers to it, and a handler may remember it."""
    event = an_event()
    names = {_name(a_claim(event, attempts=attempts, fence=attempts)) for attempts in range(3)}

    assert names == {f"{UUID(bytes=event.ingest_id)}/notify"}


def envelope(claimed: Claimed) -> CloudEvent:
    """The event as it is sent."""
    built = build(claimed, NONE)
    assert isinstance(built, Built)
    return built.message.event


def _name(claimed: Claimed) -> str:
    built = build(claimed, NONE)
    assert isinstance(built, Built)
    return built.message.delivery_id
