"""Simulated days: realistic, complete, the same for the same seed, and every event can be accounted for."""

import json
from collections import Counter
from itertools import pairwise

import pytest

from hookline.cometchat.v1.payload_pb2 import Payload
from hookline_cli.simulate.day import DAY, HOURS, Script, UnknownTrigger, moments, seconds_after, time_of_day
from hookline_cli.simulate.payloads import body_of, read_samples
from hookline_cli.simulate.plan import Kind, Mix, Played, make_plan
from hookline_cli.simulate.stage import MARK
from hookline_cli.simulate.world import Size
from hookline_receiver.cometchat.envelope import Reading, read
from hookline_receiver.cometchat.identity import identify
from hookline_receiver.cometchat.typed import to_payload
from hookline_routes.triggers import CATEGORIES, NAMES_ONLY

A_DAY = moments(Script(), seed=1)


def test_every_trigger_happens() -> None:
    """A check from end to end that never saw a group deleted has not checked it."""
    assert {moment.payload["trigger"] for moment in A_DAY} == set(CATEGORIES) - set(NAMES_ONLY)


def test_every_event_is_typed() -> None:
    """Payloads have the described shapes: what simulates must not be stranger than what is simulated."""
    untyped = [found for moment in A_DAY if not isinstance(found := to_payload(body_of(moment.payload)), Payload)]

    assert untyped == []


def test_every_event_bears_an_id_of_its_own_and_no_two_have_one_identity() -> None:
    """Or one would be taken for a repetition of the other, and nobody could say which arrived."""
    played = moments(Script(count=5000), seed=3)
    marks = [moment.payload[MARK] for moment in played]
    strong = []
    for moment in played:
        body = body_of(moment.payload)
        reading = read(body)
        assert isinstance(reading, Reading)
        identity = identify(reading, body, "uid")
        strong += [identity.key] if identity.strong else []

    assert len(set(marks)) == len(marks) == 5000
    assert marks == [moment.mark for moment in played]
    assert len(set(strong)) == len(strong) > 1000


def test_the_same_seed_plays_the_same_day_and_another_seed_another() -> None:
    """What failed once can be played again."""
    bodies = [body_of(moment.payload) for moment in A_DAY]

    assert [body_of(moment.payload) for moment in moments(Script(), seed=1)] == bodies
    assert not set(bodies) & {body_of(moment.payload) for moment in moments(Script(), seed=2)}


def test_a_world_is_as_large_as_was_asked_for() -> None:
    """Conversations bound how many ordering keys are busy, users how many people appear."""
    played = moments(Script(Size(users=5, groups=2, conversations=3), 2000, frozenset(["message_sent"])), seed=1)
    messages = [moment.payload["data"]["message"] for moment in played]

    assert len({message["sender"] for message in messages}) <= 5
    assert len({message["conversationId"] for message in messages}) <= 3 + 2
    large = moments(Script(Size(users=5000, groups=100, conversations=9000), 5000, frozenset(["message_sent"])), seed=1)
    assert len({moment.payload["data"]["message"]["sender"] for moment in large}) > 1000


def test_only_the_wanted_triggers_are_played_and_a_wrong_one_is_named() -> None:
    """`--triggers`."""
    wanted = frozenset(["call_ended", "group_deleted"])

    assert {moment.payload["trigger"] for moment in moments(Script(count=50, triggers=wanted), seed=1)} == wanted
    with pytest.raises(UnknownTrigger, match=r"message_pinned: not played; there are .*message_sent"):
        moments(Script(triggers=frozenset(["message_pinned"])), seed=1)


def test_what_belongs_together_comes_in_its_order() -> None:
    """Sent before delivered before read, a call rings before it ends; the day is in the order of time."""
    order: dict[str, list[str]] = {}
    for moment in A_DAY:
        data = moment.payload["data"]
        if "body" in data:
            order.setdefault(data["body"]["messageId"], []).append(data["body"]["action"])
        if "sessionId" in data:
            order.setdefault(data["sessionId"], []).append(moment.payload["trigger"].partition("_")[2])

    for steps in order.values():
        told = [step for step in ("delivered", "deliveredToAll", "read", "readByAll") if step in steps]
        assert sorted(told, key=steps.index) == told
        if "ended" in steps:
            assert steps.index("started") < steps.index("participant_joined") < steps.index("ended")
    assert all(one.at <= other.at for one, other in pairwise(A_DAY))


def test_a_day_has_its_night_and_its_rush_hours() -> None:
    """Even traffic finds no queue that fills."""
    played = moments(Script(count=20_000), seed=1)
    hours = Counter(int(moment.at % DAY // 3600) for moment in played)

    assert hours[20] > 8 * hours[3]
    assert [time_of_day(share) for share in (0.0, 1.0)] == [0.0, float(DAY)]
    busiest = HOURS.index(max(HOURS))
    assert abs(hours[busiest] / len(played) - HOURS[busiest] / sum(HOURS)) < 0.02


def test_a_day_can_be_shortened() -> None:
    """`--day 60`: the same shape within a minute."""
    leave = seconds_after(A_DAY, 60.0)
    plan = make_plan(read_samples(), Mix(duplicates=5), 1, Played(A_DAY, leave))

    assert 0 <= leave[0] <= leave[-1] < 70
    assert [shot.at for shot in plan if shot.kind is Kind.EVENT] == list(leave)
    assert [shot.mark for shot in plan if shot.kind is Kind.DUPLICATE] == [moment.mark for moment in A_DAY[:5]]
    assert all(json.loads(shot.body)[MARK] == shot.mark for shot in plan)
