"""
Wires the operator and runs its parts until it is told to stop.

    list all → watch (kopf) ┐
                            ├─► change → keys of lanes; while this replica leads, lanes work them off
    sweep every minute      ┘
    Lease → term: internal Secret, default gateway, lanes
"""

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Callable
from pathlib import Path

from kubernetes.aio.client import ApiClient

from hookline_operator.apply.api import Api, ApiError, Limits
from hookline_operator.apply.connection import connect, log_in
from hookline_operator.apply.installation import DEFAULT_GATEWAY, Installation, Internal, Misconfigured, gateway_spec
from hookline_operator.leadership import Election
from hookline_operator.observe.authorities import Authorities, AuthorityPace
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.dependents import dependents, everything
from hookline_operator.observe.feeds import Feeds
from hookline_operator.observe.kinds import Identity, kinds
from hookline_operator.observe.objects import Change, KindName
from hookline_operator.observe.verification import Verification
from hookline_operator.ops import OperatorState, OpsServer
from hookline_operator.settings import Settings, ops_address
from hookline_operator.wiring import Lanes, Parts, make_lanes, pod_settings

log = logging.getLogger(__name__)

LOAD_AGAIN_AFTER = 1.0
"""Seconds until the first lists are tried again after one has failed."""
WARM_AGAIN_AFTER = 2.0
"""Seconds until the internal Secret is looked for again by a replica that does not lead: the leader makes it."""
GATEWAY_AGAIN_AFTER = 5.0
"""Seconds until the default gateway is tried again after it could not be written."""
LEASE_CALL = Limits(seconds=1.5, attempts=1)


class Operator:
    """The whole operator; `run` returns when `stop` was called and the Lease was given back."""

    def __init__(self, settings: Settings, client: ApiClient) -> None:
        self._settings = settings
        self._cluster = Cluster(
            kinds(settings.namespace, settings.watched_secret_namespaces), settings.default_namespace, _tell_unreadable
        )
        reading = Api(client)
        lease_api = Api(client, limits=LEASE_CALL)
        self._election = Election(
            lease_api, settings.namespace, settings.lease, settings.name, timings=settings.lease_timings()
        )
        self._api = Api(client, may_write=self._election.remaining)
        pace = AuthorityPace(settings.authority_seconds)
        self._authorities = Authorities(reading, self._cluster, self._on_change, pace=pace)
        self._verification = Verification(reading, self._cluster, self._authorities, self._on_change)
        self._feeds = Feeds(self._cluster, log_in, self._on_change)
        self._installation = Installation(self._api, settings.namespace, _gateway_spec(settings))
        self._ops = OpsServer(ops_address(settings.ops_bind), self._state, self._verification)
        self._pods = pod_settings(settings)
        self._internal: Internal | None = None
        """What the lanes were made with."""
        self._lanes: Lanes | None = None
        self._lanes_made = asyncio.Event()
        self._gateway_missing = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin to end."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`; raises what no part could go on with."""
        await self._ops.start()
        working = asyncio.create_task(self._work())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            working.cancel()
            await asyncio.wait((working, stopping))
            await self._feeds.stop()
            await self._ops.stop()
        if not working.cancelled() and (error := working.exception()):
            raise error

    async def _work(self) -> None:
        await self._load()
        self._feeds.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._verification.sweep(self._settings.sweep_seconds))
            group.create_task(self._authorities.run())
            group.create_task(self._election.run(self._lead))
            group.create_task(self._stay_warm())

    async def _load(self) -> None:
        while True:
            try:
                await self._verification.load()
            except ApiError as error:
                log.warning("can't list yet", extra={"error": str(error)})
                await asyncio.sleep(LOAD_AGAIN_AFTER)
            else:
                counts = {kind.name.value: self._cluster.count(kind.name) for kind in self._cluster.kinds}
                log.info("all listed", extra=counts)
                return

    async def _lead(self, term: int) -> None:
        """One term."""
        internal = await self._installation.make_internal()
        lanes = self._lanes_of(internal)
        if self._ends_for_another(internal):
            return
        await self._make_gateway()
        lanes.add(everything(self._cluster))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_gateway())
            group.create_task(self._watch_internal())
            group.create_task(lanes.run())

    def _lanes_of(self, internal: Internal) -> Lanes:
        """Made once: what they know is of use to the next term."""
        if self._lanes is None:
            self._internal = internal
            verify = self._verification.verify
            self._lanes = make_lanes(Parts(self._settings, self._cluster, self._api, verify, internal, self._pods))
            self._lanes_made.set()
        return self._lanes

    def _ends_for_another(self, internal: Internal) -> bool:
        """
        Whether the internal Secret is another than the lanes were made with: then this process ends, and begins anew.

        Receivers mount the new one by themselves: verifiers of the old key would refuse everybody.
        """
        if internal == self._internal:
            return False
        log.error("the internal Secret is another one now; the operator starts again with it")
        self.stop()
        return True

    async def _watch_internal(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_seconds)
            try:
                internal = await self._installation.internal()
            except ApiError:
                continue
            except (Misconfigured, ValueError) as error:
                log.error("the internal Secret can't be read, its last content counts", extra={"error": str(error)})
                continue
            if internal and self._ends_for_another(internal):
                return

    async def _stay_warm(self) -> None:
        """The lanes exist as soon as the internal Secret does, which the first leader makes."""
        while self._lanes is None:
            with contextlib.suppress(ApiError):
                if internal := await self._installation.internal():
                    self._lanes_of(internal)
                    break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WARM_AGAIN_AFTER):
                    await self._lanes_made.wait()
        assert self._lanes is not None
        await self._lanes.stay_warm()

    async def _keep_gateway(self) -> None:
        while True:
            await self._gateway_missing.wait()
            if not await self._make_gateway():
                await asyncio.sleep(GATEWAY_AGAIN_AFTER)

    async def _make_gateway(self) -> bool:
        """Whether the default gateway is as it should be."""
        self._gateway_missing.clear()
        try:
            await self._installation.make_default_gateway()
        except ApiError as error:
            log.error("default gateway not written", extra={"error": str(error)})
            self._gateway_missing.set()
            return False
        return True

    def _on_change(self, change: Change) -> None:
        self._authorities.note(change)
        if self._lanes:
            self._lanes.add(dependents(change, self._cluster))
            self._lanes.note(change)
        if change.kind is KindName.GATEWAYS and change.new is None and change.key.name == DEFAULT_GATEWAY:
            self._gateway_missing.set()

    def _state(self) -> OperatorState:
        leading = self._election.is_leading()
        return OperatorState(
            complete=self._verification.is_complete,
            leading=leading,
            term=self._election.term,
            holder=self._election.holder,
            published=leading and self._lanes is not None and self._lanes.has_published(),
            behind=self._feeds.behind,
            feed_restarts=self._feeds.restarts,
            writes=self._api.writes,
            lanes=self._lanes.states() if self._lanes else (),
        )


async def run(settings: Settings, stopped_by: Callable[[Callable[[], None]], None]) -> None:
    """Connect and run; *stopped_by* is given what stops it."""
    client = await connect()
    try:
        operator = Operator(settings, client)
        stopped_by(operator.stop)
        await operator.run()
    finally:
        await client.close()  # type: ignore[no-untyped-call]


def _gateway_spec(settings: Settings) -> dict[str, object] | None:
    path = settings.default_gateway
    if path is None:
        return None
    try:
        return dict(gateway_spec(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise Misconfigured(f"the default gateway's spec can't be read: {error}") from error


def _tell_unreadable(kind: KindName, seen: Identity, error: Exception) -> None:
    # SECURITY: the error's own words may quote the object, a Secret among them.
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    fields = {"kind": kind.value, "object": str(seen.key), "version": seen.resource_version}
    log.error(
        "an object can't be read; it stays as it was known",
        extra={**fields, "error": type(error).__name__, "where": where},
    )
