"""What the agent knows of one of the pod's programs, over many looks at it."""

import asyncio
from dataclasses import dataclass, field

from hookline_receiver.agent.pod import Serving
from hookline_receiver.agent.snapshots import Index, NamedPart

SILENCE = 10.0
"""Seconds after which a forwarder that does not answer is not waited for: it is told by its file, like one that starts."""

REMEMBERED = 256
"""Versions that are known by what was in them: programs serve one of the last two."""


@dataclass(slots=True)
class Seen:
    """What one program serves, as far as it is known."""

    heard: float
    running: bool = False
    versions: frozenset[str] | None = None
    held: int | None = None
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: ask now."""

    def note(self, serving: Serving, now: float) -> bool:
        """It was asked just *now*; one that is silent serves what it served, for a while. Whether anything is new."""
        before = (self.running, self.versions)
        if serving.versions is not None or not serving.running:
            self.heard = now
        if serving.versions is not None or now - self.heard > SILENCE:
            self.versions = serving.versions
        self.running, self.held = serving.running, serving.held
        return (self.running, self.versions) != before


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the last step had to leave for later."""

    held_back: int = 0
    leaving: int = 0


def part_of(index: Index | None, shard: int) -> NamedPart | None:
    """The part of a *shard*; None: there is none."""
    return index.parts[shard] if index is not None and shard < len(index.parts) else None


def remember(versions: dict[str, Index], index: Index | None) -> None:
    """Add to *versions*, by name, what was in this one; the oldest go."""
    if index is not None:
        versions.pop(index.version, None)
        versions[index.version] = index
        while len(versions) > REMEMBERED:
            del versions[next(iter(versions))]
