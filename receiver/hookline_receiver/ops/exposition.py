"""The metrics of all workers of this pod as Prometheus reads them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from hookline_receiver.auth.last_used import last_used
from hookline_receiver.ops.metrics import BUCKETS, CATALOGUE, SUM, Kind
from hookline_receiver.workers.cells import Key, read_cells
from hookline_receiver.workers.slot import all_slots
from hookline_receiver.workers.status import WorkerStatus, living

MAX_CREDENTIALS = 1000
"""Credentials whose last use is shown as a metric: the newest used; `/credentials` on the ops port has all of them."""


class WorkersCollector(Collector):
    """Reads what all workers have counted."""

    def __init__(self, workers: Path) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """Every metric, summed over the workers."""
        yield from _counted(_summed(self._workers))
        yield from _states(living(self._workers))
        used = GaugeMetricFamily(
            "hookline_receiver_credential_last_used_timestamp_seconds",
            "When a credential was last shown and right; the 1,000 newest.",
            labels=["credential"],
        )
        newest = sorted(last_used(self._workers).items(), key=lambda item: -item[1])[:MAX_CREDENTIALS]
        for credential, time in newest:
            used.add_metric([credential], time)
        yield used


def exposition(workers: Path, accept: str) -> tuple[bytes, str]:
    """The metrics and their content type, in the format that the *accept* header asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(WorkersCollector(workers))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


def _summed(workers: Path) -> Mapping[str, Mapping[tuple[str, ...], Mapping[str, float]]]:
    """Metric → label values → part → sum over all workers."""
    sums: dict[str, dict[tuple[str, ...], dict[str, float]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(float))
    )
    for folder in all_slots(workers):
        key: Key
        for key, value in read_cells(folder):
            metric, labels, part = key
            sums[metric][labels][part] += value
    return sums


def _counted(sums: Mapping[str, Mapping[tuple[str, ...], Mapping[str, float]]]) -> Iterator[Metric]:
    for name, metric in CATALOGUE.items():
        family: CounterMetricFamily | HistogramMetricFamily
        if metric.kind is Kind.COUNTER:
            family = CounterMetricFamily(name, metric.help, labels=metric.labels)
            for labels, parts in sorted(sums.get(name, {}).items()):
                family.add_metric(labels, parts.get("", 0.0))
        else:
            family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
            for labels, parts in sorted(sums.get(name, {}).items()):
                family.add_metric(labels, _cumulative(parts), parts.get(SUM, 0.0))
        yield family


def _cumulative(parts: Mapping[str, float]) -> Sequence[tuple[str, float]]:
    count, buckets = 0.0, []
    for n, bound in enumerate([*map(str, BUCKETS), "+Inf"]):
        count += parts.get(str(n), 0.0)
        buckets.append((bound, count))
    return buckets


def _states(statuses: Sequence[WorkerStatus]) -> Iterator[Metric]:
    yield GaugeMetricFamily("hookline_receiver_workers", "Workers that live.", value=len(statuses))
    yield GaugeMetricFamily(
        "hookline_receiver_workers_ready",
        "Workers that could make an event durable now.",
        value=sum(not status.not_ready for status in statuses),
    )
    yield GaugeMetricFamily(
        "hookline_receiver_routes_stale",
        "Workers that can't load the newest routes and serve older ones, or none.",
        value=sum(bool(status.routes_trouble) for status in statuses),
    )
    versions = GaugeMetricFamily(
        "hookline_receiver_routes_served", "Workers by the version they serve.", labels=["version"]
    )
    for version in sorted({status.version for status in statuses}):
        versions.add_metric([version], sum(status.version == version for status in statuses))
    yield versions
    yield from _shares(statuses)


def _shares(statuses: Sequence[WorkerStatus]) -> Iterator[Metric]:
    shares = GaugeMetricFamily(
        "hookline_receiver_share_subscriptions",
        "Subscriptions that hold more than this part of their share of storage.",
        labels=["above"],
    )
    shares.add_metric(["0.5"], max((len(status.above_half_share) for status in statuses), default=0))
    shares.add_metric(["0.8"], max((status.above_most_share for status in statuses), default=0))
    yield shares
    held = GaugeMetricFamily(
        "hookline_receiver_share_pending_bytes",
        "Bytes pending of subscriptions above half of their share; at most 100.",
        labels=["uid"],
    )
    most: dict[str, int] = {}
    for status in statuses:
        for uid, size in status.above_half_share.items():
            most[uid] = max(size, most.get(uid, 0))
    for uid, size in sorted(most.items()):
        held.add_metric([uid], size)
    yield held
