from datetime import timedelta

import pytest

from hookline_kit import SeenInMemory, SeenInSqlite
from support.handlers import an_event

HOUR = timedelta(hours=1)


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def seen(request, tmp_path, clock):
    if request.param == "memory":
        yield SeenInMemory(HOUR, clock=clock)
        return
    memory = SeenInSqlite(tmp_path / "seen.db", HOUR, clock=clock)
    yield memory
    memory.close()


def test_an_event_is_known_once_it_was_remembered(seen):
    """The key is (source, id): the same id of another subscription is another event."""
    seen.remember(an_event(event_id="e-1", subscription="one"))

    assert seen.known(an_event(event_id="e-1", subscription="one"))
    assert not seen.known(an_event(event_id="e-2", subscription="one"))
    assert not seen.known(an_event(event_id="e-1", subscription="two"))


def test_it_is_forgotten_after_the_window(seen, clock):
    """A memory without an end fills the disk."""
    seen.remember(an_event(event_id="e-1"))

    clock.now += 3_599
    assert seen.known(an_event(event_id="e-1"))
    clock.now += 1
    assert not seen.known(an_event(event_id="e-1"))


def test_memory_keeps_no_more_than_its_limit(clock):
    """A burst must not take all memory; the oldest go first."""
    seen = SeenInMemory(HOUR, limit=2, clock=clock)

    for ident in ("e-1", "e-2", "e-3"):
        seen.remember(an_event(event_id=ident))

    assert [seen.known(an_event(event_id=ident)) for ident in ("e-1", "e-2", "e-3")] == [False, True, True]


def test_the_file_remembers_across_a_restart(tmp_path, clock):
    """The repetition that matters is the one after a crash."""
    before = SeenInSqlite(tmp_path / "seen.db", HOUR, clock=clock)
    before.remember(an_event(event_id="e-1"))
    before.close()

    after = SeenInSqlite(tmp_path / "seen.db", HOUR, clock=clock)

    assert after.known(an_event(event_id="e-1"))
    after.close()
