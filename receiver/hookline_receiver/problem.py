"""Refusals as HTTP answers: `application/problem+json` (RFC 9457)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from hookline_receiver.verdict import Reason, Refused

CHALLENGE = 'Basic realm="hookline", charset="UTF-8"'
"""What `WWW-Authenticate` says (RFC 7617)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, ready to be sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def problem(refused: Refused) -> Answer:
    """
    The answer that tells the sender of *refused*.

    It holds nothing but what the refusal says: two refusals that are equal get equal bytes, which keeps an unknown path
    and a wrong password from being told apart.
    """
    status = refused.status
    document = {
        "type": f"urn:hookline:problem:{refused.reason}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": refused.detail,
        "reason": refused.reason,
    }
    return Answer(status, _headers(refused), json.dumps(document, ensure_ascii=True).encode())


def _headers(refused: Refused) -> dict[str, str]:
    headers = {"content-type": "application/problem+json", "cache-control": "no-store"}
    if refused.reason is Reason.UNAUTHORIZED:
        headers["www-authenticate"] = CHALLENGE
    if refused.reason is Reason.METHOD_NOT_ALLOWED:
        headers["allow"] = "POST"
    if refused.retry_after:
        headers["retry-after"] = str(refused.retry_after)
    return headers
