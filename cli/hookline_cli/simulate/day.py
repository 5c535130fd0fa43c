"""A day of a world: scenes begin as people's days go, and all their events come in the order of time."""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from hookline_cli.simulate.payloads import read_samples
from hookline_cli.simulate.scenes import SCENES
from hookline_cli.simulate.stage import Ids, Moment, Stage
from hookline_cli.simulate.world import Size, World

HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 12, 14, 15, 17, 20, 18, 15, 14, 15, 17, 20, 24, 26, 20, 12, 5)
"""How much happens in each hour: little at night, most at noon and in the evening."""

DAY = 86_400
FIRST_DAY = 1_767_571_200
"""A Monday: 2026-01-05 in UTC. Times in payloads follow from the seed, as all else does."""

_REHEARSALS = 24
"""Times each scene is played to learn what can happen in it."""


@dataclass(frozen=True, slots=True)
class Script:
    """What is to happen."""

    size: Size = field(default_factory=Size)
    count: int | None = None
    """Events; None: until every trigger was there."""
    triggers: frozenset[str] = frozenset()
    """Only these; empty: all."""
    app_id: str = "simulated"


class UnknownTrigger(Exception):
    """No scene has an event of this trigger. The message names those that there are."""


def moments(script: Script, seed: int) -> Sequence[Moment]:
    """The events in the order of time; the same seed gives the same ones."""
    theatre = _Theatre(script, random.Random(seed))
    played = list(theatre.until_all_was_there())
    while script.count is not None and len(played) < script.count:
        played.extend(theatre.scene())
    played.sort(key=lambda moment: moment.at)
    return played[: script.count]


def seconds_after(played: Sequence[Moment], day_seconds: float) -> Sequence[float]:
    """When each event leaves if the day takes so many seconds."""
    if not played:
        return ()
    began = played[0].at - played[0].at % DAY
    return [(moment.at - began) / DAY * day_seconds for moment in played]


def time_of_day(share: float) -> float:
    """The second of the day before which *share* of everything happens."""
    sums = [0, *accumulate(HOURS)]
    target = share * sums[-1]
    hour = next(hour for hour in range(len(HOURS)) if target <= sums[hour + 1])
    return (hour + (target - sums[hour]) / HOURS[hour]) * DAY / len(HOURS)


class _Theatre:
    """Plays scenes."""

    def __init__(self, script: Script, chance: random.Random) -> None:
        self._chance, self._script = chance, script
        self._began = FIRST_DAY + chance.randrange(300) * DAY
        self._run = chance.randrange(1, 10_000_000)
        self._ids = Ids(self._run)
        self._world = World(script.size, chance, self._run, self._began)
        self._samples = {sample.name: sample for sample in read_samples()}
        repertoire = self._rehearsed()
        if unknown := sorted(script.triggers - {trigger for each in repertoire.values() for trigger in each}):
            known = ", ".join(sorted({trigger for each in repertoire.values() for trigger in each}))
            raise UnknownTrigger(f"{', '.join(unknown)}: not played; there are {known}")
        self._repertoire = {name: wanted for name, each in repertoire.items() if (wanted := self._wanted(each))}

    def scene(self, name: str = "") -> Iterator[Moment]:
        """The wanted events of a scene, by chance or by *name*, somewhen in the day."""
        if not name:
            names = list(self._repertoire)
            (name,) = self._chance.choices(names, [SCENES[each].weight for each in names])
        at = self._began + time_of_day(self._chance.random())
        for moment in SCENES[name].play(self._stage(at, self._chance, self._world, self._ids)):
            if not self._script.triggers or moment.payload["trigger"] in self._script.triggers:
                yield moment

    def until_all_was_there(self) -> Iterator[Moment]:
        """Scenes until every trigger has happened."""
        missing = {trigger for each in self._repertoire.values() for trigger in each}
        while missing:
            name = next(name for name, triggers in self._repertoire.items() if missing & triggers)
            for moment in self.scene(name):
                missing.discard(moment.payload["trigger"])
                yield moment

    def _wanted(self, triggers: Collection[str]) -> set[str]:
        return {trigger for trigger in triggers if not self._script.triggers or trigger in self._script.triggers}

    def _rehearsed(self) -> Mapping[str, set[str]]:
        """What can happen in each scene."""
        chance = random.Random(0)
        world, ids = World(Size(9, 2, 4), chance, 0, FIRST_DAY), Ids(0)
        return {
            name: {
                moment.payload["trigger"]
                for _ in range(_REHEARSALS)
                for moment in kind.play(self._stage(FIRST_DAY, chance, world, ids))
            }
            for name, kind in SCENES.items()
        }

    def _stage(self, at: float, chance: random.Random, world: World, ids: Ids) -> Stage:
        return Stage(world, chance, ids, at, self._samples, self._script.app_id)
