"""What is remembered of typed forms, bounded in bytes: a hostile body's takes many times the body's own memory."""

import json
import time

import pytest

from hookline_receiver.forwarder.message import LARGE, MANY, REMEMBERED, Typer
from support.forwarder import an_event


def test_what_is_remembered_is_bounded_in_bytes_too():
    """512 bodies of 64 KiB of empty objects made the forwarder larger by 1.4 GB, at one sender's wish."""
    typer = Typer()
    head, tail = b'{"trigger":"message_sent","data":{"message":{"data":{"metadata":{"a":"', b'"}}}}}'
    body = head + b"x" * (LARGE - len(head) - len(tail)) + tail
    events = [an_event(body) for _ in range(512)]

    for event in events:
        typer.of(event)

    known = [typer.known(event) for event in events]
    assert sum(known) == REMEMBERED // LARGE
    assert all(known[-(REMEMBERED // LARGE) :])


def test_usual_events_are_remembered_for_their_other_routes():
    """The bound is for the odd ones: 512 payloads of 2 KiB are within it."""
    typer = Typer()
    events = [an_event() for _ in range(512)]

    for event in events:
        typer.of(event)

    assert all(typer.known(event) for event in events)


METADATA = b'{"trigger":"message_sent","data":{"message":{"id":"1","data":{"metadata":{"a":[%s]}}}}}'
MEMBERS = b'{"trigger":"group_member_added","data":{"group":{"guid":"g"},"members":[%s]}}'
UNPACKED = rb'{"trigger":"message_sent","data":{"message":{"id":"1","data":{"metadata":"{\"a\":[%s]}"}}}}'
HIDDEN = (
    rb'{"trigger":"message_sent","data":{"message":{"id":"1","data":{"metadata":"\u007b\"a\":\u005b%s\u005d\u007d"}}}}'
)
ELEMENTS = {
    "objects": (METADATA, b'{"":0}', b","),
    "lists": (METADATA, b"[]", b","),
    "numbers": (METADATA, b"0", b","),
    "nested": (METADATA, b'{"a":{"b":[0]}}', b","),
    "members": (MEMBERS, b'{"uid":1}', b","),
    "times": (MEMBERS, b'{"uid":1,"createdAt":1,"updatedAt":"1","lastActiveAt":"1.5","deactivatedAt":1}', b","),
    "packed": (UNPACKED, b"[]", b","),
    "hidden": (HIDDEN, rb"\u005b\u005d", rb"\u002c"),
}


@pytest.mark.parametrize(("frame", "element", "comma"), ELEMENTS.values(), ids=ELEMENTS)
def test_what_is_typed_on_the_loop_holds_nobody_up(frame: bytes, element: bytes, comma: bytes):
    """64 KiB of elements took 30 to 120 ms, in which no answer was read and no other call begun."""
    count = LARGE // (len(element) + len(comma))
    bodies = [frame % comma.join([element] * (count * part // 200)) for part in range(1, 200)]
    typer, quick = Typer(), [body for body in bodies if not Typer().slow(an_event(body))]
    started = time.process_time()

    typer.of(an_event(quick[-1]))

    # Measured 0.5 to 4 ms; many times that, as the machine may be busy.
    assert time.process_time() - started < 0.1
    assert json.loads(quick[-1])
    assert element == rb"\u005b\u005d" or typer.slow(an_event(bodies[-1]))


@pytest.mark.parametrize("elements", [MANY - 10, MANY + 10])
def test_elements_are_counted_from_many_on(elements: int):
    """An ordinary payload is not worth the way to a thread and back."""
    body = METADATA % b",".join([b"0"] * elements)

    assert Typer().slow(an_event(body)) is (elements > MANY)
