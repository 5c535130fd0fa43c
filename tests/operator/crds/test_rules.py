"""Each rule of the definitions, for and against, on the real API server; what it says names the field and the limit."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hookline_routes.shard import CHUNK_BYTES, ENDPOINT_SHARDS, MAX_CHUNKS, ROUTE_SHARDS
from support.crds import CRDS, a_gateway, a_subscription, would_refuse
from support.kubernetes.api import Api, Refused
from support.schemas import Place, Plain, changed, definition, fields, read, schema

RULES: list[Plain] = yaml.safe_load((Path(__file__).parent / "rules.yaml").read_text(encoding="utf-8"))
TABLE = {
    "plane": "default", "index": 17, "shards": 64, "revision": 4, "chunk": 1, "chunks": 2, "hash": "0" * 64, "data": "eJw=",
}  # fmt: skip


def valid(kind: str) -> Plain:
    """An object of that kind that keeps every rule."""
    if kind == "WebhookSubscription":
        return a_subscription("acme")
    if kind == "WebhookGateway":
        return a_gateway("acme")
    metadata = {"name": "default-17-1", "namespace": "acme"}
    return {"apiVersion": "hookline.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": TABLE}


def parsed(place: str) -> Place:
    """ "spec.routes[0].name" as keys."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", place))


def tried(answer: str) -> Iterator[Any]:
    """Every value that a rule accepts, or refuses, as a parameter of a test."""
    for rule in RULES:
        for value in rule[answer]:
            text = json.dumps(value).replace("LONG", "a" * 318)
            yield pytest.param(rule, json.loads(text), id=f"{rule['kind']}-{rule['rule'][:32]}-{text[:48]}")


def verdict(api: Api, rule: Plain, value: Any) -> str:
    """What the API server says to *value* at the rule's place; "" if it takes it."""
    thing = changed(valid(rule["kind"]), parsed(rule["place"]), value)
    if "from" not in rule:
        return would_refuse(api, thing)
    stored = api.create(changed(valid(rule["kind"]), parsed(rule["place"]), rule["from"]))
    try:
        api.replace({**stored, "spec": thing["spec"]})
    except Refused as refusal:
        return refusal.message
    finally:
        api.delete(stored)
    return ""


@pytest.mark.parametrize(("rule", "value"), [*tried("accepts")])
def test_what_a_rule_allows_is_taken(api: Api, rule: Plain, value: Any) -> None:
    """A rule that refuses too much keeps tenants from what works."""
    assert verdict(api, rule, value) == ""


@pytest.mark.parametrize(("rule", "value"), [*tried("refuses")])
def test_what_a_rule_forbids_is_refused_by_field_and_limit(api: Api, rule: Plain, value: Any) -> None:
    """A tenant mends it without looking anything up."""
    said = verdict(api, rule, value)

    assert rule["rule"] in said
    assert f"{rule.get('says', rule['place'])}" in said


def test_every_rule_is_tried_for_and_against() -> None:
    """One that nobody tries may refuse everything, or nothing."""
    rules = {
        (crd["spec"]["names"]["kind"], each["message"])
        for crd in map(read, CRDS)
        for _, node in fields(schema(crd))
        for each in node.get("x-kubernetes-validations", [])
    }
    tried_ones = [(rule["kind"], rule["rule"]) for rule in RULES if rule["accepts"] and rule["refuses"]]

    assert [
        each for each in rules if not any(each[0] == kind and each[1].startswith(said) for kind, said in tried_ones)
    ] == []


@pytest.mark.parametrize("plural", ["routetables", "endpointtables"])
def test_what_the_operator_publishes_fits(plural: str) -> None:
    """A full chunk of the last shard must not be refused on the day that it comes."""
    limits = schema(definition(plural))["properties"]["spec"]["properties"]

    assert limits["data"]["maxLength"] >= 4 * (CHUNK_BYTES + 2) // 3
    assert limits["shards"]["maximum"] >= max(ROUTE_SHARDS, ENDPOINT_SHARDS)
    assert limits["chunks"]["maximum"] == MAX_CHUNKS
