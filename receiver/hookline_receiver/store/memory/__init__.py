"""
The event store in memory: simple and obviously right, slow and forgetful.

What the contract means, written as plainly as it can be: every question walks through everything there is. For tests, and
the model that the other engines are compared with.

kept      events with their deliveries
working   what carrier and forwarder ask for
store     what people ask for: the whole store
"""

from hookline_receiver.store.memory.store import MemoryEventStore

__all__ = ["MemoryEventStore"]
