"""
The Secrets of generated credentials: read without their data, made, removed.

SECURITY: passwords are made here, put into the Secret, and forgotten.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hookline_operator.apply.api import Conflict, Listing
from hookline_operator.decide.credentials import ROTATE, SERIAL, Creation, Generated, secret_name
from hookline_operator.decide.instants import seconds_of
from hookline_operator.observe.kinds import BASIC_AUTH, is_going, owner_uid, read_subscription
from hookline_operator.observe.objects import Declared
from hookline_operator.resource_types import SECRETS, SUBSCRIPTIONS, ResourceType

Json = dict[str, Any]

ALPHABET = string.ascii_letters + string.digits
"""What CometChat takes."""
USERNAME_NAME, USERNAME_CHANCE = 24, 8
"""Characters of a username: of the subscription's name at most, and by chance. CometChat takes 50."""
PASSWORD_LENGTH = 40
"""238 bits of chance. CometChat takes 100."""
LABELS: Mapping[str, str] = {
    "app.kubernetes.io/managed-by": "hookline-operator",
    "app.kubernetes.io/part-of": "hookline",
}
MOST_NAMES = 5
"""Tried in a row: a tenant may have taken them all, and is not to cost more than that."""
SUBSCRIPTION_LABEL = "hookline.dev/subscription"


class SecretsApi(Protocol):
    """The part of `api.Api` that is used here."""

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Json | None:
        """The object; None if it is not there."""

    async def list(
        self, kind: ResourceType, namespace: str = "", *, fields: str = "", metadata_only: bool = False
    ) -> Listing:
        """All of them as of one moment that is not before the call."""

    async def create(self, kind: ResourceType, namespace: str, body: Mapping[str, Any]) -> Json:
        """Conflict if the name is taken."""

    async def delete(self, kind: ResourceType, namespace: str, name: str, *, uid: str = "") -> bool:
        """Whether it was there; Conflict if the one that is there has another uid."""


@dataclass(frozen=True, slots=True)
class Made:
    """What came of an attempt to make one."""

    secret: Generated | None
    """None: there is none, and it is to be decided anew."""
    is_new: bool
    """Whether this attempt made it, and not an earlier one."""


class GeneratedSecrets:
    """Those of all subscriptions."""

    def __init__(self, api: SecretsApi, choose: Callable[[Sequence[str]], str]) -> None:
        """*choose* must be unpredictable."""
        self._api, self._choose = api, choose

    async def live(self, declared: Declared) -> tuple[Declared, tuple[Generated, ...]] | None:
        """By what the API server says now; None: the subscription is gone, or going, or another one."""
        namespace = declared.key.namespace
        body = await self._api.get(SUBSCRIPTIONS, namespace, declared.key.name)
        current = read_subscription(body) if body else None
        if current is None or current.uid != declared.uid or current.deleting:
            return None
        listing = await self._api.list(SECRETS, namespace, fields=f"type={BASIC_AUTH}", metadata_only=True)
        found = (each["metadata"] for each in listing.items if owner_uid(each) == declared.uid and not is_going(each))
        return current, tuple(
            generated(each["name"], each["uid"], each.get("creationTimestamp"), each.get("annotations") or {})
            for each in found
        )

    async def remove(self, declared: Declared, each: Generated) -> bool:
        """Whether it was there."""
        try:
            return await self._api.delete(SECRETS, declared.key.namespace, each.name, uid=each.uid)
        except Conflict:
            return False

    async def create(self, declared: Declared, creation: Creation, names: int = MOST_NAMES) -> Made:
        """
        Make it, or find what an earlier attempt made.

        What bears the name and is somebody else's is never touched: another name is tried. Conflict when *names* were tried.
        """
        name = secret_name(declared.key.name, declared.uid, creation)
        try:
            stored = await self._api.create(SECRETS, declared.key.namespace, self._body(declared, name, creation))
        except Conflict:
            if found := await self._found(declared, name):
                return found
            if names == 1:
                raise
            return await self.create(declared, replace(creation, avoid=creation.avoid | {name}), names - 1)
        metadata = stored["metadata"]
        annotations = metadata.get("annotations") or {}
        return Made(generated(name, metadata["uid"], metadata.get("creationTimestamp"), annotations), True)

    async def _found(self, declared: Declared, name: str) -> Made | None:
        """What an earlier attempt made by that name; with no Secret in it if there is no subscription any more."""
        live = await self.live(declared)
        if live is None:
            return Made(None, False)
        ours = next((each for each in live[1] if each.name == name), None)
        return Made(ours, False) if ours else None

    def _body(self, declared: Declared, name: str, creation: Creation) -> Json:
        key = declared.key
        owner = {
            "apiVersion": SUBSCRIPTIONS.api_version,
            "kind": SUBSCRIPTIONS.kind,
            "name": key.name,
            "uid": declared.uid,
            "controller": True,
        }
        annotations = {SERIAL: str(creation.serial), **({ROTATE: creation.request} if creation.request else {})}
        begin = "".join(each for each in key.name if each in ALPHABET)[:USERNAME_NAME]
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": key.namespace,
                "labels": {**LABELS, SUBSCRIPTION_LABEL: key.name},
                "annotations": annotations,
                "ownerReferences": [owner],
            },
            "type": BASIC_AUTH,
            "immutable": True,
            "stringData": {
                "username": begin + self._text(USERNAME_CHANCE),
                "password": self._text(PASSWORD_LENGTH),
            },
        }

    def _text(self, length: int) -> str:
        return "".join(self._choose(ALPHABET) for _ in range(length))


def generated(name: str, uid: str, created: object, annotations: Mapping[str, str]) -> Generated:
    """What is known of one by its metadata."""
    serial = annotations.get(SERIAL, "")
    number = int(serial) if serial.isascii() and serial.isdigit() and len(serial) < 10 else 0
    return Generated(name, uid, seconds_of(created) or 0, number, annotations.get(ROTATE, ""))
