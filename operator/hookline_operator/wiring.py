"""Makes the lanes, lets them know each other, and tells them what concerns them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

from hookline_operator.agents.directory import AgentDirectory
from hookline_operator.apply.api import Api
from hookline_operator.apply.credentials import CredentialsLane
from hookline_operator.apply.endpoint_tables import EndpointTables
from hookline_operator.apply.endpoints import EndpointsLane, Pace
from hookline_operator.apply.events import Events
from hookline_operator.apply.installation import Internal, Misconfigured
from hookline_operator.apply.planes import PlanesLane
from hookline_operator.apply.routes import Listeners, RoutesLane, RoutesSettings
from hookline_operator.apply.status import StatusLane, StatusPace
from hookline_operator.decide.planes.pod import PodSettings
from hookline_operator.decide.planes.pod_settings import PodSettingsError, read_pod_settings
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.dependents import Keys
from hookline_operator.observe.objects import Change, Pod
from hookline_operator.ops import LaneState
from hookline_operator.ports import Lane
from hookline_operator.resource_types import SUBSCRIPTIONS
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
    verify: Callable[..., Awaitable[object]]
    internal: Internal
    pods: PodSettings | None = None
    """What receiver pods are to be like; None: the operator makes none."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes by name, in the order in which they hear of a change, and what serves them."""

    lanes: Mapping[str, Lane[Any]]
    directory: AgentDirectory
    has_published: Callable[[], bool]
    """Whether this term's leader has published all that it found when it began."""
    prepare: Callable[[], Coroutine[Any, Any, None]]
    """What can be done ahead of a term, until cancelled."""

    def add(self, keys: Keys) -> None:
        """Tell each lane what concerns it."""
        for name, lane in self.lanes.items():
            if wanted := getattr(keys, name):
                lane.add(wanted, urgent=keys.urgent)

    def note(self, change: Change) -> None:
        """Tell those who look at changes themselves."""
        if any(isinstance(each, Pod) and each.plane for each in (change.old, change.new)):
            self.directory.look()

    async def stay_warm(self) -> None:
        """
        What every replica does, whether it leads or not, until cancelled.

        What agents say must be known when a term begins, else statuses would flap; what is costly is done ahead.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self.directory.run(), name="agents")
            group.create_task(self.prepare(), name="prepare")

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
        if planes:
            planes.routes_changed(keys)
        # Who is attached from now on may need a credential.
        credentials.add([key for kind, key in keys if kind == SUBSCRIPTIONS.kind])

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
        on_used=lambda uids: credentials.used(uids),
    )
    pods = parts.pods
    planes = (
        PlanesLane(cluster, routes, directory, api, pods, on_change=lambda keys: status.add(keys)) if pods else None
    )
    events = Events(api, instance=settings.name, now=_now, new_id=lambda: uuid4().hex[:12])
    pace = StatusPace(per_second=settings.status_per_second, burst=max(1, round(2 * settings.status_per_second)))
    credentials = CredentialsLane(
        cluster, routes, directory, api, events, now=_now, on_change=lambda keys: status.add(keys)
    )
    status = StatusLane(
        cluster,
        routes,
        directory,
        endpoints,
        api,
        events,
        now=_now,
        contributors=(credentials, planes) if planes else (credentials,),
        pace=pace,
    )
    lanes: dict[str, Lane[Any]] = {
        "routes": routes,
        "endpoints": endpoints,
        "credentials": credentials,
        "status": status,
    }
    if planes:
        lanes["planes"] = planes
    return Lanes(lanes, directory, routes.has_published, routes.prepare)


def pod_settings(settings: Settings) -> PodSettings | None:
    """What receiver pods are to be like; None if nothing is said of them: then they are others' business."""
    path = settings.pod_settings
    if path is None:
        log.info("no pod settings, so that no receiver pods are made: HOOKLINE_OPERATOR_POD_SETTINGS names the file")
        return None
    try:
        return read_pod_settings(path.read_text(encoding="utf-8"))
    except (OSError, PodSettingsError) as error:
        raise Misconfigured(f"pod settings {path}: {error}") from error


def _now() -> datetime:
    return datetime.now(UTC)
