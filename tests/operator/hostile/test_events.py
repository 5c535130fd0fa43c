"""Events: one tenant's noise leaves others theirs."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hookline_operator.apply.events import EventLimits, Events
from hookline_operator.decide.happenings import Happening, event_object
from hookline_operator.observe.kinds import read_subscription
from hookline_operator.observe.objects import Declared
from support.operator_core import a_subscription


class Api:
    """Counts the Events of each namespace."""

    def __init__(self) -> None:
        self.created: list[str] = []

    async def create(self, kind: Any, namespace: str, body: Any) -> Any:
        """As asked."""
        self.created.append(namespace)
        return body


def declared(namespace: str) -> Declared:
    """A subscription of that namespace."""
    found = read_subscription(a_subscription(namespace))
    assert found is not None
    return found


async def test_a_flood_of_one_tenants_events_does_not_use_up_what_others_need() -> None:
    """A revocation that nobody hears of looks like one that did not happen."""
    now = [100.0]
    api = Api()
    limits = EventLimits(per_second=5.0, burst=50, of_namespace=0.5, burst_of_namespace=10)
    events = Events(
        api,
        instance="one",
        now=lambda: datetime.now(UTC),
        new_id=lambda: "x",
        limits=limits,
        clock=lambda: now[0],
    )
    evil, victim = declared("evil"), declared("victim")

    for number in range(1000):
        now[0] += 0.01
        await events.tell(evil, Happening(True, "Noise", str(number)))
    await events.tell(victim, Happening(False, "CredentialRevoked", "gone"))

    assert api.created.count("evil") <= 10 + 10 * 0.5 + 1
    assert api.created[-1] == "victim"
    assert events.dropped == 1000 - api.created.count("evil")


@pytest.mark.parametrize("note", ["x" * 3000, "é" * 1024, "x" * 1000 + "🙂" * 100, "short"])
def test_a_note_is_as_long_as_the_api_server_takes_and_no_longer(note: str) -> None:
    """It counts bytes: of a subscription with many wrong fields there was no Event at all."""
    body = event_object(declared("evil"), Happening(True, "Noise", note), name="x", at="", instance="one")

    assert len(body["note"].encode()) <= 1024
    assert body["note"] == note or len(body["note"].encode()) > 1000
