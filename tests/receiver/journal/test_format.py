"""Bytes of a segment, and what a hole among them means."""

import random

import pytest

from hookline_receiver.journal.format import (
    COPY_AT,
    FIRST,
    FORMAT,
    HEAD_SIZE,
    Broken,
    Cut,
    Framing,
    Header,
    Record,
    Unreadable,
    decode_header,
    encode_header,
    usable,
)
from hookline_receiver.journal.port import Position
from hookline_receiver.journal.segment import Hole, Surroundings, judge

SALT = bytes(range(1, 17))
HEADER = Header(b"j" * 16, 7, 1_700_000_000, b"b" * 16, SALT, Position(6, 9000))


def an_encoded(*payloads: bytes, offset: int = FIRST, salt: bytes = SALT) -> bytes:
    """Records with the stamps 1, 2, …"""
    return b"".join(Framing(salt).encode(list(enumerate(payloads, 1)), offset))


def test_a_header_says_what_it_was_made_of() -> None:
    """Everything in a segment hangs on it."""
    assert decode_header(encode_header(HEADER)) == HEADER


@pytest.mark.parametrize("copy", [0, COPY_AT])
def test_a_header_stands_as_long_as_one_copy_does(copy: int) -> None:
    """A lost block must not take 64 MiB of events along."""
    data = bytearray(encode_header(HEADER))
    data[copy : copy + 4096] = bytes(4096)

    assert decode_header(bytes(data)) == HEADER


def test_without_a_whole_copy_a_header_is_refused_with_a_reason() -> None:
    """Guessing at a salt would make every record wrong."""
    data = bytearray(encode_header(HEADER))
    data[40] ^= 1
    data[COPY_AT + 40] ^= 1

    assert decode_header(bytes(data)) == Unreadable("header is damaged")
    assert isinstance(decode_header(b""), Unreadable)
    assert isinstance(decode_header(b"SQLite format 3\0" * 1000), Unreadable)


def test_a_newer_format_is_refused_with_both_numbers() -> None:
    """After a rollback the later release's segments wait for it, and somebody must know why."""
    from hookline_receiver.journal.format import _prefix

    data = bytearray(encode_header(HEADER))
    for at in (0, COPY_AT):
        data[at : at + 16] = _prefix(FORMAT + 1, 500)

    refused = decode_header(bytes(data))

    assert refused == Unreadable(
        f"segment format {FORMAT + 1}, this release reads [{FORMAT}]: a later release wrote it", newer=True
    )


def test_records_come_back_with_stamp_and_place() -> None:
    """One flush writes many."""
    data = an_encoded(b"one", b"", b"three")

    first = Framing(SALT).decode(data, 0, FIRST)
    second = Framing(SALT).decode(data, HEAD_SIZE + 3, FIRST)

    assert first == Record(b"one", 1, FIRST, HEAD_SIZE + 3)
    assert second == Record(b"", 2, FIRST, HEAD_SIZE)


@pytest.mark.parametrize("length", range(HEAD_SIZE + 3))
def test_a_record_that_is_not_all_there_is_cut(length: int) -> None:
    """At the end of a live segment that is normal."""
    found = Framing(SALT).decode(an_encoded(b"one")[:length], 0, FIRST)

    assert found == Cut(HEAD_SIZE if length < HEAD_SIZE else HEAD_SIZE + 3)


@pytest.mark.parametrize("bit", range(8 * (HEAD_SIZE + 3)))
def test_a_flipped_bit_anywhere_makes_a_record_broken(bit: int) -> None:
    """A wrong payload must never be delivered as an event."""
    data = bytearray(an_encoded(b"one"))
    data[bit // 8] ^= 1 << bit % 8

    assert isinstance(Framing(SALT).decode(bytes(data), 0, FIRST), Broken)


def test_a_record_in_another_place_is_none() -> None:
    """A disk that wrote a block elsewhere must not make an event of it again."""
    assert isinstance(Framing(SALT).decode(an_encoded(b"one"), 0, FIRST + 4096), Broken)


def test_the_next_record_is_found_behind_garbage() -> None:
    """Damage costs what it hit and no more."""
    garbage = random.Random(1).randbytes(5000)
    data = garbage + an_encoded(b"one", offset=FIRST + len(garbage))

    assert Framing(SALT).find(data, 0, FIRST) == (5000, FIRST + 5000)


def test_a_body_can_not_forge_a_record_for_a_salt_it_does_not_know() -> None:
    """Senders choose bodies; behind damage a reader searches in them."""
    rng = random.Random(2)
    forged = b"".join(an_encoded(b"forged", salt=rng.randbytes(16)) for _ in range(2000))
    with_marker = b"".join(SALT[:4] + rng.randbytes(HEAD_SIZE - 4) for _ in range(20000))

    assert Framing(SALT).find(forged + with_marker, 0, FIRST) is None


def test_a_marker_is_never_found_in_zeros() -> None:
    """Zeros are what a file system leaves where nothing was written."""
    assert usable(SALT)
    assert not usable(b"\0" + SALT[1:])


def a_hole(
    *,
    ended: bool = False,
    final: bool = False,
    power_failed: bool = False,
    cut: bool = False,
    followed: bool = False,
    synced: int = 0,
) -> Surroundings:
    """A hole at 100."""
    return Surroundings(100, ended, final, power_failed, cut, followed, synced)


@pytest.mark.parametrize(
    ("hole", "meaning"),
    [
        pytest.param(a_hole(ended=True, final=True), Hole.DAMAGE, id="before-the-stated-end"),
        pytest.param(a_hole(followed=True, synced=101), Hole.DAMAGE, id="synced-by-then-live"),
        pytest.param(a_hole(final=True, power_failed=True, synced=101), Hole.DAMAGE, id="synced-by-then-power-failed"),
        pytest.param(a_hole(followed=True, synced=100), Hole.UNKNOWN, id="live-in-last-batch"),
        pytest.param(a_hole(cut=True), Hole.UNKNOWN, id="live-tail"),
        pytest.param(a_hole(final=True, power_failed=True, followed=True, synced=100), Hole.TORN, id="in-last-batch"),
        pytest.param(a_hole(final=True, power_failed=True), Hole.TORN, id="power-failed-tail"),
        pytest.param(a_hole(final=True, cut=True), Hole.TORN, id="killed-in-a-write"),
        pytest.param(a_hole(final=True), Hole.DAMAGE, id="killed-but-not-cut"),
        pytest.param(a_hole(final=True, followed=True, synced=100), Hole.DAMAGE, id="killed-and-a-record-follows"),
    ],
)
def test_a_hole_is_damage_only_where_something_acknowledged_was(hole: Surroundings, meaning: Hole) -> None:
    """A false alarm after each power failure would hide the true one."""
    assert judge(hole) is meaning
