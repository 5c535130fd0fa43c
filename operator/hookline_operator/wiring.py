"""Makes the lanes and tells them what concerns them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from hookline_operator.apply.api import Api
from hookline_operator.apply.installation import Internal
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.dependents import Keys
from hookline_operator.ops import LaneState
from hookline_operator.ports import Lane, Leadership
from hookline_operator.settings import Settings
from hookline_operator.work import WorkQueue

log = logging.getLogger(__name__)


@runtime_checkable
class _Queued(Protocol):
    """A lane that shows its queue."""

    @property
    def queue(self) -> WorkQueue[Any]:
        """Its keys."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What lanes are made of."""

    settings: Settings
    cluster: Cluster
    api: Api
    """Writes while this replica leads, and no longer."""
    leadership: Leadership
    verify: Callable[..., Awaitable[object]]
    internal: Internal


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes by name, in the order in which they hear of a change."""

    lanes: Mapping[str, Lane[Any]] = field(default_factory=dict)
    has_published: Callable[[], bool] = lambda: True
    """Whether this term's leader has published all that it found when it began."""

    def add(self, keys: Keys) -> None:
        """Tell each lane what concerns it."""
        for name, lane in self.lanes.items():
            if wanted := getattr(keys, name):
                lane.add(wanted, urgent=keys.urgent)

    async def run(self) -> None:
        """All of them, for one term; one that fails ends it."""
        async with asyncio.TaskGroup() as group:
            for name, lane in self.lanes.items():
                group.create_task(lane.run(), name=f"lane {name}")

    def states(self) -> tuple[LaneState, ...]:
        """How each is doing."""
        return tuple(
            LaneState(name, len(lane.queue), lane.queue.waiting, lane.queue.oldest_age())
            for name, lane in self.lanes.items()
            if isinstance(lane, _Queued)
        )


def make_lanes(parts: Parts) -> Lanes:
    """All lanes of this operator."""
    return Lanes({})
