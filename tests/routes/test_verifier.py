"""A verifier tells the right credential from any other, and gives it to nobody."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.verifier import credential_bytes, is_slow, make_verifier, proof_matches, tag_matches
from support.routes import SALT, TAG_KEY

OTHER_KEY = bytes(reversed(range(32)))


def a_verifier(password: str = "9fKq2LmX7tVb4RzN", *, generated: bool = False) -> routing.Verifier:
    return make_verifier("cometchat@1", "acmehooks", password, generated=generated, salt=SALT, tag_key=TAG_KEY)


@pytest.mark.parametrize("generated", [True, False], ids=["generated", "chosen"])
def test_only_the_credential_matches(generated: bool) -> None:
    """Anything else is a stranger."""
    verifier = a_verifier(generated=generated)

    assert tag_matches(verifier, TAG_KEY, b"acmehooks:9fKq2LmX7tVb4RzN")
    assert proof_matches(verifier, b"acmehooks:9fKq2LmX7tVb4RzN")
    for wrong in (b"", b"acmehooks:", b"acmehooks:9fKq2LmX7tVb4RzM", b"acmehooks:9fKq2LmX7tVb4RzN\n", b"\xff"):
        assert not proof_matches(verifier, wrong)


def test_a_chosen_password_gets_the_slow_hash_with_written_down_parameters() -> None:
    """OWASP's least for Argon2id: a stolen table must not give away what people chose."""
    verifier = a_verifier()

    assert is_slow(verifier)
    assert (verifier.argon2id.memory_kib, verifier.argon2id.iterations, verifier.argon2id.parallelism) == (19456, 2, 1)
    assert len(verifier.argon2id.hash) == 32


def test_a_generated_one_is_a_salted_sha_256() -> None:
    """128 bits of chance need no slow hash, and a start with 10,000 of them must not take minutes."""
    verifier = a_verifier(generated=True)

    assert not is_slow(verifier)
    assert verifier.sha256 == hashlib.sha256(SALT + b"acmehooks:9fKq2LmX7tVb4RzN").digest()


def test_the_tag_tells_nothing_without_its_key() -> None:
    """An unkeyed tag would let a thief of the tables test guesses at the price of a fast hash."""
    verifier = a_verifier(generated=True)

    assert len(verifier.tag) == 2
    assert not tag_matches(verifier, OTHER_KEY, b"acmehooks:9fKq2LmX7tVb4RzN")


def test_the_tag_turns_away_nearly_every_wrong_password() -> None:
    """A flood of wrong passwords must not fill the queue before the slow hash: 1 in 65,536 passes."""
    verifier = a_verifier(generated=True)

    passed = sum(tag_matches(verifier, TAG_KEY, b"acmehooks:%d" % guess) for guess in range(20_000))

    assert passed <= 5


def test_a_verifier_holds_nothing_of_the_password() -> None:
    """Tables are published."""
    assert b"9fKq2LmX7tVb4RzN" not in a_verifier().SerializeToString()


def test_the_tag_and_the_proof_depend_on_the_salt() -> None:
    """Equal passwords of two tenants must not look equal."""
    other = make_verifier(
        "cometchat@1", "acmehooks", "9fKq2LmX7tVb4RzN", generated=False, salt=bytes(16), tag_key=TAG_KEY
    )

    assert other.argon2id.hash != a_verifier().argon2id.hash
    assert other.tag != a_verifier().tag


@pytest.mark.parametrize(
    "verifier",
    [
        routing.Verifier(salt=SALT),
        routing.Verifier(salt=SALT, sha256=b""),
        routing.Verifier(salt=SALT, argon2id=routing.Argon2id()),
        routing.Verifier(
            salt=SALT, argon2id=routing.Argon2id(hash=bytes(32), memory_kib=1 << 30, iterations=2, parallelism=1)
        ),
        routing.Verifier(
            salt=SALT, argon2id=routing.Argon2id(hash=bytes(32), memory_kib=19456, iterations=1 << 31, parallelism=1)
        ),
        routing.Verifier(
            salt=b"", argon2id=routing.Argon2id(hash=bytes(32), memory_kib=19456, iterations=2, parallelism=1)
        ),
    ],
    ids=["no-proof", "empty-hash", "empty-argon2id", "a-terabyte", "a-day", "no-salt"],
)
def test_a_broken_verifier_matches_nothing_and_costs_nothing(verifier: routing.Verifier) -> None:
    """A damaged table must not open a door, nor take the machine's memory."""
    assert not proof_matches(verifier, b"acmehooks:9fKq2LmX7tVb4RzN")


@pytest.mark.parametrize(("salt", "tag_key"), [(b"short", TAG_KEY), (SALT, b"short")], ids=["salt", "key"])
def test_a_salt_or_key_of_the_wrong_size_is_refused(salt: bytes, tag_key: bytes) -> None:
    """An empty key would make the tag what it must not be."""
    with pytest.raises(ValueError, match="salt must be 16 bytes and tag_key 32"):
        make_verifier("c@1", "user", "password", generated=True, salt=salt, tag_key=tag_key)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_may_be_a_credential(username: str, password: str) -> None:
    """Secrets hold what people typed."""
    verifier = make_verifier("c@1", username, password, generated=True, salt=SALT, tag_key=TAG_KEY)
    presented = credential_bytes(username, password)

    assert tag_matches(verifier, TAG_KEY, presented)
    assert proof_matches(verifier, presented)
