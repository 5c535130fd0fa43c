"""
Sequences of events as they happen in life: a message and its receipts, a call from ringing to recording.

messages   conversations: sent, delivered, read, reacted to, edited, deleted, moderated, told by push, mail and SMS
calls      signalling, media sessions, meetings
groups     a group's life, people who come and go, block and unblock each other, connect and disconnect
campaigns  notifications, feeds and pushes to many
legacy     the same by the older system
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hookline_cli.simulate.scenes import calls, campaigns, groups, legacy, messages
from hookline_cli.simulate.stage import Scene, Stage

Play = Callable[[Stage], Scene]


@dataclass(frozen=True, slots=True)
class Kind:
    """A scene and how often it is played, as a share of all."""

    play: Play
    weight: float


SCENES: Mapping[str, Kind] = {
    "chat": Kind(messages.chat, 40),
    "group chat": Kind(messages.group_chat, 15),
    "edited": Kind(messages.edited, 3),
    "deleted": Kind(messages.deleted, 1),
    "reactions": Kind(messages.reactions, 4),
    "moderated": Kind(messages.moderated, 3),
    "missed": Kind(messages.missed, 4),
    "presence": Kind(groups.presence, 15),
    "block": Kind(groups.block, 0.3),
    "life of a group": Kind(groups.life, 0.2),
    "coming and going": Kind(groups.coming_and_going, 1),
    "call": Kind(calls.answered, 3),
    "call in vain": Kind(calls.in_vain, 2),
    "meeting": Kind(calls.meeting, 1),
    "campaign": Kind(campaigns.campaign, 0.3),
    "legacy": Kind(legacy.legacy, 1),
}
"""By what happens."""
