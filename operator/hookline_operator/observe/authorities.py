"""
Certificates of authorities that routes name: ConfigMaps, and Secrets of any type. Nobody watches all of a cluster's for these few.

Each is read when a subscription that names it changes, and again every minute: a new certificate takes effect within that.
One that may not be read stays what it was when it was read last; for compiling it is not there if it never was.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from hookline_operator.apply.api import Api, ApiError, Refused
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.kinds import read_authority_secret, read_config_map
from hookline_operator.observe.objects import Change, Declared, KindName
from hookline_operator.observe.references import Named
from hookline_operator.observe.together import together
from hookline_operator.resource_types import CONFIG_MAPS, SECRETS

log = logging.getLogger(__name__)

AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class AuthorityPace:
    """How often they are read."""

    period: float = 60.0
    """Seconds until one is read again."""
    per_second: float = 50.0
    """At most."""


class Authorities:
    """Keeps `config_maps` and `ca_secrets` of *cluster*."""

    def __init__(
        self,
        api: Api,
        cluster: Cluster,
        on_change: Callable[[Change], None],
        *,
        pace: AuthorityPace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._cluster, self._on_change = api, cluster, on_change
        self._pace, self._clock = pace or AuthorityPace(), clock
        self._read_at: OrderedDict[Named, float] = OrderedDict()
        """Of each when it was read, oldest first."""
        self._soon: OrderedDict[Named, None] = OrderedDict()
        self._changed = asyncio.Event()

    def note(self, change: Change) -> None:
        """A subscription that changes has those that it names read at once."""
        if isinstance(change.new, Declared) and change.kind is KindName.SUBSCRIPTIONS:
            for named in self._cluster.references.of(change.new):
                if named.is_authority:
                    self._soon[named] = None
                    self._changed.set()

    async def read_missing(self) -> None:
        """Read those that are named and were never read; an ApiError leaves the rest for later."""
        missing = [named for named in self._cluster.references.authorities if named not in self._read_at]
        slots = asyncio.Semaphore(AT_ONCE)

        async def read(named: Named) -> None:
            async with slots:
                await self._read(named)

        await together(read(named) for named in missing)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            self._forget()
            named = self._next()
            if named is None:
                await self._wait()
                continue
            try:
                await self._read(named)
            except ApiError as error:
                self._stamp(named)
                log.warning("authority not read", extra={"authority": str(named.key), "error": str(error)})
            await asyncio.sleep(1 / self._pace.per_second)

    def _next(self) -> Named | None:
        if self._soon:
            return self._soon.popitem(last=False)[0]
        oldest = next(iter(self._read_at.items()), None)
        return oldest[0] if oldest and oldest[1] + self._pace.period <= self._clock() else None

    async def _wait(self) -> None:
        oldest = next(iter(self._read_at.values()), None)
        wait = None if oldest is None else max(0.01, oldest + self._pace.period - self._clock())
        try:
            async with asyncio.timeout(wait):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _read(self, named: Named) -> None:
        is_secret = named.what == "ca_secret"
        key = named.key
        try:
            body = await self._api.get(SECRETS if is_secret else CONFIG_MAPS, key.namespace, key.name)
        except Refused as error:
            # An API server that starts refuses everything until it has read its roles: what is known stays known.
            log.warning("authority not allowed", extra={"authority": str(key), "error": str(error)})
            self._stamp(named)
            return
        self._stamp(named)
        read = (read_authority_secret if is_secret else read_config_map)(body) if body else None
        kind = KindName.CA_SECRETS if is_secret else KindName.CONFIG_MAPS
        if change := self._cluster.set_authority(kind, key, read):
            self._on_change(change)

    def _stamp(self, named: Named) -> None:
        self._soon.pop(named, None)
        self._read_at[named] = self._clock()
        self._read_at.move_to_end(named)

    def _forget(self) -> None:
        """Of those that nobody names any more nothing is kept."""
        named_now = self._cluster.references.authorities
        if self._read_at.keys() <= named_now:
            return
        for named in [each for each in self._read_at if each not in named_now]:
            del self._read_at[named]
            kind = KindName.CA_SECRETS if named.what == "ca_secret" else KindName.CONFIG_MAPS
            self._cluster.set_authority(kind, named.key, None)
