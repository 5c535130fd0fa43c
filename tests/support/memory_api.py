"""An API server of one process's memory, with what the operator's lanes rely on: versions, conflicts, merging, refusals."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from hookline_operator.apply.api import Conflict, Listing, NotFound, Unavailable
from hookline_operator.resource_types import ResourceType

Json = dict[str, Any]


class MemoryApi:
    """Stands in for `apply.api.Api`."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.writes: list[tuple[str, str, str]] = []
        """Verb, kind and name of each write that was done."""
        self.reads = 0
        self.refuse: Callable[[str, str, str], Exception | None] = lambda verb, kind, name: None
        """Asked before each write."""
        self.away = False
        self._version = 100

    async def list(self, kind: ResourceType, namespace: str = "", *, labels: str = "") -> Listing:
        """By one label."""
        self._reachable()
        name, _, value = labels.partition("=")
        found = [
            copy.deepcopy(each)
            for (a, b, _), each in self.objects.items()
            if (a, b) == (kind.kind, namespace) and (not name or each["metadata"].get("labels", {}).get(name) == value)
        ]
        return Listing(tuple(found), self._version)

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Json | None:
        """One."""
        self._reachable()
        return copy.deepcopy(self.objects.get((kind.kind, namespace, name)))

    async def create(self, kind: ResourceType, namespace: str, body: Mapping[str, Any]) -> Json:
        """Conflict if it is there."""
        name = body["metadata"]["name"]
        self._before("create", kind, name)
        if (kind.kind, namespace, name) in self.objects:
            raise Conflict(f"POST {name}", 409, "AlreadyExists", "is there")
        return self._store(kind, namespace, name, dict(body))

    async def replace(self, kind: ResourceType, namespace: str, name: str, body: Mapping[str, Any]) -> Json:
        """On the condition of its version."""
        self._before("replace", kind, name)
        self._matches(kind, namespace, name, body)
        return self._store(kind, namespace, name, dict(body))

    async def merge(
        self, kind: ResourceType, namespace: str, name: str, change: Mapping[str, Any], *, subresource: str = ""
    ) -> Json:
        """Only a status."""
        self._before("merge", kind, name)
        stored = self._matches(kind, namespace, name, change)
        status = {**stored.get("status", {}), **change["status"]}
        status = {field: value for field, value in status.items() if value is not None}
        return self._store(kind, namespace, name, {**stored, "status": status})

    async def delete(self, kind: ResourceType, namespace: str, name: str) -> bool:
        """Whether it was there."""
        self._before("delete", kind, name)
        return self.objects.pop((kind.kind, namespace, name), None) is not None

    def put(self, kind: ResourceType, body: Json) -> Json:
        """Somebody else writes."""
        return self._store(kind, body["metadata"]["namespace"], body["metadata"]["name"], copy.deepcopy(body))

    def _reachable(self) -> None:
        self.reads += 1
        if self.away:
            raise Unavailable("GET", 0, "TimeoutError", "no answer")

    def _before(self, verb: str, kind: ResourceType, name: str) -> None:
        error = Unavailable(verb, 0, "TimeoutError", "no answer") if self.away else self.refuse(verb, kind.kind, name)
        if error is not None:
            raise error
        self.writes.append((verb, kind.kind, name))

    def _matches(self, kind: ResourceType, namespace: str, name: str, body: Mapping[str, Any]) -> Json:
        stored = self.objects.get((kind.kind, namespace, name))
        if stored is None:
            self.writes.pop()
            raise NotFound(f"PUT {name}", 404, "NotFound", "is not there")
        version = body["metadata"].get("resourceVersion")
        if version is not None and version != stored["metadata"]["resourceVersion"]:
            self.writes.pop()
            raise Conflict(f"PUT {name}", 409, "Conflict", "the object has been modified")
        return copy.deepcopy(stored)

    def _store(self, kind: ResourceType, namespace: str, name: str, body: Json) -> Json:
        self._version += 1
        stored = copy.deepcopy(body)
        stored["metadata"] = {**stored["metadata"], "namespace": namespace, "resourceVersion": str(self._version)}
        self.objects[(kind.kind, namespace, name)] = stored
        return copy.deepcopy(stored)
