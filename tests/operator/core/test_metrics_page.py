"""The operator's part of docs/operate/metrics.md is what it exposes."""

from prometheus_client import CollectorRegistry

from hookline_operator.observe.objects import KindName
from hookline_operator.observe.verification import Found
from hookline_operator.ops import LaneState, OperatorState, StateCollector
from support.metrics_page import on_the_page


def test_the_operators_metrics_are_on_the_page() -> None:
    """Whoever is woken by one looks it up."""
    state = OperatorState(
        complete=True,
        leading=True,
        term=1,
        holder="one",
        published=True,
        behind=0,
        feed_restarts=0,
        writes=0,
        lanes=(LaneState("routes", 1, 1, 0.5),),
    )
    registry = CollectorRegistry()
    registry.register(StateCollector(lambda: state, lambda: {KindName.SECRETS: Found(1, 1)}))
    exposed = {
        family.name.removeprefix("hookline_operator_"): (
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels),
        )
        for family in registry.collect()
    }

    assert on_the_page("Operator") == exposed
