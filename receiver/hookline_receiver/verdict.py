"""What is said of a request that is not accepted: one word a reason, the same in the answer, in logs and in metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Reason(StrEnum):
    """Why a request was refused."""

    UNAUTHORIZED = "Unauthorized"
    """Unknown path or host, or no valid credential: the three can't be told apart from outside."""
    METHOD_NOT_ALLOWED = "MethodNotAllowed"
    """An authenticated request with another method than POST."""
    TOO_LARGE = "TooLarge"
    """Announced, received or unpacked, the body is larger than the endpoint's limit."""
    UNSUPPORTED_ENCODING = "UnsupportedEncoding"
    """A content encoding other than gzip."""
    TRUNCATED = "Truncated"
    """The body ended before what was announced had come: nothing is judged by a part."""
    BAD_ENCODING = "BadEncoding"
    """The body says that it is gzip, and is not, or not all of it."""
    NOT_AN_EVENT = "NotAnEvent"
    """The body is not a JSON object with a string `trigger`."""
    APP_NOT_ACCEPTED = "AppNotAccepted"
    """The event's app is not among those the subscription accepts."""
    RATE_LIMITED = "RateLimited"
    """Over the subscription's rate."""
    SUSPENDED = "Suspended"
    """The subscription is suspended by its owner."""
    NO_CREDENTIALS = "NoCredentials"
    """The subscription has no valid credential that anybody could show."""
    OVER_SHARE = "OverShare"
    """The subscription has as many bytes pending as it may have."""
    BUSY = "Busy"
    """Too much at once: credentials seen for the first time that wait to be verified, or bodies that are arriving."""
    NO_ROUTES = "NoRoutes"
    """This receiver has not loaded any routes yet."""
    JOURNAL_UNAVAILABLE = "JournalUnavailable"
    """The event could not be made durable."""
    JOURNAL_SLOW = "JournalSlow"
    """The event was not durable within the sender's patience; it may still become so."""
    INTERNAL = "Internal"
    """A bug of ours."""


OURS = frozenset({Reason.INTERNAL, Reason.JOURNAL_UNAVAILABLE, Reason.JOURNAL_SLOW, Reason.NO_ROUTES})
"""Reasons that no sender and no tenant can do anything about: somebody must look."""

STATUS: Mapping[Reason, int] = MappingProxyType(
    {
        Reason.UNAUTHORIZED: 401,
        Reason.METHOD_NOT_ALLOWED: 405,
        Reason.TOO_LARGE: 413,
        Reason.UNSUPPORTED_ENCODING: 415,
        Reason.TRUNCATED: 400,
        Reason.BAD_ENCODING: 400,
        Reason.NOT_AN_EVENT: 400,
        Reason.APP_NOT_ACCEPTED: 403,
        Reason.RATE_LIMITED: 429,
        Reason.SUSPENDED: 503,
        Reason.NO_CREDENTIALS: 503,
        Reason.OVER_SHARE: 503,
        Reason.BUSY: 503,
        Reason.NO_ROUTES: 503,
        Reason.JOURNAL_UNAVAILABLE: 503,
        Reason.JOURNAL_SLOW: 503,
        Reason.INTERNAL: 500,
    }
)
"""The HTTP status that each reason is answered with."""


RETRY_SOON = 10
"""Seconds: CometChat's own first delay; for what passes by itself."""

RETRY_LATER = 60
"""Seconds: for what a person has to change."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that did not become an event."""

    reason: Reason
    detail: str
    """For the sender's people: names the thing, the limit and the value. Never holds what a stranger must not learn."""
    retry_after: int = 0
    """Seconds after which another try makes sense; 0: not said."""
    cause: str = ""
    """For our own people: goes into the log and never into the answer."""

    @property
    def status(self) -> int:
        """The HTTP status that it is answered with."""
        return STATUS[self.reason]
