"""Keeps up with one kind of tables: lists, watches, lists anew where the watch has a gap."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hookline_receiver.agent.api import ApiUnavailable, Event, Expired, Object

BACKOFF_FIRST, BACKOFF_LONGEST = 0.1, 5.0
"""Seconds; the API server comes back for hundreds of pods at once, so each waits a random part of it."""

log = logging.getLogger(__name__)


class Api(Protocol):
    """What is asked of the API server."""

    def list(self, plural: str) -> AsyncIterator[tuple[list[Object], str]]:
        """Pages of all tables, each with the version to watch from."""

    def watch(
        self, plural: str, version: str, *, length: float, silence: float, opened: Callable[[], None]
    ) -> AsyncIterator[Event]:
        """Events after *version*; *opened* is called before the first."""


class Receives(Protocol):
    """Is told what is there."""

    async def page(self, plural: str, objects: Sequence[Object]) -> None:
        """Some of what a list says."""

    async def listed(self, plural: str, names: frozenset[str]) -> None:
        """A list has ended: these are all."""

    async def changed(self, plural: str, event: Event) -> None:
        """One table was written or deleted."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Times of a watch, in seconds."""

    length: float
    silence: float


class Watch:
    """Follows one kind, for ever."""

    def __init__(
        self,
        api: Api,
        plural: str,
        receives: Receives,
        patience: Patience,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._api = api
        self._plural = plural
        self._receives = receives
        self._patience = patience
        self._clock = clock
        self._chance = chance
        self._version = ""
        self._failures = 0
        self.trouble = "it was not listed yet"
        """Why what is known may be old; "" while the watch is alive."""
        self.heard = 0.0
        """When the API server last said something (monotonic seconds); 0: never."""
        self.lists = 0
        self.interruptions = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._once()
                self._failures = 0
            except Expired as error:
                log.info("the watch has a gap, the tables are listed anew", extra={"kind": self._plural})
                self._version, self.trouble = "", f"the watch has a gap: {error}"
                await self._pause(f"the watch has a gap: {error}")
            except ApiUnavailable as error:
                await self._pause(str(error))
            except OSError as error:  # the disk: what was not stored is to come again
                self._version = ""
                await self._pause(str(error))

    async def _once(self) -> None:
        if not self._version:
            await self._list()
        events = self._api.watch(
            self._plural,
            self._version,
            length=self._patience.length * (0.8 + 0.4 * self._chance()),
            silence=self._patience.silence,
            opened=self._alive,
        )
        async for event in events:
            self._alive()
            if event.type != "BOOKMARK":
                await self._receives.changed(self._plural, event)
            self._version = event.version
        self.interruptions += 1

    async def _list(self) -> None:
        names: set[str] = set()
        version = ""
        async for objects, version in self._api.list(self._plural):  # noqa: B007  the last one counts
            names.update(str(each["metadata"]["name"]) for each in objects)
            await self._receives.page(self._plural, objects)
        await self._receives.listed(self._plural, frozenset(names))
        self.lists += 1
        self._version = version
        self._alive()

    def _alive(self) -> None:
        if self.trouble and self._failures:
            log.info("the API server is back", extra={"kind": self._plural})
        self.trouble, self.heard, self._failures = "", self._clock(), 0

    async def _pause(self, trouble: str) -> None:
        self._failures += 1
        self.interruptions += 1
        if not self.trouble or self._failures == 1:
            log.warning(
                "the tables can't be watched, it is tried again", extra={"kind": self._plural, "reason": trouble}
            )
        self.trouble = trouble
        longest = min(BACKOFF_LONGEST, BACKOFF_FIRST * 2 ** min(self._failures - 1, 10))
        await asyncio.sleep(longest * (0.5 + 0.5 * self._chance()))
