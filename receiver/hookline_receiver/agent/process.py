"""Wires the agent and runs its parts until it is told to stop."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from hookline.routing.v1.snapshot_pb2 import EndpointTable, ForwarderSnapshot, ReceiverSnapshot
from hookline_receiver.agent import numbers
from hookline_receiver.agent.api import TableApi
from hookline_receiver.agent.follow import Follower
from hookline_receiver.agent.keys import Keys
from hookline_receiver.agent.pod import Programs
from hookline_receiver.agent.settings import Settings, address
from hookline_receiver.agent.snapshots import SnapshotFile
from hookline_receiver.agent.target import ENDPOINTS, ROUTES, Files, Target
from hookline_receiver.agent.watch import Patience, Watch
from hookline_receiver.forwarder.ops import OpsServer
from hookline_routes.shard import plane_label

log = logging.getLogger(__name__)


class Agent:
    """The whole agent; `run` returns when `stop` was called."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = Keys(settings.keys_dir, settings.token_file)
        self._files = Files(
            receiver=SnapshotFile(settings.receiver_index, ReceiverSnapshot),
            forwarder=SnapshotFile(settings.forwarder_index, ForwarderSnapshot),
            endpoints=SnapshotFile(settings.endpoints_index, EndpointTable),
        )
        self._target = Target(settings.plane, self._files, lambda: self._follower.wake())
        selector = f"hookline.dev/plane={plane_label(settings.plane)}"
        self._api = TableApi(settings.server, settings.namespace, selector, self._keys.api_token, settings.ca_file)
        patience = Patience(settings.watch_length, settings.watch_silence)
        self._watches = [Watch(self._api, plural, self._target, patience) for plural in (ROUTES, ENDPOINTS)]
        programs = Programs(
            address("receiver_ops", settings.receiver_ops), address("forwarder_ops", settings.forwarder_ops)
        )
        self._follower = Follower(
            self._target, self._files, programs, self._keys.tag_key, self._watch_trouble, linger=settings.linger
        )
        self._streams: Callable[[], int] = int
        self._ready = False
        self._began = time.monotonic()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Follow what is published until `stop`; raises OSError where it can't start."""
        await asyncio.to_thread(self._target.open)
        ops = OpsServer(self._metrics, self._not_ready, self._status)
        port = await ops.start(*address("ops_bind", self._settings.ops_bind))
        log.info("agent starts", extra={"plane": self._settings.plane, "ops_port": port})
        parts = [asyncio.create_task(watch.run()) for watch in self._watches]
        parts += [asyncio.create_task(self._follower.run()), asyncio.create_task(self._report())]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([*parts, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a part that failed ends the process; who supervises it starts it anew
        finally:
            for task in (*parts, stopping):
                task.cancel()
            await asyncio.gather(*parts, stopping, return_exceptions=True)
            ops.stop()
            await self._api.close()
        log.info("agent stopped")

    async def _report(self) -> None:
        """Serve the report. PERF: gRPC is imported once the first snapshot is under way, it takes a quarter second."""
        while not self._target.complete and time.monotonic() - self._began < 1.0:
            await asyncio.sleep(0.01)
        from hookline_receiver.agent.report import AgentServicer, ReportServer

        servicer = AgentServicer(self._settings.plane, self._follower, self._keys.agent_token)
        self._streams = lambda: servicer.streams
        server = ReportServer(servicer)
        port = await server.start(*address("report_bind", self._settings.report_bind))
        log.info("report listens", extra={"port": port})
        try:
            await asyncio.Event().wait()
        finally:
            await server.stop()

    def _watch_trouble(self) -> str:
        return next((watch.trouble for watch in self._watches if watch.trouble), "")

    def _not_ready(self) -> str:
        """
        Why the pod is not to get traffic; "" from the first time on that it served what is published.

        An agent that starts anew in a pod whose workers serve is ready at once. In a new pod with an old snapshot, the
        API server is waited for, but not for ever.
        """
        if self._ready:
            return ""
        follower = self._follower
        waited = time.monotonic() - self._began >= self._settings.start_grace
        if follower.caught_up or follower.served_all_at_start or (waited and follower.settled):
            self._ready = True
            log.info("the pod is ready", extra={"trouble": follower.report.trouble})
            return ""
        return follower.report.trouble or "what is published was not listed yet"

    def _status(self) -> Mapping[str, object]:
        report = self._follower.report
        return {
            "plane": self._settings.plane,
            "in_sync": report.in_sync,
            "trouble": report.trouble,
            "revisions": list(report.revisions),
            "running": self._follower.running,
            "troubles": list(self._target.troubles)[:20],
        }

    def _metrics(self) -> bytes:
        follower, target, now = self._follower, self._target, time.monotonic()
        heard = [watch.heard for watch in self._watches]
        return numbers.page(
            {
                "in_sync": follower.report.in_sync,
                "ready": self._ready,
                "snapshot_complete": target.routes is not None and target.endpoints is not None,
                "heard_seconds": now - min(heard) if all(heard) else -1,
                "snapshot_age_seconds": now - follower.written_at if follower.written_at else -1,
                "unserved_seconds": now - follower.unserved_since if follower.unserved_since else 0,
                "bad_tables": len(target.troubles),
                "subscriptions": follower.subscriptions,
                "held_back": follower.waiting.held_back,
                "leaving": follower.waiting.leaving,
                "tags_incomplete": follower.tags_incomplete,
                "lists_total": sum(watch.lists for watch in self._watches),
                "watch_interruptions_total": sum(watch.interruptions for watch in self._watches),
                "parts_written_total": sum(
                    file.written for file in (self._files.receiver, self._files.forwarder, self._files.endpoints)
                ),
                "snapshots_written_total": follower.snapshots_written,
                "streams": self._streams(),
            }
        )
