"""
Carries what receivers acknowledged from their journals into the event store, once each and in order.

    Journals.discover ─► watermarks ─► merge by stamp ─► decode ─► fan_out ─► EventStore.add with positions
                                                          │                        │
                                                  aside (unreadable)       sync ─► release, remove

One `step` is one batch, one transaction. Segments go only after `EventStore.sync`, which is asked for now and then and
not for each batch: until then a crash carries them again from the store's own positions.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from typing import Protocol

from hookline_receiver.carrying.fanout import FannedOut, fan_out, unrouted
from hookline_receiver.carrying.routebook import RouteBook, SubscriptionPlan
from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.journal.port import Damage, Entry, JournalReader, Journals, Position
from hookline_receiver.ops.logs import Throttle
from hookline_receiver.record import RecordUnreadable, decode
from hookline_receiver.store.port import Arrival, EventStore

log = logging.getLogger(__name__)

_TO_THE_END = 1 << 63


@dataclass(frozen=True, slots=True)
class CarrierLimits:
    """How much a batch holds, and how often what was carried is made durable."""

    batch_events: int = 500
    """Also bounds how long the store's thread is away from claims."""
    batch_bytes: int = 8 << 20
    batch_time: int = 50_000_000
    """Nanoseconds of matching after which a batch ends: one tenant's dear expressions must not keep claims waiting."""
    sync_interval: int = 1_000_000_000
    """Nanoseconds between two syncs of the store while something is carried: how much journal a crash reads again."""
    sync_bytes: int = 64 << 20
    """Bytes carried that are synced for at once, so that a burst can't fill the volume with what could be unlinked."""
    stall: int = 5_000_000_000
    """Nanoseconds behind the clock from which a worker that holds the others up is named in a warning."""


class Routes(Protocol):
    """The routes in force."""

    def book(self) -> RouteBook | None:
        """The routes of this moment; None: none was ever read."""

    def refresh(self) -> bool:
        """Look for a newer table now; whether there was one."""


class Aside(Protocol):
    """Where records go that nobody can read."""

    def keep(self, journal: str, position: Position, payload: bytes, reason: str) -> None:
        """Keep *payload* durably for a person to look at. Never raises for lack of room: says so in the log."""


class Meter(Protocol):
    """What is counted of carrying."""

    def carried(self, events: int, size: int, duplicates: int) -> None: ...
    def lag(self, nanoseconds: int) -> None: ...
    def damaged(self, length: int) -> None: ...
    def unreadable(self) -> None: ...
    def misfit(self) -> None: ...
    def unrouted(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did."""

    carried: int = 0
    """Records taken in, duplicates included."""
    routes: frozenset[RouteRef] = frozenset()
    """Routes that got a delivery."""
    more: bool = False
    """Whether the journals held more than a batch; what came meanwhile is for the next look."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """What was complete in all journals when somebody looked."""

    records: Iterator[tuple[JournalReader, Entry | Damage]]
    until: int
    """The stamp below which it is everything of this boot."""
    earlier: Collection[str]
    """Journals whose stamps are of another boot's clock."""


@dataclass(slots=True)
class _Batch:
    """What one transaction will hold."""

    arrivals: list[FannedOut] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    records: int = 0
    size: int = 0
    reached: int = 0
    """Stamp of its last record of this boot."""


@dataclass(slots=True)
class _Group:
    """Journals whose stamps are of one clock."""

    earlier: bool
    readers: list[JournalReader]


class Carrier:
    """
    Takes batches from all journals into *store*; call `step` again and again, from the store's thread.

    An exception (StoreUnavailable, OSError) leaves everything as it was: the next step starts over from the store's
    positions.
    """

    def __init__(
        self,
        journals: Journals,
        store: EventStore,
        routes: Routes,
        aside: Aside,
        meter: Meter,
        clock: Callable[[], int],
        throttle: Throttle,
        limits: CarrierLimits | None = None,
    ) -> None:
        self._journals = journals
        self._store = store
        self._routes = routes
        self._aside = aside
        self._meter = meter
        self._clock = clock
        self._throttle = throttle
        self._limits = limits or CarrierLimits()
        self._positions: dict[str, Position] | None = None
        self._pass: _Pass | None = None
        self._carried_until = 0
        self._dead: dict[str, int] = {}
        self._finished: list[JournalReader] = []
        self._unsynced: dict[str, JournalReader] = {}
        self._unsynced_bytes = 0
        self._synced_at = 0
        self._stalled: str | None = None
        self._without_routes = False

    def step(self) -> Step:
        """Carry at most one batch; make durable and let go of what was carried when it is time."""
        book = self._book()
        if book is None:
            return Step()
        try:
            step = self._carry(book)
            self._let_go()
        except BaseException:
            self._pass, self._positions = None, None
            raise
        return step

    @property
    def carried_until(self) -> int:
        """Every record of this boot with a stamp below this is in the store; 0 before the first batch."""
        return self._carried_until

    def _book(self) -> RouteBook | None:
        """The routes, or None: without any, events would be stored as if nobody wanted them."""
        book = self._routes.book()
        if book is None and not self._without_routes:
            log.warning("no route table yet, journals are kept until there is one")
        self._without_routes = book is None
        return book

    def _carry(self, book: RouteBook) -> Step:
        if self._positions is None:
            self._positions = dict(self._store.positions())
        if self._pass is None:
            self._pass = self._new_pass(self._positions)
        under_way = self._pass
        batch, ended = self._fill(under_way, book)
        if ended:
            self._pass = None
        routes = self._add(batch, self._positions) if batch.positions else frozenset[RouteRef]()
        self._carried_until = max(self._carried_until, under_way.until if ended else batch.reached)
        return Step(batch.records, routes, more=not ended)

    def _new_pass(self, positions: dict[str, Position]) -> _Pass:
        """
        Everything complete in all journals now, in order.

        The order matters: clock, journals, who is gone, watermarks, files. What a live worker has not yet made
        readable has a stamp above its watermark; a dead one's last records are there once its lock is free.
        """
        now = self._journals.now()
        readers = self._journals.discover()
        gone = self._notice_the_dead(readers)
        # PERF: asked once, since it looks at the lock each time.
        earlier = {one.name: one.boot for one in readers if one.earlier_boot}
        until, slowest = now, None
        for reader in readers:
            if reader.name in earlier or reader.name in gone:
                continue
            mark = reader.watermark(now)
            if mark < until:
                until, slowest = mark, reader
        self._observe(now - until, slowest)
        self._finished = [
            one for one in readers if one.name in gone and (one.name in earlier or gone[one.name] < until)
        ]
        return _Pass(self._in_order(_by_clock(readers, earlier), until, dict(positions)), until, earlier)

    def _notice_the_dead(self, readers: Sequence[JournalReader]) -> dict[str, int]:
        """By when each dead worker was seen to be dead: none of its records has a later stamp."""
        gone = {reader.name: self._dead.get(reader.name, 0) for reader in readers if reader.abandoned()}
        now = self._journals.now()
        self._dead = {name: seen or now for name, seen in gone.items()}
        return self._dead

    def _in_order(
        self, groups: Sequence[_Group], until: int, positions: dict[str, Position]
    ) -> Iterator[tuple[JournalReader, Entry | Damage]]:
        """Merge by stamp what shares a clock, one clock after another."""
        for group in groups:
            limit = _TO_THE_END if group.earlier else until
            streams = [_labelled(reader, reader.read(positions.get(reader.name), limit)) for reader in group.readers]
            for _, reader, entry in merge(*streams, key=_stamp):
                yield reader, entry

    def _observe(self, behind: int, slowest: JournalReader | None) -> None:
        self._meter.lag(behind)
        name = slowest.name if slowest is not None and behind > self._limits.stall else None
        if name is not None and name != self._stalled:
            log.warning("a worker holds the carrier up", extra={"journal": name, "behind_seconds": behind / 1e9})
        self._stalled = name

    def _fill(self, under_way: _Pass, book: RouteBook) -> tuple[_Batch, bool]:
        """One batch, and whether the pass has ended."""
        batch, until = _Batch(), self._clock() + self._limits.batch_time
        for reader, record in under_way.records:
            self._unsynced[reader.name] = reader
            if isinstance(record, Damage):
                self._report(record)
                batch.positions[reader.name] = Position(record.position.segment, record.position.offset + record.length)
                continue
            batch.positions[reader.name] = record.after
            batch.reached = 0 if reader.name in under_way.earlier else record.stamp
            batch.records += 1
            batch.size += len(record.payload)
            book = self._take(reader, record, batch, book)
            full = batch.records >= self._limits.batch_events or batch.size >= self._limits.batch_bytes
            if full or self._clock() >= until:
                return batch, False
        return batch, True

    def _take(self, reader: JournalReader, record: Entry, batch: _Batch, book: RouteBook) -> RouteBook:
        try:
            event = decode(record.payload)
        except RecordUnreadable as error:
            self._meter.unreadable()
            self._aside.keep(reader.name, record.after, record.payload, str(error))
            return book
        book, plan = self._plan(event.subscription, book)
        fanned = self._fan_out(event, plan)
        if fanned.misfits or not fanned.arrival.targets:
            self._tell(fanned)
        batch.arrivals.append(fanned)
        return book

    def _fan_out(self, event: Event, plan: SubscriptionPlan | None) -> FannedOut:
        """Where the event goes; one that trips a mistake of ours is kept unrouted, and must not stop all others."""
        try:
            return fan_out(event, plan)
        except Exception as error:  # noqa: BLE001  a mistake of ours, whatever it is, must not stop everybody
            # SECURITY: the error's text may quote the event.
            fields = {"subscription": str(event.subscription), "error": type(error).__name__}
            log.error("an event could not be fanned out and is kept unrouted", extra=fields)
            return unrouted(event, error)

    def _plan(self, subscription: SubscriptionRef, book: RouteBook) -> tuple[RouteBook, SubscriptionPlan | None]:
        """The subscription's routes; before it counts as gone, a table that came after the event was accepted is read."""
        plan = book.subscriptions.get(subscription.uid)
        if plan is None and self._routes.refresh():
            book = self._routes.book() or book
            plan = book.subscriptions.get(subscription.uid)
        return book, plan

    def _tell(self, fanned: FannedOut) -> None:
        for misfit in fanned.misfits:
            self._meter.misfit()
            held_back = self._throttle.admit(f"misfit {misfit.route}")
            if held_back is not None:
                fields = {"route": str(misfit.route), "reason": misfit.reason, "held_back": held_back}
                log.warning("a route's expression failed on an event", extra=fields)
        if not fanned.arrival.targets:
            self._meter.unrouted(fanned.arrival.unrouted.partition(":")[0])

    def _add(self, batch: _Batch, positions: dict[str, Position]) -> frozenset[RouteRef]:
        arrivals: list[Arrival] = [fanned.arrival for fanned in batch.arrivals]
        added = self._store.add(arrivals, batch.positions, self._clock())
        positions.update(batch.positions)
        self._unsynced_bytes += batch.size
        self._meter.carried(added.stored, batch.size, len(added.duplicates))
        return frozenset(added.routes)

    def _report(self, damage: Damage) -> None:
        self._meter.damaged(damage.length)
        log.error(
            "a journal is damaged, the bytes were passed over",
            extra={
                "journal": damage.journal,
                "segment": damage.position.segment,
                "offset": damage.position.offset,
                "length": damage.length,
                "reason": damage.reason,
            },
        )

    def _let_go(self) -> None:
        """Unlink what is durable in the store, and remove journals of dead workers that were carried to their end."""
        finished = [] if self._pass is not None else self._finished
        if not self._unsynced and not finished:
            return
        now = self._clock()
        due = now - self._synced_at >= self._limits.sync_interval or self._unsynced_bytes >= self._limits.sync_bytes
        if not due:
            return
        self._store.sync()
        self._synced_at, self._unsynced_bytes = now, 0
        self._release(finished)

    def _release(self, finished: list[JournalReader]) -> None:
        positions = self._positions or {}
        gone = {reader.name for reader in finished}
        for name, reader in self._unsynced.items():
            if name not in gone and name in positions:
                reader.release(positions[name])
        self._unsynced = {}
        for reader in finished:
            reader.remove()
            self._store.forget_journal(reader.name)
            positions.pop(reader.name, None)
            log.info("a dead worker's journal was carried and removed", extra={"journal": reader.name})
        self._finished = []


def _by_clock(readers: Sequence[JournalReader], earlier: Mapping[str, str]) -> list[_Group]:
    """Earlier boots (*earlier*: name to boot) in the order in which they come, then this one."""
    boots: dict[str, _Group] = {}
    for reader in readers:
        if reader.name in earlier:
            boots.setdefault(earlier[reader.name], _Group(True, [])).readers.append(reader)
    return [*boots.values(), _Group(False, [reader for reader in readers if reader.name not in earlier])]


def _stamp(item: tuple[int, JournalReader, Entry | Damage]) -> int:
    return item[0]


def _labelled(
    reader: JournalReader, records: Iterator[Entry | Damage]
) -> Iterator[tuple[int, JournalReader, Entry | Damage]]:
    """Give each record the stamp it is merged by; damage has none and goes with what came before it."""
    stamp = 0
    for record in records:
        if isinstance(record, Entry):
            stamp = record.stamp
        yield stamp, reader, record
