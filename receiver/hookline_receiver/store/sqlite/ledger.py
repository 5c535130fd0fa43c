"""Names to numbers, and the sums that are kept per route and subscription so that nobody has to count."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from hookline_receiver.event import RouteRef, SubscriptionRef


@dataclass(slots=True)
class _Sums:
    unended: int = 0
    dead: int = 0
    deliveries: int = 0


class Directory:
    """Numbers of subscriptions and routes, remembered. To be emptied when a transaction is rolled back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._subscriptions: dict[SubscriptionRef, int] = {}
        self._routes: dict[RouteRef, int] = {}
        self._route_refs: dict[int, RouteRef] = {}
        self._subscription_refs: dict[int, SubscriptionRef] = {}

    def forget(self) -> None:
        """Trust nothing that was remembered."""
        for known in (self._subscriptions, self._routes, self._route_refs, self._subscription_refs):
            known.clear()

    def subscription(self, ref: SubscriptionRef) -> int | None:
        """The number of *ref*, None if nothing of it was ever stored."""
        if (number := self._subscriptions.get(ref)) is not None:
            return number
        row = self._connection.execute(
            "SELECT id FROM subscriptions WHERE uid = ? AND namespace = ? AND name = ?",
            (ref.uid, ref.namespace, ref.name),
        ).fetchone()
        return None if row is None else self._remember_subscription(ref, row[0])

    def subscription_made(self, ref: SubscriptionRef) -> int:
        """The number of *ref*, which is given one if it has none."""
        if (number := self.subscription(ref)) is not None:
            return number
        made = self._connection.execute(
            "INSERT INTO subscriptions (uid, namespace, name) VALUES (?, ?, ?)", (ref.uid, ref.namespace, ref.name)
        )
        assert made.lastrowid is not None
        return self._remember_subscription(ref, made.lastrowid)

    def route(self, ref: RouteRef) -> int | None:
        """The number of *ref*, None if nothing of it was ever stored."""
        if (number := self._routes.get(ref)) is not None:
            return number
        if (subscription := self.subscription(ref.subscription)) is None:
            return None
        row = self._connection.execute(
            "SELECT id FROM routes WHERE subscription = ? AND name = ?", (subscription, ref.name)
        ).fetchone()
        return None if row is None else self._remember_route(ref, row[0])

    def route_made(self, ref: RouteRef) -> int:
        """The number of *ref*, which is given one if it has none."""
        if (number := self.route(ref)) is not None:
            return number
        subscription = self.subscription_made(ref.subscription)
        made = self._connection.execute(
            "INSERT INTO routes (subscription, name) VALUES (?, ?)", (subscription, ref.name)
        )
        assert made.lastrowid is not None
        return self._remember_route(ref, made.lastrowid)

    def route_ref(self, number: int) -> RouteRef:
        """The route with this number."""
        if (ref := self._route_refs.get(number)) is not None:
            return ref
        subscription, name = self._connection.execute(
            "SELECT subscription, name FROM routes WHERE id = ?", (number,)
        ).fetchone()
        ref = RouteRef(self.subscription_ref(subscription), name)
        self._remember_route(ref, number)
        return ref

    def subscription_ref(self, number: int) -> SubscriptionRef:
        """The subscription with this number."""
        if (ref := self._subscription_refs.get(number)) is not None:
            return ref
        row = self._connection.execute(
            "SELECT uid, namespace, name FROM subscriptions WHERE id = ?", (number,)
        ).fetchone()
        ref = SubscriptionRef(*row)
        self._remember_subscription(ref, number)
        return ref

    def _remember_subscription(self, ref: SubscriptionRef, number: int) -> int:
        self._subscriptions[ref] = number
        self._subscription_refs[number] = ref
        return number

    def _remember_route(self, ref: RouteRef, number: int) -> int:
        self._routes[ref] = number
        self._route_refs[number] = ref
        return number


class Tally:
    """What one transaction changes of the sums; `write` puts it into the tables, once per route and subscription."""

    def __init__(self) -> None:
        self._routes: dict[int, _Sums] = {}
        self._bytes: dict[int, int] = {}
        self._events: dict[int, int] = {}

    def touch(self, route: int) -> None:
        """When *route* is due next may have changed."""
        self._routes.setdefault(route, _Sums())

    def count(self, route: int, *, unended: int = 0, dead: int = 0, deliveries: int = 0) -> None:
        """So many more (or fewer) deliveries of *route*."""
        sums = self._routes.setdefault(route, _Sums())
        sums.unended += unended
        sums.dead += dead
        sums.deliveries += deliveries

    def count_bytes(self, subscription: int, size: int) -> None:
        """So many more (or fewer) bytes pending."""
        self._bytes[subscription] = self._bytes.get(subscription, 0) + size

    def count_events(self, subscription: int, events: int) -> None:
        """So many more (or fewer) events."""
        self._events[subscription] = self._events.get(subscription, 0) + events

    def routes(self) -> Iterable[int]:
        """Every route that was touched."""
        return self._routes

    def write(self, connection: sqlite3.Connection) -> None:
        """Bring the tables up to date, and every touched route's next due time."""
        connection.executemany(
            """
            UPDATE routes SET unended = unended + ?, dead = dead + ?, deliveries = deliveries + ?, next_due = (
                SELECT due_at FROM deliveries WHERE route = routes.id AND state <= 1 ORDER BY due_at LIMIT 1
            ) WHERE id = ?
            """,
            [(sums.unended, sums.dead, sums.deliveries, route) for route, sums in self._routes.items()],
        )
        connection.executemany(
            "UPDATE subscriptions SET pending_bytes = pending_bytes + ?, events = events + ? WHERE id = ?",
            [
                (self._bytes.get(number, 0), self._events.get(number, 0), number)
                for number in self._bytes.keys() | self._events.keys()
            ],
        )
