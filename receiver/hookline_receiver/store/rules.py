"""
What every engine of the event store agrees on. Pure: values in, values out.

How deliveries are numbered, which id an event gets, how it is asked for and what the store says when it ends a
delivery by itself.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.store.port import Arrival, EventFilter, Filter, FoundDelivery, Walk

C = TypeVar("C")
R = TypeVar("R")

_DAY = 24 * 3600 * 1_000_000_000

DELIVERIES_PER_EVENT = 1 << 10
"""Ids of an event's deliveries are consecutive: `sequence * DELIVERIES_PER_EVENT + n`, so that one is found by the other."""

ATTEMPTS_KEPT = 50
"""Of each delivery, the newest ones."""

BODIES_COMPARED = 16
"""Events of one identity whose bodies a new arrival is compared with, newest first: bounds what a sender can cost us."""

BYTES_COMPARED = 4 << 20
"""
Bytes of known bodies that one call of `add` compares with later ones that are not their equals byte for byte: a second.

Beyond, only equal bytes are a duplicate: in doubt an event is delivered.
"""

STORIES_SHOWN = 100
"""Acceptances that one CloudEvent id may bring up, oldest first."""


class TooManyTargets(ValueError):
    """An event goes to more routes than can be numbered: a bug of the caller, routes are limited to 32."""

    def __init__(self, arrival: Arrival) -> None:
        count = len(arrival.targets)
        super().__init__(
            f"event {UUID(bytes=arrival.event.ingest_id)} has {count} targets, at most {DELIVERIES_PER_EVENT}"
        )


def delivery_ids(sequence: int, arrival: Arrival) -> range:
    """Ids of the deliveries that the event with this number fans out to, in the order of its targets."""
    if len(arrival.targets) > DELIVERIES_PER_EVENT:
        raise TooManyTargets(arrival)
    first = sequence * DELIVERIES_PER_EVENT
    return range(first, first + len(arrival.targets))


def sequence_of(delivery_id: int) -> int:
    """The number of the event that a delivery belongs to."""
    return delivery_id // DELIVERIES_PER_EVENT


def has_own_id(event: Event, *, key_taken: bool) -> bool:
    """
    Whether the event's CloudEvent id is its ingest id.

    A strong identity names the event. A weak one, none at all, or one that another event holds within its window
    (`key_taken`) can't: two events must not share an id.
    """
    return key_taken or not event.identity.strong or not event.identity.key


def event_id(ingest_id: bytes, key: bytes, *, own_id: bool) -> str:
    """CloudEvents `id`: the identity's key in hexadecimal, or the ingest id as a UUID."""
    return str(UUID(bytes=ingest_id)) if own_id else key.hex()


def kept_from(ended_at: int, duplicate_until: int) -> int:
    """When an event's retention begins: its last delivery has ended and no duplicate of it can come any more."""
    return max(ended_at, duplicate_until)


def removed_detail(route: RouteRef) -> str:
    """What a dead letter says whose route went away."""
    return f"route {route} is gone"


def expired_detail(max_age: int) -> str:
    """What a dead letter says that grew older than *max_age* nanoseconds."""
    return f"older than maxAge ({max_age / 1e9:g} s)"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks the story of."""

    ingest_id: bytes | None
    key: bytes | None


def wanted(ident: str) -> Wanted:
    """Read *ident* as an ingest id (UUID), a CloudEvent id or a delivery's name; what it can't be is None."""
    head = ident.partition("/")[0]
    return Wanted(_uuid(head), _key(ident))


def _uuid(text: str) -> bytes | None:
    try:
        return UUID(text).bytes
    except ValueError:
        return None


def _key(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) or None
    except ValueError:
        return None


def route_matches(which: Filter, route: RouteRef) -> bool:
    """Whether *which* can mean deliveries of *route*."""
    subscription = route.subscription
    return (
        which.namespace in ("", subscription.namespace)
        and which.subscription in ("", subscription.name)
        and which.route in ("", route.name)
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """What an event is selected by, beside its deliveries."""

    ingest_id: bytes
    subscription: SubscriptionRef
    trigger: str
    category: str
    received_at: int
    unrouted: str


def event_matches(which: EventFilter, facts: Facts) -> bool:
    """Whether *which* can mean this event, by what does not take a look at its deliveries."""
    return (
        which.namespace in ("", facts.subscription.namespace)
        and which.subscription in ("", facts.subscription.name)
        and which.trigger in ("", facts.trigger)
        and which.category in ("", facts.category)
        and (not which.unrouted or facts.unrouted != "")
        and which.since <= facts.received_at
        and (which.until == 0 or facts.received_at < which.until)
        and (not which.ingest_ids or facts.ingest_id in which.ingest_ids)
    )


def deliveries_match(which: EventFilter, deliveries: Iterable[FoundDelivery]) -> bool:
    """Whether one of an event's deliveries is to the route, and in the state, that *which* names."""
    if not which.route and not which.state:
        return True
    return any(which.route in ("", one.route) and which.state in ("", one.state.value) for one in deliveries)


@dataclass(frozen=True, slots=True)
class Walked(Generic[R]):
    """What was found on the way, and where to go on (0: that was all)."""

    found: list[R]
    next: int


def walked(walk: Walk, candidates: Iterable[tuple[int, C]], take: Callable[[C], R | None]) -> Walked[R]:
    """
    What *take* makes of the *candidates* (number, candidate) that it does not pass over, within the bounds of *walk*.

    Candidates come in the order of the walk, from its place on, at least one more than may be examined if there is one.
    """
    found: list[R] = []
    last = 0
    for examined, (number, candidate) in enumerate(candidates):
        if examined >= walk.examined or len(found) >= walk.limit:
            return Walked(found, last or walk.after)
        last = number
        taken = take(candidate)
        if taken is not None:
            found.append(taken)
    return Walked(found, 0)


def day_of(now: int) -> int:
    """The UTC day of *now*, counted from the epoch."""
    return now // _DAY


def fitting(sizes: Sequence[int], max_bytes: int) -> int:
    """How many of the first *sizes* fit into *max_bytes* together; one always does."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and total > max_bytes:
            return count
    return len(sizes)
