"""The target: what it knows is added to by threads while others look at it."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline.routing.v1.snapshot_pb2 import EndpointTable, ForwarderSnapshot, ReceiverSnapshot
from hookline_receiver.agent.contents import receiver_part
from hookline_receiver.agent.snapshots import SnapshotFile
from hookline_receiver.agent.target import Files, Target


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """One of an empty pod."""
    files = Files(
        SnapshotFile(tmp_path / "receiver.binpb", ReceiverSnapshot),
        SnapshotFile(tmp_path / "forwarder.binpb", ForwarderSnapshot),
        SnapshotFile(tmp_path / "endpoints.binpb", EndpointTable),
    )
    made = Target("default", files, lambda: None)
    made.open()
    return made


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_forgetting_goes_well_beside_a_thread_that_stores(target: Target, hasty: None) -> None:
    """It runs once a minute beside what the watches bring; an error in it would end the agent."""
    part = target._files.receiver.put(receiver_part(()))
    ended = threading.Event()

    def store() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            target._uids[f"{part}-{number % 5000}"] = frozenset()

    thread = threading.Thread(target=store)
    thread.start()
    try:
        for _ in range(300):
            target.forget()
    finally:
        ended.set()
        thread.join()
