"""
Builders for what is compiled, and the golden files' command:

    PYTHONPATH=tests python -m support.routes          writes tests/routes/golden/*.out.yaml anew
"""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.json_format import MessageToDict

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.compile import compile
from hookline_routes.credentials import needed_verifiers
from hookline_routes.inputs import Compiled, Inputs, VerifierKey, inputs_for_check, inputs_for_dev
from hookline_routes.manifest import Manifests, read_manifests
from hookline_routes.problem import Problem
from hookline_routes.reading import read_object
from hookline_routes.resource import ConfigMap, ReferenceGrant, Secret, Unreadable, WebhookGateway, WebhookSubscription
from hookline_routes.verifier import make_verifier

ROOT = Path(__file__).parents[2]
ACME = ROOT / "examples" / "acme.yaml"
GOLDEN = ROOT / "tests" / "routes" / "golden"
TAG_KEY = bytes(range(32))
SALT = bytes(range(16))

Plain = dict[str, Any]


def a_route(name: str = "notify", **fields: Any) -> Plain:
    """A route as an API server has it."""
    return {"name": name, "handler": {"serviceRef": {"name": "notifier", "port": 9000}}, **fields}


def a_subscription(
    namespace: str = "acme", name: str = "chat", metadata: Plain | None = None, **spec: Any
) -> WebhookSubscription:
    """A valid subscription."""
    read = read_object(a_plain_subscription(namespace, name, metadata, **spec))
    assert isinstance(read, WebhookSubscription), read
    return read


def a_plain_subscription(
    namespace: str = "acme", name: str = "chat", metadata: Plain | None = None, **spec: Any
) -> Plain:
    """A valid subscription as an API server has it."""
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {"namespace": namespace, "name": name, **(metadata or {})},
        "spec": {"auth": {"basic": {"secretRefs": [{"name": "cometchat"}]}}, "routes": [a_route()], **spec},
    }


def a_gateway(name: str = "default", namespace: str = "hookline", **spec: Any) -> WebhookGateway:
    """A valid gateway that takes everybody."""
    read = read_object(
        {
            "apiVersion": "hookline.dev/v1alpha1",
            "kind": "WebhookGateway",
            "metadata": {"namespace": namespace, "name": name},
            "spec": spec,
        }
    )
    assert isinstance(read, WebhookGateway), read
    return read


def a_secret(namespace: str = "acme", name: str = "cometchat", **fields: Any) -> Secret:
    """A valid Secret."""
    read = read_object(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": "1"},
            "type": "kubernetes.io/basic-auth",
            "stringData": {"username": "acmehooks", "password": "9fKq2LmX7tVb4RzN"},
            **fields,
        }
    )
    assert isinstance(read, Secret), read
    return read


def problems_of(plain: object, *, strict: bool = True) -> list[str]:
    """What is wrong with an object, as people are told."""
    read = read_object(plain, strict=strict)
    return [str(problem) for problem in read.problems] if isinstance(read, Unreadable) else []


def with_verifiers(inputs: Inputs) -> Inputs:
    """*inputs* with every verifier that is needed: the quick kind, as nothing is verified."""
    made: dict[VerifierKey, routing.Verifier] = {
        each.key: make_verifier(
            each.credential, each.username, each.password, generated=True, salt=SALT, tag_key=TAG_KEY
        )
        for each in needed_verifiers(inputs)
    }
    return replace(inputs, verifiers=made)


def some_inputs(*objects: object, **fields: Any) -> Inputs:
    """*objects* as inputs, with their verifiers."""

    def of(kind: type) -> tuple[Any, ...]:
        return tuple(each for each in objects if isinstance(each, kind))

    given = {
        "tag_key": TAG_KEY,
        "subscriptions": of(WebhookSubscription),
        "gateways": of(WebhookGateway),
        "secrets": of(Secret),
        "config_maps": of(ConfigMap),
        "unreadable": of(Unreadable),
        "grants": of(ReferenceGrant),
    }
    return with_verifiers(Inputs(**{**given, **fields}))


def bytes_of(compiled: Compiled) -> list[tuple[str, bytes, bytes]]:
    """Everything that a compilation writes."""
    return [
        (
            plane,
            each.receiver.SerializeToString(deterministic=True),
            each.forwarder.SerializeToString(deterministic=True),
        )
        for plane, each in compiled.tables.items()
    ]


def golden_inputs(manifests: Manifests, text: str) -> Inputs:
    """What a golden file asks for: "# for: dev" or "# for: check" (a cluster that holds just this)."""
    purpose = re.search(r"^# for: (dev|check)$", text, re.MULTILINE)
    assert purpose, "a golden file says '# for: dev' or '# for: check'"
    chosen = inputs_for_dev if purpose[1] == "dev" else inputs_for_check
    return with_verifiers(chosen(manifests, TAG_KEY))


def golden_output(file: Path) -> str:
    """What the golden file *file* comes to, for people to read."""
    text = file.read_text()
    manifests = read_manifests({file.name.replace(".in.yaml", ".yaml"): text})
    compiled = compile(golden_inputs(manifests, text))
    # What could not be read is said once, by the manifests.
    said = list(manifests.problems) + [each for each in compiled.problems if each not in manifests.problems]
    output = {
        "problems": [_problem(each) for each in said],
        "conditions": {
            f"{report.kind} {report.key}": [
                f"{each.type}={each.status} {each.reason}: {each.message}".removesuffix(": ")
                for each in report.conditions
            ]
            for report in compiled.reports
        },
        "tables": {
            plane: {"receiver": _receiver(each.receiver), "forwarder": _plain(each.forwarder)}
            for plane, each in compiled.tables.items()
        },
    }
    return yaml.safe_dump(output, sort_keys=False, width=120, allow_unicode=True)


def _problem(problem: Problem) -> str:
    return f"{problem.severity} {problem.reason} {problem}"


def _receiver(message: routing.ReceiverSnapshot) -> Plain:
    plain = _plain(message)
    del plain["tagKey"]
    for endpoint in plain.get("endpoints", []):
        endpoint["verifiers"] = [each["credential"] for each in endpoint.get("verifiers", [])]
    return plain


def _plain(message: routing.ReceiverSnapshot | routing.ForwarderSnapshot) -> Plain:
    # The version is a hash of the rest, and would change with every field that is added.
    plain: Plain = MessageToDict(message)
    del plain["version"]
    return plain


def write_golden() -> int:
    """Write every golden file's output anew; to be looked at before it is committed."""
    for file in sorted(GOLDEN.glob("*.in.yaml")):
        output = file.with_name(file.name.replace(".in.", ".out."))
        text = golden_output(file)
        if not output.exists() or output.read_text() != text:
            print(f"wrote {output.relative_to(ROOT)}")
        output.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(write_golden())
