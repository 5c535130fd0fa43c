"""
What the operator's routes cost as their number grows: `python -m bench.turns`.

All of them compiled from nothing, one turn of one subscription's change, the same where the gateway's quota is exceeded,
and making a shard's content and packing it. Processor time, medians of rounds, the sizes interleaved; read how it grows.
"""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_operator.decide.routing import RoutingState
from hookline_operator.decide.shards import ShardName, shard_with
from hookline_operator.observe.objects import Declared, EndpointSlice, Namespace, Pod, SeenSecret, Service
from hookline_routes.attach import Rules
from hookline_routes.inputs import NeededVerifier
from hookline_routes.reading import read_object
from hookline_routes.resource import (
    ConfigMap,
    ObjectKey,
    ReferenceGrant,
    Secret,
    Unreadable,
    WebhookGateway,
    WebhookSubscription,
)
from hookline_routes.shard import split
from hookline_routes.verifier import make_verifier

SIZES = (100, 1_000, 10_000)
NAMESPACES = 500
ROUNDS = 5
TURNS = 20
HOME = "hookline"


class View:
    """A cluster that holds so many subscriptions in 500 namespaces, each with a Secret and two routes."""

    def __init__(self, count: int, quota: int = 0) -> None:
        self.count = count
        self.subscriptions: dict[ObjectKey, Declared] = {}
        self.gateways: dict[ObjectKey, Declared] = {}
        self.secrets: dict[ObjectKey, SeenSecret] = {}
        self.namespaces = {f"n{number}": Namespace(f"n{number}", 1, {}) for number in range(NAMESPACES)}
        self.services: Mapping[ObjectKey, Service] = MappingProxyType({})
        self.pods: Mapping[ObjectKey, Pod] = MappingProxyType({})
        self.grants: Mapping[ObjectKey, ReferenceGrant] = MappingProxyType({})
        self.config_maps: Mapping[ObjectKey, ConfigMap] = MappingProxyType({})
        self.ca_secrets: Mapping[ObjectKey, Secret] = MappingProxyType({})
        limits = {"limits": {"maxSubscriptions": quota}} if quota else {}
        gateway = declared("WebhookGateway", HOME, "default", limits)
        self.gateways[gateway.key] = gateway
        for number in range(count):
            self.put(number)
            key = ObjectKey(f"n{number % NAMESPACES}", f"s{number}")
            self.secrets[key] = SeenSecret(key, 1, secret(key))

    def put(self, number: int, **spec: object) -> ObjectKey:
        """A subscription, or a change of it."""
        routes = [
            {
                "name": name,
                "match": {
                    "triggers": ["message_sent"],
                    "expression": f"event.data.message.type == '{name}{number} of {self.count}'",
                },
                "handler": {"serviceRef": {"name": name, "port": 9000}},
            }
            for name in ("text", "image")
        ]
        auth = {"basic": {"secretRefs": [{"name": f"s{number}"}]}}
        given = {"routes": routes, "auth": auth, **spec}
        one = declared("WebhookSubscription", f"n{number % NAMESPACES}", f"s{number}", given)
        self.subscriptions[one.key] = one
        return one.key

    def secrets_owned_by(self, uid: str) -> tuple[SeenSecret, ...]:
        """None."""
        return ()

    def slices_of(self, service: ObjectKey) -> tuple[EndpointSlice, ...]:
        """None."""
        return ()

    def pod_with(self, namespace: str, address: str) -> Pod | None:
        """None."""
        return None


def declared(kind: str, namespace: str, name: str, spec: Mapping[str, object]) -> Declared:
    """An object as it is read."""
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-{namespace}-{name}", "generation": 1}
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
    read = read_object({"apiVersion": "hookline.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
    assert isinstance(read, WebhookSubscription | WebhookGateway | Unreadable)
    return Declared(kind, ObjectKey(namespace, name), f"uid-{namespace}-{name}", 1, 1, read)


def secret(key: ObjectKey) -> Secret:
    """As it is read."""
    metadata = {"namespace": key.namespace, "name": key.name, "uid": f"uid-{key}".replace("/", "-")}
    metadata["resourceVersion"] = "1"
    strings = {"username": "acmehooks", "password": f"password{key.name}"}
    plain = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/basic-auth"}
    read = read_object({**plain, "stringData": strings})
    assert isinstance(read, Secret)
    return read


class Made:
    """Verifiers that are made already."""

    def __init__(self) -> None:
        self._made: dict[str, routing.Verifier] = {}

    def find(self, needed: NeededVerifier) -> routing.Verifier | None:
        """Of the quick kind."""
        if needed.credential not in self._made:
            salt = needed.credential.encode().ljust(16)[:16]
            self._made[needed.credential] = make_verifier(
                needed.credential, needed.username, needed.password, generated=True, salt=salt, tag_key=bytes(32)
            )
        return self._made[needed.credential]


def whole(view: View, verifiers: Made) -> RoutingState:
    """All compiled."""
    state = RoutingState(Rules(HOME), b"")
    state.admit(view, view.subscriptions)
    state.turn(view, state.turn(view, (), verifiers, most=0).more, verifiers)
    return state


@dataclasses.dataclass
class Size:
    """What is measured with so many subscriptions; milliseconds."""

    count: int
    view: View = dataclasses.field(init=False)
    crowded: View = dataclasses.field(init=False)
    state: RoutingState = dataclasses.field(init=False)
    full: RoutingState = dataclasses.field(init=False)
    made: Made = dataclasses.field(default_factory=Made)
    figures: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def first(self) -> None:
        """From nothing, expressions included; those are judged once in a process."""
        self.view, self.crowded = View(self.count), View(self.count, self.count * 9 // 10)
        self.note("all of them, the first time", lambda: whole(self.view, self.made))
        self.state, self.full = whole(self.view, self.made), whole(self.crowded, self.made)

    def round(self, number: int) -> None:
        """Each of them once."""
        self.note("all of them", lambda: whole(self.view, self.made))
        self.note("a turn of one", lambda: self.turns(self.view, self.state, number), TURNS)
        self.note("the same, quota exceeded", lambda: self.turns(self.crowded, self.full, number), TURNS)
        shard = shard_with("default", "uid-n0-s0")
        self.note("a shard's content", lambda: self.state.content(shard))
        content = self.state.content(shard)
        self.note("a shard packed", lambda: split(shard.plane, shard.index, shard.shards, 1, content))

    def turns(self, view: View, state: RoutingState, number: int) -> None:
        """One change each."""
        for turn in range(TURNS):
            key = view.put(turn, suspend=bool(number % 2), path=f"/n{turn % NAMESPACES}/moved{number}")
            state.turn(view, (key,), self.made)

    def note(self, what: str, work: Callable[[], object], times: int = 1) -> None:
        """How long it takes."""
        began = time.process_time()
        work()
        self.figures.setdefault(what, []).append((time.process_time() - began) / times * 1e3)


def main() -> None:
    """Print a table."""
    sizes = [Size(count) for count in SIZES]
    for size in reversed(sizes):
        size.first()
    for number in range(ROUNDS):
        for size in sizes:
            size.round(number)
    print(f"{'ms of a core, medians of ' + str(ROUNDS):32}" + "".join(f"{count:>10,}" for count in SIZES) + "   growth")
    for what in sizes[0].figures:
        medians = [statistics.median(size.figures[what]) for size in sizes]
        growth = " ".join(f"x{later / earlier:.1f}" for earlier, later in itertools.pairwise(medians))
        print(f"{what:32}" + "".join(f"{median:>10.2f}" for median in medians) + f"   {growth}")
    shard = ShardName("default", 0)
    sizes_of = [len(size.state.content(shard)) for size in sizes]
    print(f"{'bytes of a shard':32}" + "".join(f"{each:>10,}" for each in sizes_of))


if __name__ == "__main__":
    main()
