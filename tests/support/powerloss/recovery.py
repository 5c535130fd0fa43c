"""What a start after a loss of power makes of what is found, and whether that is what was promised."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import UUID

from hookline_receiver.carrying.carrier import Carrier
from hookline_receiver.forwarder.process import open_sqlite
from hookline_receiver.forwarder.settings import Settings
from hookline_receiver.journal.reader import SegmentJournals
from hookline_receiver.store.sqlite import SqliteEventStore
from support.carrier import Counts
from support.powerloss.client import body_of as sent_body
from support.powerloss.disk import Disk, Tree
from support.powerloss.events import body_of
from support.powerloss.forwarder import a_carrier
from support.powerloss.recording import DATA, FRESH
from support.powerloss.trace import Kind, Step
from support.store import connection_of

AFTERWARDS = b"the boot after.."
"""The machine was started anew."""


@dataclass(slots=True)
class Told:
    """What senders know at some moment."""

    sent: dict[bytes, str] = field(default_factory=dict)
    """What it was, by ingest id."""
    acknowledged: dict[bytes, str] = field(default_factory=dict)

    def hear(self, step: Step) -> None:
        """Take in a mark."""
        if step.kind is Kind.MARK:
            word, ident, kind = step.text.split(" ", 2)
            (self.acknowledged if word == "200" else self.sent)[UUID(ident).bytes] = kind


Recover = Callable[[Path, Told, Random], str]
"""Starts on what is left of the recorded folder and says what is wrong; "" if every promise held."""


def losses(
    life: Sequence[Step], cuts: Sequence[int], rng: Random, scratch: Path, disk: Disk, recover: Recover
) -> Iterator[tuple[int, str]]:
    """What is wrong after a loss of power at each of *cuts*, which rise."""
    told = Told()
    done = 0
    for cut in cuts:
        for step in life[done:cut]:
            disk.do(step)
            told.hear(step)
        done = cut
        yield cut, found_wrong(disk.after_power_loss(rng), told, scratch, rng, recover)


def found_wrong(tree: Tree, told: Told, scratch: Path, rng: Random, recover: Recover) -> str:
    """What is wrong after recovery from *tree*."""
    with rebuilt(tree, scratch) as root:
        try:
            return recover(root, told, rng)
        except Exception as error:  # noqa: BLE001 - a start that fails, however, is a loss of everything
            return f"recovery failed: {error!r}"


@contextmanager
def rebuilt(tree: Tree, scratch: Path) -> Iterator[Path]:
    """*tree* as real files."""
    root = Path(tempfile.mkdtemp(dir=scratch))
    try:
        for path, content in sorted(tree.items()):
            if content is None:
                (root / path).mkdir()
            else:
                (root / path).write_bytes(content)
        yield root
    finally:
        shutil.rmtree(root)


def recover(root: Path, told: Told, rng: Random) -> str:
    """Start as after a power failure, carry everything, and compare."""
    data = root / DATA
    with carried(data) as (store, counts):
        return (
            damage(counts)
            or lost(store, data / "aside", told)
            or invented(store, told)
            or altered(store, told, rng)
            or undelivered(store)
        )


def recover_bodies(root: Path, told: Told, rng: Random) -> str:
    """The same of a gateway, whose ingest ids senders don't know: events are told by their bodies."""
    with carried(root / FRESH / DATA) as (store, counts):
        bodies = {row[0] for row in connection_of(store).execute("SELECT body FROM bodies")}
        missing = [ident for ident in told.acknowledged if sent_body(UUID(bytes=ident)) not in bodies]
        strange = bodies - {sent_body(UUID(bytes=ident)) for ident in told.sent}
        return (
            damage(counts)
            or (f"lost: {len(missing)} of {len(told.acknowledged)}" if missing else "")
            or (f"invented or altered: {len(strange)}" if strange else "")
        )


@contextmanager
def carried(data: Path) -> Iterator[tuple[SqliteEventStore, Counts]]:
    """The store, after everything in the journals was carried into it, and what the carrier counted."""
    store = open_sqlite(Settings(data_dir=data))
    assert isinstance(store, SqliteEventStore)
    with closing(store), closing(SegmentJournals(data / "journal", boot=AFTERWARDS)) as journals:
        counts = Counts()
        carry(a_carrier(data, journals, store, sync_interval=0), journals, counts)
        yield store, counts


def carry(carrier: Carrier, journals: SegmentJournals, counts: Counts) -> None:
    """Until nothing is left."""
    carrier._meter = counts
    for _ in range(1000):
        carrier.step()
        if not journals.discover():
            return
    raise AssertionError(f"{len(journals.discover())} journals are never carried to their end")


def damage(counts: Counts) -> str:
    """A loss of power damages nothing that was acknowledged; to say so all the same would hide true damage."""
    return f"false alarm: {len(counts.damage)} times damage" if counts.damage else ""


def lost(store: SqliteEventStore, aside: Path, told: Told) -> str:
    """Acknowledged, and nowhere."""
    kept = stored(store)
    unreadable = {path.read_bytes()[1:] for path in aside.glob("*.record")} if aside.is_dir() else set()

    def is_there(ident: bytes, kind: str) -> bool:
        # A retry is an event that is there already, if it is.
        return ident in unreadable if kind == "raw" else ident in kept or original(ident, kind) in kept

    missing = [ident for ident, kind in told.acknowledged.items() if not is_there(ident, kind)]
    if not missing:
        return ""
    first = f"{UUID(bytes=missing[0])} ({told.acknowledged[missing[0]]})"
    return f"lost: {len(missing)} of {len(told.acknowledged)} acknowledged records, {first}"


def original(ident: bytes, kind: str) -> bytes:
    """The event that *ident* is a retry of, or itself."""
    return UUID(kind.removeprefix("again:")).bytes if kind.startswith("again:") else ident


def invented(store: SqliteEventStore, told: Told) -> str:
    """There, and never sent."""
    strange = stored(store) - told.sent.keys()
    return f"invented: {[UUID(bytes=ident) for ident in strange]}" if strange else ""


def altered(store: SqliteEventStore, told: Told, rng: Random) -> str:
    """Not byte for byte what was sent; some are looked at."""
    kept = sorted(stored(store))
    for ident in rng.sample(kept, min(5, len(kept))):
        (story,) = store.story(str(UUID(bytes=ident)))
        if story.event.body != body_of(UUID(bytes=original(ident, told.sent[ident]))):
            return f"altered: {UUID(bytes=ident)}"
    return ""


def undelivered(store: SqliteEventStore) -> str:
    """Stored, but neither pending nor delivered nor dead."""
    question = "SELECT count(*) FROM events WHERE unrouted <> '' OR NOT EXISTS (SELECT 1 FROM deliveries WHERE id / 1024 = sequence)"
    count = connection_of(store).execute(question).fetchone()[0]
    return f"{count} events without a delivery" if count else ""


def stored(store: SqliteEventStore) -> set[bytes]:
    """Ingest ids of all events."""
    return {row[0] for row in connection_of(store).execute("SELECT ingest_id FROM events")}
