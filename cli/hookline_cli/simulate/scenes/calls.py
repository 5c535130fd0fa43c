"""Calls and meetings."""

from collections.abc import Sequence
from typing import Any

from hookline_cli.simulate.stage import Moment, Scene, Stage
from hookline_cli.simulate.world import Conversation, Person

CONFIG = {
    "is_video_muted": "false",
    "start_recording_on_call_start": "false",
    "call_version": "2.3.0",
    "is_audio_muted": "false",
    "sdk": "react",
    "mode": "DEFAULT",
    "platform": "web",
    "is_audio_only": "true",
}


def in_vain(stage: Stage) -> Scene:
    """It rings, and nothing comes of it, in one of four ways."""
    pair, session = stage.world.pair(), stage.ids.name("session")
    began = stage.now
    yield _signal(stage, pair, pair, session, "initiated", began)
    stage.wait(2, 30)
    action = stage.chance.choice(("busy", "cancelled", "rejected", "unanswered"))
    acting = pair.turned() if action in ("busy", "rejected") else pair
    yield _signal(stage, pair, acting, session, action, began)


def answered(stage: Stage) -> Scene:
    """It rings, they talk, it ends, and what was recorded is ready."""
    pair, session = stage.world.pair(), stage.ids.name("session")
    yield _signal(stage, pair, pair, session, "initiated", stage.now)
    stage.wait(2, 20)
    yield from _session(stage, "call", session, (pair.one, pair.other))


def meeting(stage: Stage) -> Scene:
    """Several people meet."""
    people = stage.chance.choice(stage.world.clubs).members
    yield from _session(stage, "meeting", stage.ids.name("session"), people)


def _session(stage: Stage, kind: str, session: str, people: Sequence[Person]) -> Scene:
    top: dict[str, Any] = {"type": "call" if kind == "call" else "meet"}
    began = stage.now
    yield stage.event(f"{kind}_started", {"created_at": began, "sessionId": session}, **top)
    occupants = []
    for person in people:
        # Several come within one second.
        stage.wait(0, 0.8)
        occupant: dict[str, Any] = {
            "joined_at": stage.now,
            "audio_call": "true",
            "name": person.name,
            "uid": person.uid,
        }
        occupants.append(occupant)
        data = {"occupant": dict(occupant), "initial_config": CONFIG, "sessionId": session}
        yield stage.event(f"{kind}_participant_joined", data, **top)
    stage.wait(30, 1800)
    for occupant in occupants:
        stage.wait(0, 2)
        occupant["left_at"] = stage.now
        yield stage.event(f"{kind}_participant_left", {"occupant": dict(occupant), "sessionId": session}, **top)
    ended = {"all_occupants": occupants, "destroyed_at": stage.now, "created_at": began, "sessionId": session}
    yield stage.event(f"{kind}_ended", ended, **top)
    yield from _media(stage, session, began, stage.now)


def _media(stage: Stage, session: str, began: int, ended: int) -> Scene:
    if not stage.odds(0.7):
        return
    stage.wait(20, 200)
    recording = {
        "recordingDate": "2026-01-05",
        "duration": f"{ended - began}.433000",
        "startTime": str(began),
        "sessionId": session,
        "recording_url": f"https://media.example.com/{session}.mp4",
    }
    yield stage.event("recording_generated", recording)
    yield stage.event("transcription_generated", {"sessionId": session, "startTime": began, "endTime": ended})


def _signal(stage: Stage, pair: Conversation, acting: Conversation, session: str, action: str, began: int) -> Moment:
    """`sender` and `receiver` are who acts; the call's own do not change."""
    on = {
        "sessionid": session,
        "status": action,
        "type": "audio",
        "initiatedAt": began,
        "sender": pair.one.uid,
        "receiver": pair.other.uid,
    }
    by = {"entity": acting.one.shown(stage.at), "entityType": "user"}
    call = {
        "id": stage.ids.number(),
        **acting.addressed(),
        "category": "call",
        "type": "audio",
        "data": {"action": action, "entities": {"by": by, "on": {"entity": on, "entityType": "call"}}},
        "sentAt": stage.now,
        "updatedAt": stage.now,
    }
    return stage.event(f"call_{action}", {"call": call})
