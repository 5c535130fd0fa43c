"""What the forwarder counts, for Prometheus; cardinality does not grow with the number of subscriptions."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hookline_receiver.forwarder.breaker import BreakerState
from hookline_receiver.store.port import RouteBacklog

_DELIVERY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400)
_ROUTE = ("namespace", "subscription", "route")


class Metrics:
    """
    All of the forwarder's metrics; updated from the event loop and from the store's thread.

    Gauges by route are kept for the *routes* that wait longest only; totals are of all.
    """

    def __init__(self, routes: int = 100) -> None:
        self.registry = CollectorRegistry()
        self._routes = routes
        self._shown: set[tuple[str, str, str]] = set()
        self._carrying()
        self._delivering()
        self._waiting()

    def _carrying(self) -> None:
        self._carried = self._counter("carried_events", "Events taken from journals into the event store")
        self._carried_bytes = self._counter("carried_bytes", "Bytes of records taken from journals")
        self._duplicates = self._counter("duplicates", "Events recognised as one that is already there")
        self._unrouted = self._counter("unrouted_events", "Events that went to no route", "reason")
        self._misfits = self._counter("match_failures", "Events on which a route's expression failed")
        self._damage = self._counter("journal_damage_bytes", "Bytes of journals that could not be read")
        self._unreadable = self._counter("unreadable_records", "Records of journals kept aside")
        self._lag = self._gauge("carry_lag_seconds", "How far the slowest worker's journal is behind the clock")

    def _delivering(self) -> None:
        self._attempts = self._counter("attempts", "Deliveries tried, by how it went", "outcome")
        self._ended = self._counter("deliveries_ended", "Deliveries that ended, by how", "result")
        self._lost = self._counter("leases_lost", "Outcomes that came after the lease was taken over")
        self._trouble = self._counter("store_unavailable", "Times the event store could not do what it was asked")
        self._expired = self._counter("deliveries_swept", "Deliveries that died of age or of the loss of their route")
        self._time = Histogram(
            "hookline_forwarder_time_to_delivery_seconds",
            "From acceptance to the handler's acceptance",
            buckets=_DELIVERY_BUCKETS,
            registry=self.registry,
        )
        self._calls = Histogram(
            "hookline_forwarder_call_seconds",
            "Duration of calls to handlers",
            buckets=_DELIVERY_BUCKETS[:13],
            registry=self.registry,
        )
        self._breakers = self._gauge("breakers", "Handlers whose breaker is not closed, by state", "state")

    def _waiting(self) -> None:
        self._pending = self._gauge("pending_deliveries", "Deliveries that wait or are under way")
        self._dead = self._gauge("dead_letters", "Dead letters that are kept")
        self._oldest = self._gauge("oldest_pending_seconds", "Age of the oldest pending delivery, 0 if there is none")
        self._route_pending = self._gauge(
            "route_pending_deliveries", "The same of the routes that wait longest", *_ROUTE
        )
        self._route_dead = self._gauge("route_dead_letters", "Dead letters of these routes", *_ROUTE)
        self._route_oldest = self._gauge("route_oldest_pending_seconds", "Oldest pending age of these routes", *_ROUTE)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"hookline_forwarder_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"hookline_forwarder_{name}", text, labels, registry=self.registry)

    # --- carrying

    def carried(self, events: int, size: int, duplicates: int) -> None:
        """A batch was carried."""
        self._carried.inc(events)
        self._carried_bytes.inc(size)
        self._duplicates.inc(duplicates)

    def lag(self, nanoseconds: int) -> None:
        """How far behind the slowest worker is."""
        self._lag.set(nanoseconds / 1e9)

    def damaged(self, length: int) -> None:
        """So many bytes of a journal are damaged."""
        self._damage.inc(length)

    def unreadable(self) -> None:
        """A record could not be read."""
        self._unreadable.inc()

    def misfit(self) -> None:
        """An expression failed."""
        self._misfits.inc()

    def unrouted(self, reason: str) -> None:
        """An event went nowhere."""
        self._unrouted.labels(reason).inc()

    # --- delivering

    def attempt(self, code: str) -> None:
        """A delivery was tried."""
        self._attempts.labels(code).inc()

    def ended(self, result: str, since_received: int) -> None:
        """A delivery ended."""
        self._ended.labels(result).inc()
        if result == "Delivered":
            self._time.observe(max(0.0, since_received / 1e9))

    def call(self, seconds: float, events: int) -> None:
        """A call ended."""
        self._calls.observe(seconds)

    def lease_lost(self, deliveries: int) -> None:
        """Settlements were refused."""
        self._lost.inc(deliveries)

    def store_unavailable(self) -> None:
        """The store could not."""
        self._trouble.inc()

    def swept(self, deliveries: int) -> None:
        """Upkeep ended deliveries."""
        self._expired.inc(deliveries)

    # --- waiting

    def breakers(self, states: dict[BreakerState, int]) -> None:
        """How many breakers are not closed."""
        for state, count in states.items():
            self._breakers.labels(state.value).set(count)

    def backlog(self, routes: Sequence[RouteBacklog], now: int) -> None:
        """How much waits."""
        self._pending.set(sum(one.pending for one in routes))
        self._dead.set(sum(one.dead for one in routes))
        oldest = min((one.oldest_pending for one in routes if one.oldest_pending is not None), default=now)
        self._oldest.set(max(0.0, (now - oldest) / 1e9))
        self._by_route(sorted(routes, key=lambda one: one.oldest_pending or now)[: self._routes], now)

    def _by_route(self, routes: Sequence[RouteBacklog], now: int) -> None:
        shown: set[tuple[str, str, str]] = set()
        for one in routes:
            labels = (one.route.subscription.namespace, one.route.subscription.name, one.route.name)
            shown.add(labels)
            self._route_pending.labels(*labels).set(one.pending)
            self._route_dead.labels(*labels).set(one.dead)
            age = now - one.oldest_pending if one.oldest_pending is not None else 0
            self._route_oldest.labels(*labels).set(max(0.0, age / 1e9))
        for labels in self._shown - shown:
            for gauge in (self._route_pending, self._route_dead, self._route_oldest):
                gauge.remove(*labels)
        self._shown = shown

    def page(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self.registry)
