"""Finds the address of the client behind trusted proxies. Pure."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network


class TrustedProxies:
    """The proxies whose word on the client's address is taken."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._unix = "unix" in networks
        self._networks = [ip_network(network) for network in networks if network != "unix"]
        self._trusts: Callable[[str], bool] = lru_cache(maxsize=4096)(self._look_up)

    def trusts(self, address: str) -> bool:
        """Whether *address* ("" for a Unix socket's peer) is a trusted proxy's."""
        if not address:
            return self._unix
        return bool(self._networks) and self._trusts(address)

    def _look_up(self, address: str) -> bool:
        try:
            known = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(known, "ipv4_mapped", None)
        return any((mapped or known) in network for network in self._networks)

    def client(self, peer: str, fields: Sequence[tuple[bytes, bytes]]) -> str:
        """
        The address of who sent the request that *peer* brought.

        Read from the right: each proxy appended whom it saw, so the last address that is not a trusted proxy's own is
        the client's; anything left of it may be invented. What is no address ends the search at the proxy that told it.
        """
        if not self.trusts(peer):
            return peer
        found = peer
        told = b",".join(value for name, value in fields if name == b"x-forwarded-for")
        for entry in reversed(told.decode("latin-1").split(",")):
            address = _bare(entry.strip())
            if address is None:
                break
            found = address
            if not self.trusts(address):
                break
        return found


def _bare(entry: str) -> str | None:
    """*entry* without the port that some proxies add; None if it is no address."""
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        return str(ip_address(entry))
    except ValueError:
        return None
