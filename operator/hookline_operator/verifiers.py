"""
Makes the verifiers of credentials, once for each version of a Secret, in threads beside the event loop.

    find    what is made already: read back from published tables (`learn`), made by `run`, or carried over from another
            version of the same Secret that holds the same credential (somebody has put a label on it)
    want    what is to be made: a chosen password costs about 20 ms of a core, so the namespace that was served the longest
            time ago is next, and of one namespace the newest: nobody waits behind another's ten thousand
    run     makes them, while this replica leads

Verifiers of generated credentials cost microseconds and are made at once, in `find`.

SECURITY: credentials are kept in memory only as long as their verifier is to be made; what is remembered of one afterwards
is a digest under a key of this process.
"""

import asyncio
import hmac
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_operator.decide.routing import Missing
from hookline_routes.inputs import NeededVerifier, VerifierKey
from hookline_routes.resource import ObjectKey
from hookline_routes.verifier import SALT_BYTES, make_verifier

log = logging.getLogger(__name__)

Make = Callable[[NeededVerifier, bytes], routing.Verifier]
_Slot = tuple[str, str, str]
"""uid of the Secret and its two keys: what has versions."""


@dataclass(frozen=True, slots=True)
class VerifierLimits:
    """How much is made at once, and how often it is told."""

    threads: int = 2
    """19 MiB and a core each."""
    patience: float = 1.0
    """Seconds in the queue after which a verifier is told of together with others, and not at once."""
    longest_pause: float = 5.0
    """Seconds between two tellings of those: each means up to 64 tables."""


@dataclass(slots=True)
class _Wanted:
    needed: NeededVerifier
    subscriptions: set[ObjectKey]
    since: float


@dataclass(slots=True)
class _Namespace:
    """What is to be made for one namespace, by Secret: only the newest version of each."""

    slots: dict[_Slot, _Wanted] = field(default_factory=dict)
    entered: int = 0


class Verifiers:
    """See the module. For one event loop."""

    def __init__(
        self,
        tag_key: bytes,
        made: Callable[[frozenset[ObjectKey]], None],
        limits: VerifierLimits | None = None,
        *,
        chance: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
        make: Make | None = None,
    ) -> None:
        """*made* is told of the subscriptions whose verifiers are there now."""
        self._made = made
        self._limits = limits or VerifierLimits()
        self._chance, self._clock = chance, clock
        self._make = make or _maker(tag_key)
        self._digest_key = chance(32)
        self._known: dict[VerifierKey, routing.Verifier] = {}
        self._versions: dict[_Slot, dict[str, bytes]] = {}
        """Of each Secret the versions that are known, and the digests of their credentials where those were seen."""
        self._namespaces: dict[str, _Namespace] = {}
        self._served: dict[str, int] = {}
        self._turns = 0
        self._under_way = 0
        self._something = asyncio.Event()
        self._late: set[ObjectKey] = set()
        self._told = clock()
        self.count = 0
        """How many slow ones were made."""

    def __len__(self) -> int:
        """How many are still to be made, or to be told of."""
        waiting = sum(len(each.slots) for each in self._namespaces.values())
        return waiting + self._under_way + len(self._late)

    def find(self, needed: NeededVerifier) -> routing.Verifier | None:
        """The verifier, if it is there or costs nothing."""
        verifier = self._known.get(needed.key)
        if verifier is None:
            verifier = self._carried_over(needed)
            if verifier is None and needed.generated:
                verifier = self._make(needed, self._chance(SALT_BYTES))
            if verifier is None:
                return None
            self._known[needed.key] = verifier
        versions = self._versions.setdefault(_slot(needed.key), {})
        if not versions.get(needed.key.version):
            versions[needed.key.version] = self._digest(needed)
        return verifier

    def learn(self, verifiers: Mapping[VerifierKey, routing.Verifier]) -> None:
        """
        These are published: they are the ones, whatever was made here.

        Two that both believed to lead would write each other's over for ever, as each has salts of its own.
        """
        for key, verifier in verifiers.items():
            self._known[key] = verifier
            self._versions.setdefault(_slot(key), {}).setdefault(key.version, b"")

    def want(self, missing: Iterable[Missing]) -> None:
        """To be made; an older version of the same credential is not made any more."""
        for each in missing:
            self._want(each.subscription, each.needed)
        self._something.set()

    def forget(self, needed: Callable[[VerifierKey], bool]) -> None:
        """Keep only what is *needed*."""
        for key in [key for key in self._known if not needed(key)]:
            del self._known[key]
            versions = self._versions.get(_slot(key), {})
            versions.pop(key.version, None)
            if not versions:
                self._versions.pop(_slot(key), None)

    def stop(self) -> None:
        """Forget what is still to be made: somebody else leads now."""
        self._namespaces.clear()
        self._late.clear()

    async def run(self) -> None:
        """Make what is wanted, until cancelled."""
        with ThreadPoolExecutor(self._limits.threads, thread_name_prefix="verifiers") as pool:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._limits.threads):
                    group.create_task(self._work(pool))
                group.create_task(self._tell_late())

    async def _work(self, pool: ThreadPoolExecutor) -> None:
        while True:
            wanted = self._next()
            if wanted is None:
                self._something.clear()
                await self._something.wait()
                continue
            self._under_way += 1
            try:
                if wanted.needed.key not in self._known:
                    await self._make_in(pool, wanted.needed)
                if wanted.needed.key in self._known:
                    self._tell(wanted)
                else:
                    # Who is told wants it again: in a while, or it would be tried as fast as it fails.
                    self._late |= wanted.subscriptions
            finally:
                self._under_way -= 1

    async def _make_in(self, pool: ThreadPoolExecutor, needed: NeededVerifier) -> None:
        loop = asyncio.get_running_loop()
        try:
            verifier = await loop.run_in_executor(pool, self._make, needed, self._chance(SALT_BYTES))
        except Exception as error:  # noqa: BLE001 - one that can't be made must not hold up all others
            # SECURITY: not what the error says, as that may be the credential.
            fields = {"credential": needed.credential, "error": type(error).__name__}
            log.error("a verifier can't be made, it is tried again", extra=fields)
            return
        self.count += 1
        self._known[needed.key] = verifier
        self._versions.setdefault(_slot(needed.key), {})[needed.key.version] = self._digest(needed)

    def _want(self, subscription: ObjectKey, needed: NeededVerifier) -> None:
        namespace = self._namespaces.setdefault(subscription.namespace, _Namespace())
        slot = _slot(needed.key)
        known = namespace.slots.pop(slot, None)
        subscriptions = {subscription} | (known.subscriptions if known else set())
        self._turns += 1
        namespace.entered = self._turns
        since = known.since if known else self._clock()
        namespace.slots[slot] = _Wanted(needed, subscriptions, since)

    def _next(self) -> _Wanted | None:
        if not self._namespaces:
            return None
        # Never served, or the longest time ago; of those the one that came last.
        name = min(self._namespaces, key=lambda each: (self._served.get(each, 0), -self._namespaces[each].entered))
        namespace = self._namespaces[name]
        _, wanted = namespace.slots.popitem()
        self._turns += 1
        self._served[name] = self._turns
        if not namespace.slots:
            del self._namespaces[name]
        return wanted

    def _tell(self, wanted: _Wanted) -> None:
        if self._clock() - wanted.since < self._limits.patience:
            self._made(frozenset(wanted.subscriptions))
            return
        self._late |= wanted.subscriptions

    async def _tell_late(self) -> None:
        while True:
            await asyncio.sleep(min(self._limits.longest_pause, self._limits.patience * (0.2 + len(self) / 200)))
            if self._late:
                late, self._late = frozenset(self._late), set()
                self._made(late)

    def _carried_over(self, needed: NeededVerifier) -> routing.Verifier | None:
        digest = self._digest(needed)
        for version, known in self._versions.get(_slot(needed.key), {}).items():
            if known and hmac.compare_digest(known, digest):
                key = VerifierKey(needed.key.secret, version, needed.key.username_key, needed.key.password_key)
                verifier = routing.Verifier()
                verifier.CopyFrom(self._known[key])
                verifier.credential = needed.credential
                return verifier
        return None

    def _digest(self, needed: NeededVerifier) -> bytes:
        kind = b"generated" if needed.generated else b"chosen"
        parts = (kind, *(each.encode("utf-8", "replace") for each in (needed.username, needed.password)))
        framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.digest(self._digest_key, framed, "sha256")


def _maker(tag_key: bytes) -> Make:
    def make(needed: NeededVerifier, salt: bytes) -> routing.Verifier:
        return make_verifier(
            needed.credential,
            needed.username,
            needed.password,
            generated=needed.generated,
            salt=salt,
            tag_key=tag_key,
        )

    return make


def _slot(key: VerifierKey) -> _Slot:
    return (key.secret, key.username_key, key.password_key)
