"""
What carrier, forwarder and people need of the event store.

All times are nanoseconds since the Unix epoch and come from the caller, so that a test's clock rules. Methods block:
whoever calls them from an event loop does so in a thread of its own. One process uses a store at a time.

arriving     what the carrier brings
delivering   what deliveries are worked off by
asking       what people ask of kept events, and what they have done with them
store        the store itself
"""

from hookline_receiver.store.port.arriving import Added, Arrival, Target
from hookline_receiver.store.port.asking import (
    DeadLetter,
    DeliveryStory,
    Erased,
    Erasure,
    EventFilter,
    EventStory,
    Filter,
    Found,
    FoundDelivery,
    FoundEvent,
    Redriven,
    Replayed,
    RouteBacklog,
    Walk,
)
from hookline_receiver.store.port.delivering import (
    Attempt,
    Claimed,
    Dead,
    DeadReason,
    Delivered,
    DueRoute,
    Retention,
    RetryAt,
    Settlement,
    State,
    delivery_name,
)
from hookline_receiver.store.port.store import EventStore, StoreUnavailable

__all__ = [
    "Added",
    "Arrival",
    "Attempt",
    "Claimed",
    "Dead",
    "DeadLetter",
    "DeadReason",
    "Delivered",
    "DeliveryStory",
    "DueRoute",
    "Erased",
    "Erasure",
    "EventFilter",
    "EventStore",
    "EventStory",
    "Filter",
    "Found",
    "FoundDelivery",
    "FoundEvent",
    "Redriven",
    "Replayed",
    "Retention",
    "RetryAt",
    "RouteBacklog",
    "Settlement",
    "State",
    "StoreUnavailable",
    "Target",
    "Walk",
    "delivery_name",
]
