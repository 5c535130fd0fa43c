"""Tables as they are stored: several chunks, interrupted writes, and what is known of them afterwards."""

import os
from typing import Any

import pytest

from hookline.routing.v1.table_pb2 import RouteShard
from hookline_operator.apply.api import Conflict, Unavailable
from hookline_operator.apply.route_tables import RouteTables
from hookline_operator.decide.shards import PublishedShard, ShardName, published, shards_in, stored
from hookline_operator.resource_types import ROUTE_TABLES
from hookline_routes.shard import CHUNK_BYTES, ShardTooLarge, content_hash
from support.route_lane import HOME, TablesMemory

SHARD = ShardName("default", 3)


def a_content(size: int = 0) -> bytes:
    """That can't be compressed."""
    return RouteShard(format=1, tag_key_id=os.urandom(size)).SerializeToString()


LARGE = CHUNK_BYTES * 5 // 2


async def test_a_shard_too_large_for_one_object_comes_in_several_of_one_revision() -> None:
    """And what it needs no more is deleted when it shrinks."""
    api = TablesMemory()
    tables, content = RouteTables(api, HOME), a_content(LARGE)

    after = await tables.write(SHARD, content, {})

    assert sorted(api.tables) == ["default-03", "default-03-1", "default-03-2"]
    assert [name for _, _, name in api.writes] == ["default-03-2", "default-03-1", "default-03"]
    assert published(map(stored, api.tables.values())) == PublishedShard(1, content_hash(content)) == after

    await tables.write(SHARD, a_content(10), {})
    assert sorted(api.tables) == ["default-03"]
    assert api.tables["default-03"]["spec"]["revision"] == 2


async def test_a_write_that_ends_in_the_middle_is_read_as_nothing_and_done_again() -> None:
    """A reader sees chunks of two revisions, and keeps what it has."""
    api = TablesMemory()
    tables = RouteTables(api, HOME)
    await tables.write(SHARD, a_content(LARGE), {"uid": b"entry"})
    api.refuse = lambda verb, kind, name: Unavailable("PUT", 0, "reset", "") if name == "default-03" else None
    content = a_content(LARGE)
    with pytest.raises(Unavailable):
        await tables.write(SHARD, content, {"uid": b"entry"})
    api.refuse = lambda *_: None
    assert published(map(stored, api.tables.values())) == PublishedShard(2)

    assert not (await tables.read(SHARD)).foreign
    after = await tables.write(SHARD, content, {"uid": b"entry"})

    assert after.revision == 3
    assert published(map(stored, api.tables.values())).hash == content_hash(content)


async def test_another_starts_where_the_killed_one_was() -> None:
    """Revisions never go back: a pod takes the higher one."""
    api = TablesMemory()
    first = RouteTables(api, HOME)
    await first.write(SHARD, a_content(LARGE), {})
    api.refuse = lambda verb, kind, name: Unavailable("PUT", 0, "reset", "") if name == "default-03" else None
    with pytest.raises(Unavailable):
        await first.write(SHARD, a_content(LARGE), {})
    api.refuse = lambda *_: None

    second = RouteTables(api, HOME)
    await second.read_all()
    assert second.get(SHARD) == PublishedShard(2)
    await second.write(SHARD, a_content(10), {})

    assert sorted(api.tables) == ["default-03"]
    assert api.tables["default-03"]["spec"]["revision"] == 3


async def test_a_table_of_the_same_name_that_somebody_made_is_written_over() -> None:
    """Once it has been read; until then the API server refuses."""
    api = TablesMemory()
    tables = RouteTables(api, HOME)
    foreign: dict[str, Any] = {"metadata": {"name": "default-03", "namespace": HOME}, "spec": {"plane": 4}}
    api.put(ROUTE_TABLES, foreign)
    with pytest.raises(Conflict):
        await tables.write(SHARD, a_content(), {})

    assert (await tables.read(SHARD)).foreign
    await tables.write(SHARD, a_content(), {})

    assert api.tables["default-03"]["spec"]["plane"] == "default"


async def test_a_write_that_was_done_without_an_answer_is_not_anothers() -> None:
    """It is recognised by its revision and hash."""
    api = TablesMemory()
    tables = RouteTables(api, HOME)
    content, store = a_content(), api._store

    def unanswered(*arguments: Any) -> Any:
        store(*arguments)
        raise Unavailable("POST", 0, "reset", "")

    api._store = unanswered  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await tables.write(SHARD, content, {})
    api._store = store  # type: ignore[method-assign]

    assert not (await tables.read(SHARD)).foreign
    assert tables.get(SHARD).hash == content_hash(content)
    api.put(ROUTE_TABLES, api.tables["default-03"])
    assert not (await tables.read(SHARD)).foreign
    other = RouteTables(api, HOME)
    await other.read_all()
    await other.write(SHARD, a_content(20), {})
    assert (await tables.read(SHARD)).foreign


async def test_a_shard_that_no_object_can_hold_is_refused_before_anything_is_written() -> None:
    """Its limit and size are named."""
    api = TablesMemory()

    with pytest.raises(ShardTooLarge, match="shard 3 of plane default has 6000007 bytes"):
        await RouteTables(api, HOME).write(SHARD, a_content(6_000_000), {})

    assert api.writes == []


async def test_a_look_names_what_is_otherwise_than_known_and_what_belongs_to_nothing() -> None:
    """By metadata alone: it is done again and again."""
    api = TablesMemory()
    tables = RouteTables(api, HOME)
    wanted = shards_in("default")
    for shard in wanted[:5]:
        await tables.write(shard, a_content(), {})
    await tables.write(ShardName("gone", 0), a_content(), {})
    await tables.write(ShardName("kept", 0), a_content(), {})
    api.put(ROUTE_TABLES, api.tables["default-01"])
    del api.objects["RouteTable", HOME, "default-02"]

    strange = await tables.look(wanted, {"kept"})

    assert strange.shards == {ShardName("default", 1), ShardName("default", 2)}
    assert list(strange.orphans) == ["gone-00"]
