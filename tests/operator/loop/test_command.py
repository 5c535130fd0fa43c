"""`hookline check` before, the status in the cluster, and `hookline status` of it: the same story."""

import json
from pathlib import Path

import pytest

from support.acme import acme_yaml
from support.cli import hookline
from support.manifests import as_yaml
from support.tenancy import Cluster, Tenant, example, example_tenant

pytestmark = pytest.mark.needs_network_namespace


def test_a_good_example_is_good_everywhere(cluster: Cluster, tmp_path: Path) -> None:
    """Nobody should be told two things of one file."""
    tenant = example(cluster, "agreed")

    (checked,) = check(tmp_path, acme_yaml(tenant.namespace), *map(as_yaml, tenant.surroundings()))
    told = status(cluster, tenant)

    assert all(each["status"] for each in checked["conditions"])
    assert (told["ready"], told["reason"]) == (True, "Ready")
    assert told["url"] == tenant.subscription()["status"]["url"]


def test_a_bad_expression_is_told_in_the_same_words(cluster: Cluster, tmp_path: Path) -> None:
    """What `check` says on a laptop is what the cluster says later, and `status` explains it."""
    tenant = example_tenant(cluster, "mistaken")
    wanted = tenant.manifest("WebhookSubscription")
    wanted["spec"]["routes"][0]["match"] = {"expression": "event.data.message.typ ="}
    tenant.apply(tenant.manifest("Secret"), wanted)
    tenant.until(lambda: tenant.says("Accepted", "False", "InvalidExpression"), what="InvalidExpression")

    (checked,) = check(tmp_path, as_yaml(tenant.manifest("Secret"), wanted))
    told = status(cluster, tenant)

    said = tenant.conditions()["Accepted"]["message"]
    assert {each["type"]: each["message"] for each in checked["conditions"]}["Accepted"] == said
    assert said.rstrip(".") in told["why"]
    assert told["todo"]
    assert not told["ready"]


def check(folder: Path, *texts: str) -> list[dict[str, object]]:
    """What `hookline check` says of subscriptions."""
    (folder / "manifest.yaml").write_text("\n---\n".join(texts), encoding="utf-8")
    done = hookline("check", "-f", folder / "manifest.yaml", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [each for each in lines if each.get("kind") == "WebhookSubscription" and "conditions" in each]


def status(cluster: Cluster, tenant: Tenant) -> dict[str, object]:
    """What `hookline status` says of the example."""
    where = ("-n", tenant.namespace, "--kubeconfig", cluster.kubeconfig())
    done = hookline("status", "chat", *where, "-o", "json")
    (line,) = done.stdout.splitlines()
    found: dict[str, object] = json.loads(line)
    assert done.returncode == (0 if found["ready"] else 1), done.stderr
    return found
