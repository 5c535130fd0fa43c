"""What a scene is played on: a clock, chance, fresh ids, and the envelope of its events."""

import copy
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hookline_cli.simulate.payloads import Sample
from hookline_cli.simulate.world import World

MARK = "simulation"
"""The member at the top of every simulated event's payload that holds its id: what end-to-end checks account for it by."""


class Ids:
    """Numbers that nothing else in the run has."""

    def __init__(self, run: int) -> None:
        self._run, self._last = run, 0

    def number(self) -> str:
        """A numeric text, as the ids of messages are."""
        self._last += 1
        return str(self._run * 1_000_000_000 + self._last)

    def name(self, kind: str) -> str:
        """An id with a word in it."""
        return f"{kind}-{self.number()}"


@dataclass(frozen=True, slots=True)
class Moment:
    """An event and when it happens."""

    at: float
    """Seconds since the epoch."""
    mark: str
    payload: dict[str, Any]


class Stage:
    """Where one scene is played."""

    def __init__(
        self, world: World, chance: random.Random, ids: Ids, at: float, samples: Mapping[str, Sample], app_id: str
    ) -> None:
        self.world, self.chance, self.ids, self.at = world, chance, ids, at
        self._samples, self._app_id = samples, app_id

    @property
    def now(self) -> int:
        """In seconds."""
        return int(self.at)

    def wait(self, least: float, most: float) -> None:
        """Let time pass."""
        self.at += self.chance.uniform(least, most)

    def odds(self, share: float) -> bool:
        """True in so many cases of one."""
        return self.chance.random() < share

    def event(self, trigger: str, data: Mapping[str, Any], **top: Any) -> Moment:
        """Something that happens now; *top* is beside the usual members, None instead of one of them."""
        mark = self.ids.name("event")
        payload = {"trigger": trigger, "data": data, "appId": self._app_id, "region": "eu", "webhook": "simulated"}
        told = {name: value for name, value in {**payload, **top}.items() if value is not None}
        return Moment(self.at, mark, {**told, MARK: mark})

    def like(self, sample: str, changes: Mapping[str, Any], **top: Any) -> Moment:
        """The documented payload *sample*, happening now with these *changes* of its data, by dotted path."""
        payload = copy.deepcopy(dict(self._samples[sample].payload))
        for path, value in changes.items():
            *way, last = path.split(".")
            place = payload["data"]
            for step in way:
                place = place[step]
            place[last] = value
        return self.event(str(payload["trigger"]), payload["data"], **top)


Scene = Iterator[Moment]
