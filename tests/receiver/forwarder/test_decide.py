"""What ends a delivery, and when the next try is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.carrying.routebook import RetryPolicy
from hookline_receiver.forwarder.breaker import Weight
from hookline_receiver.forwarder.decide import (
    DETAIL_LIMIT,
    HANDLER_BACKOFF_LIMIT,
    SHORTEST_DELAY,
    Accepted,
    Answer,
    CallFailed,
    NoOutcome,
    Postponed,
    Rejected,
    Tried,
    backoff,
    decide,
    expired,
    may_be_an_events_fault,
    too_large,
    weight,
)
from hookline_receiver.store.port import Claimed, Dead, DeadReason, Delivered, RetryAt
from support.forwarder import SECOND, a_claim

NOW = 1_800_000_000 * SECOND
CODES = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]
call_failures = st.builds(CallFailed, st.sampled_from(CODES), st.text(max_size=20), st.booleans())


def tried(claimed: Claimed | None = None, *, failures: int = 0, alone: bool = True, seconds: float = 1) -> Tried:
    """A delivery whose call took *seconds*."""
    return Tried(
        claimed or a_claim(),
        failures=failures,
        alone=alone,
        claimed_at=NOW - int(seconds * SECOND),
        started_at=NOW - int(seconds * SECOND),
        endpoint="127.0.0.1:9",
    )


def test_an_accepted_delivery_is_done() -> None:
    """The handler's word is what the whole chain is for."""
    claim = a_claim(delivery_id=7, fence=3)

    settlement = decide(tried(claim), Accepted(), RetryPolicy(), NOW, 0.5)

    assert (settlement.delivery_id, settlement.fence, settlement.result) == (7, 3, Delivered())
    assert settlement.attempt is not None
    assert (settlement.attempt.code, settlement.attempt.answered) == ("Accepted", True)


def test_a_rejected_delivery_is_dead_with_the_handlers_reason() -> None:
    """Somebody will read the dead letter and must learn why; not more than is kept, though."""
    settlement = decide(tried(), Rejected("x" * 5000), RetryPolicy(), NOW, 0.5)

    assert settlement.result == Dead(DeadReason.REJECTED, "x" * DETAIL_LIMIT)
    assert settlement.attempt is not None
    assert settlement.attempt.detail == "x" * DETAIL_LIMIT


@pytest.mark.parametrize(
    ("asked", "given_back"),
    [
        (3 * SECOND, 3 * SECOND),
        (SECOND // 10, SECOND // 10),
        (SECOND // 10 - 1, SECOND // 10),
        (0, SECOND // 10),
        (-5, SECOND // 10),
        (9999 * SECOND, 600 * SECOND),
    ],
    ids=["honoured", "shortest", "too short", "at once", "nonsense", "bounded"],
)
def test_the_handlers_own_delay_is_honoured_within_bounds(asked: int, given_back: int) -> None:
    """Only the handler knows when it will be able to; but it must neither park an event for ever nor be asked all the time."""
    settlement = decide(tried(), Postponed(asked, "busy"), RetryPolicy(), NOW, 0.9)

    assert settlement.result == RetryAt(NOW + given_back)


def test_a_handler_that_asks_for_no_delay_is_not_asked_without_pause_by_any_route() -> None:
    """A route's own short maxBackoff is for its backoff; the forwarder's time is everybody's."""
    policy = RetryPolicy(initial_backoff=1, max_backoff=1)

    settlement = decide(tried(), Postponed(0, "busy"), policy, NOW, 0.0)

    assert settlement.result == RetryAt(NOW + SHORTEST_DELAY)


def test_answers_are_counted_and_end_at_max_attempts() -> None:
    """`maxAttempts` counts what the handler said, the last answer being the one that ends it."""
    policy = RetryPolicy(max_attempts=3)

    second = decide(tried(a_claim(attempts=1)), Postponed(None, "busy"), policy, NOW, 0.5)
    third = decide(tried(a_claim(attempts=2)), Postponed(None, "busy"), policy, NOW, 0.5)

    assert isinstance(second.result, RetryAt)
    assert third.result == Dead(DeadReason.ATTEMPTS_EXHAUSTED, "busy")


@given(call_failures, st.integers(0, 10_000), st.floats(0, 1, exclude_max=True), st.integers(1, 5), st.booleans())
def test_no_status_of_a_call_ends_a_delivery_that_is_young(
    failure: CallFailed, failures: int, chance: float, max_attempts: int, alone: bool
) -> None:
    """A mesh policy or a half-rolled deploy must not turn a backlog into dead letters."""
    policy = RetryPolicy(max_attempts=max_attempts)
    claim = a_claim(attempts=max_attempts - 1)

    settlement = decide(tried(claim, failures=failures, alone=alone), failure, policy, NOW, chance)

    assert isinstance(settlement.result, RetryAt)
    assert NOW < settlement.result.due_at <= NOW + policy.max_backoff
    assert settlement.attempt is not None
    assert not settlement.attempt.answered
    assert settlement.attempt.code == failure.code


def test_a_delivery_without_outcome_is_tried_again_and_counts_as_no_answer() -> None:
    """The handler did not speak of it: nothing may end for that."""
    settlement = decide(tried(a_claim(attempts=4)), NoOutcome(), RetryPolicy(max_attempts=5), NOW, 0.5)

    assert isinstance(settlement.result, RetryAt)
    assert settlement.attempt is not None
    assert (settlement.attempt.code, settlement.attempt.answered) == ("NoOutcome", False)


@pytest.mark.parametrize(
    "answer",
    [Postponed(None, "busy"), NoOutcome(), CallFailed("UNAVAILABLE", "gone", False)],
    ids=["retry", "none", "status"],
)
def test_age_ends_whatever_would_be_tried_again(answer: Answer) -> None:
    """`maxAge` counts from acceptance, the time of the last call included."""
    policy = RetryPolicy(max_age=100 * SECOND)

    young = decide(tried(a_claim(age=98 * SECOND), seconds=1), answer, policy, NOW, 0.5)
    old = decide(tried(a_claim(age=99 * SECOND), seconds=1), answer, policy, NOW, 0.5)

    assert isinstance(young.result, RetryAt)
    assert isinstance(old.result, Dead)
    assert old.result.reason is DeadReason.EXPIRED


def test_the_handlers_word_goes_before_age() -> None:
    """An answer that came is used, however late."""
    old = tried(a_claim(age=10**18))

    assert decide(old, Accepted(), RetryPolicy(), NOW, 0.5).result == Delivered()


def test_a_delivery_too_old_at_its_claim_is_ended_without_a_call() -> None:
    """Nobody waits for it any more; the message names age and limit."""
    policy = RetryPolicy(max_age=100 * SECOND)

    assert expired(a_claim(age=100 * SECOND - 1), policy) is None
    ended = expired(a_claim(age=100 * SECOND), policy)

    assert ended is not None
    assert ended.attempt is None
    assert isinstance(ended.result, Dead)
    assert ended.result.reason is DeadReason.EXPIRED
    assert "100 s" in ended.result.detail


def test_an_event_too_large_fails_with_size_and_limit() -> None:
    """The person who sees it must be able to tell which limit to change, and by how much."""
    ended = too_large(a_claim(), 5_000_000, 3_670_016)

    assert isinstance(ended.result, Dead)
    assert ended.result.reason is DeadReason.TOO_LARGE
    assert "5000000" in ended.result.detail
    assert "3670016" in ended.result.detail


@given(st.integers(1, 10**10), st.integers(1, 10**13), st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_backoff_is_within_its_bounds_for_all_numbers(first: int, longest: int, tries: int, chance: float) -> None:
    """However often it failed: no overflow, no negative delay, no delay above the limit."""
    delay = backoff(first, longest, tries, chance)

    assert 1_000_000 <= delay <= max(longest, 1_000_000)


def test_backoff_doubles_until_its_limit() -> None:
    """The whole of it is jitter, and the whole doubles."""
    whole = [backoff(SECOND, 10 * SECOND, tries, 0.999999999) / SECOND for tries in range(6)]

    assert [round(one) for one in whole] == [1, 2, 4, 8, 10, 10]


def test_failures_of_a_handler_that_was_not_reached_never_delay_a_delivery_for_long() -> None:
    """The breaker paces such a handler; what was tried while it was down must not wait ten minutes once it is back."""
    failure = CallFailed("UNAVAILABLE", "refused", reached=False)

    settlement = decide(tried(failures=50), failure, RetryPolicy(), NOW, 0.999)

    assert isinstance(settlement.result, RetryAt)
    assert settlement.result.due_at <= NOW + HANDLER_BACKOFF_LIMIT


def test_a_poison_event_that_is_alone_backs_off_to_the_routes_limit() -> None:
    """It may crash its handler each time: the more often it did, the rarer it is tried."""
    failure = CallFailed("INTERNAL", "boom", reached=True)

    settlement = decide(tried(failures=50), failure, RetryPolicy(), NOW, 0.999)

    assert isinstance(settlement.result, RetryAt)
    assert settlement.result.due_at > NOW + 590 * SECOND


def test_a_batch_that_is_being_split_does_not_wait_longer_each_time() -> None:
    """Thirty-one innocent events wait for the one to be found: five rounds at the first delay, not at 1+2+4+8+16."""
    failure = CallFailed("INTERNAL", "boom", reached=True)

    settlement = decide(tried(failures=5, alone=False), failure, RetryPolicy(), NOW, 0.999)

    assert isinstance(settlement.result, RetryAt)
    assert settlement.result.due_at <= NOW + SECOND


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("UNIMPLEMENTED", Weight.MISCONFIGURED),
        ("PERMISSION_DENIED", Weight.MISCONFIGURED),
        ("UNAUTHENTICATED", Weight.MISCONFIGURED),
        ("UNAVAILABLE", Weight.DOWN),
        ("DEADLINE_EXCEEDED", Weight.DOWN),
        ("INTERNAL", Weight.EVENT),
        ("UNKNOWN", Weight.EVENT),
        ("RESOURCE_EXHAUSTED", Weight.EVENT),
        ("INVALID_ARGUMENT", Weight.EVENT),
    ],
)
def test_statuses_weigh_by_whose_fault_they_may_be(code: str, expected: Weight) -> None:
    """A misconfiguration opens the breaker at once, an event's own fault hardly ever."""
    failure = CallFailed(code, "", reached=True)

    assert weight(failure) is expected
    assert may_be_an_events_fault(failure) is (expected is not Weight.MISCONFIGURED)
