"""
What carrier, forwarder and people need of the event store.

All times are nanoseconds since the Unix epoch and come from the caller, so that a test's clock rules. Methods block:
whoever calls them from an event loop does so in a thread of its own. One process uses a store at a time.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.journal.port import Position


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
class DueRoute:
    """A route with something to claim, now or later."""

    route: RouteRef
    due_at: int
    """When its first pending delivery is due."""


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


class StoreUnavailable(Exception):
    """The store could not do it now (disk full, I/O error). The transaction did not happen; try again later."""


class EventStore(Protocol):
    """Deliveries are worked off here, and events found again."""

    def positions(self) -> Mapping[str, Position]:
        """How far each journal has been carried, by the journal's name."""

    def add(self, arrivals: Sequence[Arrival], positions: Mapping[str, Position], now: int) -> Added:
        """
        Store *arrivals*, find duplicates, fan out and remember *positions*: one transaction.

        An ingest id that is there already is passed over, and is no duplicate. Positions never go back. An arrival of a
        known identity is a duplicate if its body is the same event's as that of one of the 16 newest within the window;
        else it is an event of its own, whose CloudEvent id is its ingest id.
        """

    def forget_journal(self, name: str) -> None:
        """Drop the position of a journal that has been removed."""

    def sync(self) -> None:
        """Return once everything committed so far is on stable storage: only then may journals be unlinked."""

    def due_routes(self, limit: int) -> Sequence[DueRoute]:
        """
        Routes that are not paused and have something to claim now or later, soonest first.

        A delivery in flight counts with the end of its lease; a held route is not due before the hold ends. Cost: *limit*,
        whatever is parked.
        """

    def hold(self, route: RouteRef, until: int) -> None:
        """Let `due_routes` not name *route* as due before *until* (an open breaker). The last call wins; 0: no hold."""

    def pause(self, routes: Collection[RouteRef], now: int) -> None:
        """Exactly these routes are paused from now on; the age of their deliveries stands still meanwhile."""

    def claim(self, route: RouteRef, limit: int, max_bytes: int, now: int, lease_until: int) -> Sequence[Claimed]:
        """
        Lease up to *limit* due deliveries of *route*, their bodies not above *max_bytes* together (one always fits).

        Deliveries whose lease ran out are due again. Of each ordering key at most one is out at a time. None of a paused
        route; a hold is no hindrance (half-open probes).
        Cost: what is claimed, whatever is parked.
        """

    def release_leases(self, now: int) -> int:
        """
        Let every lease lapse and return how many, and every hold: a new owner, at start, has no use for the old one's.

        Old fences stay valid only until the delivery is claimed again.
        """

    def settle(self, settlements: Sequence[Settlement], now: int) -> Collection[int]:
        """
        One transaction; returns the delivery ids that were settled. Those fenced out are missing and unchanged.

        A lapsed lease that nobody else took since is still settled.
        """

    def expired(self, route: RouteRef, max_age: int, limit: int, now: int) -> int:
        """End up to *limit* deliveries of *route* older than *max_age* ns and under no lease as dead; how many."""

    def retire(self, keep: Collection[RouteRef], limit: int, now: int) -> int:
        """End up to *limit* deliveries of routes not in *keep* and under no lease as dead (RouteRemoved); how many."""

    def purge(self, retention: Mapping[SubscriptionRef, Retention], default: Retention, limit: int, now: int) -> int:
        """Remove up to *limit* events with nothing left to do, past their retention and duplicates window; how many."""

    def pending_bytes(self) -> Mapping[SubscriptionRef, int]:
        """Bytes of events with an unended delivery, by subscription: what its share of storage is measured by."""

    def dead_letters(self, which: Filter, limit: int, after: int = 0) -> Sequence[DeadLetter]:
        """Oldest delivery id first, above *after*."""

    def redrive(
        self, which: Filter, limit: int, now: int, *, dry_run: bool, keep: Collection[RouteRef], after: int = 0
    ) -> Redriven:
        """
        Make up to *limit* dead letters of the routes in *keep* pending again, durable on return.

        In the order of their ids, above *after*: one that dies again at once is not met again on the same way.
        """

    def find(self, which: EventFilter, walk: Walk) -> Found:
        """Events that *which* holds for. Cost: what the step looks at, whatever is kept."""

    def replay(
        self, which: EventFilter, walk: Walk, fan_out: Callable[[Event], Arrival], now: int, *, dry_run: bool
    ) -> Replayed:
        """
        Send events again, to where *fan_out* says that they go now: one transaction, durable on return.

        A route that never had the event gets a delivery. One whose delivery has ended (delivered or dead) gets it again,
        under the same name and with its story going on. One whose delivery has not ended is left alone. All that became
        pending is marked as replay, its age and answers begin anew, and in an ordering it stands behind what is out, as
        a redriven one. Events that got a delivery are no longer unrouted, but for what *fan_out* says. Duplicates that
        were recognised are part of the event that they are duplicates of.
        """

    def erase(
        self, which: EventFilter, walk: Walk, holds: Callable[[Event], bool] | None, now: int, *, dry_run: bool
    ) -> Erased:
        """
        Remove events for which *which* and *holds* (None: any) are true, whatever their deliveries wait for; durable on return.

        Bodies, identities, deliveries and attempts go; what waited behind their deliveries goes on. A delivery that is
        under way can't be called back: its settlement is refused as one that lost its lease. Counts stay (`erasures`).
        """

    def erasures(self) -> Sequence[Erasure]:
        """Counts of what was erased, by day and subscription."""

    def story(self, ident: str) -> Sequence[EventStory]:
        """Events by ingest id (UUID), CloudEvent id or delivery name."""

    def backlog(self, which: Filter) -> Sequence[RouteBacklog]:
        """How much waits, one entry per route that has anything. Of *which*, only what names routes counts."""

    def close(self) -> None:
        """Let go of the store."""
