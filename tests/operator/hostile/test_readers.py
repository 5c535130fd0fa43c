"""Objects that no schema would let through, of every kind that is watched: none of them makes a reader raise."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hookline_operator.observe.dependents import dependents, everything
from hookline_operator.observe.objects import KindName
from support.operator_core import (
    OWN,
    Body,
    a_cluster,
    a_gateway,
    a_grant,
    a_namespace,
    a_pod,
    a_secret,
    a_service,
    a_slice,
    a_subscription,
    again,
)

FULL = Path(__file__).parents[1] / "crds" / "full.yaml"

STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, float("inf"), 10**30, "", "x", "\ud800", "\x00", "a" * 3000, "١٢٣", "²", "0"),
    *([], {}, [None], [[]], {"": None}, {"a": {"b": []}}, "1" * 25, "hookline.dev/x", ["x", {}]),
    *("10.0.0.1", "fe80::1%eth0", "::ffff:169.254.169.254", "9" * 5000),
)
BODIES = 4000


def whole_objects() -> dict[KindName, list[Body]]:
    """Valid ones, with every field that is read."""
    full = list(yaml.safe_load_all(FULL.read_text(encoding="utf-8")))
    owners = [{"kind": "WebhookSubscription", "uid": "uid-acme-chat"}]
    condition = {"type": "Ready", "status": "True", "reason": "x", "message": "", "observedGeneration": 1}
    status = {"conditions": [condition], "credentials": [{"name": "a", "state": "Active"}]}
    annotations = {"hookline.dev/rotate": "1", "hookline.dev/revoke": "a,b"}
    subscriptions = [
        {**a_subscription(name=each["metadata"]["name"], spec=each["spec"], annotations=annotations), "status": status}
        for each in full
        if each["kind"] == "WebhookSubscription"
    ]
    gateways = [a_gateway(spec=each["spec"]) for each in full if each["kind"] == "WebhookGateway"]
    marks = {"hookline.dev/plane": "default.acme.chat", "hookline.dev/agent-port": "1"}
    return {
        KindName.SUBSCRIPTIONS: [*subscriptions, a_subscription()],
        KindName.GATEWAYS: gateways,
        KindName.SECRETS: [a_secret(ownerReferences=owners), a_secret()],
        KindName.SERVICES: [a_service()],
        KindName.SLICES: [a_slice("acme", "handler", "10.0.0.1", targetRef={"kind": "Pod", "name": "handler-0"})],
        KindName.PODS: [a_pod("acme", "handler-0", "10.0.0.1"), a_pod(OWN, "r", "10.0.0.2", annotations=marks)],
        KindName.NAMESPACES: [a_namespace("acme", team="chat")],
        KindName.GRANTS: [a_grant("acme", "other")],
    }


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something could be another thing."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def disturbed(body: Body, chance: random.Random) -> Body:
    """With up to four things in it that are strange, or missing."""
    body = copy.deepcopy(body)
    for _ in range(chance.randint(1, 4)):
        *path, last = chance.choice(list(places(body)))
        holder: Any = body
        for key in path:
            holder = holder[key]
        if chance.random() < 0.1:
            del holder[last]
        else:
            holder[last] = copy.deepcopy(chance.choice(STRANGE))
        if not body:
            break
    return body


def test_no_object_makes_a_reader_raise() -> None:
    """One that did would end the watch of its kind, for all tenants, as often as it is read."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance, cluster, whole = random.Random(seed), a_cluster(), whole_objects()

    changed = 0
    for _ in range(BODIES):
        kind = chance.choice(list(whole))
        body = disturbed(again(chance.choice(whole[kind])), chance)
        change = cluster.apply(kind, chance.choice(["ADDED", "MODIFIED", "DELETED", None]), body)
        if change:
            changed += 1
            dependents(change, cluster)
    everything(cluster)

    assert changed > BODIES / 10, "most of it was not even looked at"
