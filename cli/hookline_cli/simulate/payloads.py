"""Documented payloads, and copies of them that can be told apart: a thousand messages with one id are one message."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCUMENTED = Path(__file__).parent / "samples"
"""One documented payload a file, as CometChat publishes them."""

DERIVED = Path(__file__).parent / "derived"
"""One payload a file for the triggers of which none is published, made of the shapes that are described."""

IDS = frozenset(
    [
        "id",
        "messageId",
        "sessionId",
        "sessionid",
        "session_id",
        "muid",
        "campaignId",
        "notificationId",
        "pushNotificationId",
        "guid",
        "tag",
    ]
)
"""Fields whose values name one thing. In each copy of a payload they name another, the same one wherever it is named."""

PEOPLE = {
    "user_blocked": ("by",),
    "user_unblocked": ("by",),
    "user_connection_status_changed": ("user",),
    "after_connection_status_changed": ("user",),
    "push-notification-payload-generated": ("to",),
    "email-notification-payload-generated": ("to",),
    "sms-notification-payload-generated": ("to",),
}
"""Where an event is told from others by a person only: that person gets a uid of their own."""


class BadSample(Exception):
    """A file of the folder of payloads is not one. The message names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One payload to send variations of."""

    name: str
    """Of its file, without ".json"."""
    payload: Mapping[str, Any]

    @property
    def trigger(self) -> str:
        """What happened."""
        return str(self.payload["trigger"])


def read_samples(folder: Path = DOCUMENTED) -> Sequence[Sample]:
    """All payloads of *folder*, by name; raises BadSample."""
    samples = [_read(path) for path in sorted(folder.glob("*.json"))]
    if not samples:
        raise BadSample(f"{folder}: no *.json files")
    return samples


def _read(path: Path) -> Sample:
    try:
        payload = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadSample(f"{path}: {error}") from error
    if not isinstance(payload, dict) or not isinstance(payload.get("trigger"), str):
        raise BadSample(f"{path}: not a JSON object with a string trigger")
    return Sample(path.name.removesuffix(".json"), payload)


def body_of(payload: Mapping[str, Any]) -> bytes:
    """As senders write JSON."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()


class Copier:
    """Makes copies of payloads that are events of their own, numbered within a run."""

    def __init__(self, run: int, app_id: str | None = None) -> None:
        """*run* (below 10 million) goes into all ids, so that two runs against one endpoint have no event in common."""
        self._run = run
        self._app_id = app_id

    def copy(self, sample: Sample, number: int) -> dict[str, Any]:
        """The *number*-th copy: the payload with ids of its own."""
        names = _Names(self._run, number)
        payload: dict[str, Any] = names.renamed(sample.payload)
        if self._app_id is not None:
            payload["appId"] = self._app_id
        data = payload.get("data")
        if isinstance(data, dict):
            self._distinguish(sample.trigger, data, number)
        return payload

    def _distinguish(self, trigger: str, data: dict[str, Any], number: int) -> None:
        """Where no id does it, a person or the text does."""
        for role in PEOPLE.get(trigger, ()):
            if isinstance(person := data.get(role), dict) and "uid" in person:
                person["uid"] = f"{person['uid']}-{self._run}-{number}"
        if trigger == "before_message":
            data["muid"] = f"muid-{self._run}-{number}"
            data["sender"] = f"{data.get('sender')}-{self._run}-{number}"


class _Names:
    """What the things named in one payload are called in its copy."""

    def __init__(self, run: int, number: int) -> None:
        self._run, self._number = run, number
        self._given: dict[str, str] = {}

    def renamed(self, value: Any, field: str = "") -> Any:
        """*value* with the ids in it exchanged."""
        if isinstance(value, Mapping):
            return {key: self.renamed(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.renamed(inner, field) for inner in value]
        if isinstance(value, str):
            return self._renamed_text(value, field)
        return value

    def _renamed_text(self, value: str, field: str) -> str:
        if field in IDS:
            return self._given.setdefault(value, self._fresh(value))
        if field == "conversationId" and value.startswith("group_"):
            return f"group_{self._renamed_text(value.removeprefix('group_'), 'guid')}"
        return value

    def _fresh(self, value: str) -> str:
        """Numbers stay numbers."""
        if value.isdecimal():
            return str((self._run * 10_000_000 + self._number) * 100 + len(self._given))
        return f"{value.strip('<>')}-{self._run}-{self._number}"


def shown_anew(payload: Mapping[str, Any]) -> bytes:
    """The body as a retry may have it: other order of keys, and people who are online now."""
    return body_of(_shown_anew(payload, inside=""))


def _shown_anew(value: Any, inside: str) -> Any:
    if isinstance(value, list):
        return value
    if not isinstance(value, Mapping):
        return value
    anew = {key: _shown_anew(value[key], key) for key in reversed(list(value))}
    if inside == "entity" and "uid" in anew:
        anew["status"] = "online"
        anew["lastActiveAt"] = 1_700_000_000
    return anew
