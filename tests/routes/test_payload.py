"""A payload is decoded once, into what the evaluator can bear."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_routes.expression import EvaluationFailed, compile_expression
from hookline_routes.payload import MAX_BYTES, MAX_DEPTH, Payload, PayloadUnreadable, decode_payload


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b'{"a": NaN}', "is not JSON"),
        (b'{"a": -Infinity}', "is not JSON"),
        (b"[" * 100_000, "nested deeper than 64"),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested deeper than 64"),
        (b'"' + b"a" * MAX_BYTES + b'"', f"{MAX_BYTES + 2} of {MAX_BYTES} bytes"),
    ],
    ids=["empty", "cut", "not-utf-8", "nan", "infinity", "deep-and-cut", "deep", "deep-objects", "large"],
)
def test_what_an_expression_can_not_be_given_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    """The evaluator recurses in C++: too deep would end the process."""
    with pytest.raises(PayloadUnreadable, match=reason):
        decode_payload(body)


def test_the_deepest_payload_that_is_let_through_is_evaluated() -> None:
    """The limit must be one that the evaluator bears."""
    body = b'{"a":' * (MAX_DEPTH - 1) + b"1" + b"}" * (MAX_DEPTH - 1)

    assert compile_expression("event == event").holds(decode_payload(body))


def test_brackets_within_texts_are_no_nesting() -> None:
    """A message may be full of them."""
    body = json.dumps({"text": "[{" * 500}).encode()

    assert decode_payload(body) == {"text": "[{" * 500}


def test_lone_surrogates_become_replacement_characters() -> None:
    """JSON can write what UTF-8 can't; the evaluator would refuse the whole payload for one broken emoji."""
    payload = decode_payload(rb'{"a": "x\ud83d", "b": "\ud83d\ude00", "\udc00": [1]}')

    assert payload == {"a": "x�", "b": "😀", "�": [1]}
    assert compile_expression("event.a == 'x�' && event.b == '😀'").holds(payload)


def test_a_payload_is_decoded_once_and_only_when_asked() -> None:
    """All routes of an event share it, and most events are routed without it."""
    payload = Payload(b'{"a": 1}')

    assert payload() is payload()


def test_a_broken_payload_is_broken_for_every_route() -> None:
    """The second route must not be told something else than the first."""
    payload = Payload(b"{")

    for _ in range(2):
        with pytest.raises(PayloadUnreadable, match="is not JSON"):
            payload()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(), children, max_size=5),
    max_leaves=30,
)


@given(JSON | st.text().map(lambda text: {"a": text}))
def test_any_json_can_be_evaluated(value: object) -> None:
    """Payloads are hostile: whatever they hold, there is an answer or a reason."""
    payload = decode_payload(json.dumps(value).encode())

    for text in ("event == event", "event.a == 1 || event.a == 'x'", "has(event.a) && event.a.exists(x, x == 1)"):
        with suppress(EvaluationFailed):
            assert compile_expression(text).holds(payload) in (True, False)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    """Bodies are what strangers with a password send."""
    with suppress(PayloadUnreadable):
        decode_payload(body)
