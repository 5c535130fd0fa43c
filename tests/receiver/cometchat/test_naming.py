"""Whether a payload names a user."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.cometchat.naming import names_user


@pytest.mark.parametrize(
    "body",
    [
        b'{"sender":"alice"}',
        b'{"data":{"message":{"entities":{"sender":{"entity":{"uid":"alice"}}}}}}',
        b'{"data":{"mentions":{"alice":{"name":"A"}}}}',
        b'{"members":["bob","alice"]}',
        b'{"conversationId":"alice_user_bob"}',
        b'{"conversationId":"bob_user_alice"}',
        b'{"text":"hi <@uid:alice>!"}',
        b'{"sender":"\\u0061lice"}',
        b'{"sender":"alice","sender":"bob"}',
        b"not json, alice",
        b'{"deep":' + b"[" * 5000 + b'"alice"' + b"]" * 5000 + b"}",
    ],
    ids=["value", "deep", "key", "list", "first", "second", "mention", "escaped", "twice", "no-json", "too-deep"],
)
def test_a_user_is_found_wherever_the_uid_stands_alone(body: bytes) -> None:
    """What is not found is not erased."""
    assert names_user(body, "alice")


@pytest.mark.parametrize(
    "body",
    [
        b'{"sender":"bob"}',
        b'{"sender":"alice2"}',
        b'{"sender":"malice"}',
        b'{"text":"alice said"}',
        b'{"avatar":"https://cdn.example/alice.png"}',
        b'{"sender":"ALICE"}',
        b'{"conversationId":"alice2_user_bob"}',
        b"",
    ],
    ids=["other", "longer", "part", "text", "url", "case", "conversation", "empty"],
)
def test_others_are_not_taken_for_the_user(body: bytes) -> None:
    """What is erased wrongly is lost."""
    assert not names_user(body, "alice")


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_every_string_of_a_payload_is_looked_at(payload: object) -> None:
    """However it is written: with escapes or without."""
    texts = _texts(payload)
    for ascii_only in (True, False):
        body = json.dumps(payload, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        assert all(names_user(body, text) for text in texts)


def _texts(payload: object) -> list[str]:
    if isinstance(payload, dict):
        return [*payload, *(text for value in payload.values() for text in _texts(value))]
    if isinstance(payload, list):
        return [text for value in payload for text in _texts(value)]
    return [payload] if isinstance(payload, str) else []
