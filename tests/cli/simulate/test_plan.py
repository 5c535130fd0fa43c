"""What is sent is decided beforehand, and every shot knows how it should end."""

from collections import Counter

from hookline_cli.simulate.payloads import read_samples
from hookline_cli.simulate.plan import Kind, Mix, Shot, make_plan
from hookline_receiver.cometchat.envelope import NotAnEvent, Reading, read
from hookline_receiver.cometchat.identity import identify
from hookline_routes.triggers import CATEGORIES

SAMPLES = read_samples()

ALL = Mix(events=300, duplicates=40, unknown=7, bad_credentials=8, broken=12, oversize=2, oversize_bytes=5000)


def test_by_default_every_sample_is_sent_once() -> None:
    """The whole documentation in one run."""
    assert [shot.name for shot in make_plan(SAMPLES, Mix(), seed=1)] == [sample.name for sample in SAMPLES]


def test_the_same_seed_makes_the_same_plan_and_another_seed_other_events() -> None:
    """A failure can be played again; two runs against one endpoint have no event in common."""
    plan = make_plan(SAMPLES, ALL, seed=1)

    assert plan == make_plan(SAMPLES, ALL, seed=1)
    assert not {shot.body for shot in plan if shot.body} & {
        shot.body for shot in make_plan(SAMPLES, ALL, seed=2) if shot.kind in (Kind.EVENT, Kind.OVERSIZE)
    }


def test_there_is_as_much_of_everything_as_was_asked_for() -> None:
    """Counts, so that the outcome can be counted too."""
    kinds = Counter(shot.kind for shot in make_plan(SAMPLES, ALL, seed=1))

    assert kinds == {
        Kind.EVENT: 300,
        Kind.DUPLICATE: 40,
        Kind.UNKNOWN: 7,
        Kind.BAD_CREDENTIALS: 8,
        Kind.BROKEN: 12,
        Kind.OVERSIZE: 2,
    }


def test_no_two_events_of_a_large_plan_are_one() -> None:
    """Every event has to be accounted for."""
    shots = make_plan(SAMPLES, Mix(events=3000, unknown=300), seed=3)

    assert len({key_of(shot) for shot in shots}) == len({shot.body for shot in shots}) == 3300


def key_of(shot: Shot) -> bytes:
    reading = read(shot.body)
    assert isinstance(reading, Reading)
    return identify(reading, shot.body, "sub-1").key


def test_a_duplicate_repeats_an_event_that_comes_before_it() -> None:
    """Half of them byte for byte, half shown anew."""
    plan = make_plan(SAMPLES, ALL, seed=1)
    events = {shot.number: shot for shot in plan if shot.kind is Kind.EVENT}
    duplicates = [shot for shot in plan if shot.kind is Kind.DUPLICATE]

    assert all(shot.repeats is not None and shot.repeats < shot.number for shot in duplicates)
    assert all(key_of(shot) == key_of(events[shot.repeats or 0]) for shot in duplicates)
    assert sum(shot.body == events[shot.repeats or 0].body for shot in duplicates) == 20


def test_broken_bodies_are_no_events_and_all_others_are() -> None:
    """A shot that should be refused must deserve it."""
    for shot in make_plan(SAMPLES, ALL, seed=1):
        assert isinstance(read(shot.body), NotAnEvent) == (shot.kind is Kind.BROKEN), shot.name


def test_unknown_triggers_are_unknown_and_oversize_bodies_as_large_as_asked_for() -> None:
    """Or they would test nothing."""
    plan = make_plan(SAMPLES, ALL, seed=1)
    unknown = [read(shot.body) for shot in plan if shot.kind is Kind.UNKNOWN]

    assert all(isinstance(reading, Reading) and reading.envelope.trigger not in CATEGORIES for reading in unknown)
    assert {len(shot.body) for shot in plan if shot.kind is Kind.OVERSIZE} == {5000}


def test_odd_shots_are_spread_over_the_run() -> None:
    """A receiver meets them under load, not before it."""
    places = [place for place, shot in enumerate(make_plan(SAMPLES, ALL, seed=1)) if shot.kind is Kind.UNKNOWN]

    assert min(places) < 60
    assert max(places) > 250


def test_disorder_moves_a_shot_by_no_more_than_was_asked_for() -> None:
    """CometChat promises no order; how far events are late is for the one who asks."""
    plan = make_plan(SAMPLES, Mix(events=500, disorder=10), seed=1)
    moved = [abs(place - (shot.number - 1)) for place, shot in enumerate(plan)]

    assert max(moved) <= 10
    assert sum(move > 0 for move in moved) > 250
