"""
What tells one event from another, composed after the table in `rules`.

CometChat sends no event id, so a key is composed from the payload and hashed together with subscription, webhook, app
and trigger. It is **strong** where the payload has an id that belongs to this event alone, or a time in milliseconds:
equal keys then mean one event within the whole duplicates window. It is **weak** where there is only a time in seconds,
no time, or a digest of the body: equal keys then mean one event only within the sender's retry horizon. In both cases
only if the bodies agree too (`sameness`).

Collisions that the payload makes unavoidable (true events with equal keys and equal bodies; all of them weak):

- user_blocked, user_unblocked: no time. Block, unblock, block again within the horizon: the third looks like a retry.
- group_member_added and the like: `updatedAt` may be missing, and one member can come and go twice within the horizon.
- *_participant_joined, *_participant_left: two people of one name in one second, as occupants have no id.
- message_edited in the flat shape: two edits within one second that leave the same text.
- receipts: a message marked as read twice within a second by one reader.
- before_message: the same text sent twice to one receiver within a second, as the message has no id yet.
- email and SMS payloads: no time; two with the same text to one person.
- triggers that are not known: two with the same payload.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import attrgetter

import msgspec

from hookline_receiver.cometchat.canonical import canonical
from hookline_receiver.cometchat.envelope import Reading, text_of
from hookline_receiver.cometchat.rules import RULES, Rule, Strength
from hookline_receiver.cometchat.wire import Data, Scalar
from hookline_receiver.event import Identity

KEY_BYTES = 16

MAX_PARTITION_LENGTH = 512
"""Characters; a longer one is hashed: it is a key of the store and an attribute of every delivery."""

LAST_MOMENT_MS = 253_402_300_799_999
"""The end of the year 9999: a `Timestamp` goes no further."""

FIRST_IN_MILLISECONDS = 100_000_000_000
"""A smaller number can't be this century's milliseconds: it counts seconds, and is no strong key."""

_encode = msgspec.json.Encoder().encode


def identify(reading: Reading, body: bytes, subscription_uid: str) -> Identity:
    """The identity of the event that *reading* was read from *body*, in the subscription. Never raises."""
    plan = _plan(reading)
    if plan is None:
        return Identity(_digest(reading, body, subscription_uid), False, "", "", 0)
    data, rule = reading.data, plan.rule
    found = plan.key(data)
    time_ms = plan.time_ms(data)
    if not found or None in found or "" in found:
        key, strong = _digest(reading, body, subscription_uid), False
    else:
        people = sorted(getattr(data, rule.people)) if rule.people else None
        key = _hash(_head(reading, subscription_uid, [rule.name, found, plan.also(data), people]))
        strong = plan.strong and (plan.own_id or time_ms >= FIRST_IN_MILLISECONDS)
    return Identity(key, strong, _partition(rule.partition(data)), plan.subject(data), time_ms)


def _head(reading: Reading, subscription_uid: str, fields: Sequence[object]) -> bytes:
    """As JSON, since nothing else is needed to tell where one field ends and the next begins."""
    envelope = reading.envelope
    return _encode((subscription_uid, reading.webhook, envelope.app_id, envelope.trigger, fields))


def _hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=KEY_BYTES).digest()


def _digest(reading: Reading, body: bytes, subscription_uid: str) -> bytes:
    return _hash(_head(reading, subscription_uid, ("digest",)) + canonical(body))


def _partition(found: object) -> str:
    text = found if isinstance(found, str) else text_of(found) if isinstance(found, int) else ""
    return text if len(text) <= MAX_PARTITION_LENGTH else _hash(text.encode()).hex()


@dataclass(frozen=True)
class _Plan:
    """A rule with its paths made ready."""

    rule: Rule
    strong: bool
    own_id: bool
    key: Callable[[Data], tuple[Scalar, ...]]
    also: Callable[[Data], tuple[Scalar, ...]]
    times: Callable[[Data], tuple[Scalar, ...]]
    subject_id: Callable[[Data], tuple[Scalar, ...]]

    def time_ms(self, data: Data) -> int:
        """When it happened; 0 if the payload does not say."""
        for value in self.times(data):
            if value is not None:
                return moment_ms(value, self.rule.unit.value)
        return 0

    def subject(self, data: Data) -> str:
        """What it is about, "kind/id"; "" if the payload does not say."""
        for value in self.subject_id(data):
            if ident := text_of(value):
                return f"{self.rule.subject[0]}/{ident}"
        return ""


def moment_ms(value: Scalar, unit_ms: int) -> int:
    """Milliseconds since the epoch of a time in units of *unit_ms*, a number or its text; 0 if it is no such time."""
    try:
        number = float(value) if isinstance(value, str) else value
        if number is None or isinstance(number, bool) or not math.isfinite(number):
            return 0
        moment = int(number * unit_ms)
    except (ValueError, OverflowError):
        return 0
    return moment if 0 < moment <= LAST_MOMENT_MS else 0


def _nothing(data: Data) -> tuple[Scalar, ...]:
    return ()


def _values(paths: tuple[str, ...]) -> Callable[[Data], tuple[Scalar, ...]]:
    """Reads the fields at *paths*."""
    if not paths:
        return _nothing
    if len(paths) == 1:
        single = attrgetter(paths[0])
        return lambda data: (single(data),)
    return attrgetter(*paths)


def _planned(rule: Rule) -> _Plan:
    return _Plan(
        rule,
        strong=rule.strength is not Strength.WEAK,
        own_id=rule.strength is Strength.OWN_ID,
        key=_values(rule.key),
        also=_values(rule.also),
        times=_values(rule.time),
        subject_id=_values(rule.subject[1:] if rule.subject[1] else ()),
    )


_PLANS = {trigger: tuple(map(_planned, rules)) for trigger, rules in RULES.items()}


def _plan(reading: Reading) -> _Plan | None:
    plans = _PLANS.get(reading.envelope.trigger, ())
    if len(plans) == 1:  # PERF: most triggers have one shape
        return plans[0]
    return next((plan for plan in plans if plan.rule.when(reading.data)), None)
