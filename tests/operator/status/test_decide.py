import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_operator.decide.conditions import LASTING, SOON, Said, Wanted, gateway_status, subscription_status
from hookline_operator.decide.endpoints import Resolved, ServiceReason
from hookline_operator.decide.happenings import happenings
from hookline_operator.decide.status import Contribution, conditions_in, decide
from hookline_routes.problem import Reason
from hookline_routes.resource import ServiceRef
from support.status import EARLIER, NOW, a_condition, a_declared, a_problem, a_report, facts, gateway_facts

GOOD = {
    "observedGeneration": 1,
    "url": "https://hooks.example.com/acme/chat",
    "gateway": "hookline/default",
    "conditions": [a_condition(kind) for kind in ("Accepted", "ResolvedRefs", "Programmed", "Ready")],
}


def decided(found=None, status=GOOD, further=None):
    return decide(subscription_status(found or facts()), further or Contribution(), status, NOW)


def merged(change, status):
    return {name: value for name, value in {**status, **change.status}.items() if value is not None}


def test_a_status_that_says_what_it_should_is_left_alone():
    """No writes at rest."""
    assert decided() is None


def test_a_new_subscription_gets_all_of_it_in_one_write():
    """And at once, where it is served already."""
    change = decided(status={})

    assert change.patience == 0
    assert [each["type"] for each in change.conditions] == ["Accepted", "ResolvedRefs", "Programmed", "Ready"]
    assert {each["lastTransitionTime"] for each in change.conditions} == {NOW}
    assert {each["observedGeneration"] for each in change.conditions} == {1}
    assert change.fields == {name: GOOD[name] for name in ("observedGeneration", "url", "gateway")}


def test_the_time_of_transition_changes_with_the_status_alone():
    """It says since when something holds."""
    declared = a_declared(generation=2, suspend=True)
    change = decided(facts(declared, a_report(declared)))

    times = {each["type"]: each["lastTransitionTime"] for each in change.conditions}
    assert times == {"Accepted": EARLIER, "ResolvedRefs": EARLIER, "Programmed": EARLIER, "Ready": NOW}
    assert {each["observedGeneration"] for each in change.conditions} == {2}


def test_conditions_of_others_are_left_as_they_are():
    """Whoever wrote them owns them."""
    theirs = {**a_condition("example.com/Approved", "Unknown"), "extra": 1}
    status = {**GOOD, "conditions": [theirs, *GOOD["conditions"]], "theirs": {"x": 1}}

    assert decided(status=status) is None
    change = decided(facts(revision=None), status=status)
    assert theirs in change.conditions
    assert "theirs" not in change.status


def test_conditions_of_another_lane_come_and_go():
    """It says which types are its own."""
    types = frozenset({"RotationPending"})
    pending = Contribution((Said("RotationPending", True, "RotationPending", "enter it"),), {}, types)

    change = decided(further=pending)
    after = merged(change, GOOD)

    assert change.conditions[-1]["type"] == "RotationPending"
    assert decided(status=after, further=pending) is None
    gone = decided(status=after, further=Contribution(types=types))
    assert [each["type"] for each in gone.conditions] == ["Accepted", "ResolvedRefs", "Programmed", "Ready"]


def test_a_field_that_is_no_more_is_removed():
    """The URL of a gateway that lost its host names would lead nowhere."""
    declared = a_declared()
    report = a_report(declared, [a_problem(Reason.NO_MATCHING_GATEWAY)])
    change = decided(facts(declared, report, gateway=None, revision=None))

    assert change.status["url"] is None
    assert change.status["gateway"] is None


def test_a_change_on_its_way_to_the_receivers_is_waited_for():
    """A change that takes effect within two seconds costs one write, not two."""
    declared = a_declared(generation=2)

    assert decided(facts(declared, a_report(declared), revision=None)).patience == SOON
    assert decided(facts(declared, a_report(declared), behind=("a",))).patience == SOON
    assert decided(facts(declared, a_report(declared))).patience == 0


def test_pods_that_fall_silent_are_given_time():
    """A new leader has heard of none yet, and must not write ten thousand statuses to say so."""
    assert decided(facts(behind=("a", "b"))).patience == LASTING
    assert decided(facts(pods=0)).patience == LASTING


def test_bad_news_that_is_certain_is_told_at_once():
    """Whatever else is on its way."""
    declared = a_declared(generation=2)
    report = a_report(declared, references=[a_problem(Reason.SECRET_NOT_FOUND)])

    assert decided(facts(declared, report, revision=None)).patience == 0


def test_a_handler_that_is_rolled_costs_no_write():
    """Its endpoints are back in a moment, and hundreds of subscriptions may name it."""
    handlers = {ServiceRef("handler", "acme", 9000): Resolved((), ServiceReason.NO_READY_ENDPOINTS, "none")}
    change = decided(facts(handlers=handlers))

    assert change.patience == LASTING
    after = merged(change, GOOD)
    assert decided(status=after).patience == SOON


def test_counters_of_a_gateway_are_gathered():
    """A thousand subscriptions applied at once are not a thousand writes."""
    wanted = gateway_status(gateway_facts())
    status = merged(decide(wanted, Contribution(), {}, NOW), {})

    more = gateway_status(gateway_facts(attached=6))

    assert decide(wanted, Contribution(), status, NOW) is None
    assert decide(more, Contribution(), status, NOW).patience == SOON


@given(
    st.dictionaries(
        st.sampled_from(["conditions", "url", "gateway", "x"]),
        st.one_of(
            st.none(),
            st.integers(),
            st.lists(
                st.one_of(
                    st.integers(), st.dictionaries(st.text(max_size=3), st.integers()), st.just({"type": "Ready"})
                )
            ),
        ),
    ),
)
def test_no_status_makes_it_raise_and_what_was_written_is_not_written_again(status):
    """Anyone with the right may have written anything there."""
    change = decided(status=status)

    assert change is not None
    again = decided(status=merged(change, status))
    assert again is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, a_condition("Ready"), (False, "Ready")),
        ({}, a_condition("Ready", "False", "PathConflict", "taken"), (True, "PathConflict")),
        (a_condition("Ready"), a_condition("Ready", "False", "SecretNotFound", "gone"), (True, "SecretNotFound")),
        (a_condition("Ready", "False", "Pending"), a_condition("Ready"), (False, "Ready")),
        (
            a_condition("Ready", "False", "Pending"),
            a_condition("Ready", "False", "Suspended", "s"),
            (True, "Suspended"),
        ),
    ],
    ids=["new", "new and refused", "lost", "mended", "another reason"],
)
def test_a_person_hears_of_ready_coming_and_going(before, after, expected):
    """Events are what `kubectl describe` shows."""
    (found,) = happenings({"Ready": before} if before else {}, {"Ready": after})

    assert (found.warning, found.reason) == expected
    assert found.note


def test_a_person_hears_nothing_of_what_stays():
    """A new generation that is ready as before is no news."""
    before, after = a_condition("Ready"), a_condition("Ready", generation=2)

    assert happenings({"Ready": before}, {"Ready": after}) == ()


def test_a_person_hears_what_another_lane_asks_for():
    """Such as a password to enter at CometChat."""
    pending = a_condition("RotationPending", "True", "RotationPending", "enter the new password")

    assert [each.reason for each in happenings({}, {"RotationPending": pending})] == ["RotationPending"]
    assert happenings({"RotationPending": pending}, {"RotationPending": pending}) == ()


def test_what_is_in_a_status_is_read_whatever_it_is():
    """A person may have patched it."""
    assert conditions_in({"conditions": [{"type": "A"}, 5, {"x": 1}]}) == {"A": {"type": "A"}, "": {"x": 1}}
    assert conditions_in({"conditions": "none"}) == {}
    assert decide(Wanted(1, ()), Contribution(), {"conditions": 7}, NOW) is None
