"""CometChat's payloads for tests: the documented samples, and ways to change them."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parent.parent / "data" / "cometchat" / "samples"

DERIVED = Path(__file__).parents[2] / "cli" / "hookline_cli" / "simulate" / "derived"

Payload = dict[str, Any]


def sample_names() -> list[str]:
    """Every documented payload, by file name without ".json"."""
    return sorted(path.name.removesuffix(".json") for path in SAMPLES.glob("*.json"))


def sample(name: str) -> Payload:
    """A documented payload, free to be changed."""
    return json.loads((SAMPLES / f"{name}.json").read_bytes())


def body_of(payload: Payload) -> bytes:
    """The payload as a sender writes it."""
    return json.dumps(payload, separators=(",", ":")).encode()


def a_payload(trigger: str, data: Any = None, **top: Any) -> Payload:
    """A payload of any trigger."""
    return {"trigger": trigger, "data": {} if data is None else data, "appId": "app-1", "webhook": "hook-1", **top}


def changed(payload: Payload, path: str, value: Any) -> Payload:
    """A copy of *payload* with the field at the dotted *path* set."""
    fresh = copy.deepcopy(payload)
    *parents, name = path.split(".")
    target = fresh
    for parent in parents:
        target = target.setdefault(parent, {})
    target[name] = value
    return fresh


def without(payload: Payload, path: str) -> Payload:
    """A copy of *payload* without the field at the dotted *path*."""
    fresh = copy.deepcopy(payload)
    *parents, name = path.split(".")
    target = fresh
    for parent in parents:
        target = target[parent]
    del target[name]
    return fresh


def reordered(value: Any) -> Any:
    """The same JSON with the keys of every object in reverse order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(list(value))}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def people_and_groups(payload: Any) -> Iterator[Payload]:
    """The objects that show users and groups as they are at the moment, in the places where the samples have them."""
    data = payload["data"]
    messages = [data.get(name) for name in ("message", "call", "resource")] + [data]
    for message in filter(None, messages):
        entities = (message.get("data") or {}).get("entities") or {}
        yield from (side["entity"] for side in entities.values())
    yield from (data[name] for name in ("user", "by", "group") if name in data)
    for people in ("members", "users"):
        yield from data.get(people, {}).values()
    if "user" in data.get("body", {}):
        yield data["body"]["user"]
    if "reactedBy" in data.get("reaction", {}):
        yield data["reaction"]["reactedBy"]


def derived_payloads() -> dict[str, Payload]:
    """Payloads of the triggers that have no sample, as the facts describe their shapes."""
    return {path.name.removesuffix(".json"): json.loads(path.read_bytes()) for path in DERIVED.glob("*.json")}


def every_payload() -> dict[str, Payload]:
    """Samples and derived payloads: every documented trigger in every shape."""
    return {**{name: sample(name) for name in sample_names()}, **derived_payloads()}
