"""What routes make of an event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.carrying.fanout import RETRY_HORIZON, fan_out
from hookline_receiver.carrying.routebook import SubscriptionPlan
from hookline_receiver.event import RouteRef
from hookline_receiver.store.port import Target
from support.forwarder import CHAT, SECOND, a_book, a_route, a_subscription, an_event


def a_plan(*routes: routing.Route, window: float = 3600) -> SubscriptionPlan:
    """A subscription's compiled routes."""
    return a_book(a_subscription(*routes, window=window)).subscriptions[CHAT.uid]


def test_an_event_goes_to_every_route_that_matches() -> None:
    """Routes are independent: whoever matches gets it, the others don't hear of it."""
    plan = a_plan(a_route("all"), a_route("mine", triggers=["message_sent"]), a_route("other", triggers=["call_ended"]))

    arrival = fan_out(an_event(trigger="message_sent"), plan).arrival

    assert [target.route.name for target in arrival.targets] == ["all", "mine"]
    assert arrival.unrouted == ""


def test_an_event_that_nobody_wants_is_kept_with_the_reason() -> None:
    """It was acknowledged: it must be visible, and replayable once a route for it exists."""
    arrival = fan_out(an_event(), a_plan(a_route(triggers=["call_ended"]))).arrival

    assert (list(arrival.targets), arrival.unrouted) == ([], "NoRouteMatched")


def test_an_event_of_a_subscription_that_is_gone_is_kept_with_the_reason() -> None:
    """Between acceptance and carrying a tenant may delete the subscription."""
    arrival = fan_out(an_event(), None).arrival

    assert (list(arrival.targets), arrival.unrouted) == ([], "SubscriptionRemoved")


def test_an_expression_that_fails_leaves_the_event_unrouted_for_its_route_only() -> None:
    """Never dropped in silence: the route and the reason are in the event's story, the other routes are served."""
    plan = a_plan(a_route("broken", expression="event.data.missing == 'x'"), a_route("fine"))

    fanned = fan_out(an_event(b'{"trigger":"message_sent","data":{}}'), plan)

    assert [target.route.name for target in fanned.arrival.targets] == ["fine"]
    assert [misfit.route.name for misfit in fanned.misfits] == ["broken"]
    assert fanned.arrival.unrouted.startswith("MatchFailed: broken: ")
    assert fanned.misfits[0].reason in fanned.arrival.unrouted


@pytest.mark.parametrize(
    ("ordering", "partition_key", "expected"),
    [
        (routing.DeliveryPolicy.ORDERING_NONE, "group_1", None),
        (routing.DeliveryPolicy.ORDERING_UNSPECIFIED, "group_1", None),
        (routing.DeliveryPolicy.ORDERING_CONVERSATION, "group_1", "group_1"),
        (routing.DeliveryPolicy.ORDERING_CONVERSATION, "", None),
        (routing.DeliveryPolicy.ORDERING_SUBSCRIPTION, "group_1", ""),
        (routing.DeliveryPolicy.ORDERING_SUBSCRIPTION, "", ""),
    ],
    ids=["none", "unset", "conversation", "no conversation", "subscription", "subscription without key"],
)
def test_the_routes_ordering_says_what_an_event_waits_for(
    ordering: routing.DeliveryPolicy.Ordering.ValueType, partition_key: str, expected: str | None
) -> None:
    """Events that belong to no conversation have nothing to be in order with, and must not queue behind each other."""
    arrival = fan_out(an_event(partition_key=partition_key), a_plan(a_route(ordering=ordering))).arrival

    assert list(arrival.targets) == [Target(RouteRef(CHAT, "notify"), expected)]


@given(st.integers(0, 10**6), st.booleans())
def test_weak_identities_never_hold_longer_than_the_senders_retries(window: int, strong: bool) -> None:
    """Two true events may share a weak key an hour apart: only what can be a retry may be taken for one."""
    event = an_event(strong=strong, received_at_ns=10**18)

    held = fan_out(event, a_plan(a_route(), window=window)).arrival.duplicate_until - 10**18

    assert held == (window * SECOND if strong else min(window * SECOND, RETRY_HORIZON))
