"""Counters that workers share, and what is made of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hookline_receiver.auth.authenticate import Way
from hookline_receiver.auth.last_used import LastUsed, last_used
from hookline_receiver.event import SubscriptionRef
from hookline_receiver.ops.exposition import exposition
from hookline_receiver.ops.metrics import Metrics
from hookline_receiver.verdict import Reason
from hookline_receiver.workers.cells import CAPACITY, Cells, read_cells
from hookline_receiver.workers.slot import MAX_WORKERS, NoWorkerSlot, all_slots, is_taken, take_slot
from hookline_receiver.workers.status import StatusBoard, WorkerStatus, living, not_ready

CHAT = SubscriptionRef("uid-1", "acme", "chat")


def shown(workers: Path) -> dict[str, float]:
    text = exposition(workers, "")[0].decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_counters_of_all_workers_are_summed(tmp_path: Path) -> None:
    """Whichever worker is asked."""
    slots = [take_slot(tmp_path) for _ in range(3)]
    for n, slot in enumerate(slots, start=1):
        cells = Cells(slot.folder)
        metrics = Metrics(cells, 10)
        for _ in range(n):
            metrics.accepted(CHAT, 100, 0.003)
            metrics.refused(Reason.UNAUTHORIZED, None)
            metrics.authenticated(Way.CACHED, 0.0001)
        cells.close()

    found = shown(tmp_path)

    assert found['hookline_receiver_requests_total{reason="",status="200"}'] == 6
    assert found['hookline_receiver_requests_total{reason="Unauthorized",status="401"}'] == 6
    assert found["hookline_receiver_accepted_bytes_total"] == 600
    assert found['hookline_receiver_subscription_events_total{name="chat",namespace="acme"}'] == 6
    assert found['hookline_receiver_accept_seconds_bucket{le="0.0025"}'] == 0
    assert found['hookline_receiver_accept_seconds_bucket{le="0.005"}'] == 6
    assert found["hookline_receiver_accept_seconds_count"] == 6
    assert found["hookline_receiver_accept_seconds_sum"] == pytest.approx(0.018)


def test_a_dead_workers_counters_go_on_with_its_successor(tmp_path: Path) -> None:
    """Prometheus takes a counter that goes down for a restart: nothing may be lost or counted twice."""
    for _ in range(3):
        slot = take_slot(tmp_path)
        cells = Cells(slot.folder)
        Metrics(cells, 10).accepted(CHAT, 1, 0.001)
        cells.close()
        slot.release()

    assert [folder.name for folder in all_slots(tmp_path)] == ["0"]
    assert shown(tmp_path)["hookline_receiver_accepted_events_total"] == 3


def test_counters_survive_a_kill(tmp_path: Path) -> None:
    """They are in shared pages, not in the process."""
    program = (
        "import os, signal, sys; from pathlib import Path; from hookline_receiver.workers.cells import Cells;"
        "from hookline_receiver.workers.slot import take_slot; slot = take_slot(Path(sys.argv[1]));"
        "cells = Cells(slot.folder); cells.values[cells.cell(('hookline_receiver_accepted_events', (), ''))] += 5;"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)

    assert not is_taken(tmp_path / "0")
    assert shown(tmp_path)["hookline_receiver_accepted_events_total"] == 5


def test_a_half_written_name_is_not_there(tmp_path: Path) -> None:
    """A worker may die between a name and its end."""
    slot = take_slot(tmp_path)
    cells = Cells(slot.folder)
    cells.values[cells.cell(("a", (), ""))] = 1
    end = cells._end
    cells._keys[end : end + 9] = b'["b", [],'
    cells.close()

    again = Cells(slot.folder)
    again.values[again.cell(("c", (), ""))] = 2
    again.close()

    assert dict(read_cells(slot.folder)) == {("a", (), ""): 1.0, ("c", (), ""): 2.0}


def test_there_is_room_for_so_many_and_the_rest_is_counted_nowhere(tmp_path: Path) -> None:
    """A flood of labels must not grow a file without end, nor fail a request."""
    cells = Cells(take_slot(tmp_path).folder)

    indexes = [cells.cell(("m", (str(n),), "")) for n in range(CAPACITY + 10)]

    assert max(indexes) < CAPACITY
    assert indexes[-1] == 0
    cells.close()


def test_subscriptions_beyond_the_limit_are_counted_together(tmp_path: Path) -> None:
    """10,000 tenants must not make a scrape of 10,000 lines a counter."""
    cells = Cells(take_slot(tmp_path).folder)
    metrics = Metrics(cells, 2)
    for n in range(5):
        for _ in range(2):
            metrics.accepted(SubscriptionRef(f"uid-{n}", "ns", f"s{n}"), 1, 0.001)
            metrics.refused(Reason.SUSPENDED, SubscriptionRef(f"uid-{n}", "ns", f"s{n}"))
    cells.close()

    found = shown(tmp_path)

    events = {name: value for name, value in found.items() if "subscription_events" in name}
    assert events == {
        'hookline_receiver_subscription_events_total{name="s0",namespace="ns"}': 2,
        'hookline_receiver_subscription_events_total{name="s1",namespace="ns"}': 2,
        'hookline_receiver_subscription_events_total{name="",namespace=""}': 6,
    }
    assert found['hookline_receiver_subscription_refused_total{name="",namespace="",reason="Suspended"}'] == 6


def test_a_place_is_taken_once(tmp_path: Path) -> None:
    """Two workers in one place would overwrite each other's numbers."""
    first, second = take_slot(tmp_path), take_slot(tmp_path)
    assert (first.number, second.number) == (0, 1)

    first.release()

    assert take_slot(tmp_path).number == 0


def test_places_are_bounded(tmp_path: Path) -> None:
    """Said with the limit."""
    taken = [take_slot(tmp_path) for _ in range(MAX_WORKERS)]

    with pytest.raises(NoWorkerSlot, match=str(MAX_WORKERS)):
        take_slot(tmp_path)
    for slot in taken:
        slot.release()


def a_status(**fields: object) -> WorkerStatus:
    given: dict[str, object] = {"pid": 1, "at": 1000.0, "not_ready": "", "version": "v1", "routes_trouble": ""}
    return WorkerStatus(**{**given, **fields})  # type: ignore[arg-type]


def test_only_living_workers_speak_for_the_pod(tmp_path: Path) -> None:
    """A dead worker's last words must not keep the pod unready."""
    alive, dead = take_slot(tmp_path), take_slot(tmp_path)
    for slot, status in ((alive, a_status(pid=1)), (dead, a_status(pid=2, not_ready="disk full"))):
        board = StatusBoard(slot.folder)
        board.publish(status)
        board.close()
    assert not_ready(living(tmp_path), 1000.0) == "worker 2: disk full"

    dead.release()

    assert living(tmp_path) == [a_status(pid=1)]
    assert not_ready(living(tmp_path), 1001.0) == ""


def test_a_silent_worker_is_not_ready(tmp_path: Path) -> None:
    """Its loop stands still, and the kernel goes on giving it connections."""
    assert "has not been heard of for 9 s" in not_ready([a_status(at=1000.0)], 1009.0)


def test_a_status_that_is_being_written_is_not_misread(tmp_path: Path) -> None:
    """It is shared memory: a reader may come in the middle."""
    slot = take_slot(tmp_path)
    board = StatusBoard(slot.folder)
    board.publish(a_status(version="x" * 1000))
    board._memory[500] ^= 1

    assert living(tmp_path) == []
    board.close()


def test_the_newest_use_of_a_credential_counts(tmp_path: Path) -> None:
    """An operator retires the old password by it."""
    slots = [take_slot(tmp_path) for _ in range(2)]
    one, other = (LastUsed(slot.folder) for slot in slots)
    one.mark("a", 5_000_000_000)
    one.mark("b", 7_000_000_000)
    other.mark("a", 9_999_999_999)
    one.write()
    other.write()

    assert last_used(tmp_path) == {"a": 9, "b": 7}


def test_uses_outlive_the_worker_and_are_forgotten_with_the_credential(tmp_path: Path) -> None:
    """What is not in the routes any more would pile up for ever."""
    first = LastUsed(tmp_path)
    first.mark("a", 5_000_000_000)
    first.mark("b", 5_000_000_000)
    first.write()

    second = LastUsed(tmp_path)
    second.keep(["b", "c"])
    second.write()

    assert json.loads((tmp_path / "last-used.json").read_text()) == {"b": 5}


def test_nothing_is_written_where_nothing_is_new(tmp_path: Path) -> None:
    """Once a second, for ever, with thousands of credentials."""
    used = LastUsed(tmp_path)
    used.mark("a", 5_000_000_000)
    used.write()
    before = os.stat(tmp_path / "last-used.json").st_ino

    used.mark("a", 5_900_000_000)
    used.write()

    assert os.stat(tmp_path / "last-used.json").st_ino == before
