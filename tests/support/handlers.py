"""Deliveries and events for the tests of the handler kit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hookline_kit.event import Event, event_of
from hookline_kit.testing import a_delivery

SAMPLES = Path(__file__).parent.parent / "data" / "cometchat" / "samples"


def a_body(trigger: str = "message_sent", **data: Any) -> Mapping[str, Any]:
    """A payload of *trigger* with this data."""
    return {"trigger": trigger, "data": data, "appId": "app1", "region": "eu", "webhook": "hook"}


def an_event(trigger: str = "message_sent", **given: Any) -> Event:
    """An event as the kit makes it of a delivery; takes what `a_delivery` takes."""
    return event_of(a_delivery(a_body(trigger), **given))
