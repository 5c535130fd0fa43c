"""What one visit to the store's thread does: settle first, so that capacity and order are free, then claim, then look."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hookline_receiver.event import RouteRef
from hookline_receiver.store.port import Claimed, DueRoute, EventStore, Settlement, StoreUnavailable


@dataclass(frozen=True, slots=True)
class Order:
    """What to claim of a route."""

    route: RouteRef
    limit: int
    max_bytes: int
    lease_until: int
    probe: bool
    """Whether it is to find out if the handler is back."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the store is asked."""

    settlements: Sequence[Settlement]
    holds: Mapping[RouteRef, int]
    orders: Sequence[Order]
    look: int
    """How many due routes to look at."""


@dataclass(frozen=True, slots=True)
class Turned:
    """What the store did."""

    settled: Collection[int] | None
    """Delivery ids that were settled; None: it could not be done, ask again."""
    claims: Sequence[tuple[Order, Sequence[Claimed]]]
    due: Sequence[DueRoute]
    trouble: str
    """Why the rest was not done; "" where it was."""


def work_off(store: EventStore, turn: Turn, now: int) -> Turned:
    """Do *turn* on *store*; what the store could not do now is named and left undone."""
    settled: Collection[int] | None = None
    claims: list[tuple[Order, Sequence[Claimed]]] = []
    due: Sequence[DueRoute] = ()
    try:
        settled = store.settle(turn.settlements, now) if turn.settlements else ()
        for route, until in turn.holds.items():
            store.hold(route, until)
        for order in turn.orders:
            claims.append((order, store.claim(order.route, order.limit, order.max_bytes, now, order.lease_until)))
        due = store.due_routes(turn.look)
    except StoreUnavailable as error:
        return Turned(settled, claims, due, str(error) or "the store is unavailable")
    return Turned(settled, claims, due, "")
