"""
What to write into a status: what it should say held against what it says, by someone who can wait.

Pure. Conditions and fields of other owners are left as they are. What is likely to be over in a moment is not written at
once: a change that takes effect within `SOON` costs one write, not two, and a new leader that hears nothing of the pods
yet writes nothing at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hookline_operator.decide.conditions import LASTING, SOON, Said, Wanted

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contribution:
    """What another lane has to say in an object's status."""

    conditions: tuple[Said, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    """None: to be absent."""
    types: frozenset[str] = frozenset()
    """Conditions it owns: those that it does not list are taken away."""
    desired_pods: int | None = None
    """Of a gateway: receiver pods that there should be now."""

    def __or__(self, other: "Contribution") -> "Contribution":
        """Both; the other's word counts where both speak of the same."""
        return Contribution(
            (*self.conditions, *other.conditions),
            {**self.fields, **other.fields},
            self.types | other.types,
            self.desired_pods if other.desired_pods is None else other.desired_pods,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A status that differs from what it should be."""

    conditions: tuple[Json, ...]
    """All of them, as they should be, those of other owners included."""
    fields: Mapping[str, object]
    """What to merge beside them; None removes."""
    patience: float
    """Seconds to wait in case the difference goes away by itself."""

    @property
    def status(self) -> Json:
        """What is merged into the status."""
        return {**self.fields, "conditions": list(self.conditions)}


def decide(wanted: Wanted, further: Contribution, status: Mapping[str, object], now: str) -> Change | None:
    """What to write over *status*, at *now* (RFC 3339); None if it says already what it should."""
    current = conditions_in(status)
    said = {each.type: each for each in (*wanted.conditions, *further.conditions)}
    ours = [_written(each, wanted.generation, current.get(each.type), now) for each in said.values()]
    owned = said.keys() | further.types
    theirs = [each for each in current.values() if each.get("type") not in owned]
    fields = _changed_fields({**wanted.fields, **further.fields}, status)
    conditions = (*ours, *theirs)
    changed = [each for each in ours if current.get(str(each["type"])) != each]
    gone = any(kind in current and kind not in said for kind in further.types)
    if not changed and not gone and not fields:
        return None
    votes = [_patience(said[str(each["type"])], current.get(str(each["type"])), wanted.generation) for each in changed]
    return Change(conditions, fields, _soonest(votes, bool(fields), gone, wanted))


def conditions_in(status: Mapping[str, object]) -> dict[str, Json]:
    """The conditions of a status by their type, whatever it holds."""
    found = status.get("conditions")
    listed = found if isinstance(found, list) else []
    return {str(each.get("type", "")): each for each in listed if isinstance(each, dict)}


def _written(said: Said, generation: int, current: Json | None, now: str) -> Json:
    same = current is not None and current.get("status") == said.status
    since = current.get("lastTransitionTime") if same and current else None
    return {
        "type": said.type,
        "status": said.status,
        "reason": said.reason,
        "message": said.message,
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
    }


def _changed_fields(wanted: Mapping[str, object], status: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in wanted.items() if status.get(name) != value}


def _patience(said: Said, current: Json | None, generation: int) -> float | None:
    """Seconds that this news may wait; None: good news, which waits for nothing but does not hurry other news either."""
    known = current is not None and current.get("observedGeneration") == generation
    if not said.true:
        was_true = known and current is not None and current.get("status") == "True"
        return max(said.patience, said.patience_once_true) if was_true else said.patience
    if known and current is not None and current.get("status") == "True":
        return LASTING if said.message else SOON
    return None


def _soonest(votes: list[float | None], fields: bool, gone: bool, wanted: Wanted) -> float:
    bad = [vote for vote in votes if vote is not None]
    if bad:
        return min(bad)
    if votes or gone:
        return 0.0
    return wanted.fields_patience if fields else 0.0
