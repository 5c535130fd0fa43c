"""Tables that are swapped in while the forwarder runs."""

from itertools import pairwise
from pathlib import Path

import pytest

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.carrying.routebook import Handler, RetryPolicy, TableRefused, compile_book
from hookline_receiver.event import Envelope, RouteRef, SubscriptionRef
from hookline_receiver.forwarder.clock import SystemClock
from hookline_receiver.forwarder.files import replace_file
from hookline_receiver.forwarder.tables import EndpointFile, Routes
from hookline_routes.match import MatchFailed
from support.forwarder import CHAT, DataFolder, a_book, a_route, a_snapshot, a_subscription

NOTIFIER = Handler("acme", "notifier", 9000)


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """An empty data folder."""
    return DataFolder(tmp_path)


def routes_of(data: DataFolder) -> Routes:
    """The route table of *data*."""
    return Routes(data.root / "routes" / "forwarder.binpb")


def test_a_new_table_takes_the_place_of_the_old_one(data: DataFolder) -> None:
    """Manifests change while everything runs."""
    routes = routes_of(data)
    assert (routes.refresh(), routes.book()) == (False, None)

    data.route(a_subscription(a_route("old")))
    assert routes.refresh()
    assert not routes.refresh()
    data.route(a_subscription(a_route("new")))
    assert routes.refresh()

    book = routes.book()
    assert book is not None
    assert list(book.routes) == [RouteRef(CHAT, "new")]


@pytest.mark.parametrize(
    "content",
    [b"\xff\xff\xff", a_snapshot(a_subscription(), a_subscription()).SerializeToString(), b"\x08\x63"],
    ids=["garbage", "a subscription twice", "newer format"],
)
def test_a_table_that_is_no_good_leaves_the_last_good_one(data: DataFolder, content: bytes) -> None:
    """A bad write elsewhere must not stop deliveries; but nothing may be taken as gone by it."""
    routes = routes_of(data)
    data.route(a_subscription(a_route("good")))
    routes.refresh()
    good = routes.book()

    replace_file(data.root / "routes" / "forwarder.binpb", content)

    assert not routes.refresh()
    assert routes.book() is good
    assert not routes.healthy
    (data.root / "routes" / "forwarder.binpb").unlink()
    assert not routes.refresh()
    assert (routes.book(), routes.healthy) == (good, False)
    data.route(a_subscription(a_route("good")))
    assert routes.refresh()
    assert routes.healthy


def test_expressions_are_not_compiled_again_for_each_table(data: DataFolder) -> None:
    """Ten thousand of them take seconds, and tables change all the time."""
    routes = routes_of(data)
    data.route(a_subscription(a_route("a", expression="event.x == 1"), a_route("b", expression="event.x == 2")))
    routes.refresh()
    before = routes.book()
    data.route(a_subscription(a_route("a", expression="event.x == 1"), a_route("b", expression="event.x == 3")))
    routes.refresh()
    after = routes.book()

    assert before is not None
    assert after is not None
    a, b = RouteRef(CHAT, "a"), RouteRef(CHAT, "b")
    assert after.routes[a].match is before.routes[a].match
    assert after.routes[b].match is not before.routes[b].match


def test_expressions_beyond_what_a_subscription_may_cost_are_not_evaluated() -> None:
    """A table of an older operator may hold them, and each event of that tenant would hold up everybody's."""
    dear = [a_route(f"r{number}", expression=f"event.s.matches('{'a' * (240 + number)}')") for number in range(8)]
    cheap = a_route("cheap", expression="event.s == 'a'")

    book = a_book(a_subscription(*dear, cheap), a_subscription(dear[5], ref=SubscriptionRef("other", "acme", "other")))

    facts = Envelope("message_sent", "message", "app", "user")
    answers = {str(ref): plan.match.matches(facts, lambda: {"s": "a"}) for ref, plan in book.routes.items()}
    refused = {name: answer.reason for name, answer in answers.items() if isinstance(answer, MatchFailed)}
    assert set(refused) == {f"acme/chat/r{number}" for number in range(4, 8)}
    assert "the expression is not evaluated: the expressions of one subscription may" in refused["acme/chat/r4"]
    assert (answers["acme/chat/cheap"], answers["acme/other/r5"]) == (True, False)


def test_what_a_table_leaves_out_has_the_documented_defaults() -> None:
    """A table written by an older operator."""
    subscription = routing.Subscription(ref=routing.SubscriptionRef(uid="u"), routes=[routing.Route(name="r")])

    [plan] = compile_book(a_snapshot(subscription)).routes.values()

    assert plan.retry == RetryPolicy()
    assert (plan.timeout, plan.max_in_flight, plan.batch_max_events, plan.batch_max_wait) == (10**10, 64, 1, 0)


def test_a_newer_format_is_refused() -> None:
    """It may mean something that this release does not know."""
    with pytest.raises(TableRefused, match="format 3"):
        compile_book(routing.ForwarderSnapshot(format=3))


def test_endpoints_are_found_by_service_and_port(data: DataFolder) -> None:
    """And what is not there is said in words."""
    endpoints = EndpointFile(data.root / "routes" / "endpoints.binpb")
    data.endpoints(notifier=["10.0.0.2:9000", "10.0.0.1:9000"], empty=[])
    endpoints.refresh()
    table = endpoints.current

    assert table is not None
    assert table.of(NOTIFIER) == ("10.0.0.1:9000", "10.0.0.2:9000")
    assert table.of(Handler("acme", "notifier", 9001)) == ()
    assert "does not know acme/other:9000" in table.reason(Handler("acme", "other", 9000))
    assert "no ready endpoint" in table.reason(Handler("acme", "empty", 9000))


def test_the_clock_never_goes_back_nor_stands_still() -> None:
    """A wall clock that is set back an hour must neither revive leases nor stop deliveries for an hour."""
    wall, steady = [1_000_000], [0]
    clock = SystemClock(lambda: wall[0], lambda: steady[0])
    seen = [clock.now()]
    for step in (100, 100, -500_000, 100, 100, 900_000, 100):
        wall[0] += step
        steady[0] += 100
        seen.append(clock.now())

    assert all(later > earlier for earlier, later in pairwise(seen))
    assert seen[3] - seen[2] == 50
    assert seen[-1] == wall[0]
