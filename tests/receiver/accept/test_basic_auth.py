"""Reading the Authorization header."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.auth.basic_auth import MAX_HEADER_BYTES, credential


def token(shown: bytes) -> bytes:
    return base64.b64encode(shown)


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (b"Basic " + token(b"u:p"), b"u:p"),
        (b"basic " + token(b"u:p"), b"u:p"),
        (b"BASIC   " + token(b"u:p") + b"  ", b"u:p"),
        (b"Basic " + token(b"ab:p").rstrip(b"="), b"ab:p"),
        (b"Basic " + token(b"u:p:q"), b"u:p:q"),
        (b"Basic " + token(b":"), b":"),
        (b"Basic " + token("ü:é".encode()), "ü:é".encode()),
        (b"Basic " + token("ü:é".encode("latin-1")), "ü:é".encode()),
    ],
    ids=["plain", "lower case", "upper case, spaces", "no padding", "colon in password", "empty", "UTF-8", "Latin-1"],
)
def test_senders_may_differ_in_form(header: bytes, shown: bytes) -> None:
    """To refuse a right password for its form would be an avoidable refusal."""
    assert credential(header) == shown


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Basic",
        b"Basic ",
        token(b"u:p"),
        b"Bearer " + token(b"u:p"),
        b"Basic!" + token(b"u:p"),
        b"Basic " + token(b"nocolon"),
        b"Basic dTpw dTpw",
        b"Basic dTp$",
        b"Basic dTpw====",
        b"Basic =dTpw",
        b"Basic dTpw,Basic dTpw",
        b"Basic d",
        b"Basic " + token(b"u:" + b"p" * MAX_HEADER_BYTES),
    ],
    ids=[
        "none", "empty", "scheme only", "no token", "no scheme", "bearer", "other scheme", "no colon", "two tokens", "alphabet",
        "padding", "leading padding", "twice", "one character", "long",
    ],
)  # fmt: skip
def test_what_shows_no_credential(header: bytes | None) -> None:
    """Nothing is guessed."""
    assert credential(header) is None


@given(st.text(max_size=50).filter(lambda name: ":" not in name), st.text(max_size=100))
def test_every_credential_can_be_shown(username: str, password: str) -> None:
    """What RFC 7617 encodes comes out as it went in."""
    shown = f"{username}:{password}".encode()

    assert credential(b"Basic " + token(shown)) == shown


@given(st.binary(max_size=200))
def test_no_header_makes_it_raise(header: bytes) -> None:
    """It is the first thing that a stranger may choose freely."""
    shown = credential(header)

    assert shown is None or b":" in shown
