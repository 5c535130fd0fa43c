"""What is counted of deliveries under way, and that nothing is left of it when they have ended."""

from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.forwarder.lane import Capacity, Lanes, Planned
from support.forwarder import a_book, a_claim, a_route, a_subscription, an_event

BOOK = a_book(a_subscription(a_route("a", max_in_flight=64), a_route("b", max_in_flight=64)))
PLANS = list(BOOK.routes.values())


def test_a_delivery_weighs_its_body_and_its_message_twice() -> None:
    """A typed message may be several times its body: the limit is one of memory, and is to be one."""
    lanes = Lanes(Capacity())
    lane = lanes.of(PLANS[0])
    claimed = a_claim(an_event(b"x" * 1000))

    lanes.claimed(lane, [claimed])
    before = lanes.bytes
    lanes.built(lane, claimed, 5000)
    after = lanes.bytes
    lanes.let_go(lane, [claimed], 5000)

    assert (before, after, lanes.bytes, lane.bytes) == (3000, 11_000, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3000), st.none() | st.integers(1, 9000)), max_size=20))
def test_whatever_ends_leaves_nothing_behind(deliveries: list[tuple[int, int, int | None]]) -> None:
    """A byte that stays counted is capacity lost until the next start; None: the message could not be built."""
    lanes = Lanes(Capacity())
    under_way = []
    for route, size, message in deliveries:
        lane, claimed = lanes.of(PLANS[route]), a_claim(an_event(b"x" * size or b"{}"))
        lanes.claimed(lane, [claimed])
        if message is not None:
            lanes.built(lane, claimed, message)
        under_way.append((lane, claimed, message))

    for lane, claimed, message in under_way:
        lanes.let_go(lane, [claimed], message)

    assert lanes.bytes == 0
    assert all(lanes.of(plan).bytes == lanes.of(plan).deliveries == 0 for plan in PLANS)


def test_what_may_be_claimed_has_room_for_the_messages_too() -> None:
    """A claim's messages are built after it: what they will come to is kept free, going by those of late."""
    lanes = Lanes(Capacity(bytes=120_000))
    lane = lanes.of(PLANS[0])
    plain = lanes.room(lane, 1 << 20, Planned(), suspect=False)

    claimed = a_claim(an_event(b"x" * 100_000))
    for _ in range(300):
        lanes.claimed(lane, [claimed])
        lanes.built(lane, claimed, 400_000)
        lanes.let_go(lane, [claimed], 400_000)
    lane.forming.clear()
    typed = lanes.room(lane, 1 << 20, Planned(), suspect=False)

    assert (plain.bytes, plain.weight) == (10_000, 30_000)
    assert 3_333 <= typed.bytes < 3_400
    assert 29_980 <= typed.weight <= 30_000
