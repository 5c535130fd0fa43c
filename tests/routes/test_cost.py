"""What an expression is charged is what it may take: measured where the two came apart."""

import time

import pytest

from hookline_routes.expression import InvalidExpression, compile_expression
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
    rounds = "[1,2,3,4]" if "+" in step else TEN
    expression = compile_expression(f"{TEN}.all(i, {rounds}.all(j, {step}))")
    started = time.process_time()

    assert expression.holds(NUMBERS)

    assert time.process_time() - started < 5
