"""From objects to shards, whatever order they come in; and the form in which they are published."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.agent.collect import Collector, Shard
from hookline_routes import shard as published
from hookline_routes.shard import (
    CHUNK_BYTES,
    MAX_SHARD_BYTES,
    ShardTooLarge,
    ShardUnreadable,
    TableChunk,
    chunk_of,
    content_hash,
    join,
    plane_label,
    shard_of,
    spec_of,
    split,
    table_name,
)


def chunks_of(content: bytes, pieces: int, *, revision: int = 1, index: int = 0, shards: int = 4) -> list[TableChunk]:
    """*content* in as many chunks as wanted: the usual ones have half a megabyte."""
    [whole] = split("default", index, shards, revision, content)
    data = whole.data
    cuts = [4 * (len(data) // 4 * n // pieces) for n in range(pieces)] + [len(data)]
    return [replace(whole, chunk=n, chunks=pieces, data=data[cuts[n] : cuts[n + 1]]) for n in range(pieces)]


def take(collector: Collector, chunk: TableChunk) -> Shard | None:
    """As it comes from the API server."""
    return collector.take(chunk.name, {"metadata": {"name": chunk.name}, "spec": spec_of(chunk)})


@given(st.data())
def test_any_order_of_any_chunks_ends_in_the_newest_whole_revision(data: st.DataObject) -> None:
    """Lists have no order, watches deliver some chunks before others; each shard ends where its objects are."""
    contents = {
        (index, revision): data.draw(st.binary(max_size=40)) + bytes([index, revision])
        for index in range(2)
        for revision in (1, 2)
    }
    arriving = [
        chunk
        for (index, revision), content in contents.items()
        for chunk in chunks_of(content, data.draw(st.integers(1, 3)), revision=revision, index=index)
    ]
    # Objects of one name come in order of their revisions, all others as they like.
    order = data.draw(st.permutations(range(len(arriving))))
    by_name: dict[str, list[TableChunk]] = {}
    for chunk in arriving:
        by_name.setdefault(chunk.name, []).append(chunk)
    shuffled = [by_name[name].pop(0) for name in (arriving[n].name for n in order)]
    collector = Collector("default")

    whole = [shard for chunk in shuffled if (shard := take(collector, chunk)) is not None]

    for shard in whole:
        assert shard.content == contents[(shard.index, shard.revision)]
    newest = {shard.index: shard.revision for shard in whole}
    assert newest.get(0) == newest.get(1) == 2
    assert collector.troubles == {} or all("chunks of revision 1" in text for text in collector.troubles.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hash": "0" * 64}, "not what its hash"),
        ({"data": "!!"}, "not base64"),
        ({"data": "AAAA"}, "can't be unpacked"),
        ({"data": None}, "spec.data is not a string"),
        ({"revision": "1"}, "spec.revision is not a whole number"),
        ({"chunk": 1, "chunks": 1}, "can't be"),
        ({"index": 64, "shards": 64}, "can't be"),
        ({"chunks": 3}, "1 of 3 chunks"),
        ({"plane": "other"}, "of plane 'other'"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_what_is_wrong_with_a_table_is_said_and_gives_no_shard(change: dict[str, Any], said: str) -> None:
    """And it is forgiven as soon as the table is right."""
    [chunk] = chunks_of(b"content", 1)
    collector = Collector("default")

    assert collector.take(chunk.name, {"spec": {**spec_of(chunk), **change}}) is None
    assert said in collector.troubles[chunk.name]

    found = take(collector, chunk)
    assert found is not None
    assert (found.content, collector.troubles) == (b"content", {})


def test_what_ends_in_the_middle_is_not_taken_for_whole() -> None:
    """An object that was cut off still has a hash of the whole."""
    [chunk] = chunks_of(bytes(range(256)) * 8, 1)
    with pytest.raises(ShardUnreadable, match="in the middle"):
        join([replace(chunk, data=chunk.data[: len(chunk.data) // 8 * 4])])


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of zeros packed a thousandfold must not take the pod's memory."""
    [chunk] = split("default", 0, 1, 1, bytes(1 << 20))
    monkeypatch.setattr(published, "MAX_SHARD_BYTES", 1 << 19)
    with pytest.raises(ShardUnreadable, match="more than"):
        join([chunk])


def test_a_table_that_is_gone_is_missed_and_its_shard_stays() -> None:
    """A deleted table is nobody's intention while its plane is there."""
    collector = Collector("default")
    [first] = chunks_of(b"a", 1, index=0, shards=2)
    [second] = chunks_of(b"b", 1, index=1, shards=2)
    for chunk in (first, second):
        assert take(collector, chunk) is not None

    collector.listed({first.name})
    assert list(collector.troubles) == [second.name]
    collector.deleted(first.name)
    assert len(collector.troubles) == 2
    for chunk in (first, second):
        assert take(collector, chunk) is None  # what it says is known
    assert collector.troubles == {}


def test_a_surplus_chunk_may_go() -> None:
    """A shard that shrinks needs fewer objects."""
    collector = Collector("default")
    for chunk in chunks_of(b"a" * 50, 3):
        take(collector, chunk)
    [small] = chunks_of(b"a", 1, revision=2)
    assert take(collector, small) is not None

    collector.deleted(table_name("default", 0, 2))
    collector.listed({small.name, *(table_name("default", index) for index in (1, 2, 3))})

    assert collector.troubles == {}


@given(st.binary(max_size=2000), st.integers(0, 63))
def test_what_is_split_is_joined_again(content: bytes, index: int) -> None:
    """The same on both sides."""
    chunks = split("default", index, 64, 7, content)
    again = [chunk_of(spec_of(chunk)) for chunk in reversed(chunks)]
    assert join(again) == content
    assert {chunk.hash for chunk in chunks} == {content_hash(content)}


def test_a_shard_that_fits_nowhere_is_refused() -> None:
    """With its size and the limits."""
    with pytest.raises(ShardTooLarge, match=str(MAX_SHARD_BYTES)):
        split("default", 3, 64, 1, bytes(MAX_SHARD_BYTES + 1))


def test_names_are_of_a_length_that_the_api_server_takes_and_never_the_same() -> None:
    """Labels have 63 characters at most; two long names that begin alike are two."""
    long = "gateway." + "n" * 60 + "."
    labels = {plane_label(long + name) for name in ("chat", "calls")}
    assert len(labels) == 2
    assert all(len(label) <= 41 for label in labels)
    assert table_name("default", 3) == "default-03"
    assert table_name("default", 17, 2) == "default-17-2"
    assert CHUNK_BYTES * 4 / 3 < 700_000


def test_a_key_has_the_same_shard_for_ever() -> None:
    """Shards that were published would be torn apart by another release else."""
    assert [shard_of(f"uid-{n}", 64) for n in range(4)] == [40, 55, 3, 13]
