"""Campaigns: what is sent to many, and what becomes of it with each."""

from collections.abc import Iterator, Mapping
from typing import Any

from hookline_cli.simulate.stage import Moment, Scene, Stage
from hookline_cli.simulate.world import Person


def campaign(stage: Stage) -> Scene:
    """A notification goes into feeds and by push to some people, and the campaign ends well or not."""
    ids = {"campaignId": stage.ids.name("campaign"), "notificationId": stage.ids.name("notification")}
    people = stage.chance.sample(stage.world.people, 3)
    began = stage.now
    created = {**ids, "createdAt": began, "totalTargets": len(people)}
    yield stage.like("after_notification_created", created)
    for person in people:
        stage.wait(0.1, 2)
        yield from _feed(stage, person, ids)
        yield from _push(stage, person, ids)
    stage.wait(5, 60)
    ending = "completed" if stage.odds(0.8) else "failed"
    times = {"sentAt": began, "completedAt": stage.now, "updatedAt": stage.now}
    counts = {"totalTargets": len(people), "sentCount": len(people) if ending == "completed" else 0}
    whole = {"campaignId": ids["campaignId"], "status": ending, **times, **counts}
    yield stage.like(f"after_campaign_{ending}", whole)


def _feed(stage: Stage, person: Person, ids: Mapping[str, str]) -> Iterator[Moment]:
    item: dict[str, Any] = {"id": stage.ids.name("item"), **ids, "receiver": person.uid}
    steps = (("sent", "sentAt"), ("delivered", "deliveredAt"), ("read", "readAt"), ("interacted", "engagedAt"))
    yield from _steps(stage, "after_feed_item_sent", "after_feed_item_", item, steps)


def _push(stage: Stage, person: Person, ids: Mapping[str, str]) -> Iterator[Moment]:
    push: dict[str, Any] = {"pushNotificationId": stage.ids.name("push"), **ids, "receiver": person.uid}
    steps = (("sent", "sentAt"), ("delivered", "deliveredAt"), ("clicked", "clickedAt"))
    yield from _steps(stage, "after_push_notification_sent", "after_push_notification_", push, steps)


def _steps(
    stage: Stage, sample: str, prefix: str, told: dict[str, Any], steps: tuple[tuple[str, str], ...]
) -> Iterator[Moment]:
    """Each step adds its time to what is told; a later one may not come."""
    for number, (status, time) in enumerate(steps):
        if number > 1 and not stage.odds(0.7):
            return
        told |= {"status": status, time: stage.now}
        moment = stage.like(sample, told)
        moment.payload["trigger"] = f"{prefix}{status}"
        yield moment
        stage.wait(1, 120)
