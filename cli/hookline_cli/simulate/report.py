"""What came of a plan, held against the two-second rule."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hookline_cli.simulate.plan import Kind, Shot


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request."""

    begun: float
    """Seconds after the plan began."""
    seconds: float
    """Until the whole answer was there, connecting included, or until it failed."""
    status: int
    """0: no answer."""
    error: str
    """Why there was no answer."""
    answer: bytes
    """At most 64 KiB of the answer's body."""

    @property
    def outcome(self) -> str:
        """The status, or why there was none."""
        return str(self.status) if self.status else self.error


@dataclass(frozen=True, slots=True)
class Sent:
    """One shot and all its attempts."""

    shot: Shot
    attempts: tuple[Attempt, ...]

    @property
    def accepted(self) -> bool:
        """Whether an attempt was answered with 2xx."""
        return any(200 <= attempt.status < 300 for attempt in self.attempts)

    @property
    def as_expected(self) -> bool:
        """Whether it ended as it should: an event accepted, anything else refused with its status."""
        if self.shot.expected == 200:
            return self.accepted
        return self.attempts[-1].status == self.shot.expected

    @property
    def lost(self) -> bool:
        """Whether an event was given up: CometChat keeps nothing."""
        return self.shot.expected == 200 and not self.accepted


def record_of(sent: Sent) -> dict[str, Any]:
    """What a check from end to end wants to know of a shot."""
    shot = sent.shot
    return {
        "number": shot.number,
        "kind": shot.kind.value,
        "name": shot.name,
        "mark": shot.mark,
        "repeats": shot.repeats,
        "accepted": sent.accepted,
        "attempts": [attempt.outcome for attempt in sent.attempts],
    }


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that *share* of all values do not exceed; 0 for none."""
    if not sorted_values:
        return 0.0
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


@dataclass(frozen=True)
class Report:
    """How the endpoint did."""

    url: str
    limit: float
    """Seconds that an answer may take."""
    seconds: float
    """That the plan took."""
    sent: Sequence[Sent]
    """In the order of the plan."""

    @cached_property
    def times(self) -> Sequence[float]:
        """Seconds of all attempts that were answered, sorted."""
        return sorted(attempt.seconds for sent in self.sent for attempt in sent.attempts if attempt.status)

    @property
    def lost(self) -> Sequence[Sent]:
        """Events that were never accepted."""
        return [sent for sent in self.sent if sent.lost]

    @property
    def unexpected(self) -> Sequence[Sent]:
        """Shots that did not end as they should, the lost events among them."""
        return [sent for sent in self.sent if not sent.as_expected]

    @property
    def over_limit(self) -> int:
        """Attempts that were not answered in time."""
        return sum(attempt.seconds >= self.limit for sent in self.sent for attempt in sent.attempts)

    @property
    def first_attempts_failed(self) -> int:
        """Shots that needed another attempt, or would have."""
        return sum(not Sent(sent.shot, sent.attempts[:1]).as_expected for sent in self.sent)

    @property
    def well(self) -> bool:
        """Whether nothing was lost and every refusal was the right one."""
        return not self.unexpected

    def as_object(self) -> dict[str, Any]:
        """For scripts: counts, and times in milliseconds."""
        attempts = [attempt for sent in self.sent for attempt in sent.attempts]
        return {
            "url": self.url,
            "well": self.well,
            "sent": len(self.sent),
            "accepted": sum(sent.accepted for sent in self.sent),
            "lost": len(self.lost),
            "unexpected": len(self.unexpected),
            "attempts": len(attempts),
            "firstAttemptsFailed": self.first_attempts_failed,
            "outcomes": dict(Counter(attempt.outcome for attempt in attempts).most_common()),
            "kinds": {kind: self._of(kind) for kind in Kind if any(sent.shot.kind is kind for sent in self.sent)},
            "overLimit": self.over_limit,
            "limitMs": round(self.limit * 1000),
            "p50Ms": self._milliseconds(0.5),
            "p99Ms": self._milliseconds(0.99),
            "maxMs": self._milliseconds(1.0),
            "seconds": round(self.seconds, 3),
        }

    def _of(self, kind: Kind) -> dict[str, int]:
        of_kind = [sent for sent in self.sent if sent.shot.kind is kind]
        return {"sent": len(of_kind), "asExpected": sum(sent.as_expected for sent in of_kind)}

    def _milliseconds(self, share: float) -> float:
        return round(percentile(self.times, share) * 1000, 2)
