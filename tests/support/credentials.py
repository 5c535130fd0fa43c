"""
A small API server with one subscription and its Secrets, and the credentials lane at it: time, uses and faults are the test's.

    world = World()
    world.look()                         # the lane looks, by a view of now
    world.use("chat-hookline-…")         # CometChat uses it
    world.now += 3600
"""

import copy
import itertools
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

from hookline_operator.apply.api import ApiError, Conflict, Listing, Unavailable
from hookline_operator.apply.credentials import CredentialsLane, CredentialsPace
from hookline_operator.decide.credentials import CONDITION
from hookline_operator.decide.happenings import Happening
from hookline_operator.decide.instants import text_of
from hookline_operator.observe.kinds import read_secret, read_subscription
from hookline_operator.observe.objects import Declared, SeenSecret
from hookline_operator.resource_types import SECRETS, SUBSCRIPTIONS, ResourceType
from hookline_routes.resource import ObjectKey

Json = dict[str, Any]

KEY = ObjectKey("acme", "chat")
BEGIN = 1_772_366_400
"""2026-03-01T12:00:00Z."""
HOUR, DAY = 3600, 86400


def run(step: Coroutine[Any, Any, Any]) -> Any:
    """What never waits needs no event loop."""
    try:
        step.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits for something")


class World:
    """See the module."""

    def __init__(self, *, settle: float = 0.0, interval: float = 0.0, **rotation: str) -> None:
        self.now = BEGIN
        self._versions = itertools.count(100)
        self._uids = itertools.count(1)
        self.pace = CredentialsPace(settle=settle, interval=interval)
        self.subscription: Json = {
            "apiVersion": SUBSCRIPTIONS.api_version,
            "kind": SUBSCRIPTIONS.kind,
            "metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": "uid-chat", "generation": 1},
            "spec": {"routes": [{"name": "all", "handler": {"serviceRef": {"name": "handler", "port": 9000}}}]},
        }
        self.subscription["metadata"] |= {"creationTimestamp": text_of(BEGIN), "annotations": {}}
        self.secrets: dict[str, Json] = {}
        self.uses: dict[str, int] = {}
        """Of credentials, as pods remember them."""
        self.hears, self.attached, self.ours = True, True, True
        self.fault = ""
        """Of the next write: "fail" (not done), "lose" (done, not answered), "late" (not answered, done by `deliver`)."""
        self.late: list[Json] = []
        self.calls: list[tuple[str, str]] = []
        self.told: list[Happening] = []
        self.changed: list[Any] = []
        self.touch()
        self.sync()
        self.restart()

    # What people and CometChat do.

    def ask(self, rotation: Json | None = None, refs: tuple[str, ...] | None = None, **annotations: str) -> None:
        """Change the subscription: `spec.auth.basic.rotation`, `secretRefs`, annotations."""
        basic = self.subscription["spec"].setdefault("auth", {}).setdefault("basic", {})
        if rotation is not None:
            basic["rotation"] = rotation
        if refs is not None:
            basic["secretRefs"] = [{"name": each} for each in refs]
        given = {f"hookline.dev/{name}": value for name, value in annotations.items()}
        self.subscription["metadata"]["annotations"] |= given
        self.subscription["metadata"]["generation"] += rotation is not None or refs is not None
        self.touch()

    def touch(self) -> None:
        """The subscription has another version."""
        self.subscription["metadata"]["resourceVersion"] = str(next(self._versions))

    def use(self, name: str) -> None:
        """CometChat sends it now, and it is right."""
        self.uses[f"{name}@{self.secrets[name]['metadata']['resourceVersion']}"] = self.now

    def put(self, name: str, owner: str = "", **metadata: Any) -> Json:
        """Somebody creates a Secret."""
        owners = [{"kind": SUBSCRIPTIONS.kind, "uid": owner}] if owner else []
        body = {"metadata": {"name": name, "ownerReferences": owners, **metadata}, "type": "kubernetes.io/basic-auth"}
        body["stringData"] = {"username": "someone", "password": "something"}
        return self._store(body)

    def remove(self, name: str) -> None:
        """Somebody deletes a Secret."""
        del self.secrets[name]

    # What the operator does.

    def sync(self) -> None:
        """The feeds catch up."""
        declared = read_subscription(copy.deepcopy(self.subscription))
        assert declared is not None
        self.declared: Declared = declared
        seen = (read_secret(copy.deepcopy(each)) for each in self.secrets.values())
        self.seen: tuple[SeenSecret, ...] = tuple(each for each in seen if each)

    def restart(self) -> None:
        """Another leader, which knows what the API server knows."""
        self.lane = CredentialsLane(
            self,
            self,
            self,
            self,
            self,
            now=lambda: datetime.fromtimestamp(self.now, UTC),
            on_change=self.changed.extend,
            pace=self.pace,
            clock=lambda: float(self.now),
        )

    def look(self, *, sync: bool = True) -> ApiError | None:
        """The lane looks once; what stopped it, if something did."""
        if sync:
            self.sync()
        try:
            run(self.lane.look(KEY))
        except ApiError as error:
            return error
        return None

    def publish(self) -> bool:
        """The status lane writes; whether there was something to write."""
        said = self.lane.contribution(SUBSCRIPTIONS.kind, KEY)
        before = self.subscription.get("status", {})
        after = {name: value for name, value in {**before, **said.fields}.items() if value is not None}
        if said.types:
            conditions = [{"type": each.type, "status": each.status, "reason": each.reason} for each in said.conditions]
            after["conditions"] = conditions
        self.subscription["status"] = after
        if after != before:
            self.touch()
        return after != before

    def settle(self) -> None:
        """Look and write until nothing is left to do."""
        for _ in range(20):
            calls = len(self.calls)
            assert self.look() is None
            if not self.publish() and len(self.calls) == calls:
                return
        raise AssertionError("it does not come to rest")

    def deliver(self) -> None:
        """Writes that were on their way arrive."""
        late, self.late = self.late, []
        for body in late:
            if body["metadata"]["name"] not in self.secrets:
                self._store(body)

    # What tests ask.

    @property
    def owned(self) -> list[str]:
        """Names of the subscription's Secrets, the oldest first."""
        return sorted(
            (name for name, each in self.secrets.items() if each["metadata"]["ownerReferences"]),
            key=lambda name: int(self.secrets[name]["metadata"]["annotations"].get("hookline.dev/serial", 0)),
        )

    @property
    def states(self) -> dict[str, str]:
        """What the status says."""
        said = self.lane.contribution(SUBSCRIPTIONS.kind, KEY).fields.get("credentials") or []
        assert isinstance(said, list)
        return {each["secretName"]: each["state"] for each in said}

    @property
    def pending(self) -> tuple[str, str, str] | None:
        """The condition's status, reason and message."""
        found = self.lane.contribution(SUBSCRIPTIONS.kind, KEY).conditions
        return (found[0].status, found[0].reason, found[0].message) if found else None

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Of Secrets, as verb and name."""
        return [each for each in self.calls if each[0] in ("create", "delete")]

    # ports.ClusterView, the routes lane, the directory, the API, Events.

    @property
    def subscriptions(self) -> Mapping[ObjectKey, Declared]:
        return {KEY: self.declared}

    def secrets_owned_by(self, uid: str) -> tuple[SeenSecret, ...]:
        return tuple(each for each in self.seen if each.owner_uid == uid)

    def report_of(self, kind: str, key: ObjectKey) -> object | None:
        return key if self.ours else None

    def gateway_of(self, subscription: ObjectKey) -> ObjectKey | None:
        return ObjectKey("hookline", "default") if self.attached else None

    def last_used(self, subscription_uid: str) -> Mapping[str, datetime]:
        return {name: datetime.fromtimestamp(at, UTC) for name, at in self.uses.items()} if self.hears else {}

    async def tell(self, declared: Declared, happening: Happening) -> None:
        self.told.append(happening)

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Json | None:
        self.calls.append(("get", name))
        assert (kind, namespace, name) == (SUBSCRIPTIONS, KEY.namespace, KEY.name)
        return copy.deepcopy(self.subscription)

    async def list(
        self, kind: ResourceType, namespace: str = "", *, fields: str = "", metadata_only: bool = False
    ) -> Listing:
        self.calls.append(("list", namespace))
        assert (kind, namespace, fields) == (SECRETS, KEY.namespace, "type=kubernetes.io/basic-auth")
        assert metadata_only, "passwords are nobody's business"
        return Listing(tuple({"metadata": copy.deepcopy(each["metadata"])} for each in self.secrets.values()), 1)

    async def create(self, kind: ResourceType, namespace: str, body: Mapping[str, Any]) -> Json:
        name = body["metadata"]["name"]
        fault, self.fault = self.fault, ""
        if fault in ("fail", "late"):
            self.late += [dict(body)] if fault == "late" else []
            raise Unavailable("POST", 0, "TimeoutError", "no answer")
        if name in self.secrets:
            raise Conflict("POST", 409, "AlreadyExists", "is there")
        self.calls.append(("create", name))
        stored = self._store(dict(body))
        if fault == "lose":
            raise Unavailable("POST", 0, "TimeoutError", "no answer")
        return copy.deepcopy(stored)

    async def delete(self, kind: ResourceType, namespace: str, name: str, *, uid: str = "") -> bool:
        assert uid, "without it another Secret of that name may be hit"
        fault, self.fault = self.fault, ""
        if fault in ("fail", "late"):
            raise Unavailable("DELETE", 0, "TimeoutError", "no answer")
        if name not in self.secrets:
            return False
        if self.secrets[name]["metadata"]["uid"] != uid:
            raise Conflict("DELETE", 409, "Conflict", "another uid")
        self.calls.append(("delete", name))
        self.remove(name)
        if fault == "lose":
            raise Unavailable("DELETE", 0, "TimeoutError", "no answer")
        return True

    def _store(self, body: Json) -> Json:
        metadata = {
            "annotations": {},
            **body["metadata"],
            "namespace": KEY.namespace,
            "uid": f"uid-{next(self._uids)}",
            "resourceVersion": str(next(self._versions)),
            "creationTimestamp": text_of(self.now),
        }
        stored = copy.deepcopy({**body, "metadata": metadata})
        self.secrets[metadata["name"]] = stored
        return stored


__all__ = ["BEGIN", "CONDITION", "DAY", "HOUR", "KEY", "World", "run"]
