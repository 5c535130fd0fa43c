"""The values that travel: an accepted event, and the names that everything refers to it by."""

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class SubscriptionRef:
    """Names a subscription; the uid tells it from another made later under the same namespace and name."""

    uid: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class RouteRef:
    """Names a route of a subscription."""

    subscription: SubscriptionRef
    name: str

    def __str__(self) -> str:
        return f"{self.subscription}/{self.name}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is read of a payload to judge and route it; everything else stays unread in the body."""

    trigger: str
    category: str
    """One of the contract's categories; "unknown" where the name of the trigger tells nothing."""
    app_id: str
    """"" if the payload has none."""
    receiver_type: str
    """"user", "group", or "" where the event has none."""


class Identity(msgspec.Struct, frozen=True, gc=False):
    """
    What tells one event from another, composed from the payload since CometChat sends no event id.

    PERF: one is made for every request; a frozen dataclass takes six times as long to build.
    """

    key: bytes
    """16 bytes; equal keys of one subscription are the same event, if their bodies agree too."""
    strong: bool
    """Whether the key holds within the whole duplicates window, or only within the sender's retry horizon (60 s)."""
    partition_key: str
    """Conversation, group or session; "" if the event belongs to none."""
    subject: str
    """CloudEvents `subject`; "" if there is none."""
    time_ms: int
    """When it happened, by the payload: milliseconds since the epoch; 0: the payload does not say."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """
    One accepted webhook POST.

    PERF: as for `Identity`.
    """

    ingest_id: bytes
    """Our own id of this acceptance: the 16 bytes of a UUIDv7."""
    subscription: SubscriptionRef
    received_at_ns: int
    """Nanoseconds since the epoch, by the receiver's clock."""
    body: bytes
    """Exactly as it came (gzip unpacked)."""
    envelope: Envelope
    identity: Identity
    traceparent: str
