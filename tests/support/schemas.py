"""
Walks the schemas of the chart's custom resource definitions, and makes objects at and over each of their limits.

    for case in cases(definition("webhooksubscriptions"), full): case.object, case.what, case.place

*full* is a valid object; each case is a copy of it with one place changed. What a case should be judged as is nobody's
opinion here: the API server and the operator's reader must agree.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.crds import FILES

Plain = dict[str, Any]
Place = tuple[str | int, ...]

ABSENT = object()
"""Instead of a value: the field is taken away."""

STRANGE_STRINGS = (
    "", " ", "a", "A", "aA", "9", "-", "a-", "-a", "a-b", "a_b", "a.b", "a..b", ".", "a.", "a b", "a\n", "\n", "ä", "\u0663",
    "a/b", "/", "a:b", "*", "*.a", "$", "\x00", "\U0001f600", "/acme/a", "/acme/a/b.c", "/acme/", "/acme//a", "/acme/./a",
    "/acme/..", "/acme/a/", "/other/a", "/acmex/a", "/acme/a%2f", "/acme/a?b", "/acme", "user", "Typed", "true", "1Mi", "1s",
)  # fmt: skip
DURATIONS = (
    "0s", "0h0m", "1ms", "99ms", "100ms", "101ms", "999ms", "1s", "10s", "10s1ms", "10001ms", "10m", "10m1ms", "1h", "1h1ms",
    "60m", "3600s", "24h", "1440m", "24h1ms", "168h", "168h1ms", "720h", "720h1ms", "2160h", "2161h", "99999h", "100000h",
    "1h1h", "1m1h", "1h30m", "1s1s1s1s", "1s1s1s1s1s", "1.5h", "1d", "1us", "1", "s", "-1s", "+1s", "1 s", "1S", "1h ",
)  # fmt: skip
QUANTITIES = (
    "0", "1", "1023", "1Ki", "1024", "1.5Ki", "0.5Mi", "0.5", "1.1Ki", "1.001Ki", "1.0001Ki", "1.000001Mi", "63.999Mi", "31.9Mi",
    "32Mi", "1Mi", "1048575", "2Mi", "16Mi", "16.001Mi", "16777216", "16777217", "17M", "64Mi", "67108863", "256Gi", "257Gi",
    "1Ti", "1Pi", "1.001Pi", "1Ei", "1E", "1e6", "1E6", "1e9", "1e", "1e-3", "1e99", "1e+6", "9m", "10m", "500m", "64000m",
    "64001m", "1234567m", "12345678m", "64", "64.001", "0.01", "0.009", "0.0001", ".5", "1.", "01", "2", "2Mb", "2 Mi", "2mi", "1u",
    "1n", "1k", "1K", "1000k", "-1", "-1Mi", "+1Mi", "0x10", "1_000", "999999999999999999", "9999999999999999999",
    0, 1, -1, 9, 64, 65, 1023, 1024, 1 << 20, 1 << 24, (1 << 24) + 1, 1 << 26, 1 << 38, 1 << 50, (1 << 50) + 1, 1 << 62,
)  # fmt: skip
WRONG_TYPES: tuple[Any, ...] = (None, True, "x", "", 0, -1, 1.5, 5.0, [], [None], ["x"], [{}], {}, {"x": "y"}, 10**30)


@dataclass(frozen=True)
class Case:
    """An object in which one place was changed."""

    what: str
    place: Place
    object: Plain


def definition(plural: str) -> Plain:
    """The custom resource definition."""
    return read(FILES / "crds" / f"{plural}.yaml")


def read(path: Path) -> Plain:
    """The one document of a file."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def schema(crd: Plain) -> Plain:
    """The schema of its only version."""
    (version,) = crd["spec"]["versions"]
    found = version["schema"]["openAPIV3Schema"]
    assert isinstance(found, dict)
    return found


def fields(node: Plain, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Plain]]:
    """Every field below *node*, itself first; "[]" stands for an item, "{}" for a value of a map."""
    yield place, node
    for name, below in node.get("properties", {}).items():
        yield from fields(below, (*place, name))
    for word, key in (("[]", "items"), ("{}", "additionalProperties")):
        if key in node:
            yield from fields(node[key], (*place, word))


def present(
    node: Plain, value: Any, place: Place = (), general: tuple[str, ...] = ()
) -> Iterator[tuple[Place, tuple[str, ...], Plain]]:
    """Every field of *value*: where it is, the same as `fields` says it, and its schema. Of lists and maps the first."""
    yield place, general, node
    for name, below in node.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            yield from present(below, value[name], (*place, name), (*general, name))
    if "items" in node and value:
        yield from present(node["items"], value[0], (*place, 0), (*general, "[]"))
    if "additionalProperties" in node and value:
        first = next(iter(value))
        yield from present(node["additionalProperties"], value[first], (*place, first), (*general, "{}"))


def cases(node: Plain, full: Plain) -> Iterator[Case]:
    """*full*, once with each wrong or extreme value in each place below its `spec`."""
    spec = node["properties"]["spec"]
    for place, _, below in present(spec, full["spec"], ("spec",)):
        for value in values(below, at(full, place)):
            yield Case(f"{dotted(place)} = {shortened(value)}", place, changed(full, place, value))


def values(node: Plain, valid: Any) -> Iterator[Any]:
    """What is at the limits of *node*, over them, or of another type."""
    yield ABSENT
    yield from WRONG_TYPES
    if node.get("x-kubernetes-int-or-string"):
        yield from QUANTITIES
    elif node["type"] == "string":
        yield from _strings(node, str(valid))
    elif node["type"] == "integer":
        yield from (node["minimum"] - 1, node["minimum"], node["maximum"], node["maximum"] + 1, float(node["maximum"]))
    elif node["type"] == "array":
        yield from _arrays(node, valid)
    elif node["type"] == "object":
        yield {**valid, "zzzz": 1}
        if "additionalProperties" in node:
            yield from ({f"key-{index}": "v" for index in range(node["maxProperties"] + more)} for more in (0, 1))
            yield from ({key: "v"} for key in ("", "a/b", "a.b/c", "/b", "a/", "a b", "A", "a" * 317, "a" * 318))


def _strings(node: Plain, valid: str) -> Iterator[Any]:
    if "enum" in node:
        yield from (*node["enum"], *(word.lower() for word in node["enum"]), *(word.upper() for word in node["enum"]))
        return
    yield from STRANGE_STRINGS
    if "duration(" in str(node.get("x-kubernetes-validations")):
        yield from DURATIONS
    for length in (node["maxLength"], node["maxLength"] + 1):
        yield "a" * length
        yield valid + "a" * (length - len(valid))
        yield "ä" * length


def _arrays(node: Plain, valid: list[Any]) -> Iterator[Any]:
    yield [valid[0], valid[0]]
    words = node["items"].get("enum", [])
    for more in (0, 1):
        count = node["maxItems"] + more
        yield [*words, "x"][:count] if words else [_another(valid[0], index) for index in range(count)]


def _another(item: Any, index: int) -> Any:
    if isinstance(item, str):
        return f"{item}{index}"
    return {**item, "name": f"{item['name']}{index}"} if isinstance(item, dict) and "name" in item else item


def at(value: Any, place: Place) -> Any:
    """What is there."""
    for key in place:
        value = value[key]
    return value


def changed(value: Plain, place: Place, to: Any) -> Plain:
    """A copy with *to* at *place*; whatever lies on the way there is made."""
    copied = copy.deepcopy(value)
    holder: Any = copied
    for key in place[:-1]:
        holder = holder.setdefault(key, {}) if isinstance(holder, dict) else holder[key]
    if to is ABSENT and isinstance(holder, dict):
        holder.pop(place[-1], None)
    elif to is ABSENT:
        del holder[place[-1]]
    else:
        holder[place[-1]] = to
    return copied


def has_float(value: Any) -> bool:
    """Whether there is a number with a fraction's point in it, 5.0 for one."""
    if isinstance(value, dict | list):
        return any(map(has_float, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float)


def dotted(place: Place) -> str:
    """As messages name it: spec.routes[0].name."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shortened(value: Any) -> str:
    """For a message."""
    text = "(absent)" if value is ABSENT else repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
