"""What one tenant changes faster than it can be read delays nobody else's changes, and piles up nowhere."""

import asyncio
import threading
import time
from typing import Any

from hookline_operator.observe.feeds import SLICE, Feeds, Incoming
from hookline_operator.observe.kinds import identity
from hookline_operator.observe.objects import Change, KindName
from hookline_routes.resource import ObjectKey
from support.operator_core import a_cluster, a_pod, a_subscription, again
from support.waiting import until

SUBSCRIPTIONS, PODS = KindName.SUBSCRIPTIONS, KindName.PODS


def handed_out(incoming: Incoming) -> list[tuple[str, str, str | None]]:
    """Kind, object and type of what comes, in its order."""
    found = []
    while event := incoming.next():
        kind, event_type, body = event
        seen = identity(body)
        assert seen is not None
        found.append((kind.value, str(seen.key), event_type))
    return found


def test_a_flood_of_one_namespace_lets_another_be_next() -> None:
    """A thousand objects that wait are one turn to others, not a thousand."""
    incoming = Incoming()
    for number in range(1000):
        incoming.hear((SUBSCRIPTIONS, "ADDED", a_subscription("evil", f"s{number}")))
    incoming.hear((SUBSCRIPTIONS, "ADDED", a_subscription("victim", "chat")))

    order = [name for _, name, _ in handed_out(incoming)]

    assert order.index("victim/chat") <= 1
    assert len(order) == 1001


def test_only_the_newest_of_an_object_is_kept() -> None:
    """Whoever changes one object without end must not fill the memory, nor be read for each change."""
    incoming = Incoming()
    body = a_subscription("evil")
    for _ in range(500):
        body = again(body, spec={"routes": []})
        incoming.hear((SUBSCRIPTIONS, "MODIFIED", body))
    incoming.hear((SUBSCRIPTIONS, "DELETED", again(body)))
    incoming.hear((PODS, "ADDED", a_pod("evil", "chat")))

    assert handed_out(incoming) == [("subscriptions", "evil/chat", "DELETED"), ("pods", "evil/chat", "ADDED")]
    assert len(incoming) == 0


def test_what_is_older_replaces_nothing_newer_that_waits() -> None:
    """A list that is begun anew may say things that are over."""
    incoming = Incoming()
    old = a_subscription("acme")
    new = again(old)
    incoming.hear((SUBSCRIPTIONS, "DELETED", new))
    incoming.hear((SUBSCRIPTIONS, None, old))

    assert handed_out(incoming) == [("subscriptions", "acme/chat", "DELETED")]


def test_what_is_no_object_is_left_out() -> None:
    """It has no name under which it could wait."""
    incoming = Incoming()
    for body in ({}, {"metadata": None}, {"metadata": {"name": "x"}}):
        incoming.hear((SUBSCRIPTIONS, "ADDED", body))

    assert handed_out(incoming) == []


async def test_the_event_loop_is_held_for_no_longer_than_a_slice() -> None:
    """The Lease is renewed by the same loop: the largest subscriptions take tens of milliseconds each to be read."""
    most, pause = 0, 0.002
    cluster = a_cluster()

    def slow(change: Change) -> None:
        time.sleep(pause)

    feeds = Feeds(cluster, lambda: None, slow)  # type: ignore[arg-type, return-value]
    feeds._loop = asyncio.get_running_loop()  # as `start` does, without a kopf
    hear: Any = feeds._hear

    def flood() -> None:
        for number in range(300):
            hear(SUBSCRIPTIONS, "ADDED", a_subscription("evil", f"s{number}"))
        hear(SUBSCRIPTIONS, "ADDED", a_subscription("victim", "chat"))

    thread = threading.Thread(target=flood)
    thread.start()
    turns = 0
    while ObjectKey("victim", "chat") not in cluster.subscriptions:
        most = max(most, len(cluster.subscriptions))
        turns += 1
        await asyncio.sleep(0)
    thread.join()
    await until(lambda: feeds.behind == 0, 20)

    assert len(cluster.subscriptions) == 301
    assert most < 300, "the victim came last"
    assert turns > 1, f"{SLICE} s were not kept"
