"""Who is let in, what it costs, and what a wrong password learns."""

import asyncio
import hmac
import threading
import time
from collections.abc import Callable

import pytest

from hookline_receiver.auth.authenticate import Closed, Gate, Opened, Way
from hookline_receiver.auth.basic_auth import credential
from hookline_receiver.auth.credentials import SLOTS, Verifier, slots, verifier_of
from hookline_receiver.auth.slow_hash import SlowHashes, SlowHashesBusy
from hookline_receiver.tag_keys import TagKeys
from support.receiver import PASSWORD, TAG_KEY, USERNAME, Credential, a_verifier, basic

PATH = b"/acme/chat"
GENERATED = Credential()
CHOSEN = Credential(generated=False)
TAGS = TagKeys(TAG_KEY)


class Counted(SlowHashes):
    """Slow hashes, how many were asked for and how long they took."""

    def __init__(self, max_waiting: int = 48) -> None:
        super().__init__(max_waiting, 8)
        self.asked = 0
        self.seconds = 0.0

    async def run(self, key: bytes, lane: bytes, work: Callable[[], bool]) -> bool:
        self.asked += 1

        def timed() -> bool:
            began = time.thread_time()
            right = work()
            self.seconds += time.thread_time() - began
            return right

        return await super().run(key, lane, timed)


def a_gate(slow: SlowHashes | None = None, remembered: int = 100) -> Gate:
    return Gate(slow or Counted(), remembered=remembered)


def verifiers(*credentials: Credential) -> list[Verifier]:
    return [verifier_of(a_verifier("/acme/chat", given)) for given in credentials]


def header(password: str = PASSWORD, username: str = USERNAME) -> bytes:
    return basic(username, password).encode()


def colliding(path: bytes, known: list[Verifier]) -> bytes:
    """A wrong password's header that passes the tag of the first slot of *path*."""
    first = slots(known, path, TAG_KEY)[0]
    salt, tag = first.salt, first.tag
    for n in range(2_000_000):
        shown = b"u:%d" % n
        if hmac.digest(TAG_KEY, salt + shown, "sha256").startswith(tag):
            return basic("u", str(n)).encode()
    raise AssertionError("no collision found")


@pytest.mark.parametrize(("given", "way"), [(GENERATED, Way.FAST), (CHOSEN, Way.SLOW)], ids=["generated", "chosen"])
async def test_a_right_credential_opens_and_is_remembered(given: Credential, way: Way) -> None:
    """The second time costs a look-up, whatever the proof."""
    gate, known = a_gate(), verifiers(given)

    assert gate.known(known, header()) is None
    assert await gate.verify(known, header(), PATH, TAGS) == Opened(known[0].credential, way)
    assert gate.known(known, header()) == Opened(known[0].credential, Way.CACHED)


@pytest.mark.parametrize("place", range(4), ids=["first", "second", "third", "fourth"])
async def test_any_of_four_opens(place: int) -> None:
    """While credentials are rotated several are live."""
    four = [Credential(username=f"user{n}", generated=n % 2 == 0) for n in range(4)]
    known = verifiers(*four)

    opened = await a_gate().verify(known, header(username=f"user{place}"), PATH, TAGS)

    assert isinstance(opened, Opened)
    assert opened.credential == known[place].credential


async def test_a_removed_credential_stops_at_once() -> None:
    """Revocation must not wait for a cache."""
    gate, known = a_gate(), verifiers(GENERATED, Credential(username="other"))
    await gate.verify(known, header(), PATH, TAGS)

    rest = known[1:]

    assert gate.known(rest, header()) is None
    assert await gate.verify(rest, header(), PATH, TAGS) == Closed(shown=True)


async def test_a_changed_credential_of_the_same_name_is_another() -> None:
    """The cache holds what was proven for a verifier's bytes, not for its name."""
    gate = a_gate()
    old, new = verifiers(GENERATED), verifiers(Credential(password="changed"))
    assert old[0].credential == new[0].credential
    await gate.verify(old, header(), PATH, TAGS)

    assert gate.known(new, header()) is None


async def test_one_tenants_password_does_not_open_anothers_endpoint() -> None:
    """Equal users with equal passwords are still told apart by the verifier."""
    gate = a_gate()
    await gate.verify(verifiers(GENERATED), header(), PATH, TAGS)
    other = [verifier_of(a_verifier("/globex/chat", Credential(password="another")))]

    assert gate.known(other, header()) is None


async def test_memory_is_bounded() -> None:
    """The longest unused is forgotten first."""
    gate = a_gate(remembered=2)
    known = verifiers(*(Credential(username=f"user{n}") for n in range(3)))
    for n in (0, 1):
        await gate.verify(known, header(username=f"user{n}"), PATH, TAGS)
    gate.known(known, header(username="user0"))

    await gate.verify(known, header(username="user2"), PATH, TAGS)

    assert [gate.known(known, header(username=f"user{n}")) is not None for n in range(3)] == [True, False, True]


@pytest.mark.parametrize(
    "known", [[], verifiers(CHOSEN), verifiers(GENERATED)], ids=["unknown path", "chosen", "generated"]
)
async def test_a_wrong_password_is_turned_away_without_a_slow_hash(known: list[Verifier]) -> None:
    """All but one of 16,384 cost microseconds: a flood of them can't make anybody wait."""
    slow = Counted()
    gate = a_gate(slow)

    answers = {await gate.verify(known, header(f"wrong{n}"), PATH, TAGS) for n in range(300)}

    assert answers == {Closed(shown=True)}
    assert slow.asked <= 2


@pytest.mark.parametrize(
    "known", [[], verifiers(CHOSEN), verifiers(GENERATED)], ids=["unknown path", "chosen", "generated"]
)
async def test_a_wrong_password_that_passes_a_tag_costs_the_same_everywhere(known: list[Verifier]) -> None:
    """Else the rare slow refusal would tell which paths exist, and which have chosen passwords."""
    slow = Counted()
    wrong = colliding(PATH, known)

    assert await a_gate(slow).verify(known, wrong, PATH, TAGS) == Closed(shown=True)

    assert slow.asked == 1
    assert slow.seconds > 0.002


OTHER_KEY = b"another tag key of 32 bytes here"


@pytest.mark.parametrize(
    "tags",
    [TagKeys(OTHER_KEY, (TAG_KEY,)), TagKeys(TAG_KEY, (OTHER_KEY,)), TagKeys(OTHER_KEY, incomplete=True)],
    ids=["former", "next", "not known"],
)
@pytest.mark.parametrize("given", [CHOSEN, GENERATED], ids=["chosen", "generated"])
async def test_a_right_password_opens_while_the_tag_key_is_being_changed(tags: TagKeys, given: Credential) -> None:
    """Tags are there to turn floods away: the proof decides, whatever they were made with."""
    answer = await a_gate().verify(verifiers(given), header(), PATH, tags)

    assert isinstance(answer, Opened)


@pytest.mark.parametrize("known", [[], verifiers(CHOSEN), verifiers(GENERATED)], ids=["unknown", "chosen", "generated"])
async def test_wrong_passwords_cost_the_same_everywhere_without_the_tags_key(known: list[Verifier]) -> None:
    """Else, for as long as a change of the key takes, the time of a refusal would tell which paths exist."""
    slow = Counted()

    answer = await a_gate(slow).verify(known, header("wrong"), PATH, TagKeys(OTHER_KEY, incomplete=True))

    assert (answer, slow.asked) == (Closed(shown=True), SLOTS)


async def test_a_wrong_password_is_hashed_slowly_once() -> None:
    """Who has found one that passes a tag can't keep the thread busy by sending it again."""
    slow = Counted()
    gate = a_gate(slow)
    wrong = colliding(PATH, [])

    for _ in range(3):
        await gate.verify([], wrong, PATH, TAGS)

    assert slow.asked == 1


async def test_equal_headers_in_flight_share_one_computation() -> None:
    """A burst after a rotation comes with one new password, a hundred times."""
    computed: list[int] = []
    slow = SlowHashes(4, 4)

    def work() -> bool:
        computed.append(threading.get_ident())
        return True

    assert all(await asyncio.gather(*(slow.run(b"k", PATH, work) for _ in range(100))))
    assert len(computed) == 1
    assert computed[0] != threading.get_ident()


async def test_paths_take_turns() -> None:
    """A crowd on one path costs another path one hash of delay."""
    slow = SlowHashes(40, 20)
    order: list[str] = []
    held = threading.Event()

    async def one(name: str, lane: bytes) -> None:
        await slow.run(name.encode(), lane, lambda: held.wait(10))
        order.append(name)

    crowd = [asyncio.create_task(one(f"crowd{n}", b"/a/a")) for n in range(10)]
    await asyncio.sleep(0)
    other = asyncio.create_task(one("other", b"/b/b"))
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(other, *crowd)

    assert order.index("other") <= 2


async def test_the_queue_is_bounded_for_all_and_for_each_path() -> None:
    """What can't be answered within the sender's patience is told so at once, not queued."""
    slow = SlowHashes(6, 4)
    held = threading.Event()

    def submit(n: int, lane: bytes) -> asyncio.Task[bool]:
        return asyncio.create_task(slow.run(b"%d" % n, lane, lambda: held.wait(10)))

    tasks = [submit(n, b"/a/a") for n in range(6)] + [submit(n, b"/b/b") for n in range(6, 10)]
    done, waiting = await asyncio.wait(tasks, timeout=0.2)
    held.set()
    await asyncio.gather(*waiting)

    refused = [isinstance(task.exception(), SlowHashesBusy) for task in tasks]
    assert sum(refused[:6]) >= 1
    assert sum(refused[6:]) >= 1
    assert len(done) == sum(refused)
    assert refused.count(False) == 6


async def test_a_busy_queue_is_not_a_wrong_password() -> None:
    """The sender is told to come again, not that its password is wrong."""
    gate = a_gate(SlowHashes(0, 8))

    assert await gate.verify(verifiers(CHOSEN), header(), PATH, TAGS) == Closed(shown=True, busy=True)


async def test_a_hash_that_fails_is_said_to_who_waits_and_no_others() -> None:
    """The queue goes on."""
    slow = SlowHashes(6, 4)

    def broken() -> bool:
        raise MemoryError

    with pytest.raises(MemoryError):
        await slow.run(b"1", PATH, broken)
    assert await slow.run(b"2", PATH, lambda: True)


async def test_whoever_stops_waiting_does_not_take_the_hash_with_him() -> None:
    """A sender that hangs up after 2 s finds its password verified when it comes again."""
    slow = SlowHashes(6, 4)
    gate, known = a_gate(slow), verifiers(CHOSEN)

    first = asyncio.create_task(gate.verify(known, header(), PATH, TAGS))
    second = asyncio.create_task(gate.verify(known, header(), PATH, TAGS))
    await asyncio.sleep(0)
    first.cancel()

    assert isinstance(await second, Opened)


async def test_nothing_is_shown_without_a_header() -> None:
    """No header, or one that shows nothing, costs nothing."""
    slow = Counted()
    gate = a_gate(slow)

    assert gate.known(verifiers(CHOSEN), None) is None
    assert await gate.verify(verifiers(CHOSEN), None, PATH, TAGS) == Closed(shown=False)
    assert await gate.verify(verifiers(CHOSEN), b"Bearer x", PATH, TAGS) == Closed(shown=False)
    assert slow.asked == 0


def test_every_endpoint_is_looked_at_through_four_slots() -> None:
    """The count of verifiers must not show in the time that a wrong password takes."""
    for count in range(SLOTS + 1):
        known = verifiers(*(Credential(username=f"user{n}") for n in range(count)))
        assert len(slots(known, PATH, TAG_KEY)) == SLOTS


def test_decoys_are_fixed_for_path_and_key() -> None:
    """Workers and pods agree on them, and nothing about one path says anything about another's."""
    assert slots([], PATH, TAG_KEY) == slots([], PATH, TAG_KEY)
    made = [slot for path in (PATH, b"/x/y") for key in (TAG_KEY, b"x") for slot in slots([], path, key)]
    assert len({slot.salt for slot in made}) == len({slot.fingerprint for slot in made}) == 16


def test_a_header_is_nowhere_in_memory_that_is_kept() -> None:
    """What is remembered is a keyed digest; even its first bytes differ between two gates."""
    shown = credential(header())
    assert shown is not None
    one, other = a_gate(), a_gate()

    assert one._digest(header()) != other._digest(header())
    assert header() not in one._digest(header())
