"""What the edge answers itself: a status, one word of reason and a sentence, as application/problem+json."""

import json
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request, or a connection, is not served."""

    status: int
    reason: str
    """One word for the answer, the counter and the log."""
    detail: str
    """For the sender: the thing, the limit; never what they sent."""
    retry_after: int = 0
    """Seconds; 0: not said."""


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


STATUS_LINES = {status: status_line(status) for status in range(100, 600)}


def render(refusal: Refusal, *, head_only: bool = False) -> bytes:
    """The whole answer; the connection is closed after it."""
    phrase = HTTPStatus(refusal.status).phrase
    body = json.dumps(
        {"title": phrase, "status": refusal.status, "reason": refusal.reason, "detail": refusal.detail}
    ).encode()
    retry = f"retry-after: {refusal.retry_after}\r\n" if refusal.retry_after else ""
    head = f"content-type: application/problem+json\r\ncontent-length: {len(body)}\r\n{retry}connection: close\r\n\r\n"
    return STATUS_LINES[refusal.status] + head.encode("ascii") + (b"" if head_only else body)
