"""The circuit breaker."""

from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.forwarder.breaker import (
    Breaker,
    BreakerPolicy,
    BreakerState,
    Failure,
    Permission,
    Weight,
    failed,
    probe_unsent,
    probing,
    reachable,
    succeeded,
)
from support.forwarder import SECOND

POLICY = BreakerPolicy(first_open=SECOND, longest_open=30 * SECOND)
DOWN = Failure(Weight.DOWN, "UNAVAILABLE: refused", probe=False)
PROBE = Failure(Weight.DOWN, "UNAVAILABLE: refused", probe=True)


def after(*failures: Failure, now: int = 0, chance: float = 0.999) -> Breaker:
    """The breaker after these."""
    breaker = Breaker()
    for failure in failures:
        breaker = failed(breaker, failure, POLICY, now, chance)
    return breaker


def test_a_misconfiguration_opens_at_once() -> None:
    """Every further event would fail the same way, until a person acts."""
    assert after(Failure(Weight.MISCONFIGURED, "UNIMPLEMENTED", probe=False)).state is BreakerState.OPEN


def test_a_handler_that_is_down_is_left_alone_after_three_failures() -> None:
    """One lost connection is a restart of one pod; three in a row are not."""
    assert after(DOWN, DOWN).permits(0) is Permission.ALL
    assert after(DOWN, DOWN, DOWN).permits(0) is Permission.NOTHING


def test_failures_that_may_be_an_events_own_need_ten_in_a_row() -> None:
    """A poison event must not close the road for the events behind it."""
    poison = Failure(Weight.EVENT, "INTERNAL", probe=False)

    assert after(*[poison] * 9).permits(0) is Permission.ALL
    assert after(*[poison] * 10).permits(0) is Permission.NOTHING


def test_an_answer_forgets_all_failures() -> None:
    """Failures count only in a row."""
    assert succeeded() == Breaker()


def test_when_its_time_is_over_one_probe_goes_and_nothing_beside_it() -> None:
    """A handler that comes back must not be met by its whole backlog at once."""
    breaker = after(DOWN, DOWN, DOWN)

    assert breaker.permits(breaker.open_until - 1) is Permission.NOTHING
    assert breaker.permits(breaker.open_until) is Permission.PROBE
    assert probing(breaker).permits(breaker.open_until) is Permission.NOTHING


def test_a_probe_that_fails_doubles_the_time_up_to_the_limit() -> None:
    """A handler that is down for a night is asked every half minute, not every second."""
    breaker, times = after(DOWN, DOWN, DOWN), []
    for _ in range(8):
        now = breaker.open_until
        breaker = failed(probing(breaker), PROBE, POLICY, now, 0.999999)
        times.append(round((breaker.open_until - now) / SECOND))

    assert times == [2, 4, 8, 16, 30, 30, 30, 30]


def test_calls_that_were_under_way_when_it_opened_change_nothing() -> None:
    """Sixty-four calls in flight fail together: that is one opening, not sixty-four doublings."""
    breaker = after(DOWN, DOWN, DOWN)

    assert failed(breaker, DOWN, POLICY, 5, 0.5) == breaker


def test_an_endpoint_that_comes_up_is_probed_at_once() -> None:
    """Whoever restarts a handler should not have to wait for a timer."""
    breaker = after(DOWN, DOWN, DOWN)

    assert reachable(breaker, 7).permits(7) is Permission.PROBE
    assert reachable(Breaker(), 7) == Breaker()


def test_a_probe_that_found_nothing_to_send_leaves_the_next_event_to_be_the_probe() -> None:
    """Half open with nothing under way would be shut for ever."""
    breaker = probing(after(DOWN, DOWN, DOWN))

    assert probe_unsent(breaker, 9).permits(9) is Permission.PROBE


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Weight)), st.booleans(), st.integers(0, 10**11), st.floats(0, 1, exclude_max=True)
        ),
        max_size=60,
    )
)
def test_it_is_never_open_for_longer_than_the_limit(steps: list[tuple[Weight, bool, int, float]]) -> None:
    """Whatever happens, a handler that is back is found within the limit."""
    breaker, now = Breaker(), 0
    for weight, probe, elapsed, chance in steps:
        now += elapsed
        if probe and breaker.permits(now) is Permission.PROBE:
            breaker = probing(breaker)
        breaker = failed(
            breaker, Failure(weight, "x", probe=breaker.state is BreakerState.HALF_OPEN), POLICY, now, chance
        )

        assert breaker.open_until <= now + POLICY.longest_open
        assert breaker.state is not BreakerState.HALF_OPEN
