"""Whether a rule is for an event. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from automation.paths import ABSENT, value_at

SEARCHED = 10_000
"""Characters of a text that `matches` looks at: a rule's expression may be slow, and what people write is theirs."""


def _above(value: Any, limit: Any) -> bool:
    return _is_number(value) and value > limit


def _below(value: Any, limit: Any) -> bool:
    return _is_number(value) and value < limit


def _contains(value: Any, wanted: Any) -> bool:
    """A part of a text, an element of a list, a name in an object."""
    return wanted in value if isinstance(value, list | dict) else isinstance(value, str) and str(wanted) in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "equals": lambda value, wanted: value == wanted,
    "not": lambda value, wanted: value != wanted,
    "in": lambda value, wanted: value in wanted,
    "contains": _contains,
    "matches": lambda value, wanted: isinstance(value, str) and re.search(wanted, value[:SEARCHED]) is not None,
    "above": _above,
    "below": _below,
    "exists": lambda value, wanted: (value is not ABSENT) == wanted,
}
"""Of what is at a path, against what the rule wants. A path at which there is nothing passes `not` and `exists: false`."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold."""

    path: str
    name: str
    wanted: Any

    def holds(self, document: Mapping[str, Any]) -> bool:
        """Whether it does."""
        value = value_at(document, self.path)
        return bool(TESTS[self.name](value, self.wanted))


@dataclass(frozen=True, slots=True)
class Condition:
    """Everything given must hold; an empty one holds for every event."""

    triggers: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    tests: tuple[Check, ...] = ()

    def holds(self, trigger: str, category: str, document: Mapping[str, Any]) -> bool:
        """Whether the rule is for this event."""
        if self.triggers and trigger not in self.triggers:
            return False
        if self.categories and category not in self.categories:
            return False
        return all(test.holds(document) for test in self.tests)
