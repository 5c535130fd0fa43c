"""
What operators publish, seen by somebody who only watches: every version of every RouteTable, and what it ought to be.

    with Publications(plane, namespace) as publications:
        ...
        publications.until(lambda now: "uid-1" in now.subscriptions, 10, "published")
    assert publications.returned() == []
    assert await differences(plane, namespace) == []
"""

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from hookline.routing.v1.table_pb2 import RouteEntry, RouteShard
from hookline_operator.apply.api import Api
from hookline_operator.apply.route_tables import RouteTables
from hookline_operator.decide.routing import RoutingState
from hookline_operator.decide.shards import stored
from hookline_operator.observe.authorities import Authorities
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.kinds import kinds
from hookline_operator.observe.verification import Verification
from hookline_operator.verifiers import Verifiers
from hookline_routes.attach import Rules
from hookline_routes.shard import ShardUnreadable, join
from hookline_routes.verifier import tag_key_id
from support.kubernetes.api import Object
from support.kubernetes.plane import ADMIN_TOKEN, ControlPlane
from support.waiting import until_sync

API = "hookline.dev/v1alpha1"

Credential = tuple[str, str]
"""The uid and the version of a Secret."""


@dataclass(frozen=True)
class Version:
    """A shard as it was published once, whole: all shards of these tests fit one object."""

    table: str
    resource_version: int
    revision: int
    at: float
    """time.monotonic() at which it was seen."""
    entries: dict[str, RouteEntry]
    """By uid."""

    @property
    def credentials(self) -> frozenset[Credential]:
        """Whatever opens one of its endpoints, also of those that are suspended."""
        sources = (source for entry in self.entries.values() for source in entry.verifier_sources)
        return frozenset((source.secret_uid, source.resource_version) for source in sources)


@dataclass(frozen=True)
class Now:
    """All that is published."""

    subscriptions: dict[str, RouteEntry]
    """By uid."""
    credentials: frozenset[Credential]

    def has(self, revoked: "Revoked") -> bool:
        """Whether any of it is published."""
        return revoked.is_in(self.subscriptions, self.credentials)

    def is_suspended(self, uid: str) -> bool:
        """Whether that subscription is, as published."""
        return uid in self.subscriptions and self.subscriptions[uid].endpoint.suspended


@dataclass(frozen=True)
class Revoked:
    """What must not be published again once it is published no more."""

    uid: str
    """Of a Secret or of a subscription."""
    version: str = ""
    """Of the Secret; "": every one."""
    at: int = 0
    """A version of the cluster by which it was revoked."""

    def is_in(self, subscriptions: Container[str], credentials: Iterable[Credential]) -> bool:
        """Whether one of these is what was revoked."""
        return self.uid in subscriptions or any(
            uid == self.uid and self.version in ("", version) for uid, version in credentials
        )


@dataclass
class Publications:
    """Watches the RouteTables of *namespace* in a thread of its own."""

    plane: ControlPlane
    namespace: str
    versions: list[Version] = field(default_factory=list)
    """In the order in which the API server took them."""
    broken: list[str] = field(default_factory=list)
    """Tables that could not be read as they stood: nothing half may ever be published."""
    error: Exception | None = None

    def __enter__(self) -> Self:
        """Watching, from an empty namespace on or from what there is."""
        self._ending = threading.Event()
        path = self.plane.admin.resource(API, "RouteTable").path(self.namespace)
        listed = self.plane.admin.request("GET", path)
        for item in listed["items"]:
            self._note(item)
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", self.plane.port, context=self.plane.tls, timeout=600
        )
        version = listed["metadata"]["resourceVersion"]
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "User-Agent": "test-publications"}
        self._connection.request("GET", f"{path}?watch=true&resourceVersion={version}", headers=headers)
        self._answer = self._connection.getresponse()
        self._thread = threading.Thread(target=self._watch, name="publications")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ended."""
        self._ending.set()
        if self._connection.sock is not None:
            self._connection.sock.shutdown(2)
        self._thread.join(10)
        self._answer.close()
        self._connection.close()

    def now(self) -> Now:
        """The last version of each table."""
        last = {each.table: each for each in list(self.versions)}
        entries = {uid: entry for each in last.values() for uid, entry in each.entries.items()}
        return Now(entries, frozenset(one for each in last.values() for one in each.credentials))

    def until(self, holds: Callable[[Now], bool], within: float = 20.0, what: str = "") -> float:
        """Seconds until what is published is so, from now."""
        began = time.monotonic()
        until_sync(lambda: holds(self.now()), within, what)
        assert self.error is None, self.error
        return time.monotonic() - began

    def returned(self, revoked: Iterable[Revoked]) -> list[str]:
        """What was published again after it had been revoked and published no more."""
        return [complaint for each in revoked for complaint in self._returned(each)]

    def _returned(self, revoked: Revoked) -> Iterator[str]:
        gone: dict[str, int] = {}
        for version in sorted(self.versions, key=lambda each: each.resource_version):
            if not revoked.is_in(version.entries, version.credentials):
                if version.resource_version > revoked.at:
                    gone.setdefault(version.table, version.resource_version)
            elif version.table in gone:
                yield f"{revoked} came back with {version.table} {version.resource_version} (gone since {gone})"

    def _watch(self) -> None:
        try:
            for line in self._answer:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._note(event["object"])
        except (OSError, ValueError, http.client.HTTPException, AttributeError) as error:
            if not self._ending.is_set():
                self.error = error

    def _note(self, table: Object) -> None:
        read, at = stored(table), time.monotonic()
        version = int(table["metadata"]["resourceVersion"])
        try:
            assert read.chunk is not None
            shard = RouteShard.FromString(join([read.chunk]))
        except (AssertionError, ShardUnreadable) as error:
            self.broken.append(f"{read.name} {version}: {error!r}")
            return
        entries = {entry.subscription.ref.uid: entry for entry in shard.entries}
        self.versions.append(Version(read.name, version, read.revision, at, entries))


async def differences(plane: ControlPlane, namespace: str) -> list[str]:
    """
    Where what is published is not what the objects, compiled from nothing, come to.

    Verifiers are taken from what is published, as their salts are chance, but only those of the Secret's present version.
    """
    tag_key = base64.b64decode(plane.admin.get("v1", "Secret", namespace, "hookline-internal")["data"]["tagKey"])
    async with plane.aio() as client:
        api = Api(client)
        cluster = Cluster(kinds(namespace), namespace)
        verification = Verification(api, cluster, Authorities(api, cluster, _ignore), _ignore)
        await verification.load()
        tables = RouteTables(api, namespace, tag_key_id(tag_key))
        verifiers = Verifiers(tag_key, _ignore)
        verifiers.learn(await tables.read_all())
    state = RoutingState(Rules(gateway_namespace=namespace, cluster_default=True), tag_key_id(tag_key))
    keys = tuple(cluster.subscriptions)
    state.admit(cluster, keys)
    turn = state.turn(cluster, keys, verifiers, most=len(keys) + 1)
    found = [f"no verifier of {each.needed.credential} for {each.subscription}" for each in turn.missing]
    shards = set(state.shards())
    for shard in sorted(shards):
        if tables.get(shard).hash != state.hash(shard):
            there, wanted = tables.get(shard).entries, state.entries(shard)
            lacks, more = sorted(wanted.keys() - there.keys()), sorted(there.keys() - wanted.keys())
            other = sorted(uid for uid in wanted.keys() & there.keys() if wanted[uid] != there[uid])
            found.append(f"{shard}: lacks {lacks}, has {more} besides, {other} otherwise")
    found += [f"{shard} is of nothing" for shard in sorted(set(tables.published) - shards)]
    return found


def _ignore(_: Any) -> None:
    """Nobody is to be told."""
