"""
The verifiers that an endpoint is looked at through: its own, filled up with decoys. Pure.

A wrong password must cost the same whether the path exists or not, and whatever credentials it has. So every endpoint,
and every path that is none, is looked at through four slots.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.verifier import HASH_BYTES, ITERATIONS, MEMORY_KIB, PARALLELISM, SALT_BYTES, TAG_BYTES, is_slow

SLOTS = 4
"""Verifiers that an endpoint has at most."""

_SLOT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Verifier:
    """Proves one credential without holding it."""

    credential: str
    """Names it for people and for "last used"; "" for a decoy."""
    salt: bytes
    tag: bytes
    slow: bool
    """Whether its proof takes milliseconds."""
    fingerprint: bytes = field(repr=False)
    """Of the whole message: what was proven for one version of a Secret is not proven for the next."""
    message: routing.Verifier | None = field(repr=False)
    """As the snapshot has it, proof and all; None for a decoy."""


def verifier_of(message: routing.Verifier) -> Verifier:
    """The verifier that the snapshot's *message* describes."""
    fingerprint = hashlib.sha256(message.SerializeToString(deterministic=True)).digest()[:_SLOT_BYTES]
    return Verifier(message.credential, message.salt, message.tag, is_slow(message), fingerprint, message)


def slots(verifiers: Sequence[Verifier], path: bytes, key: bytes) -> Sequence[Verifier]:
    """
    *verifiers*, filled up to four with decoys that nobody's credential opens.

    SECURITY: decoys are the same for *path* in all workers and pods, since *key* is the tags' own: were they drawn anew
    in each, a password that is refused slowly here and fast there would give an unknown path away. All four are always
    made, also where none is needed: their making could be measured.
    """
    salts = hmac.digest(key, b"decoy salts " + path, "sha512")
    rest = hmac.digest(key, b"decoy tags " + path, "sha512")
    made = [_decoy(salts[at : at + SALT_BYTES], rest[at : at + _SLOT_BYTES]) for at in range(0, 64, _SLOT_BYTES)]
    return [*verifiers, *made[len(verifiers) :]]


def tag_matches(verifier: Verifier, key: bytes, shown: bytes) -> bool:
    """Whether *shown* may be the verifier's credential: of wrong ones, 1 in 65,536 is let through."""
    return hmac.compare_digest(hmac.digest(key, verifier.salt + shown, "sha256")[:TAG_BYTES], verifier.tag)


def slow_message(verifier: Verifier) -> routing.Verifier:
    """
    What is to be proved slowly: the verifier's own proof, or one as dear that nothing matches.

    SECURITY: one that has a fast proof, and was found wrong by it, is refused as slowly as the others.
    """
    if verifier.slow and verifier.message is not None:
        return verifier.message
    proof = routing.Argon2id(
        hash=bytes(HASH_BYTES), memory_kib=MEMORY_KIB, iterations=ITERATIONS, parallelism=PARALLELISM
    )
    return routing.Verifier(salt=verifier.salt, argon2id=proof)


def _decoy(salt: bytes, rest: bytes) -> Verifier:
    return Verifier("", salt, rest[:TAG_BYTES], True, rest, None)
