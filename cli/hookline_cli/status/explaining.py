"""A status in a sentence. Pure: an object as the API server has it comes in, whatever it may hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hookline_cli.status.advice import DO, ELSE, NOT_LOOKED_AT

Json = Mapping[str, Any]

USUAL = ("Accepted", "ResolvedRefs", "Programmed", "Ready")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is to be said of one object."""

    kind: str
    namespace: str
    name: str
    ready: bool
    """Whether the operator says so of the object as it is now."""
    reason: str
    """One word; "" where there is no status."""
    why: str
    """A sentence; "" where it is ready."""
    todo: str
    """What to do about it; "" where it is ready."""
    url: str
    notes: tuple[str, ...]
    """What a person should know though it is ready."""

    @property
    def state(self) -> str:
        """A word for the table."""
        return "yes" if self.ready else f"no: {self.reason}" if self.reason else "no"


def explain(item: Json) -> Explanation:
    """Of a WebhookSubscription or WebhookGateway."""
    metadata, status = _mapping(item.get("metadata")), _mapping(item.get("status"))
    conditions = _conditions(status)
    kind = str(item.get("kind", ""))
    ready, reason, why, todo = _verdict(kind, int(metadata.get("generation") or 0), conditions)
    return Explanation(
        kind=kind,
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        ready=ready,
        reason=reason,
        why=why,
        todo=todo,
        url=str(status.get("url") or ""),
        notes=(*_notes(conditions), *_unused(str(metadata.get("namespace", "")), status)),
    )


def _verdict(kind: str, generation: int, conditions: Mapping[str, Json]) -> tuple[bool, str, str, str]:
    ready = conditions.get("Ready")
    if ready is None:
        return False, "", "no operator has looked at it yet", NOT_LOOKED_AT.get(kind, ELSE)
    seen = int(ready.get("observedGeneration") or 0)
    if seen < generation:
        why = f"the operator has not looked at its newest change yet (generation {generation}, its status is of {seen})"
        return False, "Outdated", why, "wait a moment; if it lasts, look at the operator's log"
    reason = str(ready.get("reason", ""))
    if ready.get("status") == "True":
        return True, reason, "", ""
    return False, reason, str(ready.get("message", "")) or f"{reason}, without a message", DO.get(reason, ELSE)


def _notes(conditions: Mapping[str, Json]) -> list[str]:
    """Remarks on what is true, and what others than the usual conditions say, if they are true."""
    remarks = [conditions[kind].get("message") for kind in USUAL if kind in conditions and _is_true(conditions[kind])]
    further = [
        f"{kind}: {each.get('message') or each.get('reason')}"
        for kind, each in conditions.items()
        if kind not in USUAL and _is_true(each)
    ]
    return [str(each) for each in (*remarks, *further) if each]


def _unused(namespace: str, status: Json) -> list[str]:
    """Where nobody has entered yet what was generated."""
    found = status.get("credentials")
    listed = [each for each in (found if isinstance(found, list) else []) if isinstance(each, Mapping)]
    active = [str(each.get("secretName")) for each in listed if each.get("state") == "Active"]
    if not active or any(each.get("usedSince") for each in listed):
        return []
    where = f"Secret {namespace}/{active[0]}"
    return [f"enter username and password of {where} at CometChat: they were not used yet"]


def _is_true(condition: Json) -> bool:
    return condition.get("status") == "True"


def _conditions(status: Json) -> dict[str, Json]:
    found = status.get("conditions")
    listed = found if isinstance(found, list) else []
    return {str(each.get("type", "")): each for each in listed if isinstance(each, Mapping)}


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}
