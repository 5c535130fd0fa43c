"""Whom a message concerns, and whether a mail is due to them. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from notifications.reading import Message, Person


class Kind(StrEnum):
    """What the mail is about; names its template."""

    MENTION = "mention"
    MESSAGE = "message"


class Skip(StrEnum):
    """Why no mail is due."""

    ALREADY_MAILED = "a mail about this message has gone to this person"
    TOO_OLD = "the message is too old to tell of it"
    ONLINE = "the person is online"
    QUIET = "the person had a mail about this conversation a short while ago"
    NO_ADDRESS = "the directory has no address for this person"


@dataclass(frozen=True, slots=True)
class Notice:
    """That a message concerns somebody."""

    message: Message
    person: Person
    kind: Kind

    @property
    def key(self) -> tuple[str, str, str]:
        """App, message, uid: there is one mail for it, whichever events tell of the message."""
        return (self.message.app, self.message.id, self.person.uid)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a notice's person when it is decided."""

    mailed: bool
    """Whether the notice's mail has gone."""
    online: bool | None
    """By the last event that told of their presence; None: none did."""
    last_mail: datetime | None
    """About this conversation."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When to leave people in peace."""

    quiet: timedelta = timedelta(minutes=10)
    """Between two mails to one person about one conversation."""
    max_age: timedelta | None = timedelta(hours=24)
    """Of a message that a mail may tell of: after an outage nobody wants mails about last week. None: any."""


def notices(message: Message) -> tuple[Notice, ...]:
    """Whom *message* concerns, each once: who is mentioned, and between two people whom it is for."""
    concerned: dict[str, Notice] = {}
    for person in message.mentioned:
        concerned[person.uid] = Notice(message, person, Kind.MENTION)
    receiver = message.receiver
    if receiver is not None:
        mention = concerned.get(receiver.uid)
        kind = mention.kind if mention else Kind.MESSAGE
        concerned[receiver.uid] = Notice(message, _as_one(receiver, mention.person if mention else None), kind)
    concerned.pop(message.sender.uid, None)
    concerned.pop("", None)
    return tuple(concerned.values())


def _as_one(receiver: Person, mentioned: Person | None) -> Person:
    """The receiver tells their presence, which a mention does not; a name may be in either."""
    named = receiver if receiver.name != receiver.uid or mentioned is None else mentioned
    return replace(receiver, name=named.name)


def skip(notice: Notice, known: Known, policy: Policy, now: datetime) -> Skip | None:
    """Why there is to be no mail; None: there is."""
    if known.mailed:
        return Skip.ALREADY_MAILED
    if policy.max_age is not None and now - notice.message.sent_at > policy.max_age:
        return Skip.TOO_OLD
    if notice.person.online if known.online is None else known.online:
        return Skip.ONLINE
    if known.last_mail is not None and now - known.last_mail < policy.quiet:
        return Skip.QUIET
    return None
