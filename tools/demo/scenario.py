"""What is sent, and where each event must arrive."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from hookline_cli.simulate.payloads import DOCUMENTED, body_of, read_samples
from hookline_cli.simulate.plan import Kind, Mix, Shot, make_plan

PATHS = {"acme": "/acme/chat", "globex": "/globex/support", "examples": "/examples/five"}

HANDLERS = {"archive": "", "notifier": "", "timeline": "", "moderator": "moderation_engine_failed"}
"""The handlers' names, and the trigger that one refuses until a person has it sent again."""

TALK = 30
"""Messages of the conversation that is had while the handler of `timeline` is down."""


def _text_to_a_person(payload: Mapping[str, Any]) -> bool:
    if payload["trigger"] not in ("message_sent", "user_mentioned"):
        return False
    message = payload["data"].get("message", {})
    return bool(message.get("type") == "text" and message.get("receiverType") == "user")


ROUTES: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "acme/chat/archive": lambda payload: True,
    "acme/chat/notify": _text_to_a_person,
    "acme/chat/timeline": lambda payload: payload["trigger"] in ("message_sent", "message_edited", "message_deleted"),
    "examples/five/archive": lambda payload: True,
    "globex/support/archive": lambda payload: True,
    "globex/support/moderation": lambda payload: payload["trigger"].startswith("moderation_"),
}
"""What the manifests say, said a second time and in another language."""


def routes_of(tenant: str, body: bytes) -> list[str]:
    """The routes by which the event in *body* must arrive."""
    payload = json.loads(body)
    return [route for route, takes in ROUTES.items() if route.startswith(f"{tenant}/") and takes(payload)]


def documented() -> Sequence[Shot]:
    """Every documented payload byte for byte as its file has it, and once more as if the answer had been lost."""
    return list(_documented(count(1)))


def _documented(numbers: Iterator[int]) -> Iterator[Shot]:
    for file in sorted(DOCUMENTED.glob("*.json")):
        event = Shot(next(numbers), Kind.EVENT, file.stem, file.read_bytes())
        yield event
        yield Shot(next(numbers), Kind.DUPLICATE, file.stem, event.body, repeats=event.number)


def hostile() -> Sequence[Shot]:
    """Wrong credentials of every kind, bodies that are no events, one that is too large, triggers nobody knows."""
    return make_plan(read_samples(), Mix(events=0, unknown=3, bad_credentials=4, broken=6, oversize=1), seed=1)


def another_tenant() -> Sequence[Shot]:
    """Every documented payload with ids of its own, each retried: half of the retries shown anew by the sender."""
    samples = read_samples()
    return make_plan(samples, Mix(duplicates=len(samples), unknown=1, bad_credentials=1), seed=2)


def talk() -> Sequence[Shot]:
    """One conversation, message by message."""
    sample = next(sample for sample in read_samples() if sample.name == "message_sent")
    return [_message(sample.payload, number) for number in range(1, TALK + 1)]


def _message(payload: Mapping[str, Any], number: int) -> Shot:
    message = {**payload["data"]["message"], "id": str(9000 + number), "conversationId": "ada_user_grace"}
    message["sentAt"] = message["updatedAt"] = 1_750_000_000 + number
    body = body_of({**payload, "data": {**payload["data"], "message": message}})
    return Shot(number, Kind.EVENT, "message_sent", body)


def renumbered(*plans: Sequence[Shot]) -> list[Shot]:
    """Several plans as one: numbers are unique in a plan, and retries refer to them."""
    shots: list[Shot] = []
    for plan in plans:
        offset = len(shots)
        for shot in plan:
            repeats = None if shot.repeats is None else shot.repeats + offset
            shots.append(replace(shot, number=shot.number + offset, repeats=repeats))
    return shots
