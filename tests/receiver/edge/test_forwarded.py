"""Whose address a request comes from, and how addresses are counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_receiver.edge.admission import Admission, source_of
from hookline_receiver.edge.forwarded import TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::/8", "unix"])


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["1.2.3.4, 10.0.0.2, 10.0.0.3"], "1.2.3.4"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["1.2.3.4:5678"], "1.2.3.4"),
        ("10.0.0.1", ["[2001:db8::1]:5678"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["1.2.3.4, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("fd00::1", ["1.2.3.4"], "1.2.3.4"),
        ("", ["1.2.3.4"], "1.2.3.4"),
        ("", [], ""),
        ("1.1.1.1", ["1.2.3.4"], "1.1.1.1"),
        ("2001:db8::9", ["1.2.3.4"], "2001:db8::9"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(peer: str, told: list[str], client: str) -> None:
    """What stands left of it may be invented."""
    fields = [(b"host", b"x"), *((b"x-forwarded-for", value.encode()) for value in told)]

    assert PROXIES.client(peer, fields) == client


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_nothing_that_is_forwarded_makes_it_fail(told: list[bytes]) -> None:
    """Anyone can write the header."""
    assert PROXIES.client("10.0.0.1", [(b"x-forwarded-for", value) for value in told])


def test_nobody_is_trusted_unless_named() -> None:
    """Off by default."""
    assert TrustedProxies([]).client("127.0.0.1", [(b"x-forwarded-for", b"1.2.3.4")]) == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"),
        ("2001:db8:1:2::", "2001:0db8:0001:0002"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("odd", "odd"),
    ],
)
def test_an_ipv6_client_is_counted_by_its_network(address: str, source: str) -> None:
    """It has 2^64 addresses, each of which would have a limit of its own."""
    assert source_of(address) == source


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_places_are_given_back_exactly(steps: list[tuple[str, bool]]) -> None:
    """One that leaks shuts its client out for ever."""
    admission, held = Admission(total=100, per_address=2), dict.fromkeys("abc", 0)
    for address, comes in steps:
        if comes:
            refused = admission.claim(address) is not None
            assert refused == (held[address] == 2)
            held[address] += not refused
        elif held[address]:
            admission.release(address)
            held[address] -= 1

    for address, count in held.items():
        assert (admission.claim(address) is not None) == (count == 2)
