"""A tenant's share of the storage."""

from pathlib import Path

import pytest

from hookline.routing.v1.snapshot_pb2 import PendingBytes, PendingTable
from hookline_receiver.limits.share import PendingFile, Shares
from support.receiver import replace_file


def test_what_was_appended_counts_at_once() -> None:
    """The forwarder's table comes late; a burst must not pass the share meanwhile."""
    shares = Shares()
    shares.renew({"a": 100})

    shares.appended("a", 30)
    shares.appended("b", 5)

    assert [shares.pending(uid) for uid in ("a", "b", "c")] == [130, 5, 0]


def test_an_append_counts_for_a_whole_interval_after_it() -> None:
    """A table may have been written just before the append was carried."""
    shares = Shares()
    shares.appended("a", 30)

    shares.renew({"a": 0})
    assert shares.pending("a") == 30

    shares.renew({"a": 30})
    assert shares.pending("a") == 30

    shares.renew({})
    assert shares.pending("a") == 0


def test_a_burst_does_not_count_for_ever() -> None:
    """Who is refused for his burst gives rise to no second table; the first is right after a while."""
    shares = Shares()
    shares.appended("a", 30)
    shares.renew({"a": 30})
    shares.appended("a", 5)

    shares.settle()

    assert shares.pending("a") == 35


def test_who_holds_more_than_a_part_is_told() -> None:
    """At 50 % and 80 % somebody should look."""
    shares = Shares()
    shares.renew({"a": 51, "b": 50, "c": 90, "unlimited": 1000})
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


@pytest.mark.parametrize("content", [b"\xff\xff", PendingTable(format=2).SerializeToString()], ids=["broken", "newer"])
def test_a_table_that_can_not_be_read_changes_nothing(tmp_path: Path, content: bytes) -> None:
    """The last one stays: nobody is refused, or let in, for a broken file."""
    file, shares = tmp_path / "pending.binpb", Shares()
    shares.renew({"a": 7})
    replace_file(file, content)

    assert not PendingFile(file, shares).poll()
    assert shares.pending("a") == 7
