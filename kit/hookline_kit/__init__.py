"""
What a handler of CometChat events is written with.

    from hookline_kit import Event, Handler, Reject, RetryAfter

    handler = Handler()

    @handler.on("message_sent")
    async def notify(event: Event) -> RetryAfter | Reject | None:
        ...

    handler.run(port=9000)

A delivery comes in over gRPC (`server`), becomes an `Event` (`event`), is given to the function registered for it
(`handler`) in the order that its batch asks for (`batch`), unless it was handled before (`seen`), and what the function
returns or raises goes back as its outcome (`outcome`). `testing` plays the gateway against a handler.
"""

from hookline_kit.event import Event
from hookline_kit.handler import Handler
from hookline_kit.outcome import Accepted, Outcome, Reject, RetryAfter
from hookline_kit.seen import Seen, SeenInMemory, SeenInSqlite
from hookline_kit.server import TLS, Server, ServerSettings

__all__ = [
    "TLS",
    "Accepted",
    "Event",
    "Handler",
    "Outcome",
    "Reject",
    "RetryAfter",
    "Seen",
    "SeenInMemory",
    "SeenInSqlite",
    "Server",
    "ServerSettings",
]
