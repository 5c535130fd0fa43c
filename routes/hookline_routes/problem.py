"""What is wrong with an object, in words that name the place, the limit and the value."""

from dataclasses import dataclass
from enum import StrEnum

MAX_MESSAGE = 1024
"""Characters of a condition's message: the API allows 32,768, but a person reads it in a terminal."""


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """The object, or a part of it, is not programmed as it was written."""
    WARNING = "warning"
    """It is programmed, but something will not work, or not as its author may expect."""


class Reason(StrEnum):
    """One word for each kind of problem: the same in messages, conditions, metrics and logs."""

    INVALID_SYNTAX = "InvalidSyntax"
    INVALID_FIELD = "InvalidField"
    UNKNOWN_FIELD = "UnknownField"
    UNKNOWN_KIND = "UnknownKind"
    DUPLICATE_OBJECT = "DuplicateObject"
    INVALID_EXPRESSION = "InvalidExpression"
    UNKNOWN_TRIGGER = "UnknownTrigger"
    NO_MATCHING_GATEWAY = "NoMatchingGateway"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    TOO_MANY_SUBSCRIPTIONS = "TooManySubscriptions"
    DEDICATED_NOT_ALLOWED = "DedicatedNotAllowed"
    TOO_MANY_DEDICATED = "TooManyDedicated"
    TOO_LARGE = "TooLarge"
    INTERNAL_ERROR = "InternalError"
    PATH_NOT_ALLOWED = "PathNotAllowed"
    PATH_CONFLICT = "PathConflict"
    SECRET_NOT_FOUND = "SecretNotFound"
    INVALID_SECRET = "InvalidSecret"
    SENDER_LIMITS = "SenderLimits"
    VERIFIER_PENDING = "VerifierPending"
    NO_CREDENTIALS = "NoCredentials"
    REF_NOT_PERMITTED = "RefNotPermitted"
    CA_NOT_FOUND = "CANotFound"
    INVALID_CA = "InvalidCA"
    TLS_OMITTED = "TLSOmitted"
    DEDICATED_AS_SHARED = "DedicatedAsShared"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file."""

    file: str
    line: int
    """From 1; 0: unknown."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `str()` is the line that people get."""

    severity: Severity
    reason: Reason
    message: str
    """For whoever wrote the object; holds nothing that they may not know."""
    subject: str = ""
    """The object, "WebhookSubscription acme/chat"; "" for a file as a whole."""
    field: str = ""
    """Path of the field, "spec.routes[0].handler.timeout"; "" for the object as a whole."""
    place: Place | None = None
    """None for objects that did not come from a file."""

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.place or ""), self.subject, self.field, self.message) if part)

    @property
    def is_error(self) -> bool:
        """Whether something is not programmed as it was written."""
        return self.severity is Severity.ERROR


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of an object's status, as far as compiling can tell it; time and generation are the writer's."""

    type: str
    status: bool
    reason: str
    message: str


def condition(kind: str, good: str, problems: tuple[Problem, ...]) -> Condition:
    """*kind* is True with the reason *good* where nothing is wrong, else False with the first reason and all messages."""
    if not problems:
        return Condition(kind, True, good, "")
    message = "; ".join(": ".join(part for part in (each.field, each.message) if part) for each in problems)
    return Condition(kind, False, problems[0].reason, shortened(message, MAX_MESSAGE))


def shortened(text: str, limit: int) -> str:
    """*text*, or its beginning with an ellipsis where it is longer than *limit* characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
