"""The port to CometChat's API, and its adapters."""

from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Protocol
from urllib.parse import urlsplit

from moderation.calls import Call

TIMEOUT = 10.0
"""Seconds for an answer."""


class CometChat(Protocol):
    """Carries out calls."""

    def make(self, call: Call) -> bool:
        """Make *call*: True, it is done; False, it was not to be made. Raises CallFailed: try again later."""


class CallFailed(Exception):
    """CometChat did not do it. The message says why, without the key."""


class SaysOnly:
    """Says what it would call: for a first look, and for whoever has no API key yet. The calls stay due."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def make(self, call: Call) -> bool:
        """Say it."""
        self._say(f"would call {call}")
        return False


class Http:
    """Calls CometChat."""

    def __init__(self, api_key: str) -> None:
        """*api_key* has the scope fullAccess; it is the dashboard's "REST API Key"."""
        self._api_key = api_key

    def make(self, call: Call) -> bool:
        """Call, follow no redirect, and take 404 of a deletion for done: it is gone."""
        headers = {"apikey": self._api_key, "Accept": "application/json", "Content-Type": "application/json"}
        parts = urlsplit(call.url)
        connection = (HTTPSConnection if parts.scheme == "https" else HTTPConnection)(parts.netloc, timeout=TIMEOUT)
        try:
            connection.request(call.method, parts.path, call.body, headers)
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            raise CallFailed(f"{call.method} {call.url}: {type(error).__name__}") from error
        finally:
            connection.close()
        if 200 <= status < 300 or (status == 404 and call.method == "DELETE"):
            return True
        raise CallFailed(f"{call.method} {call.url}: status {status}")
