"""What deliveries take up while handlers take their time: their bytes, and not the objects they were made of."""

from dataclasses import fields

from google.protobuf.message import Message

from hookline.handler.v1 import handler_pb2 as pb
from hookline_receiver.forwarder.message import Built, Typer, build, request_of
from support.forwarder import a_claim, an_event

HEAD, TAIL = b'{"trigger":"message_sent","data":{"message":{"id":"1","data":{"metadata":{"a":[', b"]}}}}}"
MANY_OBJECTS = HEAD + b",".join([b'{"":0}'] * 9_000) + TAIL
"""63 KB, whose typed form takes 2.75 MB as objects and 171 KB as a message."""


def built_of(body: bytes) -> Built:
    event = an_event(body)
    built = build(a_claim(event), Typer().of(event))
    assert isinstance(built, Built)
    return built


def test_a_request_is_the_deliveries_joined() -> None:
    """The handler reads the messages that were built, in their order."""
    batch = [built_of(b'{"trigger":"message_sent"}') for _ in range(3)]

    request = pb.DeliverRequest.FromString(request_of(batch))

    assert list(request.deliveries) == [one.message for one in batch]


def test_a_waiting_delivery_is_kept_as_its_bytes() -> None:
    """400 such events and a handler that hangs made the forwarder larger than 3 GB: the end of everybody's deliveries."""
    built = built_of(MANY_OBJECTS)

    assert built.message.WhichOneof("typed") == "payload"
    assert len(built.wire) < 4 * len(MANY_OBJECTS)
    assert not any(isinstance(getattr(built, each.name), Message) for each in fields(built))
