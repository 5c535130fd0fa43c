"""What is to be sent, decided beforehand: the same seed gives the same plan."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hookline_cli.simulate.payloads import Copier, Sample, body_of, shown_anew
from hookline_cli.simulate.stage import Moment


class Kind(StrEnum):
    """What a shot is, and so how an endpoint should answer it."""

    EVENT = "event"
    UNKNOWN = "unknown trigger"
    DUPLICATE = "duplicate"
    """An event once more, after it was answered: as if the answer had been lost."""
    BAD_CREDENTIALS = "bad credentials"
    BROKEN = "broken body"
    OVERSIZE = "oversize body"


EXPECTED = {
    Kind.EVENT: 200,
    Kind.UNKNOWN: 200,
    Kind.DUPLICATE: 200,
    Kind.BAD_CREDENTIALS: 401,
    Kind.BROKEN: 400,
    Kind.OVERSIZE: 413,
}
"""How an endpoint that is well answers."""


class Credentials(StrEnum):
    """What goes into the `Authorization` header."""

    RIGHT = "right"
    WRONG_PASSWORD = "wrong password"
    WRONG_USER = "wrong user"
    NONE = "none"
    MALFORMED = "malformed"


WRONG = (Credentials.WRONG_PASSWORD, Credentials.WRONG_USER, Credentials.NONE, Credentials.MALFORMED)


@dataclass(frozen=True, slots=True)
class Shot:
    """One body to send, until it is answered as it should be or patience ends."""

    number: int
    """Unique in the plan."""
    kind: Kind
    name: str
    """The sample it was made of."""
    body: bytes
    credentials: Credentials = Credentials.RIGHT
    repeats: int | None = None
    """The number of the shot whose event this is once more."""
    mark: str = ""
    """The id that the payload bears for checks from end to end; "" for copies of samples."""
    at: float | None = None
    """Seconds after the plan begins when it leaves; None: as the manner says."""

    @property
    def expected(self) -> int:
        """The status that a well endpoint answers."""
        return EXPECTED[self.kind]


@dataclass(frozen=True, slots=True)
class Mix:
    """How many of what."""

    events: int | None = None
    """Documented payloads; None: each sample once. More than there are samples: they come round again."""
    duplicates: int = 0
    """Of the events, so many are sent once more: every other one shown anew, the rest byte for byte."""
    unknown: int = 0
    bad_credentials: int = 0
    broken: int = 0
    oversize: int = 0
    oversize_bytes: int = 2 * 1024 * 1024 + 1
    """Size of an oversize body: by default one byte more than receivers take by default."""
    disorder: int = 0
    """How many places a shot may be late."""
    app_id: str | None = None
    """`appId` of all payloads; None: what the samples say."""


@dataclass(frozen=True, slots=True)
class Played:
    """Events of a simulated day, instead of copies of samples."""

    moments: Sequence[Moment]
    leave: Sequence[float] = ()
    """Seconds after the plan begins when each leaves; empty: as the manner says."""


def make_plan(samples: Sequence[Sample], mix: Mix, seed: int, played: Played | None = None) -> list[Shot]:
    """The shots in the order in which they go out; with *played* its events are those of the mix."""
    chance = random.Random(seed)
    maker = _Maker(samples, Copier(chance.randrange(1, 10_000_000), mix.app_id), mix, played)
    shots = list(maker.shots())
    if mix.disorder:
        late = {shot.number: place + chance.uniform(0, mix.disorder) for place, shot in enumerate(shots)}
        shots.sort(key=lambda shot: late[shot.number])
    return shots


class _Maker:
    """Makes the shots of a mix, the odd ones spread evenly among the events."""

    def __init__(self, samples: Sequence[Sample], copier: Copier, mix: Mix, played: Played | None = None) -> None:
        self._samples = samples
        self._played = played
        self._at: float | None = None
        self._copier = copier
        self._mix = mix
        self._number = 0

    def shots(self) -> Iterator[Shot]:
        """In order, without disorder."""
        mix = self._mix
        events = len(self._samples) if mix.events is None else mix.events
        if self._played:
            events = len(self._played.moments)
        makers: Sequence[tuple[int, Callable[[int], Iterator[Shot]]]] = (
            (events, self._event),
            (mix.unknown, self._unknown),
            (mix.bad_credentials, self._bad_credentials),
            (mix.broken, self._broken),
            (mix.oversize, self._oversize),
        )
        turns = [((turn + 0.5) / count, turn, make) for count, make in makers for turn in range(count)]
        for _, turn, make in sorted(turns, key=lambda entry: entry[0]):
            yield from make(turn)

    def _event(self, turn: int) -> Iterator[Shot]:
        name, mark, payload = self._told(turn)
        event = self._shot(Kind.EVENT, name, body_of(payload), mark=mark)
        yield event
        if turn < self._mix.duplicates:
            body = shown_anew(payload) if turn % 2 else event.body
            yield self._shot(Kind.DUPLICATE, name, body, repeats=event.number, mark=mark)

    def _told(self, turn: int) -> tuple[str, str, Mapping[str, Any]]:
        """Name, mark and payload of the event."""
        if self._played is None:
            sample = self._samples[turn % len(self._samples)]
            return sample.name, "", self._copier.copy(sample, self._number + 1)
        moment = self._played.moments[turn]
        self._at = self._played.leave[turn] if self._played.leave else None
        return moment.payload["trigger"], moment.mark, moment.payload

    def _unknown(self, turn: int) -> Iterator[Shot]:
        payload = self._payload(turn)
        payload["trigger"] = f"simulated_{payload['trigger']}"
        yield self._shot(Kind.UNKNOWN, str(payload["trigger"]), body_of(payload))

    def _bad_credentials(self, turn: int) -> Iterator[Shot]:
        credentials = WRONG[turn % len(WRONG)]
        body = body_of(self._payload(turn))
        yield self._shot(Kind.BAD_CREDENTIALS, credentials.value, body, credentials=credentials)

    def _broken(self, turn: int) -> Iterator[Shot]:
        payload = self._payload(turn)
        name, breaking = BREAKAGES[turn % len(BREAKAGES)]
        yield self._shot(Kind.BROKEN, name, breaking(payload))

    def _oversize(self, turn: int) -> Iterator[Shot]:
        payload = self._payload(turn)
        missing = self._mix.oversize_bytes - len(body_of({**payload, "filler": ""}))
        body = body_of({**payload, "filler": "x" * max(0, missing)})
        yield self._shot(Kind.OVERSIZE, str(payload["trigger"]), body)

    def _payload(self, turn: int) -> dict[str, Any]:
        return self._copier.copy(self._samples[turn % len(self._samples)], self._number + 1)

    def _shot(
        self,
        kind: Kind,
        name: str,
        body: bytes,
        *,
        credentials: Credentials = Credentials.RIGHT,
        repeats: int | None = None,
        mark: str = "",
    ) -> Shot:
        self._number += 1
        return Shot(self._number, kind, name, body, credentials, repeats, mark, self._at)


def _cut(payload: dict[str, Any]) -> bytes:
    body = body_of(payload)
    return body[: len(body) // 2]


BREAKAGES: Sequence[tuple[str, Callable[[dict[str, Any]], bytes]]] = (
    ("cut in the middle", _cut),
    ("no trigger", lambda payload: body_of({key: value for key, value in payload.items() if key != "trigger"})),
    ("not an object", lambda payload: b"[" + body_of(payload) + b"]"),
    ("trigger is a number", lambda payload: body_of({**payload, "trigger": 7})),
    ("empty", lambda payload: b""),
    ("a form", lambda payload: b"trigger=" + str(payload["trigger"]).encode()),
)
