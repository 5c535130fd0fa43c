"""What probes and Prometheus ask: `/livez`, `/readyz`, `/metrics`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hookline_operator.observe.objects import KindName
from hookline_operator.observe.verification import Found, Verification


@dataclass(frozen=True, slots=True)
class LaneState:
    """How a lane is doing."""

    name: str
    ready: int
    """Keys that could be worked on."""
    waiting: int
    """Keys whose work failed, or that are to be looked at later."""
    oldest: float
    """Seconds for which the first of those that are ready has waited."""


@dataclass(frozen=True, slots=True)
class OperatorState:
    """What is told of the operator."""

    complete: bool
    """Whether all that matters was listed once."""
    leading: bool
    term: int
    holder: str
    """Who holds the Lease."""
    published: bool
    """Whether a leader has published all that it found when it began."""
    behind: int
    """Events that came and are not applied yet."""
    feed_restarts: int
    writes: int
    lanes: tuple[LaneState, ...]

    @property
    def unready(self) -> str:
        """Why it isn't ready; "" if it is."""
        if not self.complete:
            return "the cluster's objects are not listed yet"
        if self.leading and not self.published:
            return "this replica leads, and has not published yet"
        return ""


class StateCollector(Collector):
    """Reads the state when Prometheus asks, so that nothing is counted in between."""

    def __init__(self, state: Callable[[], OperatorState], found: Callable[[], Mapping[KindName, Found]]) -> None:
        """*found*: what verifications have corrected since the start."""
        self._state, self._found = state, found

    def collect(self) -> Iterator[Metric]:
        state = self._state()
        yield _gauge("leading", "1 while this replica holds the Lease.", state.leading)
        yield _gauge("term", "Number of the last leadership of this replica; 0 before the first.", state.term)
        yield _gauge("complete", "1 once all that matters was listed.", state.complete)
        yield _gauge("published", "1 once a leader has published all that it found when it began.", state.published)
        yield _gauge("feed_events_behind", "Events that came and are not applied yet.", state.behind)
        yield _counter("feed_restarts", "How often watching was started again after a failure.", state.feed_restarts)
        yield _counter("api_writes", "Writes sent to the API server.", state.writes)
        yield from self._lanes(state.lanes)
        yield from self._verifications()

    def _lanes(self, lanes: Iterable[LaneState]) -> Iterator[Metric]:
        ready = GaugeMetricFamily("hookline_operator_queue_keys", "Keys to be worked on.", labels=["lane", "state"])
        oldest = GaugeMetricFamily(
            "hookline_operator_queue_oldest_seconds", "Age of the oldest key that is ready.", labels=["lane"]
        )
        for lane in lanes:
            ready.add_metric([lane.name, "ready"], lane.ready)
            ready.add_metric([lane.name, "waiting"], lane.waiting)
            oldest.add_metric([lane.name], lane.oldest)
        yield from (ready, oldest)

    def _verifications(self) -> Iterator[Metric]:
        name = "hookline_operator_verification_corrected"
        found = CounterMetricFamily(name, "What lists showed that feeds had missed.", labels=["kind", "what"])
        for kind, corrected in self._found().items():
            found.add_metric([kind.value, "changed"], corrected.changed)
            found.add_metric([kind.value, "ghost"], corrected.ghosts)
        yield found


class OpsServer:
    """The HTTP server; for one event loop."""

    def __init__(
        self, address: tuple[str, int], state: Callable[[], OperatorState], verification: Verification
    ) -> None:
        self._address, self._state = address, state
        self._registry = CollectorRegistry()
        self._registry.register(StateCollector(state, lambda: verification.found))
        self._runner: web.AppRunner | None = None
        self.port = 0
        """As bound."""

    async def start(self) -> None:
        """Listen; OSError if the address can't be had. "::" is every address, IPv4's too."""
        app = web.Application()
        app.add_routes(
            [web.get("/livez", self._live), web.get("/readyz", self._ready), web.get("/metrics", self._metrics)]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        host, port = self._address
        # asyncio makes a socket for "::" that takes IPv6 alone; the kubelet's probes come by either.
        site = web.TCPSite(self._runner, None if host == "::" else host, port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner:
            await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        why = self._state().unready
        return web.Response(text=f"{why}\n", status=503) if why else web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(f"hookline_operator_{name}", says, value=float(value))


def _counter(name: str, says: str, value: float) -> Metric:
    return CounterMetricFamily(f"hookline_operator_{name}", says, value=float(value))
