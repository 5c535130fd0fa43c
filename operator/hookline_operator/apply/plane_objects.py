"""
The objects of planes at the API server: found, made what they should be, removed.

    objects = PlaneObjects(api)
    there = await objects.of(gateway)                                   # by kind and name
    settled = await objects.settle(wanted, current, first_replicas)     # what is stored now, and what is wrong with it
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hookline_operator.apply.api import FIELD_MANAGER, Conflict, Listing, Refused
from hookline_operator.decide.planes.contest import Correction
from hookline_operator.decide.planes.manifests import COMMON_LABELS
from hookline_operator.decide.planes.pod import PLANE_ANNOTATION
from hookline_operator.decide.planes.steps import Action, Step, belongs_to, handed_over, may_pass, step
from hookline_operator.resource_types import AUTOSCALERS, DISRUPTION_BUDGETS, SERVICES, STATEFUL_SETS, ResourceType
from hookline_routes.resource import ObjectKey

log = logging.getLogger(__name__)

Json = dict[str, Any]
Name = tuple[str, str]
"""Kind and name, within the operator's namespace."""

TYPES: Mapping[str, ResourceType] = {
    each.kind: each for each in (AUTOSCALERS, STATEFUL_SETS, DISRUPTION_BUDGETS, SERVICES)
}
"""In the order in which they are removed: who scales goes before what it scales."""

REPLICAS_MANAGER = f"{FIELD_MANAGER}-replicas"
"""Owns the number of pods from when it is nobody's wish any more until somebody scales."""

_LABELS = ",".join(f"{key}={value}" for key, value in COMMON_LABELS.items())


class ObjectsApi(Protocol):
    """The part of `api.Api` that is used here."""

    async def list(self, kind: ResourceType, namespace: str = "", *, labels: str = "") -> Listing:
        """All that bear the labels."""

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Json | None:
        """The object; None if it is not there."""

    async def apply(
        self,
        kind: ResourceType,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        force: bool = True,
        manager: str = FIELD_MANAGER,
    ) -> Json:
        """As stored."""

    async def delete(self, kind: ResourceType, namespace: str, name: str, *, uid: str = "") -> bool:
        """Whether it was there."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one object."""

    stored: Json | None
    """None: there is none, or none of ours."""
    trouble: str = ""
    """Why it is not what it should be, for people; "" if it is."""
    may_pass: bool = False
    """Whether the trouble may be over in a moment by itself."""
    failed: bool = False
    """Whether it is to be tried again: the API server could not do it for now."""


class PlaneObjects:
    """One installation's. For one event loop."""

    def __init__(self, api: ObjectsApi, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._clock = api, clock
        self._corrections: dict[Name, Correction] = {}

    def forget(self) -> None:
        """A term begins: what was contested in another one is tried again."""
        self._corrections.clear()

    async def of(self, gateway: ObjectKey, uid: str) -> dict[Name, Json]:
        """What bears our labels, and is the gateway's by its owner."""
        found: dict[Name, Json] = {}
        for kind, place in TYPES.items():
            listing = await self._api.list(place, gateway.namespace, labels=_LABELS)
            for each in listing.items:
                if belongs_to(each, uid):
                    # Entries of a list do not say what they are.
                    found[kind, each["metadata"]["name"]] = {"apiVersion": place.api_version, "kind": kind, **each}
        return found

    async def settle(self, wanted: Mapping[str, Any], known: Json | None, first_replicas: int) -> Settled:
        """Make one object what it should be; *known* is what a list showed of it. Raises ApiError to be tried again."""
        name = (str(wanted["kind"]), str(wanted["metadata"]["name"]))
        namespace = str(wanted["metadata"]["namespace"])
        # What has lost its labels is in no list, and neither is a stranger's.
        current = known or await self._api.get(TYPES[name[0]], namespace, name[1])
        decided = step(wanted, current, first_replicas)
        if decided.action is Action.REFUSE:
            return Settled(None, decided.remark, current is not None and may_pass(current))
        if decided.action is Action.NOTHING:
            return Settled(current, decided.remark)
        if decided.action is Action.APPLY and current is not None and self._is_contested(name, decided):
            return Settled(current, _contested(name, decided.differs))
        try:
            stored = await self._write(name, namespace, decided, current)
        except Refused as error:
            return Settled(current, f"{' '.join(name)} was refused: {error.message}")
        after = step(wanted, stored, first_replicas)
        if current is None and after.action is Action.HAND_OVER:
            stored = await self._write(name, namespace, after, stored)
            after = step(wanted, stored, first_replicas)
        left = [field for field in after.differs if field in decided.differs or current is None]
        return Settled(stored, _contested(name, left) if left else decided.remark)

    async def remove(self, name: Name, there: Json) -> None:
        """Remove it, unless another one has its name by now."""
        metadata, place = there["metadata"], TYPES[name[0]]
        try:
            await self._api.delete(place, metadata["namespace"], name[1], uid=metadata["uid"])
        except Conflict:
            return
        self._corrections.pop(name, None)
        fields = {"object": "/".join(name), "plane": plane_named(there)}
        log.info("an object that no plane wants was removed", extra=fields)

    def _is_contested(self, name: Name, decided: Step) -> bool:
        known = self._corrections.get(name)
        return known is not None and known.covers(decided.digest, decided.differs, self._clock())

    async def _write(self, name: Name, namespace: str, decided: Step, current: Json | None) -> Json:
        place, wish = TYPES[name[0]], decided.wish
        if current is not None:
            # On the condition that it is the one that was looked at.
            wish = _with_uid(wish, current)
            if decided.differs:
                self._note(name, decided)
        if decided.action is Action.HAND_OVER and current is not None:
            number = _with_uid(handed_over(wish, decided.replicas), current)
            await self._api.apply(place, namespace, name[1], number, force=False, manager=REPLICAS_MANAGER)
        # What was not there a moment ago is made, and nobody's who was faster is taken over.
        stored = await self._api.apply(place, namespace, name[1], wish, force=current is not None)
        why = "replicas handed over" if decided.action is Action.HAND_OVER else ", ".join(decided.differs[:5])
        fields = {"object": "/".join(name), "differed": why or "it was not there"}
        log.info("an object of a plane was written", extra=fields)
        return stored

    def _note(self, name: Name, decided: Step) -> None:
        known, now = self._corrections.get(name), self._clock()
        if known is None:
            self._corrections[name] = Correction(decided.digest, frozenset(decided.differs), now)
        else:
            self._corrections[name] = known.followed_by(decided.digest, decided.differs, now)


def plane_named(there: Mapping[str, Any]) -> str:
    """The plane that an object is of; "" if it does not say."""
    return str((there["metadata"].get("annotations") or {}).get(PLANE_ANNOTATION, ""))


def _with_uid(wish: Mapping[str, Any], current: Mapping[str, Any]) -> Json:
    return {**wish, "metadata": {**wish["metadata"], "uid": current["metadata"]["uid"]}}


def _contested(name: Name, fields: "list[str] | tuple[str, ...]") -> str:
    shown = ", ".join(fields[:3]) + (f" and {len(fields) - 3} more" if len(fields) > 3 else "")
    return f"{' '.join(name)} does not stay as it was applied, somebody else sets {shown}"
