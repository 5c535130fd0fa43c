"""
Who may post to an endpoint: Basic Auth with verified headers remembered.

The order of the checks is what keeps the promise that a flood of wrong passwords can't make a right one wait: what was
proven before is a look-up; what is new goes through the tags, which cost microseconds on the loop; only what passes one
is hashed slowly, in a thread of its own, where paths take turns.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from hookline_receiver.auth.basic_auth import credential
from hookline_receiver.auth.credentials import Verifier, slots, slow_message, tag_matches
from hookline_receiver.auth.slow_hash import SlowHashes, SlowHashesBusy
from hookline_receiver.tag_keys import TagKeys
from hookline_routes.verifier import proof_matches

T = TypeVar("T")


class Way(StrEnum):
    """How a header was judged: the label of the duration metric."""

    CACHED = "cached"
    FAST = "fast"
    SLOW = "slow"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Opened:
    """A shown credential was right."""

    credential: str
    way: Way


@dataclass(frozen=True, slots=True)
class Closed:
    """It was not, or none was shown."""

    shown: bool
    """Whether there was a credential at all."""
    busy: bool = False
    """It could not be found out: too many others are being verified."""


class Gate:
    """Judges `Authorization` headers. One in each worker: what it remembers is in memory only, and never a header."""

    def __init__(
        self, slow_hashes: SlowHashes, *, remembered: int, secret: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._slow_hashes = slow_hashes
        self._remembered = remembered
        self._secret = secret(32)
        self._proven: OrderedDict[bytes, Opened] = OrderedDict()
        self._disproven: OrderedDict[bytes, None] = OrderedDict()

    def known(self, verifiers: Sequence[Verifier], header: bytes | None) -> Opened | None:
        """The credential in *header*, if it was proven before against a verifier that is still there."""
        if header is None:
            return None
        digest = self._digest(header)
        for verifier in verifiers:
            key = verifier.fingerprint + digest
            if (opened := self._proven.get(key)) is not None:
                self._proven.move_to_end(key)
                return opened
        return None

    async def verify(
        self, verifiers: Sequence[Verifier], header: bytes | None, path: bytes, tags: TagKeys
    ) -> Opened | Closed:
        """
        Whether *header* shows one of the credentials of *verifiers* (none for an unknown path).

        *tags* are the snapshot's. A wrong one costs four HMACs and, once in 16,384 times, a slow hash: whatever the
        path, whatever its verifiers. Where the keys of the tags are not all known, it costs four slow hashes.
        """
        shown = credential(header)
        if shown is None or header is None:
            return Closed(shown=False)
        suspects = self._suspects(verifiers, path, tags, shown)
        digest = self._digest(header)
        for suspect in suspects:
            if not suspect.slow and suspect.message is not None and proof_matches(suspect.message, shown):
                return self._prove(suspect, digest, Way.FAST)
        try:
            for suspect in suspects:
                if await self._proves_slowly(suspect, shown, path, digest):
                    return self._prove(suspect, digest, Way.SLOW)
        except SlowHashesBusy:
            return Closed(shown=True, busy=True)
        return Closed(shown=True)

    def _suspects(self, verifiers: Sequence[Verifier], path: bytes, tags: TagKeys, shown: bytes) -> Sequence[Verifier]:
        """
        The slots that are to be proved, in that order.

        SECURITY: where tags may be of a key that is not known, all are, decoys too: a path that exists must not be the
        dearer one.
        """
        keys = tags.all or (self._secret,)
        made = slots(verifiers, path, keys[0])
        matching = [slot for slot in made if any(tag_matches(slot, key, shown) for key in keys)]
        return [*matching, *(slot for slot in made if slot not in matching)] if tags.incomplete else matching

    def _digest(self, header: bytes) -> bytes:
        """SECURITY: keyed, so that neither the table's order nor a dump of it says anything of the header."""
        return hashlib.sha256(self._secret + header).digest()

    def _prove(self, verifier: Verifier, digest: bytes, way: Way) -> Opened:
        _remember(
            self._proven, verifier.fingerprint + digest, Opened(verifier.credential, Way.CACHED), self._remembered
        )
        return Opened(verifier.credential, way)

    async def _proves_slowly(self, suspect: Verifier, shown: bytes, path: bytes, digest: bytes) -> bool:
        key = suspect.fingerprint + digest
        if key in self._disproven:
            return False
        proof = slow_message(suspect)
        right = await self._slow_hashes.run(key, path, lambda: proof_matches(proof, shown))
        if not right:
            _remember(self._disproven, key, None, self._remembered)
        return right


def _remember(table: OrderedDict[bytes, T], key: bytes, value: T, room: int) -> None:
    table[key] = value
    if len(table) > room:
        table.popitem(last=False)
