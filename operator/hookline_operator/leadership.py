"""
Which replica acts: whoever holds the Lease, for a term.

A holder renews its Lease every second. It counts it as held for `held` seconds from the moment at which it *sent* the last
renewal that was answered; another replica takes a Lease that it has seen unchanged for `duration` seconds, by its own clock,
from the moment at which it was *told* of it. The first is shorter and begins earlier: no two ever count it as held at once,
whatever is paused, delayed or lost. Clocks are not compared, only their pace: it may differ by a fifth.
"""

import asyncio
import contextlib
import logging
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from hookline_operator.apply.api import Api, ApiError, Conflict, Json, NotLeading
from hookline_operator.resource_types import LEASES

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimings:
    """All in seconds."""

    duration: float = 6.0
    """For which others leave a Lease alone that does not change: a crash costs this long."""
    held: float = 4.5
    """For which its holder counts on it after it sent a renewal. The rest is for writes that are under way."""
    renew: float = 1.0
    """Between two renewals."""
    look: float = 0.4
    """Between two looks of those who wait: a planned end costs this long."""

    def __post_init__(self) -> None:
        """Raise ValueError for the first rule that does not hold."""
        if not self.held <= self.duration * 0.8:
            raise ValueError(f"held must be at most 0.8 of duration ({self.duration:g} s), got {self.held:g} s")
        if not self.renew * 2 <= self.held:
            raise ValueError(f"renew must be at most half of held ({self.held:g} s), got {self.renew:g} s")
        if self.duration < 1 or min(self.renew, self.look) <= 0:
            raise ValueError(f"duration must be 1 s or more, and renew and look more than 0, got {self}")


def suspended_clock() -> float:
    """Seconds that also pass while this machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True)
class _Seen:
    """The Lease as it was last read."""

    body: Json
    since: float
    """Seconds of our clock at which this version was first seen."""

    @property
    def version(self) -> str:
        return str(self.body["metadata"].get("resourceVersion", ""))

    @property
    def holder(self) -> str:
        return str(_spec(self.body).get("holderIdentity") or "")

    @property
    def duration(self) -> float:
        seconds = _spec(self.body).get("leaseDurationSeconds")
        return float(seconds) if isinstance(seconds, int) else 0.0

    @property
    def term(self) -> int:
        transitions = _spec(self.body).get("leaseTransitions")
        return transitions if isinstance(transitions, int) else 0


class Election:
    """One candidate for the Lease *name* in *namespace*. *api* must not ask for leadership itself."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        who: str,
        *,
        timings: LeaseTimings | None = None,
        clock: Callable[[], float] = suspended_clock,
    ) -> None:
        """*who* names this replica for people; a part that is new at each start is added."""
        self._api, self._namespace, self._name = api, namespace, name
        self.identity = f"{who}_{uuid.uuid4().hex[:8]}"
        self._timings, self._clock = timings or LeaseTimings(), clock
        self._held_until = 0.0
        self._seen: _Seen | None = None
        self.term = 0
        """Of the last leadership; 0 before the first."""

    def remaining(self) -> float:
        """Seconds for which the Lease is surely held; 0 if it isn't."""
        return max(0.0, self._held_until - self._clock())

    def is_leading(self) -> bool:
        """Whether the Lease is surely held now."""
        return self.remaining() > 0

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last looked at; "" for nobody."""
        return self._seen.holder if self._seen else ""

    async def run(self, lead: Callable[[int], Awaitable[None]]) -> None:
        """
        Until cancelled: wait for the Lease, `lead(term)` while it is held, and again.

        `lead` is cancelled as soon as the Lease is not surely held any more, and has ended before anything else happens.
        Cancelling this cancels it too, and then gives the Lease back, so that another replica begins at once.
        """
        while True:
            await self._acquire()
            try:
                lost = await self._lead(lead)
            finally:
                await self._release()
            # After a term that failed of itself the other replica goes first.
            await asyncio.sleep(0 if lost else self._timings.duration * random.uniform(0.5, 1.0))

    async def _acquire(self) -> None:
        while True:
            with contextlib.suppress(ApiError):
                if await self._look():
                    return
            await asyncio.sleep(self._timings.look * (0.75 + 0.5 * random.random()))

    async def _look(self) -> bool:
        """Whether the Lease was free, and is ours now."""
        body = await self._api.get(LEASES, self._namespace, self._name)
        now = self._clock()
        if body is None:
            return await self._take(None)
        if self._seen is None or self._seen.version != _version(body):
            self._seen = _Seen(body, now)
        seen = self._seen
        # Our own it is where the answer to taking it was lost.
        free = seen.holder in ("", self.identity)
        if not free and now < seen.since + max(seen.duration, self._timings.duration):
            return False
        return await self._take(seen)

    async def _take(self, seen: _Seen | None) -> bool:
        term = (seen.term if seen else 0) + 1
        now = _now()
        try:
            await self._send(seen, {"acquireTime": now, "leaseTransitions": term})
        except Conflict:
            return False
        self.term = term
        log.info("leading", extra={"term": term, "identity": self.identity})
        return True

    async def _lead(self, lead: Callable[[int], Awaitable[None]]) -> bool:
        """Whether it was the Lease that ended it."""
        leading = asyncio.ensure_future(_end_quietly(lead, self.term))
        renewing = asyncio.create_task(self._renew())
        try:
            done, _ = await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (leading, renewing):
                task.cancel()
            await asyncio.wait((leading, renewing))
        # What can't write any more ends a moment before the Lease is looked at.
        lost = leading not in done or not self.is_leading()
        log.warning("not leading any more", extra={"term": self.term, "lost": lost})
        return lost

    async def _renew(self) -> None:
        """Until the Lease is not surely held any more."""
        while (left := self.remaining()) > 0:
            pause = self._timings.renew
            try:
                async with asyncio.timeout(left):
                    await self._send(self._seen, {})
            except TimeoutError:
                return
            except Conflict:
                if not await self._is_still_ours():
                    self._held_until = 0.0
                    return
                # Not at once: where it can't be read either, this would go round as fast as it is refused.
                pause = self._timings.renew / 4
            except ApiError as error:
                log.warning("lease not renewed", extra={"error": str(error), "held_for": round(left, 1)})
                pause = self._timings.renew / 4
            await asyncio.sleep(min(pause, max(0.0, self.remaining())))

    async def _is_still_ours(self) -> bool:
        """Whether it was a renewal of our own whose answer was lost that has changed the Lease."""
        try:
            body = await self._api.get(LEASES, self._namespace, self._name)
        except ApiError:
            return True
        if body is None:
            return False
        self._seen = _Seen(body, self._clock())
        return self._seen.holder == self.identity

    async def _release(self) -> None:
        was_held = self.is_leading()
        # Nothing counts on it from here on, whether or not this is answered.
        self._held_until = 0.0
        with contextlib.suppress(ApiError):
            for _ in range(2 if was_held else 0):
                try:
                    await self._send(self._seen, {"holderIdentity": None, "leaseDurationSeconds": 1}, counts=False)
                    return
                except Conflict:
                    # A renewal was under way when the term was ended.
                    if not await self._is_still_ours():
                        return

    async def _send(self, seen: _Seen | None, change: Json, *, counts: bool = True) -> None:
        spec = dict(_spec(seen.body)) if seen else {}
        spec |= {"holderIdentity": self.identity, "leaseDurationSeconds": round(self._timings.duration)}
        spec |= {"renewTime": _now(), **change}
        metadata: Json = {"name": self._name, "namespace": self._namespace}
        if seen:
            metadata = {**seen.body["metadata"], "resourceVersion": seen.version}
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        sent = self._clock()
        if seen:
            stored = await self._api.replace(LEASES, self._namespace, self._name, body)
        else:
            stored = await self._api.create(LEASES, self._namespace, body)
        self._seen = _Seen(stored, self._clock())
        if counts:
            self._held_until = sent + self._timings.held


async def _end_quietly(lead: Callable[[int], Awaitable[None]], term: int) -> None:
    """What goes wrong in a term ends the term, not the replica."""
    try:
        await lead(term)
    except Exception as error:
        if (ended := _not_leading(error)) is None:
            log.exception("term failed", extra={"term": term})
        else:
            log.warning("term ends", extra={"term": term, "why": str(ended)})


def _not_leading(error: Exception) -> NotLeading | None:
    """One of those that *error* consists of, if it consists of nothing else: several lanes notice it at once."""
    if not isinstance(error, ExceptionGroup):
        return error if isinstance(error, NotLeading) else None
    found = [_not_leading(each) for each in error.exceptions]
    return None if None in found else found[0]


def _spec(body: Json) -> Json:
    spec = body.get("spec")
    return spec if isinstance(spec, dict) else {}


def _version(body: Json) -> str:
    return str(body["metadata"].get("resourceVersion", ""))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
