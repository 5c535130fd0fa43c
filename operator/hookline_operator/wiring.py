"""Makes the lanes, lets them know each other, and tells them what concerns them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

from hookline_operator.agents.directory import AgentDirectory
from hookline_operator.apply.api import Api
from hookline_operator.apply.endpoint_tables import EndpointTables
from hookline_operator.apply.endpoints import EndpointsLane, Pace
from hookline_operator.apply.events import Events
from hookline_operator.apply.installation import Internal
from hookline_operator.apply.routes import Listeners, RoutesLane, RoutesSettings
from hookline_operator.apply.status import StatusLane, StatusPace
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.dependents import Keys
from hookline_operator.observe.objects import Change, Pod
from hookline_operator.ops import LaneState
from hookline_operator.ports import Lane
from hookline_operator.settings import Settings
from hookline_operator.work import WorkQueue


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
    verify: Callable[..., Awaitable[object]]
    internal: Internal


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes by name, in the order in which they hear of a change, and what serves them."""

    lanes: Mapping[str, Lane[Any]]
    directory: AgentDirectory
    has_published: Callable[[], bool]
    """Whether this term's leader has published all that it found when it began."""

    def add(self, keys: Keys) -> None:
        """Tell each lane what concerns it."""
        for name, lane in self.lanes.items():
            if wanted := getattr(keys, name):
                lane.add(wanted, urgent=keys.urgent)

    def note(self, change: Change) -> None:
        """Tell those who look at changes themselves."""
        if any(isinstance(each, Pod) and each.plane for each in (change.old, change.new)):
            self.directory.look()

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
    settings, cluster, api = parts.settings, parts.cluster, parts.api

    def tell_status(keys: Iterable[tuple[str, Any]]) -> None:
        status.add(keys)

    def tell_endpoints(planes: frozenset[str]) -> None:
        endpoints.routes_changed(planes)

    routes = RoutesLane(
        cluster,
        api,
        parts.verify,
        parts.internal.tag_key,
        RoutesSettings(
            settings.namespace,
            settings.cluster_default,
            settings.debounce_least,
            settings.debounce_most,
            look_every=settings.sweep_seconds,
        ),
        Listeners(tell_status, tell_endpoints),
    )
    endpoints = EndpointsLane(
        cluster,
        routes,
        EndpointTables(api, settings.namespace),
        parts.verify,
        namespace=settings.namespace,
        pace=Pace(read_again=settings.sweep_seconds),
        on_resolved=lambda refs: status.endpoints_changed(refs),
    )
    directory = AgentDirectory(
        cluster,
        settings.namespace,
        lambda: parts.internal.agent_token,
        on_served=lambda plane, shards: status.served_changed(plane, shards),
        on_used=lambda uids: None,
    )
    events = Events(api, instance=settings.name, now=_now, new_id=lambda: uuid4().hex[:12])
    pace = StatusPace(per_second=settings.status_per_second, burst=max(1, round(2 * settings.status_per_second)))
    status = StatusLane(cluster, routes, directory, endpoints, api, events, now=_now, pace=pace)
    lanes: dict[str, Lane[Any]] = {"routes": routes, "endpoints": endpoints, "status": status}
    return Lanes(lanes, directory, routes.has_published)


def _now() -> datetime:
    return datetime.now(UTC)
