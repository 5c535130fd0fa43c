"""Durations and quantities are read exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_routes.units import format_duration, format_quantity, parse_duration, parse_quantity

MILLISECOND = 1_000_000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("10s", 10_000 * MILLISECOND),
        ("20ms", 20 * MILLISECOND),
        ("1h30m", 5_400_000 * MILLISECOND),
        ("0s", 0),
        ("1h1m1s1ms", 3_661_001 * MILLISECOND),
    ],
)
def test_a_duration_is_read_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    """A time-out of 20 ms that became 20 minutes would be found in production."""
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "10", "10 s", "s", "-1s", "1.5h", "1d", "10S", "1h 30m", "123456s", "1s1s1s1s1s", "\u0661s", "10s\n"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The API server's schema refuses these too."""
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2Mi", 2 << 20),
        ("10Gi", 10 << 30),
        ("1.5Gi", 3 << 29),
        ("512", 512),
        ("10G", 10**10),
        ("1e6", 10**6),
        ("1E3", 1000),
        ("1E", 10**18),
        ("0.5k", 500),
        ("900000000000000001", 900_000_000_000_000_001),
    ],
)
def test_a_quantity_is_read_to_the_byte(text: str, value: int) -> None:
    """Floats would lose the last bytes of large ones."""
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text", ["", "Mi", "2Mb", "2 Mi", "-1", "0.5", "1.0000000001Ki", "1e", "1e999", "0x10", "\u0663"]
)
def test_what_is_no_whole_quantity_is_refused(text: str) -> None:
    """Half a byte is a mistake, not a size."""
    assert parse_quantity(text) is None


@given(st.integers(min_value=0, max_value=359_996_400_000).map(lambda milliseconds: milliseconds * MILLISECOND))
def test_a_duration_that_is_shown_reads_as_itself(nanoseconds: int) -> None:
    """Messages show limits in the form that one may write."""
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@given(st.integers(min_value=0, max_value=10**17))
def test_a_quantity_that_is_shown_reads_as_itself(value: int) -> None:
    """Messages show limits in the form that one may write."""
    assert parse_quantity(format_quantity(value)) == value
