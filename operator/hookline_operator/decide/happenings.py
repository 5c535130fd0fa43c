"""
Which changes of a status a person should hear of: Kubernetes Events, made of conditions before and after.

Pure. Only what a written status changed becomes an Event, so a restart or a new leader makes none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hookline_operator.decide.conditions import READY, TYPES
from hookline_operator.decide.status import Json
from hookline_operator.observe.objects import Declared
from hookline_routes.problem import shortened

MAX_NOTE = 1024
"""Characters of a note; the API's own limit."""
API_VERSION = "hookline.dev/v1alpha1"
CONTROLLER = "hookline.dev/operator"


@dataclass(frozen=True, slots=True)
class Happening:
    """One Event's content."""

    warning: bool
    reason: str
    note: str


def happenings(before: Mapping[str, Json], after: Mapping[str, Json]) -> tuple[Happening, ...]:
    """What happened between two sets of conditions, by their type."""
    found = [_about_ready(before.get(READY), after.get(READY))]
    found += [_about(before.get(kind), after[kind]) for kind in sorted(after) if kind not in TYPES]
    return tuple(each for each in found if each is not None)


def event_object(declared: Declared, happening: Happening, *, name: str, at: str, instance: str) -> dict[str, Any]:
    """The Event (events.k8s.io/v1) to create in the object's namespace; *at* is RFC 3339 with microseconds."""
    key = declared.key
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": key.namespace},
        "eventTime": at,
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": "Reconcile",
        "type": "Warning" if happening.warning else "Normal",
        "reason": happening.reason[:128],
        "note": _noted(happening.note),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": declared.kind,
            "namespace": key.namespace,
            "name": key.name,
            "uid": declared.uid,
        },
    }


def _noted(text: str) -> str:
    """The API server counts bytes, and refuses a longer one."""
    written = shortened(text, MAX_NOTE)
    while (excess := len(written.encode()) - MAX_NOTE) > 0:
        written = shortened(text, len(written) - (excess + 3) // 4)
    return written


def _about_ready(before: Json | None, after: Json | None) -> Happening | None:
    if after is None:
        return None
    is_ready = after["status"] == "True"
    if before is not None and (before.get("status"), before.get("reason")) == (after["status"], after["reason"]):
        return None
    return Happening(not is_ready, str(after["reason"]), str(after["message"]) or "everything it declares is in force")


def _about(before: Json | None, after: Json) -> Happening | None:
    """Another lane's condition, which speaks of what needs attention while it is True."""
    was, is_now = (before or {}).get("status", "False"), after["status"]
    if was == is_now or is_now != "True":
        return None
    return Happening(False, str(after["reason"]), str(after["message"]))
