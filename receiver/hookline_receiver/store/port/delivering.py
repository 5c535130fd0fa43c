"""What deliveries are worked off by: states, claims, what became of them, and how long they are kept."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from hookline_receiver.event import Event, RouteRef


def delivery_name(ingest_id: bytes, route: str) -> str:
    """What handlers and people call a delivery: "{ingest id}/{route}"."""
    return f"{UUID(bytes=ingest_id)}/{route}"


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "Pending"
    """To be claimed once due."""
    WAITING = "Waiting"
    """For an earlier delivery of the same ordering key to end."""
    IN_FLIGHT = "InFlight"
    """Claimed, under a lease."""
    DELIVERED = "Delivered"
    DEAD = "Dead"


class DeadReason(StrEnum):
    """Why a delivery ended without success."""

    REJECTED = "Rejected"
    """The handler said never."""
    EXPIRED = "Expired"
    """Older than the route's maxAge."""
    ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
    """The handler answered maxAttempts times."""
    ROUTE_REMOVED = "RouteRemoved"
    """The route or its subscription is gone."""
    TOO_LARGE = "TooLarge"
    """The event does not fit into one gRPC message."""


@dataclass(frozen=True, slots=True)
class DueRoute:
    """A route with something to claim, now or later."""

    route: RouteRef
    due_at: int
    """When its first pending delivery is due."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery under a lease."""

    delivery_id: int
    """The store's own number of it."""
    fence: int
    """Goes up with every claim of the delivery; a settlement with an older one is refused."""
    route: RouteRef
    event: Event
    event_id: str
    """CloudEvents `id`."""
    stored_at: int
    attempts: int
    """Handler's answers so far, since the last redrive."""
    age: int
    """Nanoseconds since acceptance (or redrive), less the time its route was paused."""
    replay: bool
    """Whether a person had it sent again."""
    ordering_key: str | None

    @property
    def name(self) -> str:
        """The delivery's name outside the store, "{ingest id}/{route}"."""
        return delivery_name(self.event.ingest_id, self.route.name)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call that carried a delivery, for the event's story."""

    started_at: int
    ended_at: int
    code: str
    """Accepted, RetryAfter, Rejected, NoOutcome, or the name of a gRPC status code."""
    detail: str
    endpoint: str
    answered: bool
    """Whether the handler itself spoke for this event, so that it counts against maxAttempts."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """It is done."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """It is due again at this time."""

    due_at: int


@dataclass(frozen=True, slots=True)
class Dead:
    """It ended without success."""

    reason: DeadReason
    detail: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of one claimed delivery."""

    delivery_id: int
    fence: int
    result: Delivered | RetryAt | Dead
    attempt: Attempt | None
    """None where no call was made (expired before it could be, too large)."""


@dataclass(frozen=True, slots=True)
class Retention:
    """
    How long a subscription's events are kept, in nanoseconds.

    Counts from when the last delivery has ended and no duplicate can come any more, whichever is later.
    """

    delivered: int
    """Events that were delivered everywhere, and unrouted ones."""
    dead: int
    """Events with a dead letter."""
