"""
What a handler of CometChat events is written with.

    from hookline_kit import Event, Handler, Reject, RetryAfter
    from hookline_kit.messages import MessageSent

    handler = Handler()

    @handler.on(MessageSent)
    async def notify(event: Event, message: MessageSent) -> RetryAfter | Reject | None:
        print(message.message.sender, message.message.text)

    handler.run(port=9000)

A delivery comes in over gRPC (`server`), becomes an `Event` (`event`), is given to the function registered for it
(`handler`) in the order that its batch asks for (`batch`), unless it was handled before (`seen`), and what the function
returns or raises goes back as its outcome (`outcome`). `messages` has the typed payloads by their names; `testing`
plays the gateway against a handler.
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
