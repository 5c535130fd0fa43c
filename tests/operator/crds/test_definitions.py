"""What the definitions are as files, and what people see of them with kubectl."""

from pathlib import Path

import pytest
import yaml

from support.crds import CRDS, a_gateway, a_subscription
from support.kubernetes.api import Api
from support.kubernetes.plane import ControlPlane, KubectlFailed
from support.schemas import Plain, fields, read, schema

ACME = Path(__file__).parents[3] / "examples" / "acme.yaml"
KINDS = {read(path)["spec"]["names"]["plural"]: read(path) for path in CRDS}
MAX_BYTES = 100_000


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_a_definition_is_small(path: Path) -> None:
    """kubectl apply keeps a copy of it in an annotation, of 256 KiB at most, and charts have limits too."""
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("plural", KINDS)
def test_everything_that_can_be_written_has_a_limit(plural: str) -> None:
    """What has none can be as large as a request, and makes every rule cost what that would."""
    unlimited = [
        ".".join(place)
        for place, node in fields(schema(KINDS[plural]))
        if place[:1] != ("metadata",) and not _limited(node)
    ]

    assert unlimited == ["apiVersion", "kind"]


def _limited(node: Plain) -> bool:
    if node.get("x-kubernetes-int-or-string"):
        return "pattern" in node and "x-kubernetes-validations" in node
    wanted = {"string": ("maxLength",), "array": ("maxItems",), "integer": ("minimum",)}.get(node["type"], ())
    if "additionalProperties" in node:
        wanted = ("maxProperties",)
    return "enum" in node or node.get("format") in ("date-time",) or all(limit in node for limit in wanted)


@pytest.mark.parametrize("plural", KINDS)
def test_kubectl_explains_every_field(guarded: ControlPlane, plural: str) -> None:
    """Tenants have kubectl before they have these pages."""
    silent = [".".join(place) for place, node in fields(schema(KINDS[plural])) if not node.get("description")]
    assert silent == ["metadata"]  # The server has a text of its own for it.

    explained = guarded.kubectl("explain", "--recursive", f"{plural}.hookline.dev")

    names = {part for place, _ in fields(schema(KINDS[plural])) for part in place if part not in ("[]", "{}")}
    assert [name for name in names if f"{name}\t<" not in explained] == []


@pytest.mark.parametrize(
    "field", ["routes.handler.timeout", "dataPlane.dedicated.resources.requests.cpu", "auth.basic.secretRefs"]
)
def test_kubectl_explains_a_field_by_its_path(guarded: ControlPlane, field: str) -> None:
    """The short name serves too."""
    assert "DESCRIPTION:" in guarded.kubectl("explain", f"whsub.spec.{field}")


@pytest.mark.parametrize("how", [["--server-side"], []], ids=["server-side", "client-side"])
def test_the_example_is_applied_and_applied_again_without_a_change(
    guarded: ControlPlane, api: Api, how: list[str]
) -> None:
    """A GitOps tool would go on writing for ever if the server's defaults were seen as a difference."""
    secret, *ours = yaml.safe_load_all(ACME.read_text(encoding="utf-8"))
    try:
        versions = []
        for _ in range(2):
            guarded.kubectl("apply", *how, "-f", str(ACME))
            there = [api.get(each["apiVersion"], each["kind"], *_named(each)) for each in ours]
            versions.append([each["metadata"]["resourceVersion"] for each in there])
        difference = guarded.kubectl("diff", *how, "-f", "-", input=yaml.safe_dump_all(ours))
    finally:
        for thing in (secret, *ours):
            api.delete(thing)

    assert versions[0] == versions[1]
    assert difference == ""


def _named(thing: Plain) -> tuple[str, str]:
    return thing["metadata"]["namespace"], thing["metadata"]["name"]


def test_what_is_left_out_is_filled_in_by_the_server(api: Api) -> None:
    """People see in the object what holds, without knowing the defaults."""
    subscription = api.create(a_subscription("acme", "defaults"))
    gateway = api.create(a_gateway("acme", "defaults"))
    api.delete(subscription)
    api.delete(gateway)

    assert subscription["spec"] == {
        "gatewayRef": {"name": "default"},
        "routes": [
            {
                "name": "notify",
                "handler": {"serviceRef": {"name": "notifier", "port": 9000}, "timeout": "10s", "payload": "Typed"},
                "delivery": {
                    "ordering": "None",
                    "maxInFlight": 64,
                    "batch": {"maxEvents": 32, "maxWait": "20ms"},
                    "retry": {"initialBackoff": "1s", "maxBackoff": "10m", "maxAge": "72h"},
                },
                "paused": False,
            }
        ],
        "deduplication": {"window": "1h"},
        "retention": {"delivered": "24h", "dead": "168h"},
        "suspend": False,
        "dataPlane": {"mode": "Shared"},
    }
    assert gateway["spec"] == {
        "allowedNamespaces": {"from": "All"},
        "limits": {"maxBodySize": "2Mi", "maxPendingBytesPerSubscription": "1Gi"},
        "dedicated": {"allowed": False, "maxPerNamespace": 2},
        "eventStore": {"engine": "SQLite", "storage": {"size": "10Gi"}},
    }


def test_a_status_is_written_apart_from_the_spec(api: Api) -> None:
    """A tenant can't say that it is ready, and the operator can't change what was asked for."""
    stored = api.create({**a_subscription("acme", "apart"), "status": {"url": "https://elsewhere.example.com/"}})
    assert "status" not in stored

    after = api.patch(stored, {"status": STATUS, "spec": {"suspend": True}}, "status")
    api.delete(stored)

    assert (after["spec"], after["metadata"]["generation"]) == (stored["spec"], stored["metadata"]["generation"])
    assert after["status"] == STATUS


STATUS = {
    "observedGeneration": 1,
    "url": "https://hooks.example.com/acme/apart",
    "gateway": "hookline/default",
    "credentials": [{"secretName": "apart-1", "state": "Active", "since": "2026-01-01T00:00:00Z"}],
    "conditions": [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
        for kind, reason in (("Accepted", "Accepted"), ("Programmed", "Served"), ("Ready", "AllServe"))
    ],
}


def test_kubectl_shows_what_matters_of_a_subscription(guarded: ControlPlane, api: Api) -> None:
    """URL, whether it is ready and why not, whether it is suspended; more with -o wide."""
    stored = api.create(a_subscription("acme", "shown", suspend=True))
    api.set_status(stored, STATUS)

    short = table(guarded.kubectl("get", "whsub", "shown", namespace="acme"))
    wide = table(guarded.kubectl("get", "webhooksubscriptions", "shown", "-o", "wide", namespace="acme"))
    category = guarded.kubectl("get", "hookline", "-o", "name", namespace="acme")
    guarded.kubectl("wait", "--for=condition=Ready", "--timeout=5s", "whsub/shown", namespace="acme")
    api.delete(stored)

    assert list(short) == ["NAME", "URL", "READY", "REASON", "SUSPENDED", "AGE"]
    assert [short[key] for key in ("URL", "READY", "REASON", "SUSPENDED")] == [
        STATUS["url"],
        "True",
        "AllServe",
        "true",
    ]
    assert [wide[key] for key in ("GATEWAY", "PLANE", "PROGRAMMED")] == ["hookline/default", "Shared", "True"]
    assert "webhooksubscription.hookline.dev/shown" in category


def test_kubectl_shows_what_matters_of_a_gateway(guarded: ControlPlane, api: Api) -> None:
    """Whether its receivers serve what is published, and for how many subscriptions."""
    stored = api.create(a_gateway("acme", "shown", hostnames=["hooks.example.org"]))
    receivers = {"ready": 2, "synced": 2, "summary": "2/2/2"}
    api.set_status(stored, {"receivers": receivers, "attachedSubscriptions": 7, "conditions": STATUS["conditions"]})

    wide = table(guarded.kubectl("get", "whgw", "shown", "-o", "wide", namespace="acme"))
    api.delete(stored)

    assert (wide["READY"], wide["REASON"]) == ("True", "AllServe")
    assert [wide[key] for key in ("RECEIVERS", "SUBSCRIPTIONS", "PROGRAMMED")] == ["2/2/2", "7", "True"]
    assert wide["HOSTNAMES"] == '["hooks.example.org"]'


def table(printed: str) -> dict[str, str]:
    """The only row of what kubectl printed, by column."""
    head, row = printed.splitlines()
    starts = [index for index in range(len(head)) if head[index] != " " and (index == 0 or head[index - 1] == " ")]
    ends = [*starts[1:], None]
    return {head[start:end].strip(): row[start:end].strip() for start, end in zip(starts, ends, strict=True)}


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("spec.gatewayRef.name=public", ["other-gateway"]),
        ("spec.gatewayRef.namespace=edge", ["other-gateway"]),
        ("spec.gatewayRef.name=default,spec.suspend=false", ["own-pods", "plain"]),
        ("spec.dataPlane.mode=Dedicated", ["own-pods"]),
        ("spec.suspend=true", ["suspended"]),
    ],
)
def test_subscriptions_are_selected_by_field(guarded: ControlPlane, api: Api, selector: str, names: list[str]) -> None:
    """Which ones are suspended, dedicated, or of one gateway: the server filters, among ten thousand."""
    things = [
        a_subscription("globex", "plain"),
        a_subscription("globex", "suspended", suspend=True),
        a_subscription("globex", "other-gateway", gatewayRef={"name": "public", "namespace": "edge"}),
        a_subscription(
            "globex", "own-pods", dataPlane={"mode": "Dedicated", "dedicated": {"scaling": {"maxReplicas": 2}}}
        ),
    ]
    api.apply(*things)

    found = guarded.kubectl("get", "whsub", "--field-selector", selector, "-o", "name", namespace="globex")

    assert sorted(line.partition("/")[2] for line in found.split()) == names


@pytest.mark.parametrize(
    ("kind", "selector"), [("whgw", "spec.allowedNamespaces.from=Same"), ("whgw", "spec.dedicated.allowed=true")]
)
def test_gateways_are_selected_by_field(guarded: ControlPlane, api: Api, kind: str, selector: str) -> None:
    """Which ones are open to all, or give away pods."""
    api.apply(
        a_gateway("globex", "open"),
        a_gateway("globex", "own", allowedNamespaces={"from": "Same"}, dedicated={"allowed": True}),
    )

    assert guarded.kubectl("get", kind, "--field-selector", selector, "-o", "name", namespace="globex").split() == [
        "webhookgateway.hookline.dev/own"
    ]


@pytest.mark.parametrize("plural", ["routetables", "endpointtables"])
def test_tables_are_selected_by_plane(guarded: ControlPlane, api: Api, plural: str) -> None:
    """An agent's plane may have a name that no label can hold."""
    kind = KINDS[plural]["spec"]["names"]["kind"]
    spec = {"index": 0, "shards": 1, "revision": 1, "chunk": 0, "chunks": 1, "hash": "0" * 64, "data": "eJw="}
    for plane in ("default", "default.acme.chat"):
        metadata = {"name": f"{plane}-00", "namespace": "hookline"}
        api.apply(
            {
                "apiVersion": "hookline.dev/v1alpha1",
                "kind": kind,
                "metadata": metadata,
                "spec": {"plane": plane, **spec},
            }
        )

    found = guarded.kubectl(
        "get", plural, "--field-selector", "spec.plane=default.acme.chat", "-o", "name", namespace="hookline"
    )

    assert [line.partition("/")[2] for line in found.split()] == ["default.acme.chat-00"]


def test_a_gateway_is_scaled_as_anything_is(guarded: ControlPlane, api: Api) -> None:
    """kubectl scale, and autoscalers of other makers, go by the scale subresource."""
    stored = api.create(a_gateway("acme", "scaled", replicas=2))
    api.set_status(stored, {"replicas": 2, "selector": "hookline.dev/plane=scaled"})

    guarded.kubectl("scale", "whgw/scaled", "--replicas=5", namespace="acme")
    path = f"{api.resource('hookline.dev/v1alpha1', 'WebhookGateway').path('acme', 'scaled')}/scale"
    scale = api.request("GET", path)
    api.delete(stored)

    assert scale["spec"]["replicas"] == 5
    assert scale["status"] == {"replicas": 2, "selector": "hookline.dev/plane=scaled"}


def test_a_gateway_that_scales_by_itself_can_not_be_scaled_by_hand(guarded: ControlPlane, api: Api) -> None:
    """Two that set the number would fight."""
    stored = api.create(a_gateway("acme", "scaling", scaling={"maxReplicas": 4}))

    with pytest.raises(KubectlFailed, match="scaling must be left out where replicas is set"):
        guarded.kubectl("scale", "whgw/scaling", "--replicas=5", namespace="acme")
    api.delete(stored)


def test_a_name_that_is_generated_is_judged_too(api: Api) -> None:
    """generateName makes names of up to 63 characters."""
    thing = a_subscription("acme")
    thing["metadata"] = {"generateName": "a" * 60 + "-", "namespace": "acme"}
    stored = api.create(thing)
    api.delete(stored)

    assert len(stored["metadata"]["name"]) <= 63
