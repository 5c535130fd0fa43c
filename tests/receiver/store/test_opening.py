"""Who may open a store, and what is refused, with which words."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hookline_receiver.store.port import Filter, StoreUnavailable
from hookline_receiver.store.sqlite import SqliteEventStore, StoreCorrupt, StoreLocked, StoreRefused, StoreTooNew
from hookline_receiver.store.sqlite.migrations import MIGRATIONS, Migration
from support.store import NOON, an_arrival, claim_all, equal_bodies

LATEST = MIGRATIONS[-1].version


def open_store(path: Path, *further: Migration) -> SqliteEventStore:
    return SqliteEventStore(path, same=equal_bodies, migrations=[*MIGRATIONS, *further])


def fill(path: Path, *further: Migration, events: int = 1) -> None:
    store = open_store(path, *further)
    store.add([an_arrival() for _ in range(events)], {}, NOON)
    store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


class TestOwner:
    def test_a_second_process_is_told_who_has_the_store(self, path: Path) -> None:
        """Two forwarders on one volume would deliver everything twice; a person must see which is in the way."""
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "open\n"

            with pytest.raises(
                StoreLocked, match=rf"store\.db is in use by process {holder.pid}, which holds .*\.lock"
            ):
                open_store(path)
        finally:
            holder.communicate()
        open_store(path).close()

    def test_a_killed_process_leaves_no_lock(self, path: Path) -> None:
        """The next one starts at once, without anybody removing a file."""
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        holder.kill()
        holder.communicate()

        open_store(path).close()

    def test_a_closed_store_can_be_closed_again(self, path: Path) -> None:
        """Shutdown paths cross."""
        store = open_store(path)
        store.close()

        store.close()

    def test_another_thread_than_the_makers_may_use_it(self, path: Path) -> None:
        """The forwarder makes it before its store thread is there."""
        from concurrent.futures import ThreadPoolExecutor

        store = open_store(path)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(store.add, [an_arrival()], {}, NOON).result()
        assert len(claim_all(store)) == 1
        store.close()


class TestRefusals:
    def test_a_store_without_its_folder_says_so(self, tmp_path: Path) -> None:
        """A volume that was not mounted must not be mistaken for an empty store."""
        with pytest.raises(StoreUnavailable, match=r"No such file or directory: .*store\.db\.lock"):
            open_store(tmp_path / "not mounted" / "store.db")

    @pytest.mark.parametrize(
        "content",
        [b"", b"not a database, but long enough to look at" * 200, b"SQLite format 3\x00" + bytes(4096)],
        ids=["empty", "text", "header only"],
    )
    def test_what_is_no_store_is_refused_and_left_as_it_is(self, path: Path, content: bytes) -> None:
        """A file that was cut off holds events no more: starting with an empty store would hide that."""
        path.write_bytes(content)

        with pytest.raises(StoreCorrupt, match=r"store\.db is corrupt.*\.recover"):
            open_store(path)

        assert path.read_bytes() == content

    def test_somebody_elses_database_is_refused_and_left_as_it_is(self, path: Path) -> None:
        """A wrong path must not fill another program's file with our tables."""
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE things (name TEXT)")
        other.close()
        content = path.read_bytes()

        with pytest.raises(StoreCorrupt, match="application_id is 0x0, an event store's is 0x484b4c4e"):
            open_store(path)

        assert path.read_bytes() == content

    def test_a_damaged_page_is_found_at_start(self, path: Path) -> None:
        """Better refused with the ways out than met in the middle of the night."""
        fill(path, events=500)
        with path.open("r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            file.write(b"\xa5" * 8192)

        with pytest.raises(StoreCorrupt, match=r"keep a copy of store\.db\*"):
            open_store(path)

    def test_damage_that_is_met_later_is_told_from_a_full_disk(self, path: Path) -> None:
        """Trying again helps with the one and not with the other."""
        fill(path, events=3)
        grow(path)
        with path.open("r+b") as file:
            for page in range(1, 40):
                file.seek(page * 4096)
                file.write(b"\xa5" * 4096)

        with pytest.raises(StoreCorrupt):
            claim_all(open_store(path))

    def test_a_missing_database_beside_its_log_is_refused(self, path: Path) -> None:
        """Somebody moved one file of two."""
        fill(path)
        path.rename(path.with_name("elsewhere"))
        Path(f"{path}-wal").write_bytes(b"x")

        with pytest.raises(StoreCorrupt, match=r"the database is missing, but store\.db-wal is there"):
            open_store(path)

    def test_a_half_made_store_is_made_anew(self, path: Path) -> None:
        """It never had its name, so it never held anything."""
        path.with_name("store.db.new").write_bytes(b"half")
        path.with_name("store.db.new-journal").write_bytes(b"half")

        fill(path)

        assert sorted(file.name for file in path.parent.iterdir()) == ["store.db", "store.db.lock"]

    def test_every_refusal_is_one_kind_of_error(self) -> None:
        """Programs end with its message; they need not know which."""
        assert issubclass(StoreLocked, StoreRefused)
        assert issubclass(StoreCorrupt, StoreRefused)
        assert issubclass(StoreTooNew, StoreRefused)
        assert not issubclass(StoreRefused, StoreUnavailable)


class TestMigrations:
    EXPANDING = Migration(LATEST + 1, LATEST, ("ALTER TABLE events ADD COLUMN further TEXT NOT NULL DEFAULT ''",))
    BREAKING = Migration(LATEST + 1, LATEST + 1, ("ALTER TABLE events RENAME COLUMN subject TO about",))
    FAILING = Migration(LATEST + 1, LATEST, ("CREATE TABLE half (name TEXT)", "CREATE TABLE half (name TEXT)"))
    MENDED = Migration(LATEST + 1, LATEST, ("CREATE TABLE half (name TEXT)",))

    def test_events_are_kept_over_a_migration(self, path: Path) -> None:
        """An upgrade is not a loss."""
        fill(path)

        store = open_store(path, self.EXPANDING)

        assert len(claim_all(store)) == 1
        store.close()

    def test_the_previous_release_goes_on_with_an_expanded_store(self, path: Path) -> None:
        """A roll-back after an upgrade must find its events, and may add more."""
        fill(path, self.EXPANDING)

        fill(path)

        store = open_store(path, self.EXPANDING)
        assert len(claim_all(store)) == 2
        store.close()

    def test_a_store_that_is_too_new_is_refused_naming_both_formats(self, path: Path) -> None:
        """Reading it wrongly would be worse than not at all."""
        fill(path)
        open_store(path, self.BREAKING).close()

        with pytest.raises(StoreTooNew, match=rf"has format {LATEST + 1}, .*this release knows format {LATEST}"):
            open_store(path)

        store = open_store(path, self.BREAKING)
        assert [one.pending for one in store.backlog(Filter())] == [1]
        store.close()

    def test_a_migration_that_fails_leaves_the_store_as_it_was(self, path: Path) -> None:
        """The previous release must still open it."""
        fill(path)

        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            open_store(path, self.FAILING)

        store = open_store(path, self.MENDED)
        assert len(claim_all(store)) == 1
        store.close()

    def test_formats_are_numbered_without_gaps_and_read_back_a_release(self) -> None:
        """A step that the release before can't follow is a step too far."""
        assert [step.version for step in MIGRATIONS] == list(range(1, LATEST + 1))
        assert all(step.compatible_since >= step.version - 1 for step in MIGRATIONS)
        assert all(step.compatible_since <= step.version for step in MIGRATIONS)


def grow(path: Path) -> None:
    """Past the size that is read through at start."""
    store = open_store(path)
    store.add([an_arrival(body=bytes(1 << 20)) for _ in range(70)], {}, NOON)
    store.close()


HOLD = """
import sys
from pathlib import Path
from hookline_receiver.store.sqlite import SqliteEventStore
store = SqliteEventStore(Path(sys.argv[1]), same=bytes.__eq__)
print("open", flush=True)
sys.stdin.read()
store.close()
"""
