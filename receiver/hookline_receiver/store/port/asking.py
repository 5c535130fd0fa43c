"""What people ask of kept events, and what they have done with them: found, told, sent again, erased."""

from collections.abc import Sequence
from dataclasses import dataclass

from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.store.port.delivering import Attempt, State


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries or events; everything given must hold."""

    namespace: str = ""
    subscription: str = ""
    route: str = ""
    trigger: str = ""
    reason: str = ""
    ingest_ids: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that ended without success, as people see it."""

    delivery_id: int
    ingest_id: bytes
    event_id: str
    route: RouteRef
    trigger: str
    reason: str
    detail: str
    attempts: int
    received_at: int
    died_at: int


@dataclass(frozen=True, slots=True)
class DeliveryStory:
    """What became of one delivery."""

    delivery_id: int
    route: RouteRef
    state: State
    reason: str
    """Why it is dead, a DeadReason; "" otherwise."""
    due_at: int
    """Pending: when it can be claimed. In flight: when its lease runs out. 0 in every other state."""
    attempts: Sequence[Attempt]
    """Oldest first; the last 50 are kept, over redrives too."""
    detail: str = ""
    """Of the reason, for a person."""
    replay: bool = False
    """Whether a person had it sent again."""


@dataclass(frozen=True, slots=True)
class EventStory:
    """What became of one acceptance."""

    event: Event
    event_id: str
    stored_at: int
    duplicates: int
    unrouted: str
    deliveries: Sequence[DeliveryStory]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; everything given must hold."""

    namespace: str = ""
    subscription: str = ""
    trigger: str = ""
    category: str = ""
    route: str = ""
    """It has a delivery to this route,"""
    state: str = ""
    """... one in this State."""
    unrouted: bool = False
    """A route was missing for it: none matched, or the expression of one failed."""
    since: int = 0
    """Accepted then or later."""
    until: int = 0
    """Accepted before; 0: no end."""
    ingest_ids: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Walk:
    """One bounded step through the kept events, in the order of their arrival."""

    limit: int
    """Stop when so many were found."""
    examined: int = 1000
    """Stop when so many were looked at: what one step costs at most."""
    after: int = 0
    """Where the step before ended, its `next`; 0: at the beginning."""
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class FoundDelivery:
    """Where an event stands with one route."""

    route: str
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event as a list shows it."""

    ingest_id: bytes
    event_id: str
    subscription: SubscriptionRef
    trigger: str
    category: str
    received_at: int
    stored_at: int
    size: int
    duplicates: int
    unrouted: str
    deliveries: Sequence[FoundDelivery]


@dataclass(frozen=True, slots=True)
class Found:
    """What one step found."""

    events: Sequence[FoundEvent]
    next: int
    """Where to go on; 0: that was all."""


@dataclass(frozen=True, slots=True)
class Redriven:
    """What one step of a redrive did, or would have done."""

    redriven: int
    without_route: int
    """Dead letters selected that stay, since their route is gone; counted by the first step only."""
    next: int
    """Where to go on; 0: that was all."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one step of a replay did, or would have done."""

    events: int
    """Events that go to at least one route again."""
    deliveries: int
    """Deliveries that became pending."""
    under_way: int
    """Deliveries left as they are: not ended yet, they come anyway."""
    without_route: int
    """Events selected that no route takes now."""
    selected: int
    """Events that the filter held for: these two, and those with nothing but deliveries under way."""
    next: int
    """Where to go on; 0: that was all."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What one step of an erasure did, or would have done."""

    events: int
    unended: int
    """Deliveries among them that had not ended: nobody gets them any more."""
    next: int
    """Where to go on; 0: that was all."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is left of erased events: how many, of whom, on which day (UTC)."""

    day: int
    """Days since the epoch."""
    subscription: SubscriptionRef
    events: int
    unended: int


@dataclass(frozen=True, slots=True)
class RouteBacklog:
    """How much waits for one route."""

    route: RouteRef
    pending: int
    """Pending, waiting or in flight."""
    dead: int
    oldest_pending: int | None
    """When the oldest of the pending was accepted (or redriven)."""
