"""Groups, blocks and presence."""

from collections.abc import Sequence
from typing import Any

from hookline_cli.simulate.stage import Moment, Scene, Stage
from hookline_cli.simulate.world import Club, Person


def presence(stage: Stage) -> Scene:
    """Somebody's device connects, and disconnects later; these times are in milliseconds."""
    person = stage.chance.choice(stage.world.people)
    connected = int(stage.at * 1000)
    for action, status in (("connected", "online"), ("disconnected", "offline")):
        data = {
            "timestamp": int(stage.at * 1000),
            "user": person.shown(stage.at, status),
            "status": status,
            "currentConnection": {"action": action, "platform": "javascript", "connectedAt": connected},
            "userPresenceChanged": True,
        }
        yield stage.event("user_connection_status_changed", data)
        stage.wait(60, 3600)


def block(stage: Stage) -> Scene:
    """Two are blocked at once, and unblocked again; these events have no time."""
    by, *others = stage.chance.sample(stage.world.people, 3)
    users = {person.uid: person.brief() for person in others}
    yield stage.event("user_blocked", {"users": users, "by": by.brief()})
    stage.wait(30, 3600)
    yield stage.event("user_unblocked", {"users": users, "by": by.brief()})


def life(stage: Stage) -> Scene:
    """A group is made, changes hands, and ends."""
    owner, heir = stage.chance.sample(stage.world.people, 2)
    club = Club(stage.ids.name("group"), "Short-lived", stage.now, owner, [owner])
    yield _told(stage, "created", club, [owner])
    stage.wait(2, 20)
    club.members.append(heir)
    yield _told(stage, "member_added", club, [heir], by=owner)
    stage.wait(2, 200)
    club.name = "Not so short-lived"
    yield _told(stage, "updated", club, updatedBy=owner.uid)
    stage.wait(2, 200)
    club.owner = heir
    yield _told(stage, "owner_transferred", club, old_owner=owner, updatedBy=owner.uid)
    stage.wait(2, 200)
    yield _told(stage, "deleted", club, updatedBy=heir.uid)


def coming_and_going(stage: Stage) -> Scene:
    """People join, are added, made moderators, leave, are removed, banned, and let in again. Some events come late."""
    known = stage.chance.choice(stage.world.clubs)
    club = Club(known.guid, known.name, known.created, known.owner, list(known.members))
    comers = stage.chance.sample(stage.world.people, 3)
    by = club.owner
    for name, people in (
        ("member_joined", comers[:1]),
        ("member_added", comers[1:]),
        ("member_scope_changed", comers[1:2]),
        ("member_left", comers[:1]),
        ("member_kicked", comers[1:2]),
        ("member_banned", comers[2:]),
        ("member_unbanned", comers[2:]),
    ):
        stage.wait(1, 30)
        yield _told(stage, name, club, people, by=None if name in ("member_joined", "member_left") else by)


def _told(
    stage: Stage,
    name: str,
    club: Club,
    members: Sequence[Person] = (),
    *,
    by: Person | None = None,
    old_owner: Person | None = None,
    **of_group: Any,
) -> Moment:
    data: dict[str, Any] = {"group": club.shown(stage.at, updatedAt=stage.now, **of_group)}
    if members:
        scope = {"scope": "moderator"} if "scope" in name else {}
        data["members"] = {person.uid: {**person.shown(stage.at), **scope} for person in members}
    if by:
        data["by"] = by.shown(stage.at)
    if old_owner:
        data["oldOwner"] = old_owner.shown(stage.at)
    return stage.event(f"group_{name}", data)
