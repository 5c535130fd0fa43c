"""What an expression is charged is what it may take: measured where the two came apart."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_routes.cost import MAX_PASSES_TOGETHER, excesses
from hookline_routes.expression import InvalidExpression, compile_expression, complaints_about
from hookline_routes.payload import MAX_BYTES

TEN = "[1,2,3,4,5,6,7,8,9,10]"
NUMBERS = {"a": [0] * (MAX_BYTES // 6), "b": [0] * (MAX_BYTES // 6 - 1) + [1]}
"""Two lists that differ in the last of as many elements as a payload can have."""

DEAR = ["event.a != event.b", "!([7] in event.a)", "size(event.a + event.b) > 0"]


@pytest.mark.parametrize("step", DEAR)
def test_going_over_lists_a_thousand_times_is_refused(step: str) -> None:
    """Each took 7 to 10 ms over the largest payload: one event of one tenant held up everybody's for many seconds."""
    text = f"{TEN}.all(i, {TEN}.all(j, {TEN}.all(k, {step})))"

    with pytest.raises(InvalidExpression, match="more than 2000 times"):
        compile_expression(text)


@pytest.mark.parametrize("step", DEAR)
def test_what_is_let_through_of_it_ends_soon(step: str) -> None:
    """The limit is worth what the slowest expression within it takes; several times the measured one, on a busy machine."""
    rounds = "[1,2,3,4]" if "+" in step else "[1,2,3,4,5,6,7,8,9]"
    expression = compile_expression(f"{TEN}.all(i, {rounds}.all(j, {step}))")
    started = time.process_time()

    assert expression.holds(NUMBERS)

    assert time.process_time() - started < 5


def both(leaf: str, count: int) -> str:
    """*leaf* so many times, all of which must hold; balanced, since trees may be 32 deep only."""
    return leaf if count == 1 else f"({both(leaf, count // 2)}&&{both(leaf, count - count // 2)})"


LOOPS = {
    "numbers": ("event.a.all(x, {})", "x<2", 250),
    "literals": ("event.a.all(x, {})", "[1,2,3,4,5]!=[]", 100),
    "members": ("event.a.all(x, {})", "x in [1,2,3,4]", 110),
    "literal-loop": (f"{TEN}.all(i, {TEN}.all(j, {TEN}.all(k, {{}})))", "[1,2,3,4,5]!=[]", 80),
}


@pytest.mark.parametrize(("loop", "leaf", "count"), LOOPS.values(), ids=LOOPS)
def test_what_loops_do_is_charged_for_what_it_takes(loop: str, leaf: str, count: int) -> None:
    """Ten thousand rounds of a long body took half a second and counted for nothing; a pass is half a millisecond."""
    expression = compile_expression(loop.format(both(leaf, count)))
    numbers = {"a": [1] * 9_000}
    started = time.process_time()

    assert expression.holds(numbers)

    assert time.process_time() - started < 0.01 + 5 * expression.passes * 0.0005


ORDINARY = [
    "event.data.message.type == 'text'",
    "event.data.message.type == 'text' && event.data.message.receiver == 'support' && size(event.data.message.data.text) > 3",
    "has(event.data.message.parentId) || event.data.message.sender.startsWith('bot-')",
    "event.data.message.data.text.contains('help') || event.data.message.data.text.contains('refund')",
    "event.data.message.tags.exists(tag, tag == 'urgent')",
    "event.data.message.data.mentions.exists(user, user.uid == 'support' && user.role == 'agent')",
    "'pinned' in event.data.message.metadata",
    "event.data.message.data.text.matches('(?i)^(help|refund)')",
]


def test_thirty_two_routes_with_ordinary_expressions_stay_well_below_the_limit() -> None:
    """The limit is for the hostile; nobody else should ever hear of it."""
    texts = [ORDINARY[number % len(ORDINARY)] for number in range(32)]

    assert complaints_about(texts) == [""] * 32
    assert sum(compile_expression(text).passes for text in texts) < MAX_PASSES_TOGETHER / 2


def test_the_dearest_expressions_of_thirty_two_routes_are_not_all_taken() -> None:
    """One event of one tenant held up everybody's for 32 seconds."""
    dear = "event.s.matches('" + "[ab]" * 60 + "c')"

    complaints = complaints_about(["event.a == 1", *[dear] * 29, "event.b ==", "event.c == 1"])

    assert complaints[:5] == [""] * 5
    assert complaints[5].startswith("the expressions of one subscription may go over the payload 4000 times together, ")
    assert complaints[5].endswith("those of the routes before this one do so 3856 times and this one 964 times")
    assert set(complaints[5:-2]) == {complaints[5]}
    assert "Syntax error" in complaints[-2]
    assert complaints[-1] == ""


@given(st.lists(st.floats(0, 2 * MAX_PASSES_TOGETHER), max_size=32))
def test_what_is_taken_never_costs_more_than_the_limit_and_nothing_is_refused_without_need(passes: list[float]) -> None:
    """Whatever routes a subscription has, and in whatever order."""
    refused = excesses(passes)

    taken = [each if not why else 0 for each, why in zip(passes, refused, strict=True)]
    assert sum(taken) <= MAX_PASSES_TOGETHER
    for place, why in enumerate(refused):
        assert not why or sum(taken[:place]) + passes[place] > MAX_PASSES_TOGETHER
