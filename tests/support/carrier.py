"""A carrier between journals and a store that a test watches and breaks."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hookline_receiver.carrying.carrier import Carrier, CarrierLimits
from hookline_receiver.carrying.routebook import RouteBook
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import Event
from hookline_receiver.journal.memory import MemoryJournal, MemoryJournals
from hookline_receiver.journal.port import Position
from hookline_receiver.ops.logs import Throttle
from hookline_receiver.store.memory import MemoryEventStore
from hookline_receiver.store.port import Added, Arrival, StoreUnavailable
from support.forwarder import SECOND, a_book, a_route, a_subscription

NOON = 1_800_000_000 * SECOND


class Ticks:
    """A clock that a test moves."""

    def __init__(self, now: int = 1) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class WatchedStore(MemoryEventStore):
    """An event store that tells what was asked of it, and fails on order."""

    def __init__(self, story: list[str]) -> None:
        super().__init__(same=same_event)
        self.story_of_calls = story
        self.arrived: list[Arrival] = []
        """Everything that was added for the first time, in order."""
        self.batches: list[int] = []
        self.fail_before: int = 0
        """So many `add`s fail without a trace."""
        self.die_after: int = 0
        """So many `add`s are done, but the caller doesn't live to hear of it."""

    def add(self, arrivals: Sequence[Arrival], positions: Mapping[str, Position], now: int) -> Added:
        """Add, or fail."""
        if self.fail_before:
            self.fail_before -= 1
            raise StoreUnavailable("disk full")
        known = {bytes(arrival.event.ingest_id) for arrival in self.arrived}
        added = super().add(arrivals, positions, now)
        self.arrived += [one for one in arrivals if one.event.ingest_id not in known]
        self.batches.append(len(arrivals))
        if self.die_after:
            self.die_after -= 1
            raise KeyboardInterrupt
        return added

    def sync(self) -> None:
        """Say so."""
        self.story_of_calls.append("sync")

    def forget_journal(self, name: str) -> None:
        """Say so."""
        self.story_of_calls.append(f"forget {name}")
        super().forget_journal(name)

    @property
    def events(self) -> list[Event]:
        """What arrived, in order."""
        return [arrival.event for arrival in self.arrived]


class WatchedJournal(MemoryJournal):
    """A journal that tells when it is let go of, and may hold others up."""

    def __init__(self, name: str, ticks: Ticks, story: list[str], *, earlier_boot: bool = False) -> None:
        super().__init__(name, ticks, earlier_boot=earlier_boot)
        self._story = story
        self.incomplete_from: int | None = None
        """Stamp of a record that is on its way and not yet readable."""

    def watermark(self, now: int) -> int:
        """What is on its way counts."""
        return now if self.incomplete_from is None else min(now, self.incomplete_from)

    def release(self, position: Position) -> None:
        """Say so."""
        self._story.append(f"release {self.name} {position.offset}")
        super().release(position)

    def remove(self) -> None:
        """Say so."""
        self._story.append(f"remove {self.name}")
        super().remove()


class FixedRoutes:
    """Routes as a test sets them; `newer` is found at the next look."""

    def __init__(self, book: RouteBook | None) -> None:
        self._book = book
        self.newer: RouteBook | None = None
        self.looks = 0

    def book(self) -> RouteBook | None:
        """Those in force."""
        return self._book

    def refresh(self) -> bool:
        """Take the newer ones, if there are any."""
        self.looks += 1
        if self.newer is None:
            return False
        self._book, self.newer = self.newer, None
        return True


class Counts:
    """A meter that a test reads."""

    def __init__(self) -> None:
        self.stored = 0
        self.duplicates = 0
        self.behind = 0
        self.damage: list[int] = []
        self.unreadable_records = 0
        self.misfits = 0
        self.reasons: list[str] = []

    def carried(self, events: int, size: int, duplicates: int) -> None:
        """Count."""
        self.stored += events
        self.duplicates += duplicates

    def lag(self, nanoseconds: int) -> None:
        """Remember the last."""
        self.behind = nanoseconds

    def damaged(self, length: int) -> None:
        """Count."""
        self.damage.append(length)

    def unreadable(self) -> None:
        """Count."""
        self.unreadable_records += 1

    def misfit(self) -> None:
        """Count."""
        self.misfits += 1

    def unrouted(self, reason: str) -> None:
        """Count."""
        self.reasons.append(reason)


class Kept:
    """Unreadable records that were kept aside."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes]] = []

    def keep(self, journal: str, position: Position, payload: bytes, reason: str) -> None:
        """Keep."""
        self.records.append((journal, payload))


class Rig:
    """A carrier with everything around it in a test's hands."""

    def __init__(self, *, book: RouteBook | None = None, limits: CarrierLimits | None = None) -> None:
        self.story: list[str] = []
        self.ticks = Ticks()
        self.wall = Ticks(NOON)
        self.journals = MemoryJournals(clock=self.ticks)
        self.store = WatchedStore(self.story)
        self.routes = FixedRoutes(book or a_book(a_subscription(a_route())))
        self.aside = Kept()
        self.counts = Counts()
        self.limits = limits or CarrierLimits()
        self.carrier = self.make_carrier()

    def make_carrier(self) -> Carrier:
        """A carrier that knows nothing of what an earlier one did."""
        throttle = Throttle(lambda: 0.0)
        return Carrier(
            self.journals, self.store, self.routes, self.aside, self.counts, self.wall, throttle, self.limits
        )

    def worker(self, name: str, *, earlier_boot: bool = False) -> WatchedJournal:
        """A worker's journal."""
        journal = WatchedJournal(name, self.ticks, self.story, earlier_boot=earlier_boot)
        self.journals.journals.append(journal)
        return journal

    async def append(self, journal: MemoryJournal, payload: bytes) -> None:
        """Append one tick later than the last one."""
        self.ticks.now += 1
        await journal.append(payload)

    def carry(self) -> int:
        """Carry all there is; how many steps it took."""
        steps = 1
        self.ticks.now += 1
        while self.carrier.step().more:
            steps += 1
        return steps

    def let_time_pass(self, seconds: float = 2) -> None:
        """Let it be time for a sync, and give the carrier a turn."""
        self.wall.now += int(seconds * SECOND)
        self.ticks.now += 1
        self.carrier.step()


def stored_ids(store: WatchedStore) -> Collection[bytes]:
    """Ingest ids in the order they arrived."""
    return [event.ingest_id for event in store.events]


def log_of(folder: Path) -> str:
    """What a forwarder on *folder* said."""
    return (folder / "forwarder.log").read_text()
