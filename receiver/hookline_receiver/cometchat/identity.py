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

from collections.abc import Callable
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
    plan = _PLANS.get(reading.envelope.trigger)
    if plan is None:
        return Identity(_digest(reading, body, subscription_uid), False, "", "", 0)
    data = reading.data
    while plan.otherwise and not plan.when(data):
        plan = plan.otherwise
    subject, time, fields = plan.find(data)
    time_ms = moment_ms(time, plan.unit_ms)
    if not fields or None in fields or "" in fields:
        key, strong = _digest(reading, body, subscription_uid), False
    else:
        key = _key(subscription_uid, reading, (plan.name, fields, plan.more and plan.more(data)))
        strong = plan.strong and (plan.own_id or time_ms >= FIRST_IN_MILLISECONDS)
    return Identity(key, strong, _partition(plan.partition(data)), _subject(plan.subject_kind, subject), time_ms)


def _key(subscription_uid: str, reading: Reading, fields: object, rest: bytes = b"") -> bytes:
    """A hash of all that must agree, as JSON: that tells where one field ends and the next begins."""
    envelope = reading.envelope
    head = _encode((subscription_uid, reading.webhook, envelope.app_id, envelope.trigger, fields))
    return blake2b(head + rest, digest_size=KEY_BYTES).digest()


def _digest(reading: Reading, body: bytes, subscription_uid: str) -> bytes:
    return _key(subscription_uid, reading, "digest", canonical(body))


def _partition(found: object) -> str:
    text = found if isinstance(found, str) else str(found) if type(found) is int else ""
    if len(text) <= MAX_PARTITION_LENGTH:
        return text
    return blake2b(text.encode(), digest_size=KEY_BYTES).hexdigest()


def _subject(kind: str, value: Scalar) -> str:
    """What the event is about, "kind/id"; "" if the payload does not say."""
    ident = text_of(value)
    return f"{kind}/{ident}" if ident else ""


def moment_ms(value: Scalar, unit_ms: int) -> int:
    """Milliseconds since the epoch of a time in units of *unit_ms*, a number or its text; 0 if it is no such time."""
    if type(value) is not int:
        return _odd_moment_ms(value, unit_ms)
    moment = value * unit_ms
    return moment if 0 < moment <= LAST_MOMENT_MS else 0


def _odd_moment_ms(value: Scalar, unit_ms: int) -> int:
    if isinstance(value, bool) or value is None:
        return 0
    try:
        moment = int(float(value) * unit_ms)
    except (ValueError, OverflowError):
        return 0
    return moment if 0 < moment <= LAST_MOMENT_MS else 0


Found = tuple[Scalar, Scalar, tuple[Scalar, ...]]
"""Id of the subject, time, fields of the key."""


class _Plan(msgspec.Struct, frozen=True):
    """A rule with its paths made ready."""

    name: str
    find: Callable[[Data], Found]
    more: Callable[[Data], object] | None
    """What belongs to the key where it is there."""
    strong: bool
    own_id: bool
    subject_kind: str
    partition: Callable[[Data], object]
    unit_ms: int
    when: Callable[[Data], bool]
    otherwise: "_Plan | None"
    """The plan for payloads that this one is not for."""


def _finder(rule: Rule) -> Callable[[Data], Found]:
    """PERF: reads all fields in one call."""
    first = 1 + len(rule.time)
    if not (rule.time or rule.key):
        subject = attrgetter(rule.subject[1])
        return lambda data: (subject(data), None, ())
    read = attrgetter(rule.subject[1], *rule.time, *rule.key)
    if not rule.time:
        return lambda data: ((values := read(data))[0], None, values[1:])

    def find(data: Data) -> Found:
        values = read(data)
        time = values[1]
        if time is None:
            time = next((value for value in values[2:first] if value is not None), None)
        return values[0], time, values[first:]

    return find


def _values(paths: tuple[str, ...]) -> Callable[[Data], tuple[Scalar, ...]]:
    """Reads the fields at *paths*."""
    if not paths:
        return lambda data: ()
    if len(paths) == 1:
        single = attrgetter(paths[0])
        return lambda data: (single(data),)
    return attrgetter(*paths)


def _more(rule: Rule) -> Callable[[Data], object] | None:
    also = _values(rule.also)
    if not rule.people:
        return also if rule.also else None
    people = attrgetter(rule.people)
    return lambda data: (also(data), sorted(people(data)))


def _planned(rules: tuple[Rule, ...]) -> _Plan:
    rule = rules[0]
    return _Plan(
        name=rule.name,
        find=_finder(rule),
        more=_more(rule),
        strong=rule.strength is not Strength.WEAK,
        own_id=rule.strength is Strength.OWN_ID,
        subject_kind=rule.subject[0],
        partition=rule.partition,
        unit_ms=rule.unit.value,
        when=rule.when,
        otherwise=_planned(rules[1:]) if rules[1:] else None,
    )


_PLANS = {trigger: _planned(rules) for trigger, rules in RULES.items()}
