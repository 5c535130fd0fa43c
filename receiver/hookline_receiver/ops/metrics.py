"""
What is counted and measured of requests, right over several workers.

Counted in shared cells (`cells`), read and summed over all workers, dead ones too, when somebody asks (`exposition`).

Labels are bounded. Statuses and reasons are few. A subscription has counters of its own if it is among the first
`metrics_subscriptions` seen (1,000 by default): for each 4 cells a worker and 4 lines a scrape; the rest are counted
together as `namespace="", name=""`. With 10,000 subscriptions a scrape so stays below 500 KB.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from hookline_receiver.auth.authenticate import Way
from hookline_receiver.event import SubscriptionRef
from hookline_receiver.verdict import STATUS, Reason
from hookline_receiver.workers.cells import Cells

BUCKETS: Sequence[float] = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 5.0)
"""Upper bounds in seconds; 2 s is the sender's patience."""

SUM = "sum"


class Kind(Enum):
    """How a metric adds up."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric is, for whoever reads it."""

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


CATALOGUE: Mapping[str, Metric] = MappingProxyType(
    {
        "hookline_receiver_requests": Metric(
            Kind.COUNTER, "Requests answered, by status and, where refused, reason.", ("status", "reason")
        ),
        "hookline_receiver_accepted_events": Metric(Kind.COUNTER, "Events made durable and answered 200."),
        "hookline_receiver_accepted_bytes": Metric(Kind.COUNTER, "Bytes of the bodies of accepted events, unpacked."),
        "hookline_receiver_subscription_events": Metric(
            Kind.COUNTER,
            "Accepted events by subscription; without a name: all that have no counter.",
            ("namespace", "name"),
        ),
        "hookline_receiver_subscription_refused": Metric(
            Kind.COUNTER,
            "Refused requests by subscription, once its path was known.",
            ("namespace", "name", "reason"),
        ),
        "hookline_receiver_accept_seconds": Metric(
            Kind.HISTOGRAM, "From the request's head to its answer, for accepted events."
        ),
        "hookline_receiver_auth_seconds": Metric(
            Kind.HISTOGRAM, "Time to judge an Authorization header: cached, fast, slow or failed.", ("way",)
        ),
        "hookline_receiver_journal_append_seconds": Metric(
            Kind.HISTOGRAM, "Time until an event was on stable storage."
        ),
        "hookline_receiver_edge_refused": Metric(
            Kind.COUNTER, "Connections and requests that the HTTP server ended before they were judged.", ("reason",)
        ),
        "hookline_receiver_edge_connections": Metric(Kind.COUNTER, "Connections accepted."),
    }
)
"""Every metric that is kept in cells. Counters get `_total` when shown."""


class Histogram:
    """A histogram's cells."""

    def __init__(self, cells: Cells, metric: str, labels: tuple[str, ...] = ()) -> None:
        self._values = cells.values
        self._buckets = [cells.cell((metric, labels, str(n))) for n in range(len(BUCKETS) + 1)]
        self._sum = cells.cell((metric, labels, SUM))

    def observe(self, seconds: float) -> None:
        """Count a duration."""
        self._values[self._buckets[bisect_left(BUCKETS, seconds)]] += 1
        self._values[self._sum] += seconds


class Metrics:
    """One worker's counters, by what happens to a request. Everything here is on the hot path: no look-up by text."""

    def __init__(self, cells: Cells, max_subscriptions: int) -> None:
        self._cells = cells
        self._values = cells.values
        self._max_subscriptions = max_subscriptions
        self._subscriptions: dict[str, tuple[str, str]] = {}
        self._subscription_cells: dict[tuple[str, str], int] = {}
        self._ok = cells.cell(("hookline_receiver_requests", ("200", ""), ""))
        self._refused = {
            reason: cells.cell(("hookline_receiver_requests", (str(STATUS[reason]), reason.value), ""))
            for reason in Reason
        }
        self._events = cells.cell(("hookline_receiver_accepted_events", (), ""))
        self._bytes = cells.cell(("hookline_receiver_accepted_bytes", (), ""))
        self._accept = Histogram(cells, "hookline_receiver_accept_seconds")
        self._append = Histogram(cells, "hookline_receiver_journal_append_seconds")
        self._auth = {way: Histogram(cells, "hookline_receiver_auth_seconds", (way.value,)) for way in Way}

    def accepted(self, subscription: SubscriptionRef, size: int, seconds: float) -> None:
        """An event of *size* bytes was answered 200, *seconds* after its head had come."""
        values = self._values
        values[self._ok] += 1
        values[self._events] += 1
        values[self._bytes] += size
        values[self._of(subscription, "")] += 1
        self._accept.observe(seconds)

    def refused(self, reason: Reason, subscription: SubscriptionRef | None) -> None:
        """A request was refused; *subscription* is None where its path is unknown."""
        self._values[self._refused[reason]] += 1
        if subscription is not None:
            self._values[self._of(subscription, reason.value)] += 1

    def authenticated(self, way: Way, seconds: float) -> None:
        """A header was judged."""
        self._auth[way].observe(seconds)

    def appended(self, seconds: float) -> None:
        """An event became durable."""
        self._append.observe(seconds)

    def count(self, metric: str, labels: tuple[str, ...], by: float) -> None:
        """Add to a counter that is not on the hot path."""
        self._values[self._cells.cell((metric, labels, ""))] += by

    def _of(self, subscription: SubscriptionRef, reason: str) -> int:
        cell = self._subscription_cells.get((subscription.uid, reason))
        return self._new_cell(subscription, reason) if cell is None else cell

    def _new_cell(self, subscription: SubscriptionRef, reason: str) -> int:
        labels = self._subscriptions.get(subscription.uid)
        if labels is None:
            room = len(self._subscriptions) < self._max_subscriptions
            if not room:
                return self._subscription_cell("", "", reason)
            labels = self._subscriptions[subscription.uid] = (subscription.namespace, subscription.name)
        cell = self._subscription_cell(*labels, reason)
        self._subscription_cells[subscription.uid, reason] = cell
        return cell

    def _subscription_cell(self, namespace: str, name: str, reason: str) -> int:
        if reason:
            return self._cells.cell(("hookline_receiver_subscription_refused", (namespace, name, reason), ""))
        return self._cells.cell(("hookline_receiver_subscription_events", (namespace, name), ""))
