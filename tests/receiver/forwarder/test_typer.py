"""What is remembered of typed forms, bounded in bytes: a hostile body's takes many times the body's own memory."""

from hookline_receiver.forwarder.message import LARGE, REMEMBERED, Typer
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
