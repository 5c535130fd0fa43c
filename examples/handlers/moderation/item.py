"""A message in the queue, and whether anybody has to look at it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from moderation.reading import Subject


class State(StrEnum):
    """Of an item."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Reason:
    """A finding, as the queue keeps it."""

    kind: str
    content_type: str
    at: int
    withheld: bool
    text: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.content_type}): {self.text}"


@dataclass(frozen=True, slots=True)
class Settlement:
    """What was decided last, and up to which finding it holds."""

    verdict: State
    until: int
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class Item:
    """A message in the queue."""

    number: int
    """What reviewers call it."""
    subject: Subject
    queued_at: float
    reasons: Sequence[Reason]
    """Never empty; the latest last."""
    settlement: Settlement | None

    @property
    def latest(self) -> int:
        """When the last finding was made."""
        return self.reasons[-1].at

    @property
    def state(self) -> State:
        """Open while there is a finding later than what was settled, in whatever order they came in."""
        if self.settlement is None or self.latest > self.settlement.until:
            return State.OPEN
        return self.settlement.verdict

    @property
    def withheld(self) -> bool:
        """Whether people can't see the message, as far as is known here."""
        if self.state is not State.OPEN:
            return self.state is State.REJECTED
        settled = self.settlement.until if self.settlement else -1
        return any(reason.withheld for reason in self.reasons if reason.at > settled)
