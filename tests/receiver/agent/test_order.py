"""What may be served next: the order of additions and removals, for any way that things may go."""

from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.agent.order import ForwarderShard, ReceiverShard, held_back, leaving

uids = st.frozensets(st.sampled_from("abcde"))


@given(uids, uids, uids)
def test_the_receiver_gets_nothing_new_that_the_forwarder_does_not_serve(
    target: frozenset[str], in_force: frozenset[str], forwarder: frozenset[str]
) -> None:
    """And loses nothing, and keeps nothing that is gone from the target."""
    held = held_back(ReceiverShard(target, in_force), forwarder)
    given_ = target - held

    assert given_ - in_force <= forwarder
    assert target & in_force <= given_
    assert given_ <= target
    assert held_back(ReceiverShard(target, in_force), None) == frozenset()


@given(uids, uids, st.lists(uids, max_size=3))
def test_the_forwarder_keeps_what_a_receiver_may_still_take(
    target: frozenset[str], in_force: frozenset[str], receivers: list[frozenset[str]]
) -> None:
    """And nothing else that is gone."""
    kept = target | leaving(ForwarderShard(target, in_force), receivers)

    assert target <= kept
    assert all(in_force & each <= kept for each in receivers)
    assert kept - target <= frozenset().union(*receivers) & in_force
    assert leaving(ForwarderShard(target, in_force), None) == in_force - target


@given(st.lists(uids, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_no_event_finds_the_forwarder_without_its_routes(targets: list[frozenset[str]], chance: object) -> None:
    """Whenever programs swap: what a receiver serves is always in the forwarder's file, and it all ends at the target."""
    import random

    assert isinstance(chance, random.Random)
    receiver_file = receiver_serves = forwarder_file = forwarder_serves = frozenset[str]()
    for target in targets:
        for _ in range(chance.randint(1, 5)):
            forwarder_file, receiver_file = _step(
                target, forwarder_file, forwarder_serves, receiver_file, receiver_serves
            )
            if chance.random() < 0.5:
                forwarder_serves = forwarder_file
            if chance.random() < 0.5:
                receiver_serves = receiver_file
            assert receiver_serves <= forwarder_file
            assert receiver_serves <= forwarder_serves
    for _ in range(4):
        forwarder_file, receiver_file = _step(
            targets[-1], forwarder_file, forwarder_serves, receiver_file, receiver_serves
        )
        forwarder_serves, receiver_serves = forwarder_file, receiver_file
    assert receiver_serves == forwarder_serves == targets[-1]


def _step(
    target: frozenset[str],
    forwarder_file: frozenset[str],
    forwarder_serves: frozenset[str],
    receiver_file: frozenset[str],
    receiver_serves: frozenset[str],
) -> tuple[frozenset[str], frozenset[str]]:
    forwarder = target | leaving(ForwarderShard(target, forwarder_file), [receiver_file, receiver_serves])
    receiver = target - held_back(ReceiverShard(target, receiver_file), forwarder_serves)
    return forwarder, receiver
