"""A tenant's share of the storage."""

from pathlib import Path

import pytest

from hookline.routing.v1.snapshot_pb2 import PendingBytes, PendingTable
from hookline_receiver.limits.share import PendingFile, Shares
from support.receiver import replace_file

MILLISECOND = 1_000_000


def test_what_was_appended_since_the_table_counts_at_once() -> None:
    """The forwarder may be away: what this worker takes meanwhile must not pass the share."""
    shares = Shares(slack=0)
    shares.renew({"a": 100}, 10)

    shares.appended("a", 30, 11)
    shares.appended("b", 5, 12)

    assert [shares.pending(uid) for uid in ("a", "b", "c")] == [130, 5, 0]


def test_what_may_have_been_delivered_long_ago_is_not_held_against_a_sender() -> None:
    """A small share is passed twice between two tables by whoever is delivered at once; without end it is not passed."""
    shares = Shares(slack=1000)
    shares.renew({"a": 7}, 10)
    counted = []
    for began in range(11, 15):
        shares.appended("a", 400, began)
        counted.append(shares.pending("a"))

    assert counted == [7, 7, 207, 607]


def test_an_append_counts_until_a_table_holds_it_and_no_longer() -> None:
    """Else it would count twice, or not at all."""
    shares = Shares(slack=0)
    shares.appended("a", 30, 500)

    shares.renew({"a": 1}, 500)
    assert shares.pending("a") == 31

    shares.renew({"a": 30}, 501)
    assert shares.pending("a") == 30

    shares.renew({}, 600)
    assert shares.pending("a") == 0


def test_an_append_that_ends_after_a_table_has_passed_it_is_in_that_table() -> None:
    """Its record was carried before its sender had his answer."""
    shares = Shares(slack=0)
    shares.renew({"a": 30}, 1000)

    shares.appended("a", 30, 999)

    assert shares.pending("a") == 30


def test_only_what_a_table_goes_past_is_forgotten() -> None:
    """The forwarder may be behind by hours."""
    shares = Shares(slack=0)
    for number in range(10):
        shares.appended("a", 1, number * 200 * MILLISECOND)

    shares.renew({}, 1000 * MILLISECOND)

    assert shares.pending("a") == 5


@pytest.mark.parametrize("hours", [1, 30])
def test_a_forwarder_that_is_away_for_hours_costs_little_memory_and_little_exactness(hours: int) -> None:
    """While it catches up, at most a sixteenth of what was taken counts twice."""
    shares = Shares(slack=0)
    total = hours * 3600
    for second in range(total):
        shares.appended(f"{second % 3}", 1, second * 1000 * MILLISECOND)
    assert len(shares._spans) <= 64

    for part in range(1, 9):
        shares.renew({}, total * part // 8 * 1000 * MILLISECOND)
        counted = sum(shares.pending(uid) for uid in "012")
        assert 0 <= counted - (total - total * part // 8) <= total // 16

    for uid in "012":
        assert shares.pending(uid) == 0


def test_who_holds_more_than_a_part_is_told() -> None:
    """At 50 % and 80 % somebody should look."""
    shares = Shares()
    shares.renew({"a": 51, "b": 50, "c": 90, "unlimited": 1000}, 0)
    limits = {"a": 100, "b": 100, "c": 100}

    assert (shares.above(0.5, limits), shares.above(0.8, limits)) == ({"a": 51, "c": 90}, {"c": 90})


def test_the_table_is_read_when_it_changes(tmp_path: Path) -> None:
    """It is replaced whole by another process."""
    file, shares = tmp_path / "pending.binpb", Shares()
    pending = PendingFile(file, shares)
    assert not pending.poll()

    replace_file(file, PendingTable(format=1, subscriptions=[PendingBytes(uid="a", bytes=7)]).SerializeToString())

    assert pending.poll()
    assert not pending.poll()
    assert shares.pending("a") == 7


@pytest.mark.parametrize(("until", "counted"), [(99, 5), (100, 0), (101, 5)], ids=["before", "after", "yet to come"])
def test_the_table_says_what_is_in_it(tmp_path: Path, until: int, counted: int) -> None:
    """A moment that is yet to come is of a clock that began anew with the machine: nothing is known to be in it."""
    file, shares = tmp_path / "pending.binpb", Shares(slack=0)
    shares.appended("a", 5, 99)
    replace_file(file, PendingTable(format=1, carried_until=until).SerializeToString())

    assert PendingFile(file, shares, lambda: 100).poll()
    assert shares.pending("a") == counted


@pytest.mark.parametrize("content", [b"\xff\xff", PendingTable(format=2).SerializeToString()], ids=["broken", "newer"])
def test_a_table_that_can_not_be_read_changes_nothing(tmp_path: Path, content: bytes) -> None:
    """The last one stays: nobody is refused, or let in, for a broken file."""
    file, shares = tmp_path / "pending.binpb", Shares()
    shares.renew({"a": 7}, 0)
    replace_file(file, content)

    assert not PendingFile(file, shares).poll()
    assert shares.pending("a") == 7
