"""Verifiers: each is made once, nobody waits behind another's thousands, and nothing outlives its credential."""

import asyncio
import random
import time

import pytest

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_operator.decide.routing import Missing
from hookline_operator.verifiers import VerifierLimits, Verifiers
from hookline_routes.inputs import NeededVerifier, VerifierKey
from hookline_routes.resource import ObjectKey
from hookline_routes.verifier import credential_bytes, is_slow, proof_matches, tag_matches
from support.route_lane import quick, until
from support.routes import TAG_KEY


def a_need(
    secret: str = "s", version: str = "1", password: str = "one", *, generated: bool = False, key: str = "password"
) -> NeededVerifier:
    return NeededVerifier(
        VerifierKey(secret, version, "username", key), f"{secret}@{version}", "user", password, generated
    )


def missing(namespace: str, need: NeededVerifier, name: str = "") -> Missing:
    return Missing(ObjectKey(namespace, name or need.key.secret), need)


class Bench:
    """Verifiers whose making is counted, in order."""

    def __init__(self, limits: VerifierLimits | None = None, seconds: float = 0.0) -> None:
        self.made: list[str] = []
        self.told: list[frozenset[ObjectKey]] = []
        self.seconds = seconds
        chosen = limits or VerifierLimits(threads=1, patience=3600.0)
        self.verifiers = Verifiers(TAG_KEY, self.told.append, chosen, make=self._make)

    def _make(self, need: NeededVerifier, salt: bytes) -> routing.Verifier:
        self.made.append(need.credential)
        time.sleep(self.seconds)
        return quick(need, salt)

    async def work(self) -> None:
        """Until nothing is left."""
        task = asyncio.create_task(self.verifiers.run())
        await until(lambda: not len(self.verifiers), "all are made")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_chosen_password_gets_the_slow_hash_and_is_verified_by_it() -> None:
    """The real thing, once."""
    told: list[frozenset[ObjectKey]] = []
    verifiers = Verifiers(TAG_KEY, told.append)
    need = a_need()
    assert verifiers.find(need) is None

    verifiers.want([missing("acme", need)])
    task = asyncio.create_task(verifiers.run())
    await until(lambda: told, "it is made")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    verifier, presented = verifiers.find(need), credential_bytes("user", "one")
    assert verifier is not None
    assert is_slow(verifier)
    assert tag_matches(verifier, TAG_KEY, presented)
    assert proof_matches(verifier, presented)
    assert not proof_matches(verifier, credential_bytes("user", "two"))
    assert told == [frozenset({ObjectKey("acme", "s")})]


def test_a_generated_one_is_there_at_once_and_stays_the_same() -> None:
    """It costs microseconds; another salt at each look would be another table at each look."""
    verifiers = Verifiers(TAG_KEY, lambda _: None)
    need = a_need(generated=True)

    verifier = verifiers.find(need)

    assert verifier is not None
    assert not is_slow(verifier)
    assert verifiers.find(need) == verifier


async def test_ten_thousand_secrets_are_hashed_once_each() -> None:
    """However many subscriptions name one, however often it is wanted."""
    bench = Bench()
    needs = [a_need(f"s{number}") for number in range(10_000)]
    for number, need in enumerate(needs):
        bench.verifiers.want([missing(f"n{number % 500}", need)])
        if number % 100 == 0:
            bench.verifiers.want([missing(f"n{number % 500}", need, "another")])

    await bench.work()
    bench.verifiers.want([missing("n1", need) for need in needs[:100]])
    await bench.work()

    assert len(bench.made) == len(set(bench.made)) == 10_000
    assert all(bench.verifiers.find(need) for need in needs)
    assert frozenset().union(*bench.told) >= {ObjectKey("n0", "s0"), ObjectKey("n0", "another")}


async def test_a_persons_change_does_not_wait_behind_a_storm() -> None:
    """500 namespaces have 20 each to be made; another's one is next."""
    bench = Bench(seconds=0.0005)
    storm = [missing(f"n{number % 500}", a_need(f"s{number}")) for number in range(10_000)]
    bench.verifiers.want(storm)
    task = asyncio.create_task(bench.verifiers.run())
    await until(lambda: len(bench.made) > 200, "the storm is under way")

    before = len(bench.made)
    bench.verifiers.want([missing("quiet", a_need("person"))])
    await until(lambda: "person@1" in bench.made, "it is made")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert bench.made.index("person@1") - before <= 4


async def test_who_changes_a_secret_all_the_time_delays_nobody() -> None:
    """The namespace that was served longest ago is next, and of one Secret only the newest version is made."""
    bench = Bench()
    for version in range(1, 200):
        bench.verifiers.want([missing("greedy", a_need("hot", str(version), str(version)))])
    bench.verifiers.want([missing("modest", a_need("cold"))])
    for version in range(200, 400):
        bench.verifiers.want([missing("greedy", a_need("hot", str(version), str(version)))])

    await bench.work()

    assert sorted(bench.made) == ["cold@1", "hot@399"]


async def test_namespaces_take_turns() -> None:
    """The newest of each first."""
    bench = Bench()
    bench.verifiers.want([missing("a", a_need(f"a{number}")) for number in range(3)])
    bench.verifiers.want([missing("b", a_need(f"b{number}")) for number in range(3)])

    await bench.work()

    assert bench.made == ["b2@1", "a2@1", "b1@1", "a1@1", "b0@1", "a0@1"]


async def test_a_version_with_the_same_credential_needs_no_hash() -> None:
    """Somebody has put a label on the Secret: it is neither hashed again nor refused for a moment."""
    bench = Bench()
    bench.verifiers.want([missing("acme", a_need())])
    await bench.work()
    old = bench.verifiers.find(a_need())
    assert old is not None

    new = bench.verifiers.find(a_need(version="2"))

    assert new is not None
    assert (new.salt, new.credential) == (old.salt, "s@2")
    assert bench.verifiers.find(a_need(version="3", password="two")) is None
    assert bench.verifiers.find(a_need("other", version="2")) is None
    assert bench.verifiers.find(a_need(version="2", key="other")) is None


def test_what_was_learnt_from_tables_is_carried_over_too() -> None:
    """Once its Secret has been seen: from the table alone nobody can tell what the credential was."""
    verifiers, need = Verifiers(TAG_KEY, lambda _: None), a_need()
    learnt = quick(need, bytes(16))
    verifiers.learn({need.key: learnt})

    assert verifiers.find(a_need(version="2")) is None
    assert verifiers.find(need) == learnt
    assert verifiers.find(a_need(version="2")) is not None


def test_a_chosen_password_never_gets_the_verifier_of_a_generated_one() -> None:
    """The quick hash is for what nobody can guess."""
    verifiers = Verifiers(TAG_KEY, lambda _: None)
    assert verifiers.find(a_need(generated=True)) is not None

    assert verifiers.find(a_need(version="2", generated=False)) is None


async def test_what_is_not_needed_any_more_is_forgotten() -> None:
    """Memory is for the Secrets that there are."""
    bench = Bench()
    bench.verifiers.want([missing("acme", a_need("a")), missing("acme", a_need("b"))])
    await bench.work()

    bench.verifiers.forget(lambda key: key.secret == "a")

    assert bench.verifiers.find(a_need("a")) is not None
    assert bench.verifiers.find(a_need("b")) is None
    assert bench.verifiers.find(a_need("b", version="2")) is None


async def test_one_that_cannot_be_made_stops_no_other() -> None:
    """It stays missing, and is logged without its credential."""
    made: list[str] = []

    def make(need: NeededVerifier, salt: bytes) -> routing.Verifier:
        if need.password == "poison":
            raise ValueError("no")
        made.append(need.credential)
        return quick(need, salt)

    verifiers = Verifiers(TAG_KEY, lambda _: None, VerifierLimits(threads=1), make=make)
    verifiers.want([missing("a", a_need("good")), missing("b", a_need("bad", password="poison"))])
    task = asyncio.create_task(verifiers.run())
    await until(lambda: not len(verifiers), "all are tried")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert made == ["good@1"]
    assert verifiers.find(a_need("bad", password="poison")) is None


async def test_a_storms_verifiers_are_told_of_together() -> None:
    """Each telling is up to 64 tables; one that was made soon is told of at once."""
    bench = Bench(VerifierLimits(threads=2, patience=0.02, longest_pause=0.1), seconds=0.001)
    chance = random.Random(1)
    bench.verifiers.want([missing(f"n{chance.randrange(50)}", a_need(f"s{number}")) for number in range(400)])

    await bench.work()

    assert len(bench.told) < 150
    assert len(frozenset().union(*bench.told)) == 400


async def test_one_that_cant_be_made_is_tried_again_in_a_while_and_not_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At once, it would take a core and fill the log; and what an error says may be the password."""
    tries: list[str] = []

    def fail(need: NeededVerifier, salt: bytes) -> routing.Verifier:
        tries.append(need.credential)
        raise ValueError(f"of {need.password}")

    def want_again(keys: frozenset[ObjectKey]) -> None:
        verifiers.want([missing("acme", a_need(password="hunter2"))])

    limits = VerifierLimits(threads=1, patience=1.0)
    verifiers = Verifiers(TAG_KEY, want_again, limits, make=fail)
    verifiers.want([missing("acme", a_need(password="hunter2"))])
    task = asyncio.create_task(verifiers.run())
    began = time.monotonic()
    await until(lambda: len(tries) == 3, "it is tried again")
    took = time.monotonic() - began
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert took >= 0.4
    assert len(tries) <= 4
    assert "hunter2" not in "".join(str(vars(record)) for record in caplog.records)
