"""Wires the forwarder and runs its parts until it is told to stop."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING

from hookline_receiver.carrying.carrier import Carrier
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.forwarder.admin import AdminServer, EventAdminServicer
from hookline_receiver.forwarder.aside import AsideFolder
from hookline_receiver.forwarder.board import Board
from hookline_receiver.forwarder.breaker import BreakerPolicy
from hookline_receiver.forwarder.channel import CertificateFiles, ChannelMaker
from hookline_receiver.forwarder.clock import SystemClock
from hookline_receiver.forwarder.endpoints import EndpointLimits, GrpcCaller
from hookline_receiver.forwarder.files import make_folder
from hookline_receiver.forwarder.lane import Capacity
from hookline_receiver.forwarder.loop import Dispatcher, LoopLimits
from hookline_receiver.forwarder.metrics import Metrics
from hookline_receiver.forwarder.ops import OpsServer
from hookline_receiver.forwarder.settings import Settings, address
from hookline_receiver.forwarder.share import Share, ShareFile
from hookline_receiver.forwarder.store_thread import StoreThread
from hookline_receiver.forwarder.tables import EndpointFile, Routes
from hookline_receiver.forwarder.upkeep import Upkeep
from hookline_receiver.journal.reader import SegmentJournals
from hookline_receiver.ops.logs import Throttle
from hookline_receiver.store.port import EventStore, StoreUnavailable
from hookline_receiver.store.sqlite import SqliteEventStore

if TYPE_CHECKING:
    from hookline_receiver.carrying.routebook import RouteBook

log = logging.getLogger(__name__)

_UPKEEP_INTERVAL = 1.0
_IDLE_AFTER = 5_000_000_000
_LOOKS_PER_ROUND = 4
"""Looks for tables, between two rounds through all connections."""
_TROUBLE_FIRST, _TROUBLE_LONGEST = 0.1, 5.0


def open_sqlite(settings: Settings) -> EventStore:
    """Open the store, whose only owner this process is from now on."""
    make_folder(settings.store.parent)
    return SqliteEventStore(settings.store, same=same_event)


class Forwarder:
    """The whole forwarder; `run` returns when `stop` was called and everything under way has ended."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._metrics = Metrics(settings.metrics_routes)
        self._routes = Routes(settings.routes)
        self._endpoints = EndpointFile(settings.endpoints)
        self._store = StoreThread(lambda: open_sqlite(settings))
        self._journals = SegmentJournals(settings.journals)
        self._share = Share(ShareFile(settings.pending))
        self._upkeep = Upkeep(self._routes.book, lambda: self._routes.healthy, self._clock.now)
        self._board = Board(BreakerPolicy(longest_open=int(settings.breaker_longest_open * 1e9)), random.random)
        self._seen: RouteBook | None = None
        self._carried_at = 0
        self._trouble = ""
        self._counted: int | None = None
        self._uncounted = True
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Carry and deliver until `stop`; raises StoreRefused or OSError where it can't start."""
        await self._store.start()
        try:
            lapsed = await self._store.run(lambda store: store.release_leases(self._clock.now()))
            log.info("forwarder starts", extra={"leases_lapsed": lapsed})
            await self._work()
        finally:
            await self._store.close()
            self._journals.close()
        log.info("forwarder stopped")

    def stop(self) -> None:
        """Claim nothing more, let what is under way end, and return from `run`."""
        self._stopping.set()

    async def _work(self) -> None:
        self._caller = self._make_caller()
        self._dispatcher = self._make_dispatcher(self._caller)
        self._carrier = await self._store.run(self._make_carrier)
        await self._look_at_tables()
        ops = OpsServer(self._metrics.page, self._not_ready, self._status)
        admin = AdminServer(
            EventAdminServicer(self._store, self._routes.book, self._clock.now, self._dispatcher.wake),
            self._settings.admin,
        )
        await admin.start()
        if self._settings.ops_bind:
            port = await ops.start(*address(self._settings.ops_bind))
            log.info("ops port listens", extra={"port": port})
        try:
            await self._run_parts()
        finally:
            ops.stop()
            await admin.stop()
            await self._caller.close()

    async def _run_parts(self) -> None:
        """All loops; one that fails ends the process, and its supervisor starts it anew."""
        async with asyncio.TaskGroup() as group:
            delivering = group.create_task(self._dispatcher.run())
            others = [
                group.create_task(self._again("carrying", self._carry)),
                group.create_task(self._again("upkeep", self._keep_up)),
                group.create_task(self._again("share", self._tell_shares)),
                group.create_task(self._watch_tables()),
            ]
            await self._stopping.wait()
            log.info("forwarder stops", extra={"calls": self._dispatcher.calls})
            for task in others[:1]:
                task.cancel()
            self._dispatcher.stop()
            _, late = await asyncio.wait([delivering], timeout=self._settings.stop_patience)
            if late:
                log.warning("calls are given up, their deliveries come again", extra={"calls": self._dispatcher.calls})
                self._dispatcher.abandon_calls()
                await delivering
            for task in others:
                task.cancel()

    # --- parts

    async def _carry(self) -> float:
        step = await self._store.run(lambda _: self._carrier.step())
        if step.routes:
            self._dispatcher.wake()
        now = self._clock.now()
        self._uncounted |= bool(step.carried) or step.more
        if step.carried:
            self._share.carried += step.carried
            self._carried_at = now
        if step.more:
            return 0.0
        idle = now - self._carried_at > _IDLE_AFTER
        return self._settings.idle_poll_interval if idle else self._settings.poll_interval

    async def _keep_up(self) -> float:
        found = await self._store.run(self._upkeep.round)
        self._metrics.swept(found.ended)
        if found.backlog is not None:
            self._metrics.backlog(found.backlog, self._clock.now())
            self._counted = sum(each.pending + each.dead for each in found.backlog)
            self._uncounted = False  # steps and counts take turns in the store's thread
        self._metrics.breakers(self._board.states())
        if found.released or found.ended:
            self._dispatcher.wake()
        return _UPKEEP_INTERVAL

    async def _tell_shares(self) -> float:
        await self._store.run(lambda store: self._share.look(store, self._carrier.carried_until))
        return await asyncio.to_thread(self._share.tell)

    async def _again(self, what: str, part: Callable[[], Awaitable[float]]) -> None:
        """Do *part* for ever, after the seconds it asks for; store and disk may be away for a while."""
        trouble = 0.0
        while True:
            try:
                pause = await part()
            except (StoreUnavailable, OSError) as error:
                trouble = min(_TROUBLE_LONGEST, max(_TROUBLE_FIRST, trouble * 2))
                self._trouble = f"{what}: {error}"
                self._metrics.store_unavailable()
                log.error("it can't be done now and is tried again", extra={"part": what, "reason": str(error)})
                pause = trouble
            else:
                if trouble:
                    log.info("it can be done again", extra={"part": what})
                    trouble, self._trouble = 0.0, ""
            await asyncio.sleep(pause)

    async def _watch_tables(self) -> None:
        for look in count(1):
            await asyncio.sleep(self._settings.table_interval)
            if await self._look_at_tables() or look % _LOOKS_PER_ROUND == 0:
                await self._caller.maintain()

    async def _look_at_tables(self) -> bool:
        """Swap in new tables, read in a thread: compiling thousands of routes takes a while. Whether any was new."""
        if self._routes.changed():
            await asyncio.to_thread(self._routes.refresh)
        endpoints = self._endpoints.refresh()
        # The carrier may have read the newer table before us.
        book, before = self._routes.book(), self._seen
        routes, self._seen = book is not before, book
        if routes and book:
            self._board.keep_only(book.handlers.keys())
        if endpoints and book:
            addresses = self._endpoints.current
            for handler in book.handlers:
                if addresses and addresses.of(handler):
                    self._dispatcher.reachable(handler)
        if routes or endpoints:
            self._dispatcher.wake()
        return routes or endpoints

    # --- wiring

    def _make_caller(self) -> GrpcCaller:
        settings = self._settings
        certificate = None
        if settings.client_certificate and settings.client_key:
            certificate = CertificateFiles(settings.client_certificate, settings.client_key)
        return GrpcCaller(
            ChannelMaker(certificate),
            lambda: self._endpoints.current,
            lambda handler: self._dispatcher.reachable(handler),
            EndpointLimits(channels=settings.channels, idle=settings.channel_idle),
        )

    def _make_dispatcher(self, caller: GrpcCaller) -> Dispatcher:
        settings = self._settings
        limits = LoopLimits(
            capacity=Capacity(settings.max_calls, settings.max_memory),
            message_bytes=settings.message_bytes,
            lease_margin=int(settings.lease_margin * 1e9),
        )
        throttle = Throttle(time.monotonic)
        return Dispatcher(
            self._store,
            caller,
            self._routes.book,
            self._clock,
            self._metrics,
            self._board,
            random.random,
            throttle,
            limits,
        )

    def _make_carrier(self, store: EventStore) -> Carrier:
        aside = AsideFolder(self._settings.aside)
        throttle = Throttle(time.monotonic)
        return Carrier(self._journals, store, self._routes, aside, self._metrics, self._clock.now, throttle)

    def _status(self) -> Mapping[str, object]:
        """For the agent: which routes are in force, by which it orders changes, and how many deliveries have not ended."""
        book = self._routes.book()
        held = None if self._counted is None else self._counted + self._uncounted
        return {"version": book.version if book else "", "healthy": self._routes.healthy, "held": held}

    def _not_ready(self) -> str:
        if self._stopping.is_set():
            return "stopping"
        if self._routes.book() is None:
            return "there is no route table yet"
        return self._trouble
