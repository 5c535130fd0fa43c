"""CEL over JSON payloads, as the CEL specification has it."""

import time
from typing import Any

import pytest

from hookline_routes.expression import EvaluationFailed, Expression, InvalidExpression, compile_expression
from hookline_routes.payload import MAX_BYTES, decode_payload

PAYLOAD: dict[str, Any] = {
    "trigger": "message_sent",
    "int": 1,
    "big": 9007199254740993,
    "half": 1.5,
    "one": 1.0,
    "nothing": None,
    "yes": True,
    "list": [1, 2, 3],
    "object": {"a": "x", "in": 1, "a-b": 2},
    "text": "héllo😀",
    "time": 1696932000,
    "groups": [{"roles": ["guest"]}, {"roles": ["admin"]}],
    "users": {"u1": {"uid": "u1", "roles": ["admin"]}},
    "private": "do-not-show",
}

TRUE = """
event.int == 1
event.int == 1.0
event.one == 1
event.one < 2
event.int < 1.5
event.int == 1u
event.big == 9007199254740993
event.big != 9007199254740992
event.nothing == null
event.nothing != 1
has(event.nothing)
!has(event.missing)
!(has(event.missing) && event.missing.x == 1)
event.missing == 1 || true
!(event.missing == 1 && false)
size(event.text) == 6
event.text.startsWith('hé')
event.text.endsWith('😀')
event.text.contains('llo')
event.text.matches('^h.*o.$')
event.text.matches('(?i)HÉLLO')
event.object['a-b'] == 2
'a' in event.object
2 in event.list
2.0 in event.list
event.list.exists(x, x > 2)
event.list.all(x, x > 0)
event.list.exists_one(x, x == 2)
event.users.exists(uid, event.users[uid].uid == uid)
event.groups.exists(group, group.roles.exists(role, role == 'admin'))
timestamp(event.time) > timestamp('2023-01-01T00:00:00Z')
timestamp(event.time).getFullYear('Europe/Berlin') == 2023
duration('1h') > duration('59m')
event.yes ? true : false
int('12') == 12 && string(event.int) == '1' && double(event.int) == 1.0
type(event.int) == int && type(event.half) == double
event.text != 1
event.object == {'a': 'x', 'in': 1, 'a-b': 2}
event.trigger in ['message_sent', 'message_edited']
['llo', 'xyz'].exists(word, event.text.contains(word))
event.list[0] + event.list[1] == event.list[2]
""".strip().splitlines()

FAILING = {
    "event.missing == 1": 'the payload has no field "missing"',
    "event.missing.x.y == 1": 'the payload has no field "missing"',
    "event.object[event.private] == 1": "the payload has no such field",
    "event.list[5] == 1": "a list of the payload has no such element",
    "event.nothing < 1": "No matching overloads found : _<_(null_type, int64)",
    "event.text < 1": "No matching overloads found : _<_(string, int64)",
    "event.text.x == 1": "a field is read of a value that is not an object",
    "event.text ? true : false": "a condition is not true or false",
    "event.int / 0 == 1": "divide by zero",
    "9223372036854775807 + event.int > 0": "integer overflow",
    "timestamp(event.text) > timestamp(0)": "String to Timestamp conversion failed",
    "event.trigger": "the expression gives string, not true or false",
    "event.nothing": "the expression gives null, not true or false",
    "event.missing": 'the payload has no field "missing"',
}

INVALID = {
    "1 +": "1:4: Syntax error",
    "foo == 1": "1:1: undeclared reference to 'foo'",
    "event.a ==\n  bar": "2:3: undeclared reference to 'bar'",
    "event.a.unknown()": "1:16: undeclared reference to 'unknown'",
    "'x' + 1 == 'x'": "1:5: found no matching overload",
    "1": "must be true or false, but is of type int",
    "'text'": "must be true or false, but is of type string",
    "event.a.matches('(')": "invalid regular expression: missing ): (",
    "\x00": "1:1: Syntax error",
    "event.\ud800": "must be text that UTF-8 can hold",
    "true || " * 300 + "true": "must be at most 2048 characters, got 2404",
    "(" * 300 + "true" + ")" * 300: "recursion limit exceeded. limit: 32",
    "event" + ".a" * 300: "recursion depth of 32",
}


def answer_of(expression: Expression, payload: object) -> bool | str:
    """Whether it holds, or why there is no answer."""
    try:
        return expression.holds(payload)
    except EvaluationFailed as error:
        return str(error)


@pytest.mark.parametrize("text", TRUE)
def test_what_the_specification_calls_true_is_true(text: str) -> None:
    """Expressions mean here what they mean in Kubernetes."""
    assert compile_expression(text).holds(PAYLOAD) is True


@pytest.mark.parametrize(("text", "reason"), FAILING.items(), ids=FAILING)
def test_an_expression_without_an_answer_says_why(text: str, reason: str) -> None:
    """A person who looks for a missing event needs the field's name, and the log must not show a payload."""
    with pytest.raises(EvaluationFailed) as caught:
        compile_expression(text).holds(PAYLOAD)

    assert str(caught.value) == reason
    assert "do-not-show" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), INVALID.items(), ids=range(len(INVALID)))
def test_a_wrong_expression_is_refused_when_it_compiles_with_line_and_column(text: str, message: str) -> None:
    """Better when it is applied than when the event comes."""
    with pytest.raises(InvalidExpression) as caught:
        compile_expression(text)

    assert message in str(caught.value)


COSTLY = {
    "event.a.contains(event.b)": "contains() needs a constant text",
    "event.a.matches(event.b)": "matches() needs a constant pattern",
    "event.a.matches('a' + 'b')": "matches() needs a constant pattern",
    "event.list.map(x, x)[0] == 1": "map and filter over the payload",
    "event.list.filter(x, x > 1).size() > 0": "map and filter over the payload",
    "event.list.exists(x, event.text.contains('x'))": "contains() in a loop over the payload",
    "event.list.exists(x, x in event.other)": "`in` in a loop over the payload",
    "event.list.exists(x, event.a == event.b)": "a comparison in a loop over the payload",
    "event.list.exists(x, event.list.exists(y, y == x))": "a loop within a loop",
    "event.groups.exists(g, g.members.exists(m, size(g.name) > 1))": "size() in a loop over the payload",
    "[1, 2].exists(n, event.list.exists(x, event.other.exists(y, y == x)))": "a loop within a loop",
    "event.a.matches('(a|b)*a(a|b){500}c')": "a pattern must be at most 256 characters",
    "event.a.matches('((a{10}){10}){10}')": "a pattern must be at most 256 characters",
    f"[{','.join(['1'] * 50)}].exists(n, event.a.matches('a.{{9}}b'))": "more than 2000 times",
    f"[{','.join(['1'] * 300)}].exists(a, [{','.join(['1'] * 300)}].exists(b, event.a == event.b))": "more than 2000",
    f"{[8] * 50}.map(a, {[8] * 50}.map(b, {[8] * 50}.map(c, c)))[0] == []": "its constants grow",
    "event.users.exists(uid, event.users[uid].roles.exists(role, role == 'admin'))": "a loop within a loop",
}


@pytest.mark.parametrize(("text", "message"), COSTLY.items(), ids=range(len(COSTLY)))
def test_what_could_run_away_is_refused_when_it_compiles(text: str, message: str) -> None:
    """One process matches the routes of all tenants: nobody's expression may hold up the others' events."""
    with pytest.raises(InvalidExpression, match="could take too long") as caught:
        compile_expression(text)

    assert message in str(caught.value)


HOSTILE = {
    "pattern": ("event.s.matches('(a|b)*a(a|b){9}c')", {"s": "ab" * (MAX_BYTES // 2 - 16)}),
    "needle": ("event.s.contains('" + "a" * 999 + "b')", {"s": "a" * (MAX_BYTES - 32)}),
    "loop": ("event.l.all(x, x < 2)", {"l": [1] * 9_000}),
    "too-many-rounds": ("event.l.all(x, x < 2)", {"l": [1] * 200_000}),
    "literal-loops": (
        "[1,2,3,4,5,6,7,8,9].map(a, [1,2,3,4,5,6,7,8,9].map(b, [1,2,3,4,5,6,7,8,9].map(c, a))) != []",
        {},
    ),
    "equality": ("event.a == event.b && event.b == event.a", {"a": [1] * 60_000, "b": [1] * 60_000}),
}


@pytest.mark.parametrize(("text", "payload"), HOSTILE.values(), ids=HOSTILE)
def test_the_worst_that_is_let_through_ends_soon(text: str, payload: object) -> None:
    """The limits are worth what the slowest expression within them takes; ten times the measured time on a busy machine."""
    expression = compile_expression(text)
    started = time.process_time()

    answer = answer_of(expression, payload)

    assert answer in (True, False, "Iteration budget exceeded")
    assert time.process_time() - started < 5


def test_an_expression_sees_integers_as_integers() -> None:
    """Ids beyond 2^53 would be equal to their neighbours as doubles."""
    payload = decode_payload(b'{"id": 9007199254740993, "huge": 123456789012345678901234567890}')

    assert compile_expression("event.id == 9007199254740993").holds(payload)
    assert not compile_expression("event.id == 9007199254740992").holds(payload)
    assert compile_expression("event.huge > 1.0e29").holds(payload)
