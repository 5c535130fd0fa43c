"""
Verifiers: what tells a right credential from a wrong one without knowing it.

A chosen password gets Argon2id (RFC 9106) with 19 MiB, 2 passes, 1 lane, the least that OWASP names: about 20 ms of one
core, made once per version of the Secret. A generated one (128 bits of chance or more) needs no slow hash.

The tag is 2 bytes of an HMAC: it turns away all but one of 65,536 wrong passwords before the slow hash runs. It must
be keyed: an unkeyed tag would let whoever reads the published tables try 65,536 guesses for the price of one slow hash.

SECURITY: nothing here keeps, logs or returns a credential.
"""

import hashlib
import hmac

from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw

from hookline.routing.v1 import snapshot_pb2 as routing

SALT_BYTES = 16
TAG_BYTES = 2
TAG_KEY_BYTES = 32

MEMORY_KIB = 19 * 1024
ITERATIONS = 2
PARALLELISM = 1
HASH_BYTES = 32

_MOST_MEMORY_KIB = 1024 * 1024
_MOST_ITERATIONS = 64
_MOST_PARALLELISM = 64


def credential_bytes(username: str, password: str) -> bytes:
    """What is hashed, and what a sender presents in Basic Auth: "username:password" in UTF-8."""
    return f"{username}:{password}".encode("utf-8", "replace")


def make_verifier(
    credential_name: str, username: str, password: str, *, generated: bool, salt: bytes, tag_key: bytes
) -> routing.Verifier:
    """
    The verifier of one credential: about 20 ms of CPU and 19 MiB for a chosen one, microseconds for a *generated* one.

    *salt* is 16 random bytes, fresh for each version of the Secret; *tag_key* 32, known to compiler and receivers only.
    """
    if len(salt) != SALT_BYTES or len(tag_key) != TAG_KEY_BYTES:
        raise ValueError(
            f"salt must be {SALT_BYTES} bytes and tag_key {TAG_KEY_BYTES}, got {len(salt)} and {len(tag_key)}"
        )
    presented = credential_bytes(username, password)
    verifier = routing.Verifier(credential=credential_name, salt=salt, tag=_tag(tag_key, salt, presented))
    if generated:
        verifier.sha256 = hashlib.sha256(salt + presented).digest()
    else:
        proof = routing.Argon2id(memory_kib=MEMORY_KIB, iterations=ITERATIONS, parallelism=PARALLELISM)
        proof.hash = _argon2id(proof, salt, presented, HASH_BYTES)
        verifier.argon2id.CopyFrom(proof)
    return verifier


def tag_key_id(tag_key: bytes) -> bytes:
    """Names *tag_key* without telling anything of it: 8 bytes, by which verifiers made with another key are recognised."""
    return hashlib.sha256(b"hookline tag key" + tag_key).digest()[:8]


def tag_matches(verifier: routing.Verifier, tag_key: bytes, presented: bytes) -> bool:
    """Whether *presented* ("username:password") may be the credential: microseconds; one wrong one in 65,536 passes."""
    return hmac.compare_digest(verifier.tag, _tag(tag_key, verifier.salt, presented))


def proof_matches(verifier: routing.Verifier, presented: bytes) -> bool:
    """
    Whether *presented* is the credential, in constant time.

    Takes about 20 ms for a chosen credential: not to be called from an event loop. Releases the GIL meanwhile.
    A verifier without a proof, or with parameters beyond reason (1 GiB, 64 passes), matches nothing.
    """
    match verifier.WhichOneof("proof"):
        case "sha256":
            return hmac.compare_digest(verifier.sha256, hashlib.sha256(verifier.salt + presented).digest())
        case "argon2id" if len(verifier.salt) == SALT_BYTES and _bearable(verifier.argon2id):
            proof = verifier.argon2id
            return hmac.compare_digest(proof.hash, _argon2id(proof, verifier.salt, presented, len(proof.hash)))
        case _:
            return False


def is_slow(verifier: routing.Verifier) -> bool:
    """Whether `proof_matches` takes milliseconds rather than microseconds."""
    return verifier.WhichOneof("proof") == "argon2id"


def _tag(tag_key: bytes, salt: bytes, presented: bytes) -> bytes:
    return hmac.digest(tag_key, salt + presented, "sha256")[:TAG_BYTES]


def _bearable(proof: routing.Argon2id) -> bool:
    return (
        16 <= len(proof.hash) <= 64
        and 1 <= proof.parallelism <= _MOST_PARALLELISM
        and 8 * proof.parallelism <= proof.memory_kib <= _MOST_MEMORY_KIB
        and 1 <= proof.iterations <= _MOST_ITERATIONS
    )


def _argon2id(proof: routing.Argon2id, salt: bytes, presented: bytes, length: int) -> bytes:
    return hash_secret_raw(
        presented,
        salt,
        time_cost=proof.iterations,
        memory_cost=proof.memory_kib,
        parallelism=proof.parallelism,
        hash_len=length,
        type=Type.ID,
        version=ARGON2_VERSION,
    )
