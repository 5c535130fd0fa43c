"""Kubernetes Events on what a person should hear of: each once, not too many, and never in the way of anything else."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from hookline_operator.apply.api import ApiError, NotLeading
from hookline_operator.apply.token_bucket import TokenBucket
from hookline_operator.decide.happenings import Happening, event_object
from hookline_operator.observe.objects import Declared
from hookline_operator.resource_types import EVENTS, ResourceType

log = logging.getLogger(__name__)

REMEMBERED = 4096


class EventApi(Protocol):
    """The part of `api.Api` that is used here."""

    async def create(self, kind: ResourceType, namespace: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """As stored."""


@dataclass(frozen=True, slots=True)
class EventLimits:
    """How many Events."""

    per_second: float = 5.0
    burst: int = 50
    of_namespace: float = 0.5
    """The same of one namespace: nobody's noise uses up what all share."""
    burst_of_namespace: int = 25
    silence: float = 600.0
    """Seconds for which the same is not said again of the same object."""


class Events:
    """Creates Events; one that can't be created is lost, as they are by their nature."""

    def __init__(
        self,
        api: EventApi,
        *,
        instance: str,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        limits: EventLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*instance*: the pod's name; *new_id*: short and different each time, of lower case letters and digits."""
        self._api, self._instance, self._now, self._new_id, self._clock = api, instance, now, new_id, clock
        self._limits = limits or EventLimits()
        self._bucket = TokenBucket(self._limits.per_second, self._limits.burst, clock)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        """By namespace, the one used last at the end."""
        self._told: OrderedDict[tuple[str, Happening], float] = OrderedDict()
        self.dropped = 0
        """Over the limit, or refused."""

    async def tell(self, declared: Declared, happening: Happening) -> None:
        """Say it, unless it was said a while ago or there is too much to say."""
        if self._was_told((declared.uid, happening)):
            return
        if not (self._bucket_of(declared.key.namespace).take_now() and self._bucket.take_now()):
            self.dropped += 1
            return
        name = f"{declared.key.name[:200]}.{self._new_id()}"
        at = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body = event_object(declared, happening, name=name, at=at, instance=self._instance)
        try:
            await self._api.create(EVENTS, declared.key.namespace, body)
        except (ApiError, NotLeading) as error:
            self.dropped += 1
            log.warning("an Event could not be created", extra={"object": str(declared.key), "reason": str(error)})

    def _bucket_of(self, namespace: str) -> TokenBucket:
        limits = self._limits
        bucket = self._buckets.pop(namespace, None)
        bucket = bucket or TokenBucket(limits.of_namespace, limits.burst_of_namespace, self._clock)
        self._buckets[namespace] = bucket
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return bucket

    def _was_told(self, what: tuple[str, Happening]) -> bool:
        now = self._clock()
        if now - self._told.get(what, float("-inf")) < self._limits.silence:
            return True
        self._told[what] = now
        self._told.move_to_end(what)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return False
