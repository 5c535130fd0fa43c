"""Carrying between real processes, all of which are killed while they work."""

import os
import random
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import RouteRef
from hookline_receiver.store.sqlite import SqliteEventStore
from support.forwarder import CHAT, SECOND, DataFolder, ForwarderProcess, a_route, a_subscription
from support.waiting import until

ROUTE = RouteRef(CHAT, "notify")


class Writer:
    """A worker's process."""

    def __init__(self, root: Path, number: int) -> None:
        self.acknowledged = root / f"acknowledged-{number}"
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        with self.acknowledged.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "support.event_writer", str(root / "journal"), "4"], stdout=out, env=environment
            )

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        self.process.kill()
        self.process.wait(10)

    def ids(self) -> list[str]:
        """What it said was acknowledged; a last line that was cut off does not count."""
        return [line for line in self.acknowledged.read_text().splitlines() if len(line) == 36]


async def test_what_was_acknowledged_is_in_the_store_once_however_often_everything_is_killed(tmp_path: Path) -> None:
    """Writers and the carrier are killed at random; nothing may be missing, come twice, or be invented."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    data = DataFolder(tmp_path)
    data.route(a_subscription(a_route(paused=True)))
    forwarder = ForwarderProcess(data)
    writers = [Writer(tmp_path, number) for number in range(3)]
    running = list(writers)
    for round_number in range(6):
        forwarder.start()
        wanted = sum(len(one.ids()) for one in writers) + chance.randrange(50, 400)
        await until(lambda: sum(len(one.ids()) for one in writers) >= wanted, 60)  # noqa: B023 - used at once
        if round_number % 2:
            running.pop(0).kill()
            writers.append(Writer(tmp_path, len(writers)))
            running.append(writers[-1])
        forwarder.kill()
    for writer in running:
        writer.kill()
    forwarder.start()
    await until(lambda: not os.listdir(data.journal), 60, "journals of dead workers are carried and removed")
    assert forwarder.stop() == 0

    stored = _stored(data.root / "store" / "events.db")
    acknowledged = [each for writer in writers for each in writer.ids()]
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert len(stored) - len(acknowledged) <= 4 * len(writers), "only the last of each caller may lack its answer"


def _stored(path: Path) -> list[str]:
    """Ingest ids of all deliveries."""
    store = SqliteEventStore(path, same=same_event)
    store.pause([], 0)
    found: list[str] = []
    while claims := store.claim(ROUTE, 1000, 1 << 30, 4_000_000_000 * SECOND, 5_000_000_000 * SECOND):
        found += [str(UUID(bytes=one.event.ingest_id)) for one in claims]
    store.close()
    return found
