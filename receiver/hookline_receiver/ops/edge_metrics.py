"""What the HTTP server counts of itself, carried over into the counters that all workers share."""

from collections import Counter

from hookline_receiver.edge.lifecycle import EdgeCounters
from hookline_receiver.ops.metrics import Metrics


class EdgeMetrics:
    """Adds what has come since the last look. A worker that is killed takes the last second's with it."""

    def __init__(self, counters: EdgeCounters, metrics: Metrics) -> None:
        self._counters = counters
        self._metrics = metrics
        self._accepted = 0
        self._refused: Counter[str] = Counter()

    def sample(self) -> None:
        """Look."""
        accepted, refused = self._counters.accepted, Counter(self._counters.refused)
        self._metrics.count("hookline_receiver_edge_connections", (), accepted - self._accepted)
        for reason, count in refused.items():
            self._metrics.count("hookline_receiver_edge_refused", (reason,), count - self._refused[reason])
        self._accepted, self._refused = accepted, refused
