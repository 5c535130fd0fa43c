"""Texts with {paths} in them. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from automation.paths import ABSENT, objection, value_at

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_ALONE = re.compile(r"\{([^{}]+)\}")


class Missing(Exception):
    """A payload has nothing at a path that a template needs. The message names the path."""


def fill(template: str, document: Mapping[str, Any]) -> str:
    """*template* with the values of *document* in it; "{{" and "}}" are braces. Raises Missing."""

    def part(found: re.Match[str]) -> str:
        return found[0][0] if found[1] is None else _as_text(_needed(found[1], document))

    return _PART.sub(part, template)


def fill_json(template: Any, document: Mapping[str, Any]) -> Any:
    """The same for every text in *template*; a text that is one path only becomes the value itself, number or object."""
    if isinstance(template, str):
        alone = _ALONE.fullmatch(template)
        return _needed(alone[1], document) if alone else fill(template, document)
    if isinstance(template, Mapping):
        return {name: fill_json(value, document) for name, value in template.items()}
    if isinstance(template, Sequence):
        return [fill_json(value, document) for value in template]
    return template


def begins_with_a_path(template: str) -> bool:
    """Whether what it is filled with decides how the text begins."""
    return template.startswith("{") and not template.startswith("{{")


def objections(template: Any) -> Iterator[str]:
    """What is wrong with a template, or with those in it."""
    if isinstance(template, str):
        for found in _PART.finditer(template):
            if found[1] is not None:
                yield from filter(None, [objection(found[1])])
            elif len(found[0]) == 1:
                yield f"a lonely {found[0]!r} in {template!r}; write it twice for the sign itself"
    elif isinstance(template, Mapping):
        for value in template.values():
            yield from objections(value)
    elif isinstance(template, Sequence):
        for value in template:
            yield from objections(value)


def _needed(path: str, document: Mapping[str, Any]) -> Any:
    value = value_at(document, path)
    if value is ABSENT:
        raise Missing(f"the event has nothing at {path}")
    return value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
