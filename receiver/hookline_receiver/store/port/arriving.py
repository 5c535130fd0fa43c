"""What the carrier brings: events, and what the routes of that moment make of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hookline_receiver.event import Event, RouteRef


@dataclass(frozen=True, slots=True)
class Target:
    """A route that an event goes to."""

    route: RouteRef
    ordering_key: str | None
    """Deliveries of the route with equal keys go one after another; None: unordered."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event with what the routes of this moment make of it."""

    event: Event
    targets: Sequence[Target]
    unrouted: str
    """Why there is no target; "" where there is one."""
    duplicate_until: int
    """
    Until when an equal identity is the same event: compared with the later one's `received_at_ns`, so that it does not
    matter when it was carried.
    """


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a batch of arrivals."""

    stored: int
    duplicates: Sequence[bytes]
    """Ingest ids that were recognised as an event already there, and became no second delivery."""
    routes: Collection[RouteRef]
    """Routes that got a delivery."""
