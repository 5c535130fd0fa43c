"""docs/operate/metrics.md is what is exposed: names, types and labels, none missing and none too many."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from hookline_receiver.agent import numbers
from hookline_receiver.event import RouteRef, SubscriptionRef
from hookline_receiver.forwarder.breaker import BreakerState
from hookline_receiver.forwarder.metrics import Metrics
from hookline_receiver.ops.exposition import WorkersCollector
from hookline_receiver.ops.metrics import CATALOGUE
from hookline_receiver.store.port import RouteBacklog
from support.metrics_page import Shape, on_the_page

NOON = 1_800_000_000 * 10**9


def backlog(routes: int) -> list[RouteBacklog]:
    refs = [RouteRef(SubscriptionRef(f"uid-{n}", "acme", f"chat-{n}"), "notify") for n in range(routes)]
    return [RouteBacklog(ref, 1, 1, NOON - n) for n, ref in enumerate(refs)]


def a_busy_forwarder(routes: int = 1) -> Metrics:
    """Metrics in which everything has happened once."""
    metrics = Metrics()
    metrics.unrouted("NoRouteMatched")
    metrics.attempt("Accepted")
    metrics.ended("Delivered", 1)
    metrics.breakers(dict.fromkeys(BreakerState, 1))
    metrics.backlog(backlog(routes), NOON)
    return metrics


def shapes(families: Iterator[Metric], prefix: str) -> dict[str, Shape]:
    return {
        family.name.removeprefix(prefix): (
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
        )
        for family in families
    }


def test_the_forwarders_metrics_are_on_the_page() -> None:
    """Whoever is woken by one looks it up."""
    exposed = shapes(iter(a_busy_forwarder().registry.collect()), "hookline_forwarder_")

    assert on_the_page("Forwarder") == exposed


def test_the_receivers_metrics_are_on_the_page(tmp_path: Path) -> None:
    """Whoever is woken by one looks it up."""
    exposed = {}
    for family in WorkersCollector(tmp_path).collect():
        known = CATALOGUE.get(family.name)
        # The client library keeps a family's labels to itself until there is a sample.
        labels = known.labels if known else family._labelnames  # type: ignore[attr-defined]
        exposed[family.name.removeprefix("hookline_receiver_")] = (family.type, frozenset(labels))

    assert on_the_page("Receiver") == exposed


def test_the_agents_metrics_are_on_the_page() -> None:
    """Whoever is woken by one looks it up."""
    page = numbers.page(dict.fromkeys((name.removeprefix("hookline_agent_") for name in numbers.KINDS), 0.0))
    exposed = shapes(text_string_to_metric_families(page.decode()), "hookline_agent_")

    assert on_the_page("Agent") == exposed


@pytest.mark.parametrize("routes", [100, 10_000])
def test_the_forwarders_page_stays_small_with_many_routes(routes: int) -> None:
    """Prometheus pays for each line for ever."""
    lines = a_busy_forwarder(routes).page().decode().splitlines()

    assert sum(line.startswith("hookline_forwarder_route_") for line in lines) == 300
    assert len(lines) < 450


def test_routes_that_wait_no_more_leave_the_page() -> None:
    """A name that was once shown must not stay for ever: that is how cardinality grows."""
    metrics = a_busy_forwarder(100)

    metrics.backlog([], NOON)

    assert "hookline_forwarder_route_" not in "".join(
        line for line in metrics.page().decode().splitlines() if not line.startswith("#")
    )
