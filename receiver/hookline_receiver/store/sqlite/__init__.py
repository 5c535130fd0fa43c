"""
The event store in one SQLite file.

In: arrivals from the carrier, claims and settlements from the forwarder, questions from people. Out: deliveries under a
lease, stories, dead letters. `store` is the whole, every step of it a module:

    opening     lock, create, open, check, migrate
    migrations  the tables, as numbered steps
    file        transactions, sync, checkpoints
    space       how large the WAL may grow, what is kept free
    errors      try again, call a person, or mend our code
    ledger      names to numbers, and the sums kept per route and subscription
    adding      arrivals: known already? then events, bodies, deliveries
    claiming    what is due, under a lease; hold and pause
    ending      one way in which deliveries end, and what that sets free
    settling    what became of claimed deliveries
    sweeping    expire, retire, purge, give space back
    asking      stories, dead letters, backlog; redrive
"""

from hookline_receiver.store.sqlite.errors import StoreCorrupt, StoreLocked, StoreRefused, StoreTooNew
from hookline_receiver.store.sqlite.store import SqliteEventStore

__all__ = ["SqliteEventStore", "StoreCorrupt", "StoreLocked", "StoreRefused", "StoreTooNew"]
