"""Paths into a payload."""

from collections.abc import Mapping, Sequence
from typing import Any

ROOTS = ("data", "trigger", "appId", "region", "webhook", "type", "event")
"""What a path may begin with: members of the payload, and `event` for what the gateway says of it."""

EVENT = ("id", "source", "namespace", "subscription", "subject", "time")
"""What there is below `event`."""


class Absent:
    """There is nothing at a path."""


ABSENT = Absent()


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """What *document* has at *path*, "data.members.0.uid"; ABSENT if nothing."""
    value: Any = document
    for step in path.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, Sequence) and not isinstance(value, str) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return ABSENT
    return value


def objection(path: str) -> str:
    """Why *path* can't lead anywhere, "" if it may: found at the start, not at the first event."""
    root, _, rest = path.partition(".")
    if root not in ROOTS:
        return f"the path {path!r} begins with none of {', '.join(ROOTS)}"
    if root == "event" and rest not in EVENT:
        return f"the path {path!r} leads nowhere; there are {', '.join(f'event.{name}' for name in EVENT)}"
    return ""
