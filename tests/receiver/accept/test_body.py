"""Reading the body: whole or not at all, and never beyond the limit."""

import asyncio
import gzip
import zlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.encoding import ContentEncoding
from hookline_receiver.limits.arriving import Arriving
from hookline_receiver.request import Receive, Room, read_body
from hookline_receiver.verdict import Reason, Refused
from support.accept import a_head, receiving

LIMIT = 2000
ROOM = Room(LIMIT, "uid", Arriving(1 << 20))


async def read(
    *pieces: bytes, announced: int | None = None, packed: bool = False, ends: bool = True
) -> bytes | Refused:
    encoding = ContentEncoding.GZIP if packed else ContentEncoding.IDENTITY
    return await read_body(receiving(*pieces, ends=ends), a_head(content_length=announced), encoding, ROOM)


def reason_of(verdict: bytes | Refused) -> Reason:
    assert isinstance(verdict, Refused)
    return verdict.reason


@given(pieces=st.lists(st.binary(max_size=50), max_size=12))
async def test_pieces_are_put_together(pieces: list[bytes]) -> None:
    """Where the network cuts is nobody's business."""
    assert await read(*pieces, announced=len(b"".join(pieces))) == b"".join(pieces)


@given(body=st.binary(max_size=LIMIT), cuts=st.lists(st.integers(0, 1000)), members=st.integers(1, 3))
async def test_gzip_is_unpacked_to_the_byte(body: bytes, cuts: list[int], members: int) -> None:
    """Several members in one body are one body (RFC 1952)."""
    step = len(body) // members + 1
    packed = b"".join(gzip.compress(body[n : n + step]) for n in range(0, max(1, len(body)), step))
    places = sorted({0, len(packed), *(cut % len(packed) for cut in cuts)})

    assert await read(*[packed[a:b] for a, b in pairwise(places)], packed=True) == body


@pytest.mark.parametrize("ends", [True, False], ids=["short", "gone"])
async def test_a_body_shorter_than_announced_is_not_taken(ends: bool) -> None:
    """A part of an event that looks whole would be a 200 for something that CometChat did not send."""
    assert reason_of(await read(b'{"trigger":"x"}', announced=16, ends=ends)) is Reason.TRUNCATED


async def test_a_chunked_body_whose_sender_goes_away_is_not_taken() -> None:
    """Nothing was announced, so only the end that did not come tells."""
    assert reason_of(await read(b'{"trigger":"x"}', ends=False)) is Reason.TRUNCATED


async def test_a_server_that_raises_is_understood() -> None:
    """Servers tell of a lost sender in one of two ways."""

    async def receive() -> Mapping[str, Any]:
        raise ConnectionResetError("gone")

    verdict = await read_body(receive, a_head(), ContentEncoding.IDENTITY, ROOM)

    assert reason_of(verdict) is Reason.TRUNCATED


@pytest.mark.parametrize("pieces", [(b"x" * 2001,), (b"x" * 1600, b"x" * 401)], ids=["one", "two"])
async def test_reading_ends_above_the_limit(pieces: tuple[bytes, ...]) -> None:
    """A body that was not announced is measured while it comes."""
    assert reason_of(await read(*pieces)) is Reason.TOO_LARGE
    assert await read(b"x" * LIMIT) == b"x" * LIMIT


async def test_what_comes_after_the_limit_is_not_waited_for() -> None:
    """An endless body must not hold us."""
    served = 0

    async def receive() -> Mapping[str, Any]:
        nonlocal served
        served += 1
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    await read_body(receive, a_head(), ContentEncoding.IDENTITY, ROOM)

    assert served == 21


async def test_a_bomb_is_cut_at_the_limit() -> None:
    """Two thousand bytes that unpack to a million."""
    bomb = gzip.compress(bytes(950_000))
    assert len(bomb) <= LIMIT

    assert reason_of(await read(bomb, packed=True)) is Reason.TOO_LARGE


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1], ids=["equal", "above"])
async def test_the_limit_holds_for_what_is_unpacked(size: int) -> None:
    """To the byte, however small it was packed."""
    verdict = await read(gzip.compress(bytes(size)), packed=True)

    assert (verdict == bytes(size)) if size == LIMIT else reason_of(verdict) is Reason.TOO_LARGE


WHOLE = gzip.compress(b'{"trigger":"x"}')


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"{}",
        WHOLE[:-1],
        WHOLE[:12],
        WHOLE + b"rest",
        WHOLE[:-8] + bytes(8),
        zlib.compress(b"x"),
        gzip.compress(b"") * 65,
    ],
    ids=["empty", "plain", "cut", "cut early", "rest", "checksum", "zlib", "many members"],
)
async def test_what_is_not_whole_gzip_is_refused(packed: bytes) -> None:
    """What can't be unpacked to the end is no body."""
    assert reason_of(await read(packed, packed=True)) is Reason.BAD_ENCODING


async def test_what_arrives_slowly_is_bounded_over_all_connections() -> None:
    """Each within its limit, two thousand connections of one tenant would fill the memory that all share."""
    arriving = Arriving(3000)
    stalled: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
    pieces = iter([{"type": "http.request", "body": bytes(800), "more_body": True}])

    async def receive() -> Mapping[str, Any]:
        return next(pieces, None) or await stalled

    async def of(uid: str, receive: Receive) -> bytes | Refused:
        return await read_body(receive, a_head(), ContentEncoding.IDENTITY, Room(LIMIT, uid, arriving))

    slow = asyncio.create_task(of("uid", receive))
    await asyncio.sleep(0)

    assert reason_of(await of("uid", receiving(bytes(200), bytes(200)))) is Reason.BUSY
    assert await of("other", receiving(bytes(200), bytes(200))) == bytes(400)
    stalled.set_result({"type": "http.request", "body": b"", "more_body": False})
    assert await slow == bytes(800)
    assert await of("uid", receiving(bytes(200), bytes(200))) == bytes(400)


@given(bodies=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 500), st.booleans()), max_size=50))
async def test_the_memory_of_bodies_is_given_back_however_they_end(bodies: list[tuple[str, int, bool]]) -> None:
    """A leak would refuse everybody in the end."""
    arriving = Arriving(3 * LIMIT)

    for uid, size, ends in bodies:
        receive = receiving(bytes(size), bytes(size * 4), b"x", ends=ends)
        await read_body(receive, a_head(), ContentEncoding.IDENTITY, Room(LIMIT, uid, arriving))

    assert arriving.take("any", LIMIT)
