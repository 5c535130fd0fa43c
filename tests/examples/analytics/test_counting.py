"""Once each, whatever comes again; all of a transaction or nothing."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from analytics.asking import NoDatabase, Span, as_text, ask
from analytics.counting import WINDOW, Counters
from analytics.reading import Counted, Increment, Table

HOUR = "2026-11-01T12:00Z"


def an_event(name: str, *increments: Increment, source: str = "/cometchat/app/acme/chat") -> Counted:
    return Counted(source, name, increments or (a_message(),))


def a_message(conversation: str = "a_user_b", tenant: str = "acme", hour: str = HOUR) -> Increment:
    return Increment(Table.MESSAGES, (tenant, conversation, hour), (1,))


@pytest.fixture
def counters(tmp_path):
    with closing(Counters(tmp_path / "analytics.db")) as made:
        yield made


def messages(tmp_path, **span):
    return [tuple(row) for row in ask(tmp_path / "analytics.db", "messages", Span(**span)).rows]


def test_an_event_that_comes_again_adds_nothing(counters, tmp_path):
    """In the same batch, in a later one, after a restart."""
    counters.add([an_event("1"), an_event("1"), an_event("2")])
    counters.add([an_event("1")])
    with closing(Counters(tmp_path / "analytics.db")) as restarted:
        restarted.add([an_event("2")])

    assert messages(tmp_path) == [("a_user_b", HOUR, 2)]


def test_ids_of_two_subscriptions_are_two_events(counters, tmp_path):
    """An id is unique within its source only."""
    counters.add([an_event("1"), an_event("1", source="/cometchat/app/acme/other")])

    assert messages(tmp_path) == [("a_user_b", HOUR, 2)]


def test_a_transaction_that_fails_adds_nothing_and_its_events_can_come_again(counters, tmp_path):
    """Counted without its counts, or counts without it, would be wrong for ever."""
    too_large = an_event("2", Increment(Table.MESSAGES, ("acme", "c", HOUR), (2**63,)))

    with pytest.raises(OverflowError):
        counters.add([an_event("1"), too_large])
    assert messages(tmp_path) == []

    counters.add([an_event("1")])
    assert messages(tmp_path) == [("a_user_b", HOUR, 1)]


def test_what_was_counted_is_forgotten_after_the_window(tmp_path):
    """The table must not grow for ever."""
    now = [1_700_000_000.0]
    with closing(Counters(tmp_path / "analytics.db", lambda: now[0])) as counters:
        counters.add([an_event("1")])
        now[0] += WINDOW.total_seconds() + 1
        counters.add([an_event("2")])

    with closing(sqlite3.connect(tmp_path / "analytics.db")) as database:
        assert database.execute("SELECT id FROM counted").fetchall() == [("2",)]


@settings(max_examples=50, deadline=None)
@given(some.lists(some.tuples(some.integers(0, 20), some.booleans()), max_size=60))
def test_any_stream_with_repetitions_counts_each_event_once(tmp_path_factory, stream):
    """Cut into transactions anywhere."""
    path = tmp_path_factory.mktemp("counting") / "analytics.db"
    with closing(Counters(path)) as counters:
        batch = []
        for number, flush in stream:
            batch.append(an_event(str(number), a_message(f"c{number % 3}")))
            if flush:
                counters.add(batch)
                batch = []
        counters.add(batch)

    found = {row[0]: row[2] for row in ask(path, "messages", Span()).rows}
    distinct = {number for number, _ in stream}
    expected = {f"c{rest}": sum(number % 3 == rest for number in distinct) for rest in range(3)}
    assert found == {name: number for name, number in expected.items() if number}


def test_answers_are_of_one_tenant_and_one_span(counters, tmp_path):
    """One handler may count for several tenants."""
    counters.add(
        [
            an_event("1", a_message(hour="2026-10-31T23:00Z")),
            an_event("2", a_message()),
            an_event("3", a_message(tenant="globex")),
            an_event("4", a_message(hour="2026-11-02T00:00Z")),
        ]
    )

    found = messages(tmp_path, tenant="acme", since="2026-11-01", until="2026-11-02")

    assert found == [("a_user_b", HOUR, 1)]


def test_answers_read_as_a_table(counters, tmp_path):
    """Numbers to the right; nothing that a terminal would obey."""
    users = [Increment(Table.USERS, ("acme", "2026-11-01", uid)) for uid in ("a", "b", "a")]
    session = Increment(Table.SESSIONS, ("acme", "2026-11-01", "call"), (1, 90, 2, 150))
    counters.add([an_event("1", *users, session), an_event("2", a_message("evil\x1b[2J"))])
    path = tmp_path / "analytics.db"

    assert as_text(ask(path, "users", Span())) == "day         active\n2026-11-01       2"
    assert as_text(ask(path, "calls", Span())).splitlines() == [
        "day         kind  sessions  minutes  participants  participant_minutes",
        "2026-11-01  call         1      1.5             2                  2.5",
    ]
    assert "evil?[2J" in as_text(ask(path, "messages", Span()))
    assert as_text(ask(path, "events", Span())) == "trigger  events"


def test_a_question_before_the_first_event_is_answered_plainly(tmp_path):
    """And makes no empty database."""
    with pytest.raises(NoDatabase, match=r"analytics\.db: no such file"):
        ask(tmp_path / "analytics.db", "messages", Span())

    assert list(tmp_path.iterdir()) == []
