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


@dataclass(frozen=True, slots=True)
class Verifier:
    """Proves one credential without holding it."""

    credential: str
    """Names it for people and for "last used"; "" for a decoy."""
    message: routing.Verifier
    slow: bool
    """Whether its proof takes milliseconds."""
    fingerprint: bytes = field(repr=False)
    """Of the whole message: what was proven for one version of a Secret is not proven for the next."""


def verifier_of(message: routing.Verifier) -> Verifier:
    """The verifier that the snapshot's *message* describes."""
    fingerprint = hashlib.sha256(message.SerializeToString(deterministic=True)).digest()[:16]
    return Verifier(message.credential, message, is_slow(message), fingerprint)


def slots(verifiers: Sequence[Verifier], path: bytes, key: bytes) -> Sequence[Verifier]:
    """
    *verifiers*, filled up to four with decoys that nobody's credential opens.

    SECURITY: decoys are the same for *path* in all workers and pods, since *key* is the tags' own: were they drawn anew
    in each, a password that is refused slowly here and fast there would give an unknown path away.
    """
    return [*verifiers, *(decoy(path, key, slot) for slot in range(len(verifiers), SLOTS))]


def decoy(path: bytes, key: bytes, slot: int) -> Verifier:
    """A verifier as slow as a chosen password's, that nothing opens."""
    stuff = hmac.digest(key, b"decoy %d " % slot + path, "sha512")
    salt, tag, fingerprint = stuff[:SALT_BYTES], stuff[16 : 16 + TAG_BYTES], stuff[32:48]
    proof = routing.Argon2id(
        hash=bytes(HASH_BYTES), memory_kib=MEMORY_KIB, iterations=ITERATIONS, parallelism=PARALLELISM
    )
    return Verifier("", routing.Verifier(salt=salt, tag=tag, argon2id=proof), True, fingerprint)
