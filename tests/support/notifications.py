"""What the notifications example reads of an event."""

from hookline_kit import Event
from notifications.reading import Message, Presence, read_message, read_presence


def message_of(event: Event) -> Message | None:
    """The message of a `message_sent` or `user_mentioned`."""
    assert event.payload is not None
    payload = event.payload
    told = payload.message_sent if payload.HasField("message_sent") else payload.user_mentioned
    return read_message(payload.app_id, told)


def presence_of(event: Event) -> Presence | None:
    """What a `user_connection_status_changed` tells."""
    assert event.payload is not None
    return read_presence(event.payload.app_id, event.payload.user_connection_status_changed)
