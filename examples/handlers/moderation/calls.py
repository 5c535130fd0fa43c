"""
A decision → the call that carries it out. Pure.

A message that is withheld is reviewed (`PATCH /moderation/blocked-messages/{id}`). One that people can see needs no call to
stay; to go it has to be deleted (`DELETE /messages/{id}`). Each may be made twice without harm.
"""

import json
import re
from dataclasses import dataclass

from moderation.item import Item, State

API = "https://{app}.api-{region}.cometchat.io/v3"
"""CometChat's REST API of an app."""

_APP = re.compile(r"[A-Za-z0-9]{1,64}")
_REGION = re.compile(r"[a-z]{2,8}")
_MESSAGE = re.compile(r"[0-9]{1,32}")


@dataclass(frozen=True, slots=True)
class Call:
    """A request to CometChat's API."""

    method: str
    url: str
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.url} {self.body.decode()}".strip()


class BadSubject(Exception):
    """
    The item can't be named in a URL.

    SECURITY: these names came in a payload. The app's would become part of a host name, and the API key goes there.
    """


def call_for(item: Item, verdict: State, api: str = API) -> Call | None:
    """The call that *verdict* on *item* needs, None if it needs none; raises BadSubject."""
    if not item.withheld and verdict is State.APPROVED:
        return None
    subject = item.subject
    root = _root(item, api)
    if not _MESSAGE.fullmatch(subject.message):
        raise _bad(item, "message", subject.message)
    if not item.withheld:
        return Call("DELETE", f"{root}/messages/{subject.message}", b"")
    decision = json.dumps({"status": str(verdict), "reviewed": True}).encode()
    return Call("PATCH", f"{root}/moderation/blocked-messages/{subject.message}", decision)


def _root(item: Item, api: str) -> str:
    """The address of the app's API; what it does not name need not be a name."""
    for name, value, allowed in (("app", item.subject.app, _APP), ("region", item.subject.region, _REGION)):
        if f"{{{name}}}" not in api:
            continue
        if not allowed.fullmatch(value):
            raise _bad(item, name, value)
        api = api.replace(f"{{{name}}}", value)
    return api


def _bad(item: Item, name: str, value: str) -> BadSubject:
    return BadSubject(f"the {name} of item {item.number}, {value!r}, is not one that CometChat would give")
