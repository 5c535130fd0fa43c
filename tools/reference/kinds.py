"""docs/reference/kubernetes.md: the kinds that people write, from the schemas that the API server goes by."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parents[2] / "charts" / "hookline" / "files" / "crds"
PEOPLES = ("webhooksubscriptions", "webhookgateways")
"""The others are between operator and agents."""

Plain = Mapping[str, Any]

INTRODUCTION = """\
<!-- Made by `python -m tools.reference`. -->
# Kubernetes API

The kinds of `hookline.dev/v1alpha1`, as the API server's schemas have them (`charts/hookline/files/crds/`). `kubectl explain
whsub.spec.routes` says the same in a terminal. Durations are such as `10s` or `1h30m` (units h, m, s, ms); quantities such as
`2Mi` or `10G`.
"""


def kinds() -> str:
    """The page."""
    return "\n".join([INTRODUCTION, *(line for plural in PEOPLES for line in _kind(_definition(plural)))])


def _definition(plural: str) -> Plain:
    found = yaml.safe_load((CRDS / f"{plural}.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def _kind(crd: Plain) -> Iterator[str]:
    names, (version,) = crd["spec"]["names"], crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    yield f"## {names['kind']}\n\n{schema['description']}\n"
    yield f"`kubectl get {names['plural']}`, or `{names['shortNames'][0]}`; both kinds together: `{names['categories'][0]}`.\n"
    for part in ("spec", "status"):
        yield f"### {names['kind']} {part}\n"
        yield from ("| field | type | default | limits | |", "|---|---|---|---|---|")
        yield from (_row(name, node, required) for name, node, required in _fields(schema["properties"][part], ""))
        yield ""
    yield f"### {names['kind']} rules\n\nBetween fields, and what a limit alone does not say:\n"
    yield from (f"- {rule}" for rule in dict.fromkeys(_rules(schema, "")))
    columns = ", ".join(f"`{each['name']}`" for each in version["additionalPrinterColumns"])
    selectable = ", ".join(f"`{each['jsonPath'].removeprefix('.')}`" for each in version["selectableFields"])
    yield f"\nColumns of `kubectl get` (some with `-o wide`): {columns}. `--field-selector` takes {selectable}.\n"


def _fields(node: Plain, path: str) -> Iterator[tuple[str, Plain, bool]]:
    required = node.get("required", [])
    for name, below in node.get("properties", {}).items():
        place = f"{path}.{name}" if path else name
        yield place, below, name in required
        yield from _fields(below, place)
        items = below.get("items", {})
        if "properties" in items:
            yield from _fields(items, f"{place}[]")


def _row(name: str, node: Plain, required: bool) -> str:
    default = "required" if required else _default(node)
    cells = (f"`{name}`", _type(node), default, _limits(node), node["description"])
    return f"| {' | '.join(each.replace('|', '&#124;') for each in cells)} |"


def _default(node: Plain) -> str:
    value = node.get("default")
    return "" if value is None or isinstance(value, dict) else f"`{json.dumps(value).strip(chr(34))}`"


def _type(node: Plain) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "items" in node:
        return f"list of {_type(node['items'])}s"
    if "additionalProperties" in node:
        return f"map of {_type(node['additionalProperties'])}s"
    if "(h|m|s|ms)" in node.get("pattern", ""):
        return "duration"
    return "time" if node.get("format") == "date-time" else str(node["type"])


def _limits(node: Plain) -> str:
    item = node.get("items", {})
    words = [f"`{each}`" for each in (*node.get("enum", ()), *item.get("enum", ()))]
    parts = [" or ".join(words)] if words else []
    if "maximum" in node:
        parts.append(f"{node['minimum']} to {node['maximum']}")
    if "maxItems" in node:
        parts.append(f"{node.get('minItems', 0)} to {node['maxItems']} items")
    if "maxProperties" in node:
        parts.append(f"at most {node['maxProperties']}")
    longest = node.get("maxLength") or item.get("maxLength")
    if longest and _type(node) not in ("duration", "quantity"):
        parts.append(f"at most {longest} characters")
    return "; ".join(parts)


def _rules(node: Plain, path: str) -> Iterator[str]:
    for rule in node.get("x-kubernetes-validations", []):
        place = f"{path}{rule.get('fieldPath', '')}".removeprefix(".")
        yield f"`{place}`: {rule['message']}." if place else f"{rule['message']}."
    for name, below in node.get("properties", {}).items():
        yield from _rules(below, f"{path}.{name}")
    for word, key in (("[]", "items"), ("", "additionalProperties")):
        if key in node:
            yield from _rules(node[key], path + word)
