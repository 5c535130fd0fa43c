"""Tables that are swapped in while the forwarder runs."""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.carrying.routebook import Handler, RetryPolicy, TableRefused, compile_book
from hookline_receiver.event import Envelope, RouteRef, SubscriptionRef
from hookline_receiver.forwarder.clock import SystemClock
from hookline_receiver.forwarder.files import replace_file
from hookline_receiver.forwarder.tables import EndpointFile, Routes
from hookline_receiver.parts import part_file, part_name
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


def write_parts(data: DataFolder, version: str, *parts: routing.ForwarderSnapshot) -> list[Path]:
    """An index that names *parts*, as the agent writes it; their files."""
    index = data.root / "routes" / "forwarder.binpb"
    files = []
    for part in parts:
        content = part.SerializeToString(deterministic=True)
        file = part_file(index, part_name(content))
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        files.append(file)
    named = [routing.Part(name=each.stem, shard=shard) for shard, each in enumerate(files)]
    replace_file(index, routing.ForwarderSnapshot(format=2, version=version, parts=named).SerializeToString())
    return files


def a_part(*subscriptions: routing.Subscription) -> routing.ForwarderSnapshot:
    """Nothing but subscriptions."""
    return routing.ForwarderSnapshot(format=1, subscriptions=subscriptions)


def subscription(name: str, *routes: routing.Route) -> routing.Subscription:
    """One of several."""
    return a_subscription(*routes or (a_route(service=name),), ref=SubscriptionRef(f"uid-{name}", "acme", name))


def test_only_what_changed_in_a_part_is_compiled_anew(data: DataFolder) -> None:
    """Ten thousand subscriptions, of which some change every second."""
    routes = routes_of(data)
    a, b, c = subscription("a"), subscription("b"), subscription("c", a_route("x", service="a"))
    write_parts(data, "1", a_part(a, b), a_part(c))
    routes.refresh()
    before = routes.book()

    write_parts(data, "2", a_part(a, subscription("b", a_route("y", service="b"))), a_part(c))
    assert routes.refresh()

    after = routes.book()
    assert before is not None
    assert after is not None
    assert after.version == "2"
    assert after.subscriptions["uid-a"] is before.subscriptions["uid-a"]
    assert after.subscriptions["uid-c"] is before.subscriptions["uid-c"]
    assert [str(ref) for ref in before.routes] != [str(ref) for ref in after.routes]
    assert before.version == "1"
    assert len(before.subscriptions) == 3


@given(st.lists(st.frozensets(st.tuples(st.sampled_from("abcd"), st.integers(0, 2))), min_size=1, max_size=5))
def test_a_book_made_from_the_last_one_is_the_one_made_anew(steps: list[frozenset[tuple[str, int]]]) -> None:
    """Whatever comes, changes, goes, and shares a handler."""
    with TemporaryDirectory() as folder:
        data = DataFolder(Path(folder))
        routes = routes_of(data)
        for number, wanted in enumerate(steps):
            chosen = dict(sorted(wanted))
            parts: list[list[routing.Subscription]] = [[], []]
            for name, change in chosen.items():
                made = subscription(name, a_route("r"), a_route(f"r{change}", service=f"h{change}"))
                parts[ord(name) % 2].append(made)
            write_parts(data, f"v{number}", *(a_part(*part) for part in parts))
            assert routes.refresh()
            book = routes.book()
            anew = compile_book(a_snapshot(*parts[0], *parts[1]))
            assert book is not None
            assert book.subscriptions == anew.subscriptions
            assert book.routes == anew.routes
            assert {h: {p.ref for p in plans} for h, plans in book.handlers.items()} == {
                h: {p.ref for p in plans} for h, plans in anew.handlers.items()
            }


def test_a_subscription_in_two_parts_leaves_the_last_good_table(data: DataFolder) -> None:
    """As one that is named twice in one file does; and the next good one is read."""
    routes = routes_of(data)
    write_parts(data, "1", a_part(subscription("a")), a_part())
    routes.refresh()
    good = routes.book()

    write_parts(data, "2", a_part(subscription("a")), a_part(subscription("a", a_route("other"))))
    assert not routes.refresh()
    assert (routes.book(), routes.healthy) == (good, False)

    write_parts(data, "3", a_part(subscription("b")), a_part(subscription("a")))
    assert routes.refresh()
    book = routes.book()
    assert book is not None
    assert set(book.subscriptions) == {"uid-a", "uid-b"}


def test_a_part_that_comes_late_is_read_when_it_is_there(data: DataFolder) -> None:
    """Nobody writes an index before its parts; but a file system may lose one."""
    routes = routes_of(data)
    [part] = write_parts(data, "1", a_part(subscription("a")))
    content = part.read_bytes()
    part.unlink()
    assert not routes.refresh()
    part.write_bytes(content[:-1])
    assert not routes.refresh()

    part.write_bytes(content)

    assert routes.changed()
    assert routes.refresh()
    assert routes.healthy
    assert not routes.changed()


def test_endpoints_are_read_from_parts_too(data: DataFolder) -> None:
    """Pods come and go all the time."""
    index = data.root / "routes" / "endpoints.binpb"
    endpoints = EndpointFile(index)
    names = []
    for service in ("notifier", "other"):
        rows = [routing.ServiceEndpoints(namespace="acme", service=service, port=9000, addresses=["10.0.0.1:9000"])]
        content = routing.EndpointTable(format=1, services=rows).SerializeToString()
        file = part_file(index, part_name(content))
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        names.append(routing.Part(name=file.stem))
    replace_file(index, routing.EndpointTable(format=2, parts=names).SerializeToString())

    assert endpoints.refresh()

    assert endpoints.current is not None
    assert endpoints.current.of(NOTIFIER) == ("10.0.0.1:9000",)
