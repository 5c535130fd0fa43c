"""Who there is: users, groups and the conversations that they have, as payloads show them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FIRST = ("Amara", "Bruno", "Chen", "Dora", "Emil", "Fatima", "Goran", "Hana", "Ivan", "Jamila", "Kofi", "Lena")
LAST = (
    "Adler",
    "Baptiste",
    "Costa",
    "Demir",
    "Eriksen",
    "Fischer",
    "Gupta",
    "Haddad",
    "Ito",
    "Jansen",
    "Kimani",
    "Lopez",
)
CLUBS = ("Hiking Group", "Book Club", "Support", "Night Shift", "Parents", "Choir", "Release Train", "Allotment")

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """How many of whom."""

    users: int = 100
    groups: int = 10
    conversations: int = 200


@dataclass(frozen=True, slots=True)
class Person:
    """A user."""

    uid: str
    name: str
    created: int

    def shown(self, at: float, status: str = "online") -> Shown:
        """As an entity of a payload made at that moment."""
        return {
            "uid": self.uid,
            "name": self.name,
            "avatar": f"https://assets.example.com/avatars/{self.uid}.webp",
            "status": status,
            "role": "default",
            "lastActiveAt": int(at) - len(self.uid),
            "createdAt": self.created,
        }

    def brief(self) -> Shown:
        """As payloads show who reacted or blocked."""
        return {"uid": self.uid, "name": self.name}


@dataclass(slots=True)
class Club:
    """A group; its members change while it lives."""

    guid: str
    name: str
    created: int
    owner: Person
    members: list[Person] = field(default_factory=list)

    def shown(self, at: float, **more: Any) -> Shown:
        """As an entity of a payload made at that moment."""
        return {
            "guid": self.guid,
            "name": self.name,
            "type": "public",
            "membersCount": len(self.members),
            "conversationId": f"group_{self.guid}",
            "createdAt": self.created,
            "owner": self.owner.uid,
            "onlineMembersCount": max(1, len(self.members) // 3),
            **more,
        }


@dataclass(frozen=True, slots=True)
class Conversation:
    """Between two, or in a group."""

    one: Person
    other: Person
    club: Club | None = None

    @property
    def id(self) -> str:
        """As CometChat makes it."""
        return f"group_{self.club.guid}" if self.club else "_user_".join(sorted((self.one.uid, self.other.uid)))

    @property
    def receiver_type(self) -> str:
        """user or group."""
        return "group" if self.club else "user"

    @property
    def people(self) -> Sequence[Person]:
        """Who is in it."""
        return self.club.members if self.club else (self.one, self.other)

    def turned(self) -> "Conversation":
        """The same with the other one speaking."""
        return Conversation(self.other, self.one, self.club)

    def addressed(self) -> Mapping[str, str]:
        """What messages in it have in common."""
        return {
            "conversationId": self.id,
            "sender": self.one.uid,
            "receiverType": self.receiver_type,
            "receiver": self.club.guid if self.club else self.other.uid,
        }

    def receiver_shown(self, at: float) -> Shown:
        """The receiving side as an entity."""
        if self.club:
            return {"entity": self.club.shown(at), "entityType": "group"}
        return {"entity": {**self.other.shown(at), "conversationId": self.id}, "entityType": "user"}


class World:
    """Users, groups and conversations."""

    def __init__(self, size: Size, chance: random.Random, run: int, began: int) -> None:
        """*run* goes into all ids; everybody was there before *began*."""
        self._chance = chance
        count = max(3, size.users)
        self.people = [
            Person(f"u{run}-{number}", f"{chance.choice(FIRST)} {chance.choice(LAST)}", began - chance.randrange(10**7))
            for number in range(count)
        ]
        self.clubs = [self._club(f"g{run}-{number}", began) for number in range(max(1, size.groups))]
        self.conversations = [self._conversation(number) for number in range(max(1, size.conversations))]

    def pair(self) -> Conversation:
        """A conversation of two."""
        one, other = self._chance.sample(self.people, 2)
        return Conversation(one, other)

    def conversation(self) -> Conversation:
        """Any; a few of them have most of the traffic."""
        place = int(len(self.conversations) * self._chance.random() ** 2)
        found = self.conversations[place]
        return found if self._chance.random() < 0.5 else found.turned()

    def _club(self, guid: str, began: int) -> Club:
        members = self._chance.sample(self.people, min(len(self.people), self._chance.randint(3, 12)))
        return Club(guid, self._chance.choice(CLUBS), began - self._chance.randrange(10**6), members[0], members)

    def _conversation(self, number: int) -> Conversation:
        if number % 4:
            return self.pair()
        club = self._chance.choice(self.clubs)
        one, other = self._chance.sample(club.members, 2)
        return Conversation(one, other, club)
