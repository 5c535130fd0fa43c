"""What finding duplicates may cost: one sender's odd events must not hold up everybody's."""

from pathlib import Path

import pytest

from hookline_receiver.store import rules
from hookline_receiver.store.sqlite import SqliteEventStore
from support.store import NOON, an_arrival, an_event

SIZE = 1 << 20


class Comparison:
    """Says which bodies it was asked about; finds them alike if their first bytes are."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, first: bytes, later: bytes) -> bool:
        if first != later:
            self.bytes += len(first)
        return first[:10] == later[:10]


def a_body(number: int, end: bytes = b"") -> bytes:
    return b"%09d " % number + b"x" * SIZE + end


@pytest.fixture
def comparison() -> Comparison:
    return Comparison()


@pytest.fixture
def store(tmp_path: Path, comparison: Comparison):
    opened = SqliteEventStore(tmp_path / "events.db", same=comparison)
    yield opened
    opened.close()


def test_large_bodies_of_one_identity_are_not_all_compared(store: SqliteEventStore, comparison: Comparison) -> None:
    """Four events of 2 MiB, each compared with sixteen others, held the store's thread for 20 s, batch after batch."""
    for number in range(16):
        store.add([an_arrival(body=a_body(number), key=b"one")], {}, NOON)
    comparison.bytes = 0

    added = store.add([an_arrival(body=a_body(100 + number), key=b"one") for number in range(8)], {}, NOON)

    assert added.stored == 8
    assert comparison.bytes <= rules.BYTES_COMPARED


def test_a_repetition_byte_for_byte_is_found_whatever_was_compared_before(store: SqliteEventStore) -> None:
    """Nearly all retries are; and that costs nothing."""
    store.add([an_arrival(body=a_body(number), key=b"one") for number in range(8)], {}, NOON)
    others = [an_arrival(body=a_body(100 + number), key=b"one") for number in range(8)]
    repetition = an_event(a_body(7), key=b"two")
    store.add([an_arrival(repetition)], {}, NOON)

    added = store.add([*others, an_arrival(body=a_body(7), key=b"two")], {}, NOON)

    assert (added.stored, len(added.duplicates)) == (8, 1)


def test_a_batch_of_usual_repetitions_is_within_the_bound(store: SqliteEventStore) -> None:
    """CometChat may show a user's status anew: 200 such retries of 10 KB in one batch are duplicates."""
    first = [b"%09d " % number + b"x" * 10_000 for number in range(200)]
    store.add([an_arrival(body=body, key=b"%d" % number) for number, body in enumerate(first)], {}, NOON)

    again = [an_arrival(body=body + b" ", key=b"%d" % number) for number, body in enumerate(first)]
    added = store.add(again, {}, NOON)

    assert len(added.duplicates) == 200
