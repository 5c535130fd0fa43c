"""Bounds the connections of a worker: in all, and of one client address."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from hookline_receiver.edge.refusal import Refusal

TOO_MANY = Refusal(503, "too_many_connections", "this receiver holds as many connections as it can", retry_after=1)
TOO_MANY_OF_ADDRESS = Refusal(
    503, "too_many_connections_of_address", "too many connections from your address are open", retry_after=1
)


@lru_cache(maxsize=4096)
def source_of(address: str) -> str:
    """What *address* is counted as: itself, or its /64 if it is an IPv6 address, of which one client has billions."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return known.exploded[:19] if isinstance(known, IPv6Address) else address


class Admission:
    """Who is in. Connections through a trusted proxy count for the client while its request lasts."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._by_address: dict[str, int] = {}
        self.open = 0
        """Connections that are in now."""

    def enter(self) -> Refusal | None:
        """Let one more connection in, or say why not. Who was let in must `leave`."""
        if self.open >= self._total:
            return TOO_MANY
        self.open += 1
        return None

    def leave(self) -> None:
        """One connection ended."""
        self.open -= 1

    def claim(self, address: str) -> Refusal | None:
        """Count one more for *address*, or say why not. Who was let in must `release`."""
        held = self._by_address.get(address, 0)
        if held >= self._per_address:
            return TOO_MANY_OF_ADDRESS
        self._by_address[address] = held + 1
        return None

    def release(self, address: str) -> None:
        """Take back one `claim`."""
        held = self._by_address[address] - 1
        if held:
            self._by_address[address] = held
        else:
            del self._by_address[address]
