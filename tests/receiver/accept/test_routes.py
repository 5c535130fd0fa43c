"""Which endpoint a path leads to, and how routes are swapped."""

import os
from pathlib import Path

import pytest

from hookline.routing.v1.snapshot_pb2 import Endpoint, Part, ReceiverSnapshot
from hookline_receiver.limits.rate import RateLimit
from hookline_receiver.parts import part_file, part_name
from hookline_receiver.route_file import RouteFile
from hookline_receiver.routes import Routes, SnapshotUnreadable, read_snapshot
from support.receiver import Credential, a_snapshot, an_endpoint, replace_file


def test_an_endpoint_is_as_the_snapshot_says() -> None:
    """Every field that is judged by."""
    message = an_endpoint(
        "/acme/chat",
        Credential(),
        Credential(username="b", generated=False),
        rate=(10, 20),
        app_ids=["x"],
        max_body_bytes=7,
        max_pending_bytes=9,
        suspended=True,
        without_credentials="none",
    )

    found = read_snapshot(a_snapshot(message).SerializeToString()).find(b"", b"/acme/chat")

    assert found is not None
    assert (found.path, str(found.subscription), found.subscription.uid) == (
        b"/acme/chat",
        "acme/chat",
        "uid-acme-chat",
    )
    assert (found.app_ids, found.max_body_bytes, found.max_pending_bytes) == ({"x"}, 7, 9)
    assert (found.rate_limit, found.suspended, found.without_credentials) == (RateLimit(10, 20), True, "none")
    assert [(v.credential, v.slow) for v in found.verifiers] == [
        ("acme.chat-acmehooks@1", False),
        ("acme.chat-b@1", True),
    ]


@pytest.mark.parametrize(
    "path", [b"/acme%2Fchat", b"/%61cme/chat", b"/acme/chat/", b"//acme/chat", b"/acme/Chat", b"/", b"", b"*"], ids=repr
)
def test_a_path_is_matched_exactly(path: bytes) -> None:
    """Two ways to write a path would be two ways around whatever stands before us."""
    assert Routes(a_snapshot(an_endpoint("/acme/chat"))).find(b"", path) is None


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (b"hooks.example.com", True),
        (b"HOOKS.example.com:443", True),
        (b"hooks.example.com.", True),
        (b"other.example.com", False),
        (b"", False),
        (b"hooks.example.com:x", False),
    ],
    ids=["plain", "case and port", "dot", "other", "none", "no port"],
)
def test_host_names_are_held_where_given(host: bytes, found: bool) -> None:
    """A gateway may answer under its own names only."""
    routes = Routes(a_snapshot(an_endpoint("/acme/chat"), hostnames=["hooks.example.com"]))

    assert (routes.find(host, b"/acme/chat") is not None) is found


def test_an_unknown_path_is_measured_like_the_largest() -> None:
    """An announced size must not tell which paths exist."""
    routes = Routes(a_snapshot(an_endpoint("/a/a", max_body_bytes=5), an_endpoint("/b/b", max_body_bytes=9)))

    assert routes.unknown_path_limit == 9
    assert Routes(a_snapshot()).unknown_path_limit == 2 * 1024 * 1024


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xff\xff", a_snapshot(format=3).SerializeToString(), a_snapshot(format=0).SerializeToString()],
    ids=["empty", "broken", "newer", "no format"],
)
def test_what_is_no_snapshot_is_said_to_be_none(content: bytes) -> None:
    """An empty file is not an order to refuse everybody."""
    with pytest.raises(SnapshotUnreadable):
        read_snapshot(content)


def version(routes: RouteFile) -> str:
    return routes.current.version if routes.current is not None else ""


def test_a_new_file_is_swapped_in(tmp_path: Path) -> None:
    """Within a poll."""
    file = tmp_path / "receiver.binpb"
    routes = RouteFile(file)
    assert not routes.poll()
    assert "does not exist" in routes.trouble

    replace_file(file, a_snapshot(version="1").SerializeToString())

    assert routes.poll()
    assert not routes.poll()
    assert (version(routes), routes.trouble) == ("1", "")


@pytest.mark.parametrize("bad", [b"", b"\xff\xff", None], ids=["empty", "broken", "gone"])
def test_the_last_good_routes_stay(tmp_path: Path, bad: bytes | None) -> None:
    """A broken file, or one of a newer release, must not refuse every tenant."""
    file = tmp_path / "receiver.binpb"
    replace_file(file, a_snapshot(version="1").SerializeToString())
    routes = RouteFile(file)
    routes.poll()
    if bad is None:
        file.unlink()
    else:
        replace_file(file, bad)

    assert not routes.poll()
    assert version(routes) == "1"
    assert str(file) in routes.trouble

    replace_file(file, a_snapshot(version="2").SerializeToString())
    assert routes.poll()
    assert (version(routes), routes.trouble) == ("2", "")


def test_a_file_is_known_by_more_than_its_time(tmp_path: Path) -> None:
    """Two replacements within one tick of the file system's clock are two."""
    file = tmp_path / "receiver.binpb"
    replace_file(file, a_snapshot(version="1").SerializeToString())
    routes = RouteFile(file)
    routes.poll()
    stamp = file.stat().st_mtime_ns

    replace_file(file, a_snapshot(version="2").SerializeToString())
    os.utime(file, ns=(stamp, stamp))

    assert routes.poll()
    assert version(routes) == "2"


def write_parts(file: Path, version: str, *parts: ReceiverSnapshot) -> list[Path]:
    """An index that names *parts*, written as the agent does; their files."""
    files = []
    for part in parts:
        content = part.SerializeToString(deterministic=True)
        written = part_file(file, part_name(content))
        written.parent.mkdir(exist_ok=True)
        written.write_bytes(content)
        files.append(written)
    named = [Part(name=each.stem, shard=shard) for shard, each in enumerate(files)]
    replace_file(file, a_snapshot(version=version, format=2, parts=named).SerializeToString())
    return files


def a_part(*endpoints: Endpoint) -> ReceiverSnapshot:
    """Nothing but endpoints."""
    return ReceiverSnapshot(format=1, endpoints=endpoints)


def test_parts_that_are_known_are_not_read_again(tmp_path: Path) -> None:
    """Of ten thousand endpoints one changes; the others, unpacked or not, are the same objects."""
    file = tmp_path / "receiver.binpb"
    chat, calls = an_endpoint("/acme/chat"), an_endpoint("/acme/calls")
    kept, _ = write_parts(file, "1", a_part(chat), a_part(calls))
    routes = RouteFile(file)
    assert routes.poll()
    assert routes.current is not None
    before = routes.current.find(b"", b"/acme/chat")
    kept.unlink()  # who knows it does not need it

    write_parts(file, "2", a_part(an_endpoint("/acme/calls", max_body_bytes=9)))
    index = ReceiverSnapshot.FromString(file.read_bytes())
    index.parts.insert(0, Part(name=kept.stem))
    replace_file(file, index.SerializeToString())

    assert routes.poll()
    assert routes.current.find(b"", b"/acme/chat") is before
    changed = routes.current.find(b"", b"/acme/calls")
    assert changed is not None
    assert (changed.max_body_bytes, routes.current.unknown_path_limit, routes.current.count) == (9, 64 * 1024, 2)
    assert set(routes.current.credentials()) == {"acme.chat-acmehooks@1", "acme.calls-acmehooks@1"}


def test_a_path_that_two_parts_have_is_the_first_ones(tmp_path: Path) -> None:
    """When a path moves, its two shards are not published at the same moment: neither file may be refused for it."""
    file = tmp_path / "receiver.binpb"
    write_parts(file, "1", a_part(an_endpoint("/acme/chat", uid="one")), a_part(an_endpoint("/acme/chat", uid="two")))

    routes = RouteFile(file)

    assert routes.poll()
    assert routes.current is not None
    found = routes.current.find(b"", b"/acme/chat")
    assert found is not None
    assert found.subscription.uid == "one"


@pytest.mark.parametrize("damage", ["gone", "torn", "newer", "elsewhere"])
def test_an_index_whose_parts_can_not_be_read_leaves_the_last_good_routes(tmp_path: Path, damage: str) -> None:
    """And is read as soon as they can be."""
    file = tmp_path / "receiver.binpb"
    write_parts(file, "1", a_part(an_endpoint("/acme/chat")))
    routes = RouteFile(file)
    routes.poll()
    good = a_part(an_endpoint("/acme/calls"))
    if damage == "newer":
        good.format = 2
    [part] = write_parts(file, "2", good)
    content = part.read_bytes()
    if damage == "gone":
        part.unlink()
    elif damage == "torn":
        part.write_bytes(content[:-1])
    elif damage == "elsewhere":
        outside = tmp_path / "outside.binpb"
        outside.write_bytes(content)
        index = a_snapshot(version="2", format=2, parts=[Part(name="../outside")])
        replace_file(file, index.SerializeToString())

    assert not routes.poll()
    assert version(routes) == "1"
    assert routes.trouble

    if damage in ("gone", "torn"):
        part.write_bytes(content)
        assert routes.poll()
        assert (version(routes), routes.trouble) == ("2", "")
