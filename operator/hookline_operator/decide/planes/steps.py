"""
What to do about one object: what it should be, held against what is there.

An object that is right costs nothing. The number of pods is left to who scales: a StatefulSet whose number is not ours is made
with a first one, and one whose number was ours keeps it when another takes over.

Objects are applied, never created or updated otherwise: who writes a field in another way owns it beside the one who applies,
and it would stay when it is taken out of the wish.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hookline_operator.decide.planes.difference import difference, differences
from hookline_operator.decide.planes.manifests import MANAGER
from hookline_operator.decide.planes.pod import Json

WISH_ANNOTATION = "hookline.dev/wish"
"""Digest of what was wished for: it shows what has been taken out of the wish, which a comparison can't."""


class Action(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    APPLY = "apply"
    """A StatefulSet that is not there yet gets its first number of pods, which is handed over then."""
    HAND_OVER = "hand over"
    """The number of pods is ours, and should not be: give it to another owner, then apply without it."""
    REFUSE = "refuse"
    """Somebody else's object bears the name."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done about one object."""

    action: Action
    wish: Json
    """The object as it is to be applied."""
    differs: tuple[str, ...] = ()
    """The paths of the fields that differ; ("",) where it is not there at all."""
    remark: str = ""
    """What can't be had, and why, for people; "" for nothing."""
    replicas: int = 0
    """For HAND_OVER the number of pods that is there."""

    @property
    def digest(self) -> str:
        """Of the wish."""
        return str(_mapping(_mapping(self.wish["metadata"])["annotations"])[WISH_ANNOTATION])


def step(wanted: Mapping[str, object], there: Mapping[str, object] | None, first_replicas: int) -> Step:
    """What to do so that *there* says what is *wanted*."""
    wish, remark = _possible(dict(wanted), there)
    wish = _signed(wish)
    if there is None:
        return Step(Action.APPLY, _with_replicas(wish, first_replicas), ("",), remark)
    stranger = _stranger(wish, there)
    if stranger:
        return Step(Action.REFUSE, wish, (), stranger)
    differs = tuple(differences(wish, there)) or (() if _entries(there) else ("metadata.managedFields",))
    if _gives_up_replicas(wish, there):
        return Step(Action.HAND_OVER, wish, differs, remark, _replicas(there))
    return Step(Action.APPLY if differs else Action.NOTHING, wish, differs, remark)


def handed_over(wish: Mapping[str, object], replicas: int) -> Json:
    """What another owner applies, so that the number of pods stays when the first one leaves it out."""
    metadata = _mapping(wish["metadata"])
    return {
        "apiVersion": wish["apiVersion"],
        "kind": wish["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": {"replicas": replicas},
    }


def belongs_to(there: Mapping[str, object], uid: str) -> bool:
    """Whether its controller has that uid."""
    return any(each.get("controller") and each.get("uid") == uid for each in _owners(there))


def may_pass(there: Mapping[str, object]) -> bool:
    """Whether another's object may be gone in a moment: it goes already, or was a gateway's that is there no more."""
    deleting = "deletionTimestamp" in _mapping(there.get("metadata"))
    return deleting or any(each.get("controller") and each.get("kind") == "WebhookGateway" for each in _owners(there))


def _with_replicas(wish: Json, replicas: int) -> Json:
    spec = _mapping(wish["spec"])
    if wish["kind"] != "StatefulSet" or "replicas" in spec:
        return wish
    return {**wish, "spec": {**spec, "replicas": replicas}}


def _possible(wanted: Json, there: Mapping[str, object] | None) -> tuple[Json, str]:
    """What of the wish can be had: a StatefulSet's claims are what they were made as."""
    if wanted["kind"] != "StatefulSet" or there is None:
        return wanted, ""
    spec, current = _mapping(wanted["spec"]), _mapping(there.get("spec"))
    path = difference(spec.get("volumeClaimTemplates"), current.get("volumeClaimTemplates"), "volumeClaimTemplates")
    if not path:
        return wanted, ""
    kept = copy.deepcopy(current.get("volumeClaimTemplates"))
    wish = {**wanted, "spec": {**spec, "volumeClaimTemplates": kept}}
    name = _mapping(wanted["metadata"])["name"]
    return wish, f"volumes stay as they were made: {path} of StatefulSet {name} can't be changed"


def _signed(wish: Json) -> Json:
    digest = hashlib.sha256(json.dumps(wish, sort_keys=True).encode()).hexdigest()[:16]
    metadata = _mapping(wish["metadata"])
    annotations = {**_mapping(metadata.get("annotations")), WISH_ANNOTATION: digest}
    return {**wish, "metadata": {**metadata, "annotations": annotations}}


def _stranger(wish: Mapping[str, object], there: Mapping[str, object]) -> str:
    wanted = _owners(wish)[0]
    controller = next((each for each in _owners(there) if each.get("controller")), None)
    name = f"{wish['kind']} {_mapping(wish['metadata'])['name']}"
    if controller is None:
        return f"{name} is there already, and was not made for this gateway: rename or remove it"
    if controller.get("uid") != wanted["uid"]:
        return f"{name} belongs to the {controller.get('kind')} {controller.get('name')} (uid {controller.get('uid')})"
    if "deletionTimestamp" in _mapping(there.get("metadata")):
        return f"{name} is being deleted"
    return ""


def _owners(something: Mapping[str, object]) -> list[Mapping[str, object]]:
    owners = _mapping(something.get("metadata")).get("ownerReferences")
    return [each for each in owners if isinstance(each, Mapping)] if isinstance(owners, Sequence) else []


def _entries(there: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Who owns which fields, of those that we applied."""
    fields = _mapping(there.get("metadata")).get("managedFields")
    every = [each for each in fields if isinstance(each, Mapping)] if isinstance(fields, Sequence) else []
    return [each for each in every if each.get("manager") == MANAGER and each.get("operation") == "Apply"]


def _gives_up_replicas(wish: Mapping[str, object], there: Mapping[str, object]) -> bool:
    if wish["kind"] != "StatefulSet" or "replicas" in _mapping(wish["spec"]):
        return False
    owned = (_mapping(_mapping(each.get("fieldsV1")).get("f:spec")) for each in _entries(there))
    return any("f:replicas" in spec for spec in owned)


def _replicas(there: Mapping[str, object]) -> int:
    found = _mapping(there.get("spec")).get("replicas")
    return found if isinstance(found, int) else 1


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
