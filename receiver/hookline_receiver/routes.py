"""The endpoints that webhooks are accepted at, as a snapshot tells them. Pure: bytes in, a table out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from google.protobuf.message import DecodeError

from hookline.routing.v1.snapshot_pb2 import Endpoint as EndpointMessage
from hookline.routing.v1.snapshot_pb2 import RateLimit as RateLimitMessage
from hookline.routing.v1.snapshot_pb2 import ReceiverSnapshot
from hookline_receiver.auth.credentials import Verifier, verifier_of
from hookline_receiver.event import SubscriptionRef
from hookline_receiver.limits.rate import RateLimit

FORMAT = 1
"""Of the snapshot; a newer one is refused."""

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


class Routes:
    """
    One snapshot: immutable to its users, and cheap to swap.

    PERF: an endpoint is unpacked when the first request comes for it, and what is over all of them when it is asked for.
    Of 10,000, most see no request between two changes; to unpack them all would hold the loop for a tenth of a second.
    """

    def __init__(self, snapshot: ReceiverSnapshot) -> None:
        self.version = snapshot.version
        self.tag_key = snapshot.tag_key
        self._hostnames = frozenset(name.lower().encode() for name in snapshot.hostnames)
        self._packed: dict[bytes, EndpointMessage] = {e.path.encode(): e for e in snapshot.endpoints}
        self._endpoints: dict[bytes, Endpoint] = {}

    @property
    def count(self) -> int:
        """Of endpoints."""
        return len(self._packed)

    def find(self, host: bytes, path: bytes) -> Endpoint | None:
        """The endpoint at exactly *path*, or None: also under a host name that is not one of the gateway's."""
        if self._hostnames and _name(host) not in self._hostnames:
            return None
        endpoint = self._endpoints.get(path)
        if endpoint is None and (packed := self._packed.get(path)) is not None:
            endpoint = self._endpoints[path] = _endpoint(packed)
        return endpoint

    @cached_property
    def unknown_path_limit(self) -> int:
        """Announced bodies above this are refused for unknown paths too, so that the answer gives none away."""
        return max((e.max_body_bytes for e in self._packed.values()), default=DEFAULT_BODY_BYTES)

    @cached_property
    def shares(self) -> Mapping[str, int]:
        """Bytes that may be pending, by uid of the subscription, where there is a limit."""
        return {e.subscription.uid: e.max_pending_bytes for e in self._packed.values() if e.max_pending_bytes}

    def credentials(self) -> Iterable[str]:
        """Names of all credentials that open an endpoint."""
        return (verifier.credential for packed in self._packed.values() for verifier in packed.verifiers)


def read_snapshot(content: bytes) -> Routes:
    """The routes in *content*, the bytes of a `ReceiverSnapshot`; SnapshotUnreadable if it is none we understand."""
    try:
        snapshot = ReceiverSnapshot.FromString(content)
    except DecodeError as exc:
        raise SnapshotUnreadable(f"{len(content)} bytes are not a ReceiverSnapshot: {exc}") from exc
    if not 1 <= snapshot.format <= FORMAT:
        raise SnapshotUnreadable(f"format is {snapshot.format}, this release reads 1 to {FORMAT}")
    return Routes(snapshot)


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
