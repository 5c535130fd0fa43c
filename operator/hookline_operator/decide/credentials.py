"""
What becomes of a subscription's generated credentials: which are made, which are removed, and what its status says of them.

    decide(facts, now) -> Decision        the same facts, the same decision: it may be asked as often as one likes

Every Secret that was made for a subscription without secretRefs is accepted as long as it is there. In the order in which they
were made:

    Retiring … Retiring   Active               Pending … Pending
    older ones            the newest that      newer ones: to be entered
                          was seen in use      at CometChat

A rotation adds a newer one. Once that is seen in use it is Active, and those before it are removed when the overlap has
passed; of all of them the one that was used last stays, whatever its age. A revocation removes at once, and waits for nothing.

What a Secret does not say itself (since when it has been used) is remembered in the status. Where that is lost an overlap
becomes longer, never shorter. All times in seconds.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hookline_operator.decide.conditions import SOON, Said
from hookline_operator.decide.instants import seconds_of, text_of
from hookline_routes.resource import ObjectKey

ROTATE, REVOKE = "hookline.dev/rotate", "hookline.dev/revoke"
"""Annotations of a subscription: another value asks for a rotation; names of Secrets that are to go at once."""
SERIAL = "hookline.dev/serial"
"""Annotation of a generated Secret: the order in which they were made. It bears `ROTATE` too: the request it answers."""

MOST_LIVE = 4
"""Generated credentials of one subscription that are accepted at once."""
MOST_SAID = 8
"""Entries of a status."""
SLACK = 60
"""Seconds for which an old credential may be used beside the new one before that is remarkable: retries, clocks."""

CONDITION = "RotationPending"
_MAX_REQUEST = 63


class State(StrEnum):
    """What is to be done with a credential."""

    ACTIVE = "Active"
    PENDING = "Pending"
    RETIRING = "Retiring"
    REPLACED = "Replaced"
    """Not accepted: the subscription names Secrets of its own."""


class Why(StrEnum):
    """What a credential is made for."""

    FIRST = "the subscription names no Secret"
    REQUESTED = f"the annotation {ROTATE} asks for it"
    SCHEDULED = "the one before it is as old as rotation.interval"


class RotationReason(StrEnum):
    """Of the condition."""

    ENTER_NEW = "EnterNewCredential"
    OLD_IN_USE = "OldCredentialInUse"
    UP_TO_DATE = "UpToDate"


@dataclass(frozen=True, slots=True)
class Generated:
    """A Secret that was made for the subscription, as far as it tells without its data."""

    name: str
    uid: str
    created: int
    serial: int = 0
    """0: it was not made by the operator, and is older than what was."""
    request: str = ""
    """The request for a rotation that it answers, or that was there when it was made."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the status says of one."""

    name: str
    state: State
    since: int
    used_since: int | None = None
    """None: it was not seen in use yet."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the subscription asks for."""

    interval: int = 0
    """Age at which a credential is rotated; 0: only on request."""
    overlap: int = 86400
    named: bool = False
    """Whether it names Secrets itself."""
    request: str = ""
    """For a rotation; "": none."""
    revoked: frozenset[str] = frozenset()
    attached: bool = True
    """Whether a gateway serves it: nothing is made or retired before."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is decided by."""

    subscription: ObjectKey
    generation: int
    wish: Wish
    live: tuple[Generated, ...] = ()
    known: Mapping[str, Entry] = field(default_factory=dict)
    """By name: what was said of them last."""
    last_used: Mapping[str, int] = field(default_factory=dict)
    """By name, as far as receivers have told."""
    old_in_use: bool = False
    """Whether it was said that an old one is still used."""
    settling: int = 0
    """Seconds until what receivers have told is complete enough to retire anything by."""


@dataclass(frozen=True, slots=True)
class Creation:
    """A credential that is to be made."""

    why: Why
    serial: int
    request: str
    after: tuple[str, ...]
    """
    uids of those before it, or the subscription's generation where there is none.

    Two who make it at the same time, or one who does not know whether it did, make one.
    """
    avoid: frozenset[str]
    """Names that something else has, or had a moment ago."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now, and said."""

    revoked: tuple[Generated, ...] = ()
    retired: tuple[Generated, ...] = ()
    creation: Creation | None = None
    entries: tuple[Entry, ...] = ()
    """Of what is not revoked, oldest first."""
    condition: Said | None = None
    """None: there is nothing to rotate."""
    again: int | None = None
    """Seconds until time alone may change the decision; None: it doesn't."""
    watching: bool = False
    """Whether a use may change it."""

    @property
    def has_steps(self) -> bool:
        """Whether something is to be done."""
        return bool(self.revoked or self.retired or self.creation)


def decide(facts: Facts, now: int) -> Decision:
    """See the module."""
    revoked = tuple(each for each in facts.live if each.name in facts.wish.revoked)
    live = sorted((each for each in facts.live if each not in revoked), key=_age)
    return _replaced(facts, live, revoked, now) if facts.wish.named else _Chain(facts, live, now).decision(revoked)


def request_in(annotations: Mapping[str, str]) -> str:
    """The request for a rotation; a long one is a digest of it, as it is copied to Secrets."""
    value = annotations.get(ROTATE, "")
    return value if len(value) <= _MAX_REQUEST else hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:32]


def revoked_in(annotations: Mapping[str, str]) -> frozenset[str]:
    """The names of Secrets that are to go at once."""
    return frozenset(name for part in annotations.get(REVOKE, "").split(",") if (name := part.strip()))


def secret_name(subscription: str, uid: str, creation: Creation) -> str:
    """
    The name of the Secret that *creation* makes for the subscription with that *uid*.

    By what it is made after, and not by chance: the second of two who make it meets the first one's, and makes none.
    """
    attempt = 0
    while (name := _name(subscription, uid, creation, attempt)) in creation.avoid:
        attempt += 1
    return name


def _name(subscription: str, uid: str, creation: Creation, attempt: int) -> str:
    parts = (uid, creation.request, str(attempt), *sorted(creation.after))
    digest = hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()
    return f"{subscription[:40].rstrip('-')}-hookline-{digest[:8]}"


def entries_in(status: Mapping[str, object]) -> dict[str, Entry]:
    """What a status says, by name; what can't be read of it is left out."""
    listed = status.get("credentials")
    found = (_entry(each) for each in (listed if isinstance(listed, list) else []))
    return {each.name: each for each in found if each}


def written(entries: Iterable[Entry]) -> list[dict[str, str]]:
    """As the status has them, the newest eight: more there are only if people make Secrets with our owner reference."""
    return [
        {"secretName": each.name, "state": each.state.value, "since": text_of(each.since)}
        | ({} if each.used_since is None else {"usedSince": text_of(each.used_since)})
        for each in tuple(entries)[-MOST_SAID:]
    ]


def _entry(said: object) -> Entry | None:
    if not isinstance(said, Mapping):
        return None
    name, state, since = said.get("secretName"), said.get("state"), seconds_of(said.get("since"))
    if not isinstance(name, str) or state not in set(State) or since is None:
        return None
    return Entry(name, State(state), since, seconds_of(said.get("usedSince")))


def _age(each: Generated) -> tuple[int, int, str]:
    # Times of creation are whole seconds, of API servers whose clocks may differ.
    return (each.serial, each.created, each.name)


def _replaced(facts: Facts, live: list[Generated], revoked: tuple[Generated, ...], now: int) -> Decision:
    """Those that are not accepted any more: kept for the overlap, in case the change is taken back."""
    entries = []
    for each in live:
        known = facts.known.get(each.name)
        since = known.since if known and known.state is State.REPLACED else now
        entries.append(Entry(each.name, State.REPLACED, since, known.used_since if known else None))
    due = {entry.name: entry.since + facts.wish.overlap for entry in entries}
    gone = tuple(each for each in live if due[each.name] <= now and facts.wish.attached)
    waiting = [at - now for at in due.values() if at > now]
    return Decision(revoked, gone, None, tuple(entries), None, min(waiting, default=None))


class _Chain:
    """The live ones in their order."""

    def __init__(self, facts: Facts, live: list[Generated], now: int) -> None:
        self.facts, self.wish, self.live, self.now = facts, facts.wish, live, now
        self.used_since = {each.name: self._used_since(each) for each in live}
        used = [index for index, each in enumerate(live) if self.used_since[each.name] is not None]
        self.in_use = used[-1] if used else None
        """Index of the newest that was seen in use."""
        self.active = used[-1] if used else 0

    def decision(self, revoked: tuple[Generated, ...]) -> Decision:
        creation, waits = self._creation()
        retired = self._retired()
        entries = tuple(self._entry(index) for index in range(len(self.live)))
        condition = self._condition(waits) if self.live else None
        return Decision(revoked, retired, creation, entries, condition, self._again(), self._is_watching())

    def _used_since(self, each: Generated) -> int | None:
        known, last = self.facts.known.get(each.name), self.facts.last_used.get(each.name)
        if known and known.used_since is not None and known.used_since >= each.created:
            return known.used_since
        # What was used before it was made is another Secret of that name.
        return min(last, self.now) if last is not None and last >= each.created else None

    def _creation(self) -> tuple[Creation | None, bool]:
        """What is to be made, and whether something would be if there were not so many already."""
        why = self._why()
        if why is None or not self.wish.attached:
            return None, False
        if len(self.live) >= MOST_LIVE:
            return None, True
        there = {each.name for each in self.live}
        avoid = self.wish.revoked | (self.facts.known.keys() - there)
        serial = 1 + max((each.serial for each in self.live), default=0)
        after = tuple(each.uid for each in self.live) or (f"generation {self.facts.generation}",)
        return Creation(why, serial, self.wish.request, after, frozenset(avoid)), False

    def _why(self) -> Why | None:
        if not self.live:
            return Why.FIRST
        newest = self.live[-1]
        if self.wish.request and self.wish.request != newest.request:
            return Why.REQUESTED
        is_used = self.used_since[newest.name] is not None
        if self.wish.interval and is_used and newest.created + self.wish.interval <= self.now:
            return Why.SCHEDULED
        return None

    def _older(self) -> list[Generated]:
        """Those before the newest that was seen in use."""
        return self.live[: self.in_use] if self.in_use else []

    def _retires_at(self) -> int:
        return self._in_use_since() + self.wish.overlap

    def _in_use_since(self) -> int:
        assert self.in_use is not None
        since = self.used_since[self.live[self.in_use].name]
        assert since is not None
        return since

    def _retired(self) -> tuple[Generated, ...]:
        older = self._older()
        if not older or not self.wish.attached or self.facts.settling > 0 or self._retires_at() > self.now:
            return ()
        return tuple(each for each in older if self._is_superseded(each))

    def _is_superseded(self, each: Generated) -> bool:
        """Whether receivers say that the one in use was used after it: who went back to the old one keeps it."""
        assert self.in_use is not None
        last = self.facts.last_used.get(self.live[self.in_use].name)
        return last is not None and self.facts.last_used.get(each.name, last) <= last

    def _entry(self, index: int) -> Entry:
        each = self.live[index]
        used = self.used_since[each.name]
        if index == self.active:
            return Entry(each.name, State.ACTIVE, each.created if used is None else used, used)
        if index > self.active:
            return Entry(each.name, State.PENDING, each.created, used)
        return Entry(each.name, State.RETIRING, self._in_use_since(), used)

    def _condition(self, waits: bool) -> Said:
        newest, place = self.live[-1], self.facts.subscription.namespace
        active = f"Secret {place}/{self.live[self.active].name}"
        more = f"; another rotation waits, as {MOST_LIVE} credentials are accepted at most: revoke one" if waits else ""
        if newest is not self.live[self.active]:
            message = (
                f"since {text_of(newest.created)}: enter username and password of Secret {place}/{newest.name} at CometChat; "
                f"{active} is accepted until that one has been in use for {_words(self.wish.overlap)}{more}"
            )
            return Said(CONDITION, True, RotationReason.ENTER_NEW, message)
        older = self._older()
        if not older:
            return Said(CONDITION, False, RotationReason.UP_TO_DATE, more.removeprefix("; "), SOON)
        names = ", ".join(each.name for each in older)
        until = f"until {text_of(self._retires_at())}"
        if self.facts.old_in_use or any(self._is_still_used(each) for each in older):
            message = (
                f"{names} is still used beside {active}: enter username and password of the latter wherever CometChat "
                f"has the former, which is accepted {until}{more}"
            )
            return Said(CONDITION, True, RotationReason.OLD_IN_USE, message)
        return Said(CONDITION, False, RotationReason.UP_TO_DATE, f"{names} is accepted {until}{more}", SOON)

    def _is_still_used(self, each: Generated) -> bool:
        return self.facts.last_used.get(each.name, 0) > self._in_use_since() + SLACK

    def _again(self) -> int | None:
        times: list[int] = []
        if self.live and self.wish.interval and self.used_since[self.live[-1].name] is not None:
            times.append(self.live[-1].created + self.wish.interval)
        if self._older():
            times += [self._retires_at(), self.now + self.facts.settling]
        return min((at - self.now for at in times if at > self.now), default=None)

    def _is_watching(self) -> bool:
        return bool(self._older()) or None in self.used_since.values()


def _words(seconds: int) -> str:
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
