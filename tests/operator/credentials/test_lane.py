"""The lane step by step, at an API server of the test's memory."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_operator.apply.api import Conflict
from hookline_operator.decide.credentials import Creation, RotationReason, State, Why, secret_name
from hookline_operator.decide.instants import seconds_of, text_of
from hookline_operator.resource_types import GATEWAYS
from support.credentials import BEGIN, DAY, HOUR, KEY, World


def rotated(**rotation):
    """One that is in use, and a newer one that nobody uses yet."""
    world = World()
    world.ask(rotation=rotation)
    world.settle()
    world.use(world.owned[0])
    world.now += HOUR
    world.ask(rotate="1")
    world.settle()
    return (world, *world.owned)


def test_one_is_made_where_no_secret_is_named():
    """And said: its name, and that nobody uses it yet."""
    world = World()
    world.settle()

    (name,) = world.owned
    assert re.fullmatch(r"chat-hookline-[0-9a-f]{8}", name)
    assert world.subscription["status"]["credentials"] == [
        {"secretName": name, "state": "Active", "since": "2026-03-01T12:00:00Z"}
    ]
    assert world.pending == ("False", "UpToDate", "")
    assert [each.reason for each in world.told] == ["CredentialCreated"]


def test_nothing_that_is_told_holds_a_password(caplog):
    """Events, logs and statuses are read by more people than Secrets."""
    caplog.set_level("DEBUG")
    world = World()
    world.settle()

    (secret,) = world.secrets.values()
    said = repr((world.told, world.subscription, [record.__dict__ for record in caplog.records]))
    assert secret["stringData"]["password"] not in said
    assert secret["stringData"]["username"] not in said
    assert "chat-hookline-" in said


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.ask(refs=("cometchat",)),
        lambda world: setattr(world, "attached", False),
        lambda world: setattr(world, "ours", False),
        lambda world: world.subscription["metadata"].update(deletionTimestamp="2026-03-01T12:00:00Z"),
        lambda world: world.subscription["spec"].update(routes="nonsense"),
    ],
    ids=[
        "it names one",
        "no gateway takes it",
        "it is another installation's",
        "it is being deleted",
        "it can't be read",
    ],
)
def test_none_is_made_for_one_that_does_not_need_it(change):
    """A Secret that nobody asked for is a password that nobody looks after."""
    world = World()
    change(world)
    world.touch()
    world.settle()

    assert world.calls == []


def test_at_rest_and_after_a_restart_nothing_is_read_or_written():
    """Ten thousand subscriptions must not cost a call each at every start."""
    world, old, _ = rotated()
    world.restart()
    calls = list(world.calls)
    world.settle()

    assert world.calls == calls
    assert world.states == {old: "Active", world.owned[1]: "Pending"}
    assert not world.publish()


def test_a_rotation_says_what_to_enter():
    """The old one goes on until then."""
    world, old, new = rotated()

    assert world.states == {old: "Active", new: "Pending"}
    message = (
        f"since 2026-03-01T13:00:00Z: enter username and password of Secret acme/{new} at CometChat; Secret acme/{old} is "
        "accepted until that one has been in use for 24h"
    )
    assert world.pending == ("True", "EnterNewCredential", message)


def test_the_old_one_goes_when_the_new_one_has_been_in_use_for_the_overlap():
    """Counted from the first use, not from the last."""
    world, old, new = rotated(overlap="2h")
    world.now += 5 * DAY
    world.settle()
    assert world.owned == [old, new]
    world.use(new)
    world.settle()
    assert world.states == {old: "Retiring", new: "Active"}
    assert world.pending == ("False", "UpToDate", f"{old} is accepted until 2026-03-06T15:00:00Z")
    world.now += 2 * HOUR - 1
    world.use(new)
    world.settle()
    assert world.owned == [old, new]
    world.now += 1
    world.settle()

    assert world.owned == [new]
    assert world.states == {new: "Active"}
    assert [each.reason for each in world.told][-1] == "CredentialRetired"


def test_the_first_use_is_remembered_by_the_status_alone():
    """Operator and pods start anew in the middle of the overlap: it does not begin again."""
    world, old, new = rotated(overlap="2h")
    world.use(new)
    world.settle()
    world.uses.clear()
    world.restart()
    world.now += 2 * HOUR
    world.settle()
    assert world.owned == [old, new]  # Nobody says whether the old one is used: it stays until the new one is, again.
    world.use(new)
    world.settle()

    assert world.owned == [new]


def test_one_that_was_used_last_stays_however_old_it_is():
    """Somebody has entered the old one again: to remove it would refuse events."""
    world, old, new = rotated(overlap="2h")
    world.use(new)
    world.settle()
    world.now += 3 * HOUR
    world.use(old)
    world.settle()
    assert world.owned == [old, new]
    assert world.pending is not None
    assert world.pending[:2] == ("True", "OldCredentialInUse")
    world.publish()
    world.restart()
    world.settle()
    assert world.pending[:2] == ("True", "OldCredentialInUse")
    world.now += 1
    world.use(new)
    world.settle()

    assert world.owned == [new]


def test_an_old_one_that_is_still_used_is_announced_and_ends_in_time():
    """Two webhooks, of which a person changed one: told before it stops, and no secret way to keep a password for ever."""
    world, old, new = rotated(overlap="2h")
    world.use(new)
    world.settle()
    world.now += HOUR
    world.use(old)
    world.settle()
    assert world.pending is not None
    assert world.pending[1] == "OldCredentialInUse"
    assert "accepted until 2026-03-01T15:00:00Z" in world.pending[2]
    world.now += HOUR
    world.use(old)
    world.use(new)
    world.settle()

    assert world.owned == [new]
    assert world.pending == ("False", "UpToDate", "")


def test_nothing_is_retired_before_the_agents_have_told():
    """A new leader may hear of the new one's use first, and of the old one's a second later."""
    world, old, new = rotated(overlap="0s")
    world.pace = type(world.pace)(settle=15.0, interval=0.0)
    world.restart()
    world.use(new)
    world.settle()
    assert world.owned == [old, new]
    assert world.lane.queue.waiting == 1
    world.now += 16
    world.settle()

    assert world.owned == [new]


def test_a_request_is_answered_once():
    """The annotation stays where it is."""
    world, _, new = rotated()
    world.use(new)
    for _ in range(3):
        world.now += 2 * DAY
        world.use(new)
        world.settle()

    assert world.owned == [new]
    assert [verb for verb, _ in world.writes] == ["create", "create", "delete"]


def test_a_request_that_was_there_before_the_first_is_answered_by_it():
    """Applied with the annotation already in the manifest."""
    world = World()
    world.ask(rotate="1")
    world.settle()

    assert len(world.owned) == 1


def test_a_huge_request_is_not_copied():
    """An annotation may have 256 KiB."""
    world = World()
    world.ask(rotate="x" * 200_000)
    world.settle()

    assert len(str(world.secrets)) < 2000
    world.ask(rotate="x" * 200_001)
    world.settle()
    assert len(world.owned) == 2


def test_the_schedule_begins_a_rotation_of_what_is_in_use():
    """One that nobody has entered yet is not replaced by another."""
    world = World()
    world.ask(rotation={"interval": "2160h"})
    world.settle()
    world.now += 91 * DAY
    world.settle()
    assert len(world.owned) == 1
    world.use(world.owned[0])
    world.settle()
    assert len(world.owned) == 2
    world.now += 91 * DAY
    world.settle()

    assert len(world.owned) == 2


def test_the_lane_wakes_for_the_schedule():
    """Nothing else may happen at that hour."""
    world = World()
    world.ask(rotation={"interval": "30m", "overlap": "0s"} | {"interval": "1h"})
    world.settle()
    world.use(world.owned[0])
    world.now += 1800
    world.settle()
    assert (len(world.lane.queue), world.lane.queue.waiting) == (0, 1)
    world.now += 1800

    assert world.lane.queue.take_now() == (KEY,)


def test_a_revocation_waits_for_nothing():
    """Not for a use, an overlap, or the reading of what is there."""
    world, old, new = rotated()
    before = len(world.calls)
    world.ask(revoke=f" {old} ,other")
    world.settle()

    assert world.calls[before] == ("delete", old)
    assert world.owned == [new]
    assert [each.reason for each in world.told][-1] == "CredentialRevoked"


def test_a_revoked_one_is_replaced_by_another_name():
    """The annotation still names the old one: it must not hit the new one."""
    world = World()
    world.settle()
    for _ in range(3):
        (name,) = world.owned
        world.ask(revoke=name)
        world.settle()
        assert world.owned != [name]
        assert len(world.owned) == 1


def test_deleting_the_secret_revokes_it():
    """What kubectl users do first."""
    world = World()
    world.settle()
    (name,) = world.owned
    world.remove(name)
    world.settle()

    assert len(world.owned) == 1
    assert world.owned != [name]


def test_the_use_of_an_earlier_secret_of_that_name_is_no_use():
    """Else the old one would be retired for a new one that nobody has entered."""
    world, old, new = rotated(overlap="0s")
    world.uses[f"{new}@1"] = world.now - 1
    world.settle()

    assert world.states == {old: "Active", new: "Pending"}


def test_a_label_on_a_secret_changes_nothing():
    """Its version is another then, and the credential's name in what receivers report."""
    world, old, new = rotated()
    world.use(new)
    world.settle()
    world.secrets[new]["metadata"]["resourceVersion"] = "9999"
    world.settle()

    assert world.states == {old: "Retiring", new: "Active"}


def test_other_secrets_are_never_touched():
    """Not by their name, which is known beforehand, nor by being named in an annotation."""
    seen = World()
    seen.settle()
    (name,) = seen.owned
    world = World()
    world.put(name)
    world.put("cometchat")
    world.ask(revoke=f"{name},cometchat")
    world.settle()

    assert {name, "cometchat"} < set(world.secrets)
    assert len(world.owned) == 1
    assert [verb for verb, _ in world.writes] == ["create"]


def test_who_revokes_every_name_beforehand_gets_another():
    """Names can be worked out; an annotation holds thousands of them, and must not stop what serves everybody."""
    names: list[str] = []
    for _ in range(300):
        creation = Creation(Why.FIRST, 1, "", ("generation 1",), frozenset(names))
        names.append(secret_name("chat", "uid-chat", creation))
    world = World()
    world.ask(revoke=",".join(names))
    world.settle()

    assert len(set(names)) == 300
    assert len(world.owned) == 1


def test_who_takes_the_names_beforehand_waits():
    """Each look tries a few, and the next one comes later: it costs nobody else anything."""
    world = World()
    taken = []
    for _ in range(20):
        creation = Creation(Why.FIRST, 1, "", ("generation 1",), frozenset(taken))
        taken.append(secret_name("chat", "uid-chat", creation))
        world.put(taken[-1])
    assert isinstance(world.look(), Conflict)
    assert len(world.calls) < 20
    for name in taken:
        world.remove(name)
    world.settle()

    assert len(world.owned) == 1


def test_more_than_four_are_never_made():
    """More than four are not accepted."""
    world, _, _ = rotated()
    for request in "abcdef":
        world.now += 1
        world.ask(rotate=request)
        world.settle()
    assert len(world.owned) == 4
    assert world.pending is not None
    assert "another rotation waits, as 4 credentials are accepted at most" in world.pending[2]
    world.ask(revoke=world.owned[1])
    world.settle()

    assert len(world.owned) == 4
    assert world.secrets[world.owned[-1]]["metadata"]["annotations"]["hookline.dev/rotate"] == "f"


@pytest.mark.parametrize("fault", ["fail", "lose", "late"])
def test_a_create_that_is_not_answered_makes_one_in_the_end(fault):
    """Whether it was done is not known: the next attempt meets it, or makes it."""
    world = World()
    world.fault = fault
    assert world.look() is not None
    world.restart()
    assert world.look(sync=False) is None
    world.deliver()
    world.settle()

    assert len(world.owned) == 1
    assert [verb for verb, _ in world.writes] == ["create"]


def test_a_view_that_lags_makes_no_second_one():
    """Feeds may be minutes behind."""
    world = World()
    world.settle()
    view = world.seen
    world.sync()
    world.seen = ()
    for _ in range(3):
        world.look(sync=False)
    assert view
    assert len(world.owned) == 1
    assert list(world.states.values()) == ["Active"]


def test_a_subscription_that_is_gone_already_gets_none():
    """The view lags: what is made now would be nobody's."""
    world = World()
    world.sync()
    world.subscription["metadata"]["uid"] = "another"
    world.look(sync=False)

    assert world.writes == []


def test_named_secrets_end_the_generated_ones_after_the_overlap():
    """Kept until then, though not accepted: whoever takes the change back has them again."""
    world = World()
    world.settle()
    (name,) = world.owned
    world.use(name)
    world.settle()
    world.ask(refs=("cometchat",))
    world.settle()
    assert world.states == {name: "Replaced"}
    assert world.pending is None
    world.now += DAY - 1
    world.restart()
    world.settle()
    assert world.owned == [name]
    world.ask(refs=())
    world.settle()
    assert world.states == {name: "Active"}
    world.ask(refs=("cometchat",))
    world.settle()
    world.now += DAY
    world.settle()
    assert world.owned == []
    assert "credentials" not in world.subscription["status"]
    world.ask(refs=())
    world.settle()

    assert len(world.owned) == 1
    assert world.owned != [name]


def test_one_that_is_not_attached_keeps_what_it_has():
    """A gateway that is away for a moment is no reason to end or begin anything; a revocation counts all the same."""
    world, old, new = rotated(overlap="0s")
    world.attached = False
    world.use(new)
    world.ask(rotate="2")
    world.settle()
    assert world.owned == [old, new]
    world.ask(revoke=old)
    world.settle()

    assert world.owned == [new]


def test_creations_are_paced():
    """A tenant that asks a hundred times a second costs what one costs who asks once."""
    world = World(interval=1.0)
    world.look()
    for request in "abc":
        world.ask(rotate=request)
        world.look()
    assert len(world.owned) == 1
    world.now += 1
    assert world.lane.queue.take_now() == (KEY,)
    world.look()

    assert len(world.owned) == 2


def test_gateways_are_none_of_its_business():
    """The status lane asks for both."""
    world = World()
    world.settle()

    assert not world.lane.contribution(GATEWAYS.kind, KEY).types


def test_uses_wake_the_lane_only_where_they_may_change_something():
    """Busy subscriptions are used all the time."""
    world, _, new = rotated(overlap="0s")
    world.lane.used(["uid-chat", "uid-other"])
    assert world.lane.queue.take_now() == (KEY,)
    world.lane.queue.done(KEY)
    world.use(new)
    world.now += 1
    world.settle()
    world.lane.queue.clear()
    world.lane.used(["uid-chat"])

    assert world.lane.queue.take_now() == ()


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)))
def test_times_are_written_and_read_as_everywhere(value):
    """Without the standard library's clock at hand."""
    value = value.replace(microsecond=0)
    seconds = int(value.replace(tzinfo=UTC).timestamp())

    assert text_of(seconds) == value.isoformat() + "Z"
    assert seconds_of(text_of(seconds)) == seconds


@pytest.mark.parametrize(
    "text", [None, 5, "", "2026-03-01", "2026-13-01T00:00:00Z", "2026-03-01T00:00:00+01:00", "x" * 99]
)
def test_what_is_no_time_is_none(text):
    """A status may hold anything."""
    assert seconds_of(text) is None


def test_a_status_that_holds_nonsense_is_written_anew():
    """And stops nothing."""
    world = World()
    world.settle()
    for nonsense in (5, [5], [{}], [{"secretName": 5, "state": "Active", "since": "x"}], [{"state": ["x"]}]):
        world.subscription["status"] = {"credentials": nonsense, "conditions": nonsense}
        world.restart()
        world.settle()
        assert list(world.states.values()) == ["Active"]
    assert world.now == BEGIN


@pytest.mark.parametrize(
    "word", [*RotationReason, *State, "CredentialCreated", "CredentialRetired", "CredentialRevoked"]
)
def test_every_word_is_explained_on_a_page(word):
    """docs/operate: a word that nobody can look up helps nobody."""
    pages = Path(__file__).parents[3] / "docs" / "operate"

    assert any(
        f"`{word}`" in (pages / page).read_text(encoding="utf-8") for page in ("credentials.md", "conditions.md")
    )
