"""What the store says, as the admin service's messages; and its messages, as what the store is asked."""

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from hookline.admin.v1 import admin_pb2 as pb
from hookline_receiver.store.port import (
    Attempt,
    DeadLetter,
    DeliveryStory,
    Erasure,
    EventFilter,
    EventStory,
    Filter,
    FoundDelivery,
    FoundEvent,
    RouteBacklog,
    State,
    delivery_name,
)

_EPOCH = datetime.fromtimestamp(0, UTC).date()


class Misasked(ValueError):
    """The question makes no sense; the message says why."""


def filter_of(which: pb.Selection) -> Filter:
    """Return *which* as the store takes it; raises Misasked."""
    ids = _ingest_ids(which.ingest_ids)
    return Filter(which.namespace, which.subscription, which.route, which.trigger, which.reason, ids)


def event_filter_of(which: pb.EventSelection) -> EventFilter:
    """Return *which* as the store takes it; raises Misasked."""
    if which.state and which.state not in set(State):
        raise Misasked(f"there is no state {which.state!r}: it is one of {', '.join(State)}")
    return EventFilter(
        namespace=which.namespace,
        subscription=which.subscription,
        trigger=which.trigger,
        category=which.category,
        route=which.route,
        state=which.state,
        unrouted=which.unrouted,
        since=which.since.ToNanoseconds(),
        until=which.until.ToNanoseconds(),
        ingest_ids=_ingest_ids(which.ingest_ids),
    )


def _ingest_ids(texts: Collection[str]) -> tuple[bytes, ...]:
    try:
        return tuple(UUID(text).bytes for text in texts)
    except ValueError:
        raise Misasked("an ingest id must be a UUID") from None


def dead_letter(letter: DeadLetter) -> pb.DeadLetter:
    """A dead letter."""
    subscription = letter.route.subscription
    return pb.DeadLetter(
        delivery_id=delivery_name(letter.ingest_id, letter.route.name),
        ingest_id=str(UUID(bytes=letter.ingest_id)),
        event_id=letter.event_id,
        namespace=subscription.namespace,
        subscription=subscription.name,
        route=letter.route.name,
        trigger=letter.trigger,
        reason=letter.reason,
        detail=letter.detail,
        attempts=letter.attempts,
        received_at=_time(letter.received_at),
        died_at=_time(letter.died_at),
    )


def event(story: EventStory) -> pb.EventStory:
    """An event's story."""
    told = story.event
    return pb.EventStory(
        ingest_id=str(UUID(bytes=told.ingest_id)),
        event_id=story.event_id,
        namespace=told.subscription.namespace,
        subscription=told.subscription.name,
        trigger=told.envelope.trigger,
        category=told.envelope.category,
        received_at=_time(told.received_at_ns),
        stored_at=_time(story.stored_at),
        size=len(told.body),
        duplicates=story.duplicates,
        unrouted=story.unrouted,
        deliveries=[_delivery(told.ingest_id, one) for one in story.deliveries],
    )


def summary(found: FoundEvent) -> pb.EventSummary:
    """An event as a list shows it."""
    return pb.EventSummary(
        ingest_id=str(UUID(bytes=found.ingest_id)),
        event_id=found.event_id,
        namespace=found.subscription.namespace,
        subscription=found.subscription.name,
        trigger=found.trigger,
        category=found.category,
        received_at=_time(found.received_at),
        stored_at=_time(found.stored_at),
        size=found.size,
        duplicates=found.duplicates,
        unrouted=found.unrouted,
        deliveries=[_standing(found.ingest_id, one) for one in found.deliveries],
    )


def backlog(one: RouteBacklog) -> pb.RouteBacklog:
    """How much waits for a route."""
    subscription = one.route.subscription
    return pb.RouteBacklog(
        namespace=subscription.namespace,
        subscription=subscription.name,
        route=one.route.name,
        pending=one.pending,
        dead=one.dead,
        oldest_pending=_time(one.oldest_pending) if one.oldest_pending is not None else None,
    )


def erasure(one: Erasure) -> pb.Erasure:
    """What is left of erased events."""
    day: date = _EPOCH + timedelta(days=one.day)
    return pb.Erasure(
        day=day.isoformat(),
        namespace=one.subscription.namespace,
        subscription=one.subscription.name,
        events=one.events,
        unended=one.unended,
    )


def _standing(ingest_id: bytes, one: FoundDelivery) -> pb.DeliveryStory:
    return pb.DeliveryStory(
        delivery_id=delivery_name(ingest_id, one.route), route=one.route, state=one.state.value, reason=one.reason
    )


def _delivery(ingest_id: bytes, story: DeliveryStory) -> pb.DeliveryStory:
    return pb.DeliveryStory(
        delivery_id=delivery_name(ingest_id, story.route.name),
        route=story.route.name,
        state=story.state.value,
        reason=story.reason,
        detail=story.detail,
        replay=story.replay,
        due_at=_time(story.due_at) if story.due_at else None,
        attempts=list(_attempts(story.attempts)),
    )


def _attempts(attempts: Collection[Attempt]) -> Iterator[pb.Attempt]:
    for number, one in enumerate(attempts, start=1):
        yield pb.Attempt(
            number=number,
            started_at=_time(one.started_at),
            ended_at=_time(one.ended_at),
            code=one.code,
            detail=one.detail,
            endpoint=one.endpoint,
        )


def _time(nanoseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(nanoseconds)
    return stamp
