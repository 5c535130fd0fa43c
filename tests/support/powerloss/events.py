"""The events that recorded workers append, known again by what they are made of."""

import random
import time
from hashlib import sha256
from uuid import UUID

from hookline_receiver.event import Envelope, Event, Identity, SubscriptionRef

CHAT = SubscriptionRef("uid-chat", "acme", "chat")


def body_of(ingest_id: UUID) -> bytes:
    """The body of an event, so that it can be known again."""
    rng = random.Random(str(ingest_id))
    return b'{"trigger":"message_sent","noise":"%s"}' % rng.randbytes(rng.randrange(1500)).hex().encode()


def an_event(ingest_id: UUID, original: UUID) -> Event:
    """An event, or a retry of the *original* one."""
    return Event(
        ingest_id=ingest_id.bytes,
        subscription=CHAT,
        received_at_ns=time.time_ns(),
        body=body_of(original),
        envelope=Envelope("message_sent", "message", "app", "user"),
        identity=Identity(sha256(original.bytes).digest()[:16], True, "", "", 0),
        traceparent="",
    )
