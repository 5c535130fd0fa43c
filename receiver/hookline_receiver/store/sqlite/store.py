"""The event store in one SQLite file, as its caller sees it: each method one transaction, made of the steps beside."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection

from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.journal.port import Position
from hookline_receiver.store.port import (
    Added,
    Arrival,
    Claimed,
    DeadLetter,
    DueRoute,
    Erased,
    Erasure,
    EventFilter,
    EventStory,
    Filter,
    Found,
    Redriven,
    Replayed,
    Retention,
    RouteBacklog,
    Settlement,
    Walk,
)
from hookline_receiver.store.sqlite import adding, asking, claiming, erasing, finding, reviving, settling, sweeping
from hookline_receiver.store.sqlite.file import DatabaseFile
from hookline_receiver.store.sqlite.ledger import Directory
from hookline_receiver.store.sqlite.migrations import MIGRATIONS, Migration


class SqliteEventStore:
    """
    An `EventStore` in the file *path*, made if it is not there; its folder must be.

    `same(first, later)` says whether two bodies of one identity are one event. Raises StoreRefused where the file can't be
    opened and a person is needed, StoreUnavailable where trying again later may help. Used by one thread at a time, not
    necessarily the one that made it.
    """

    def __init__(
        self,
        path: Path,
        *,
        same: Callable[[bytes, bytes], bool],
        cache_bytes: int = 32 << 20,
        flush: Callable[[int], None] = os.fdatasync,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        self._same = same
        self._file = DatabaseFile(path, migrations, cache_bytes=cache_bytes, flush=flush)
        self._directory = Directory(self._file.connection)

    def positions(self) -> Mapping[str, Position]:
        """How far each journal has been carried."""
        with self._file.reading() as connection:
            rows = connection.execute("SELECT journal, segment, byte_offset FROM positions").fetchall()
        return {journal: Position(segment, offset) for journal, segment, offset in rows}

    def add(self, arrivals: Sequence[Arrival], positions: Mapping[str, Position], now: int) -> Added:
        """Store, find duplicates, fan out, remember positions; refused while the disk is all but full."""
        if arrivals:
            self._file.require_room()
        with self._changing() as connection:
            added = adding.add(connection, self._directory, self._same, arrivals, now)
            adding.remember(connection, positions)
        return added

    def forget_journal(self, name: str) -> None:
        """Drop a removed journal's position."""
        with self._changing() as connection:
            connection.execute("DELETE FROM positions WHERE journal = ?", (name,))

    def sync(self) -> None:
        """Make what was committed durable."""
        self._file.sync()

    def due_routes(self, limit: int) -> Sequence[DueRoute]:
        """Routes with something to claim, soonest first."""
        with self._file.reading() as connection:
            return claiming.due_routes(connection, self._directory, limit)

    def hold(self, route: RouteRef, until: int) -> None:
        """Let *route* not be due before *until*."""
        with self._changing() as connection:
            claiming.hold(connection, self._directory, route, until)

    def pause(self, routes: Collection[RouteRef], now: int) -> None:
        """Exactly these routes are paused from now on."""
        with self._file.reading() as connection:
            if claiming.paused_routes(connection, self._directory) == set(routes):
                return
        with self._changing() as connection:
            claiming.pause(connection, self._directory, set(routes), now)

    def claim(self, route: RouteRef, limit: int, max_bytes: int, now: int, lease_until: int) -> Sequence[Claimed]:
        """Lease due deliveries."""
        with self._changing() as connection:
            return claiming.claim(connection, self._directory, route, (limit, max_bytes), now, lease_until)

    def release_leases(self, now: int) -> int:
        """Let every lease and hold lapse."""
        with self._changing() as connection:
            return claiming.release_leases(connection, now)

    def settle(self, settlements: Sequence[Settlement], now: int) -> Collection[int]:
        """Say what became of claimed deliveries."""
        with self._changing() as connection:
            return settling.settle(connection, settlements, now)

    def expired(self, route: RouteRef, max_age: int, limit: int, now: int) -> int:
        """End what grew too old."""
        with self._changing() as connection:
            return sweeping.expired(connection, self._directory, route, max_age, limit, now)

    def retire(self, keep: Collection[RouteRef], limit: int, now: int) -> int:
        """End what has no route any more."""
        with self._changing() as connection:
            return sweeping.retire(connection, self._directory, keep, limit, now)

    def purge(self, retention: Mapping[SubscriptionRef, Retention], default: Retention, limit: int, now: int) -> int:
        """Remove what has been kept long enough, and give space back, a little each time."""
        with self._changing() as connection:
            purged = sweeping.purge(connection, self._directory, retention, default, limit, now)
        with self._file.reading() as connection:
            sweeping.give_back_space(connection)
        return purged

    def pending_bytes(self) -> Mapping[SubscriptionRef, int]:
        """Bytes of events with an unended delivery."""
        with self._file.reading() as connection:
            return asking.pending_bytes(connection, self._directory)

    def dead_letters(self, which: Filter, limit: int, after: int = 0) -> Sequence[DeadLetter]:
        """Oldest first."""
        with self._file.reading() as connection:
            return asking.dead_letters(connection, self._directory, which, limit, after)

    def redrive(
        self, which: Filter, limit: int, now: int, *, dry_run: bool, keep: Collection[RouteRef], after: int = 0
    ) -> Redriven:
        """Make dead letters pending again, durably."""
        with self._changing() as connection:
            redriven = asking.redrive(
                connection, self._directory, which, limit, now, dry_run=dry_run, keep=keep, after=after
            )
        if not dry_run:
            self.sync()
        return redriven

    def find(self, which: EventFilter, walk: Walk) -> Found:
        """Events by what they are and how they stand."""
        with self._file.reading() as connection:
            return finding.find(connection, self._directory, which, walk)

    def replay(
        self, which: EventFilter, walk: Walk, fan_out: Callable[[Event], Arrival], now: int, *, dry_run: bool
    ) -> Replayed:
        """Send events again, durably."""
        with self._changing() as connection:
            replayed = reviving.replay(connection, self._directory, which, walk, fan_out, now, dry_run=dry_run)
        if not dry_run:
            self.sync()
        return replayed

    def erase(
        self, which: EventFilter, walk: Walk, holds: Callable[[Event], bool] | None, now: int, *, dry_run: bool
    ) -> Erased:
        """Remove events, durably."""
        with self._changing() as connection:
            erased = erasing.erase(connection, self._directory, which, walk, holds, now, dry_run=dry_run)
        if not dry_run:
            self.sync()
        return erased

    def erasures(self) -> Sequence[Erasure]:
        """Counts of what was erased."""
        with self._file.reading() as connection:
            return erasing.erasures(connection)

    def story(self, ident: str) -> Sequence[EventStory]:
        """What became of events."""
        with self._file.reading() as connection:
            return asking.story(connection, self._directory, ident)

    def backlog(self, which: Filter) -> Sequence[RouteBacklog]:
        """How much waits."""
        with self._file.reading() as connection:
            return asking.backlog(connection, self._directory, which)

    def close(self) -> None:
        """Close the file and let go of its lock."""
        self._file.close()

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        try:
            with self._file.transaction() as connection:
                yield connection
        except BaseException:
            self._directory.forget()
            raise
