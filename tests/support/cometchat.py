"""CometChat's payloads for tests: the documented samples, and ways to change them."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parent.parent / "data" / "cometchat" / "samples"

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
    removed = changed(sample("message_reaction_added"), "trigger", "message_reaction_removed")
    to_all = without(
        changed(sample("message_delivery_receipt"), "trigger", "message_delivered_to_all"), "data.body.user"
    )
    by_all = without(changed(sample("message_read_receipt"), "trigger", "message_read_by_all"), "data.body.user")
    transferred = changed(sample("group_updated"), "trigger", "group_owner_transferred")
    scope = changed(sample("group_member_kicked"), "trigger", "group_member_scope_changed")
    call_ended = changed(changed(sample("meeting_ended"), "trigger", "call_ended"), "type", "call")
    left = changed(changed(sample("call_participant_left"), "trigger", "meeting_participant_left"), "type", "meet")
    interacted = changed(sample("after_feed_item_read"), "trigger", "after_feed_item_interacted")
    legacy_read = without(sample("legacy.message_delivery_receipt"), "data.deliveredAt")
    legacy_read["trigger"] = "message_read_receipt"
    legacy_read["data"] |= {"receiptType": "read", "readAt": 1673017190}
    return {
        "message_reaction_removed": removed,
        "message_delivered_to_all": changed(to_all, "data.body.action", "deliveredToAll"),
        "message_read_by_all": changed(by_all, "data.body.action", "readByAll"),
        "group_owner_transferred": changed(
            transferred, "data.oldOwner", {"uid": "cometchat-uid-1", "name": "Andrew Joseph"}
        ),
        "group_member_scope_changed": changed(scope, "data.members.cometchat-uid-2.scope", "moderator"),
        "call_ended": call_ended,
        "meeting_participant_left": left,
        "transcription_generated": a_payload(
            "transcription_generated", {"sessionId": "s-1", "startTime": 1696937627, "endTime": 1696937700}, region="eu"
        ),
        "after_feed_item_interacted": changed(interacted, "data.engagedAt", 1696932190),
        "legacy.message_read_receipt": legacy_read,
    }


def every_payload() -> dict[str, Payload]:
    """Samples and derived payloads: every documented trigger in every shape."""
    return {**{name: sample(name) for name in sample_names()}, **derived_payloads()}
