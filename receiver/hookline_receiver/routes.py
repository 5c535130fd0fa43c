"""
The endpoints that webhooks are accepted at, as a snapshot tells them. Pure: bytes in, a table out.

A snapshot holds its endpoints itself, or names parts that do (`parts`): `Routes` is made of any number of `RoutePart`s.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from google.protobuf.message import DecodeError

from hookline.routing.v1.snapshot_pb2 import Endpoint as EndpointMessage
from hookline.routing.v1.snapshot_pb2 import RateLimit as RateLimitMessage
from hookline.routing.v1.snapshot_pb2 import ReceiverSnapshot
from hookline_receiver.auth.credentials import Verifier, verifier_of
from hookline_receiver.event import SubscriptionRef
from hookline_receiver.limits.rate import RateLimit
from hookline_receiver.tag_keys import TagKeys

FORMAT = 2
"""Of the snapshot; a newer one is refused. From 2 on it may have parts."""

PART_FORMAT = 1
"""Of a part: a snapshot with nothing but endpoints."""

DEFAULT_BODY_BYTES = 2 * 1024 * 1024
"""Limit for unknown paths where no endpoint says otherwise."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path that accepts webhooks."""

    path: bytes
    subscription: SubscriptionRef
    app_ids: frozenset[str]
    """Apps whose events are accepted; empty: any."""
    verifiers: tuple[Verifier, ...]
    max_body_bytes: int
    rate_limit: RateLimit | None
    max_pending_bytes: int
    """Bytes that may be pending; 0: no limit."""
    suspended: bool
    without_credentials: str
    """Why there is no valid credential; "" where there is one."""


class SnapshotUnreadable(Exception):
    """The file holds no snapshot that this release understands; the message says which and why."""


class _Entry:
    """
    An endpoint as it came, and unpacked once it was asked for.

    PERF: of 10,000, most see no request between two changes; to unpack them all would hold the loop for a tenth of a
    second.
    """

    __slots__ = ("_endpoint", "packed")

    def __init__(self, packed: EndpointMessage) -> None:
        self.packed = packed
        self._endpoint: Endpoint | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Unpacked."""
        if self._endpoint is None:
            self._endpoint = _endpoint(self.packed)
        return self._endpoint


class RoutePart:
    """Some of a snapshot's endpoints: what goes from one snapshot to the next as it is."""

    def __init__(self, endpoints: Iterable[EndpointMessage]) -> None:
        self.entries: dict[bytes, _Entry] = {e.path.encode(): _Entry(e) for e in endpoints}

    @cached_property
    def largest_body(self) -> int:
        """Bytes; 0 where there is no endpoint."""
        return max((e.packed.max_body_bytes for e in self.entries.values()), default=0)

    @cached_property
    def shares(self) -> Mapping[str, int]:
        """Bytes that may be pending, by uid of the subscription, where there is a limit."""
        packed = (e.packed for e in self.entries.values())
        return {e.subscription.uid: e.max_pending_bytes for e in packed if e.max_pending_bytes}

    @cached_property
    def credentials(self) -> Sequence[str]:
        """Names of all credentials."""
        return tuple(verifier.credential for e in self.entries.values() for verifier in e.packed.verifiers)


class Routes:
    """One snapshot: immutable to its users, and cheap to swap; what is over all endpoints is worked out when asked for."""

    def __init__(self, snapshot: ReceiverSnapshot, parts: Iterable[RoutePart] = ()) -> None:
        self.version = snapshot.version
        self.tags = TagKeys(snapshot.tag_key, tuple(snapshot.further_tag_keys), snapshot.tags_incomplete)
        self._hostnames = frozenset(name.lower().encode() for name in snapshot.hostnames)
        own = [RoutePart(snapshot.endpoints)] if snapshot.endpoints else []
        self._parts = (*own, *parts)
        self._entries: dict[bytes, _Entry] = {}
        for part in reversed(self._parts):  # the first one that has a path holds
            self._entries.update(part.entries)

    @property
    def count(self) -> int:
        """How many endpoints there are."""
        return len(self._entries)

    def find(self, host: bytes, path: bytes) -> Endpoint | None:
        """The endpoint at exactly *path*, or None: also under a host name that is not one of the gateway's."""
        if self._hostnames and _name(host) not in self._hostnames:
            return None
        entry = self._entries.get(path)
        return None if entry is None else entry.endpoint

    @cached_property
    def unknown_path_limit(self) -> int:
        """Announced bodies above this are refused for unknown paths too, so that the answer gives none away."""
        return max((part.largest_body for part in self._parts), default=0) or DEFAULT_BODY_BYTES

    @cached_property
    def shares(self) -> Mapping[str, int]:
        """Bytes that may be pending, by uid of the subscription, where there is a limit."""
        merged: dict[str, int] = {}
        for part in self._parts:
            merged.update(part.shares)
        return merged

    def credentials(self) -> Iterable[str]:
        """Names of all credentials that open an endpoint."""
        return (credential for part in self._parts for credential in part.credentials)


LoadParts = Callable[[Iterable[str]], Mapping[str, RoutePart]]


def read_snapshot(content: bytes, load: LoadParts | None = None) -> Routes:
    """
    The routes in *content*, the bytes of a `ReceiverSnapshot`, with the parts that it names, which *load* gives.

    SnapshotUnreadable if it is none that we understand.
    """
    snapshot = _parsed(content)
    if not 1 <= snapshot.format <= FORMAT:
        raise SnapshotUnreadable(f"format is {snapshot.format}, this release reads 1 to {FORMAT}")
    if not snapshot.parts:
        return Routes(snapshot)
    if load is None:
        raise SnapshotUnreadable(f"it names {len(snapshot.parts)} parts, and there is nowhere to read them from")
    return Routes(snapshot, load(part.name for part in snapshot.parts).values())


def read_part(content: bytes) -> RoutePart:
    """The endpoints in *content*, a part; SnapshotUnreadable if it is none that we understand."""
    part = _parsed(content)
    if part.format != PART_FORMAT:
        raise SnapshotUnreadable(f"a part's format is {part.format}, this release reads {PART_FORMAT}")
    return RoutePart(part.endpoints)


def _parsed(content: bytes) -> ReceiverSnapshot:
    try:
        return ReceiverSnapshot.FromString(content)
    except DecodeError as exc:
        raise SnapshotUnreadable(f"{len(content)} bytes are not a ReceiverSnapshot: {exc}") from exc


def _name(host: bytes) -> bytes:
    """*host* without its port, in lower case, without the dot of a fully qualified name."""
    name, colon, port = host.rpartition(b":")
    if not colon or not port.isdigit():
        name = host
    return name.lower().rstrip(b".")


def _endpoint(message: EndpointMessage) -> Endpoint:
    ref = message.subscription
    return Endpoint(
        path=message.path.encode(),
        subscription=SubscriptionRef(ref.uid, ref.namespace, ref.name),
        app_ids=frozenset(message.app_ids),
        verifiers=tuple(map(verifier_of, message.verifiers)),
        max_body_bytes=message.max_body_bytes,
        rate_limit=_rate_limit(message.rate_limit) if message.HasField("rate_limit") else None,
        max_pending_bytes=message.max_pending_bytes,
        suspended=message.suspended,
        without_credentials=message.without_credentials,
    )


def _rate_limit(message: RateLimitMessage) -> RateLimit:
    # Whoever writes the snapshot of a pod has already divided a limit that holds for all pods together.
    return RateLimit(message.requests_per_second, max(1, message.burst))
