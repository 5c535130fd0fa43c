"""Events as the journal keeps them, and their ids."""

import time
import uuid
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.event import Envelope, Event, Identity, SubscriptionRef
from hookline_receiver.ingest_id import IngestIds
from hookline_receiver.record import RecordUnreadable, decode, encode

EVENTS = st.builds(
    Event,
    ingest_id=st.binary(min_size=16, max_size=16),
    subscription=st.builds(SubscriptionRef, st.text(), st.text(), st.text()),
    received_at_ns=st.integers(0, 2**63 - 1),
    body=st.binary(max_size=200),
    envelope=st.builds(Envelope, st.text(), st.text(), st.text(), st.sampled_from(["user", "group", ""])),
    identity=st.builds(Identity, st.binary(max_size=16), st.booleans(), st.text(), st.text(), st.integers(0, 2**60)),
    traceparent=st.text(max_size=60),
)


@given(EVENTS)
def test_what_is_kept_comes_back(event: Event) -> None:
    """Byte for byte: the journal is all there is between a 200 and the event store."""
    assert decode(encode(event)) == event


@pytest.mark.parametrize("payload", [b"", b"\xff\xff\xff", b"\x0a\x03abc"], ids=["empty", "broken", "short id"])
def test_what_is_no_record_is_said_to_be_none(payload: bytes) -> None:
    """Damage is reported, never guessed at."""
    with pytest.raises(RecordUnreadable):
        decode(payload)


def test_ids_are_uuids_of_version_7_with_their_time() -> None:
    """They sort by time wherever they are shown."""
    now = time.time_ns()

    found = uuid.UUID(bytes=IngestIds().new(now))

    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == now // 1_000_000


@given(st.lists(st.integers(-5_000_000, 5_000_000), min_size=2, max_size=200))
def test_ids_only_go_up(steps: list[int]) -> None:
    """Also within a millisecond, and when the clock steps back."""
    ids, now, made = IngestIds(), 1_700_000_000_000_000_000, []
    for step in steps:
        now += step
        made.append(ids.new(now))

    assert all(one < other for one, other in pairwise(made))


def test_ids_are_unique_among_workers() -> None:
    """Nothing but chance keeps two workers apart, so there must be enough of it."""
    one, other = IngestIds(), IngestIds()

    made = [maker.new(1_700_000_000_000_000_000) for _ in range(1000) for maker in (one, other)]

    assert len(set(made)) == 2000


def test_a_full_counter_borrows_the_next_millisecond() -> None:
    """It must not run over into the version bits."""
    ids = IngestIds(random=lambda count: b"\xff" * count)
    ids.new(1_700_000_000_000_000_000)
    ids._counter = (1 << 74) - 2

    found = uuid.UUID(bytes=ids.new(1_700_000_000_000_000_000))

    assert found.version == 7
    assert found.int >> 80 == 1_700_000_000_001
