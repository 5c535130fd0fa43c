"""Builders for the event store's tests: valid by default, a test names only what it is about."""

import sqlite3
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from hookline_receiver.event import Envelope, Event, Identity, RouteRef, SubscriptionRef
from hookline_receiver.store.memory import MemoryEventStore
from hookline_receiver.store.port import (
    Arrival,
    Attempt,
    Claimed,
    Dead,
    DeadReason,
    Delivered,
    EventStore,
    RetryAt,
    Settlement,
    Target,
)
from hookline_receiver.store.sqlite import SqliteEventStore

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOON = 1_800_000_000 * SECOND
"""Where the tests' clock begins."""
MIB = 1 << 20

SUBSCRIPTION = SubscriptionRef("uid-chat", "acme", "chat")
NOTIFY = RouteRef(SUBSCRIPTION, "notify")
ANALYTICS = RouteRef(SUBSCRIPTION, "analytics")

_numbers = count(1)


def an_ingest_id(number: int | None = None) -> bytes:
    """A UUIDv7 that no other test event has, or the one with this number."""
    chance = next(_numbers) if number is None else number
    return UUID(int=(0x0199_0000_0000 << 80) | (7 << 76) | (2 << 62) | chance).bytes


def an_event(
    body: bytes = b'{"trigger":"message_sent"}',
    *,
    ingest_id: bytes | None = None,
    subscription: SubscriptionRef = SUBSCRIPTION,
    received_at: int = NOON,
    key: bytes = b"",
    strong: bool = True,
    trigger: str = "message_sent",
) -> Event:
    """An event of its own: no identity unless *key* is given."""
    return Event(
        ingest_id=ingest_id or an_ingest_id(),
        subscription=subscription,
        received_at_ns=received_at,
        body=body,
        envelope=Envelope(trigger, "message", "app-1", "user"),
        identity=Identity(key, strong, "group_g1", "message/1", 1_700_000_000_123),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def an_arrival(
    event: Event | None = None,
    *routes: RouteRef,
    ordering_key: str | None = None,
    window: int = HOUR,
    unrouted: bool = False,
    **of_event: Any,
) -> Arrival:
    """An arrival for *routes* (default: notify); *of_event* goes to `an_event`."""
    event = event or an_event(**of_event)
    targets = [] if unrouted else [Target(route, ordering_key) for route in routes or (NOTIFY,)]
    why = "no route matches" if unrouted else ""
    return Arrival(event, targets, why, event.received_at_ns + window)


def an_attempt(code: str = "Accepted", *, answered: bool = True, started_at: int = NOON, detail: str = "") -> Attempt:
    """One call of a handler."""
    return Attempt(started_at, started_at + SECOND, code, detail, "10.0.0.7:9000", answered)


def delivered(claimed: Claimed, attempt: Attempt | None = None) -> Settlement:
    """The handler took it."""
    return Settlement(claimed.delivery_id, claimed.fence, Delivered(), attempt or an_attempt())


def retry(claimed: Claimed, due_at: int, attempt: Attempt | None = None) -> Settlement:
    """Again at *due_at*."""
    return Settlement(claimed.delivery_id, claimed.fence, RetryAt(due_at), attempt or an_attempt("RetryAfter"))


def dead(claimed: Claimed, reason: DeadReason = DeadReason.REJECTED, detail: str = "no such user") -> Settlement:
    """Never."""
    return Settlement(claimed.delivery_id, claimed.fence, Dead(reason, detail), an_attempt("Rejected", detail=detail))


def claim_all(store: EventStore, route: RouteRef = NOTIFY, now: int = NOON, lease: int = MINUTE) -> Sequence[Claimed]:
    """Everything of *route* that is due."""
    return store.claim(route, 1_000_000, 1 << 40, now, now + lease)


def equal_bodies(first: bytes, later: bytes) -> bool:
    """Stands in for the comparison that knows which fields change in a retry: here none does."""
    return first == later


class Stores:
    """Makes stores in one folder and closes what a test left open."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.folder = folder
        self._make: Callable[..., EventStore] = {"memory": self._memory, "sqlite": self._sqlite}[engine]
        self._open: list[EventStore] = []

    def __call__(self, **settings: Any) -> EventStore:
        """A store on this folder's data: the same again after `close`."""
        store = self._make(**{"same": equal_bodies, **settings})
        self._open.append(store)
        return store

    def close(self) -> None:
        """Close all; a second time does no harm."""
        for store in self._open:
            store.close()

    def _memory(self, **settings: Any) -> EventStore:
        return MemoryEventStore(**settings)

    def _sqlite(self, **settings: Any) -> EventStore:
        return SqliteEventStore(self.folder / "store.db", **settings)


def connection_of(store: SqliteEventStore) -> sqlite3.Connection:
    """The store's own connection, to look at how it works; nobody else can open the file meanwhile."""
    return store._file.connection
