"""The API server's schema and the operator's reader judge every object alike, to each field, default and limit."""

import itertools
import os
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hookline_routes.reading import read_object
from hookline_routes.resource import Metadata, Resource, Unreadable, WebhookGateway, WebhookSubscription
from support.kubernetes.api import Api, Refused
from support.schemas import (
    ABSENT,
    Case,
    Plain,
    at,
    cases,
    changed,
    definition,
    dotted,
    fields,
    has_float,
    present,
    schema,
    shortened,
    values,
)

FULL = tuple(yaml.safe_load_all((Path(__file__).parent / "full.yaml").read_text(encoding="utf-8")))
SCHEMAS = {
    "WebhookSubscription": schema(definition("webhooksubscriptions")),
    "WebhookGateway": schema(definition("webhookgateways")),
}
CALLS_AT_ONCE = 4
NAMES = [each["metadata"]["name"] for each in FULL]


def server_says(api: Api, thing: Plain) -> Plain | str:
    """The object with the server's defaults, or the refusal."""
    path = api.resource(thing["apiVersion"], thing["kind"]).path("acme")
    try:
        answer = api.request("POST", path, thing, query={"dryRun": "All", "fieldValidation": "Strict"})
    except Refused as refusal:
        return refusal.message
    assert isinstance(answer, dict)
    return answer


def meaning(thing: Plain) -> Resource | str:
    """What the reader makes of it, without what makes it this one object; or what it says is wrong."""
    read = read_object(thing, strict=True)
    if isinstance(read, Unreadable):
        return "; ".join(map(str, read.problems))
    assert isinstance(read, WebhookSubscription | WebhookGateway)
    return replace(read, metadata=Metadata("", ""))


def disagreements(api: Api, tried: Iterator[Case]) -> Iterator[str]:
    """Where server and reader differ: in taking an object, or in what it comes to once the server has filled in defaults."""
    every = list(tried)
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        answers = list(pool.map(lambda case: server_says(api, case.object), every))
    for case, says in zip(every, answers, strict=True):
        reads = meaning(case.object)
        if isinstance(says, str) and not isinstance(reads, str) and has_float(case.object):
            continue  # The server's rules can't compare 5.0; kubectl sends it as 5, which is what the reader takes it for.
        if isinstance(says, str) != isinstance(reads, str):
            yield f"{case.what}: the server says {says if isinstance(says, str) else 'yes'}; the reader {reads}"
        elif isinstance(says, dict) and meaning({**says, "apiVersion": case.object["apiVersion"]}) != reads:
            yield f"{case.what}: with the server's defaults it means something else"


@pytest.mark.parametrize("full", FULL, ids=NAMES)
def test_server_and_reader_judge_every_limit_alike(api: Api, full: Plain) -> None:
    """Else `hookline check` says yes to what kubectl refuses, or the operator reads what nobody could have meant."""
    assert list(disagreements(api, cases(SCHEMAS[full["kind"]], full))) == []


def test_server_and_reader_judge_objects_with_several_changes_alike(api: Api) -> None:
    """Rules between fields meet what each of them may be alone."""
    seed = int(os.environ.get("HOOKLINE_SEED") or random.randrange(1 << 32))
    print(f"HOOKLINE_SEED={seed}")
    chance = random.Random(seed)

    assert list(disagreements(api, (_several_changes(chance) for _ in range(500)))) == []


def _several_changes(chance: random.Random) -> Case:
    full = chance.choice(FULL)
    leaves = [
        (place, node)
        for place, _, node in present(SCHEMAS[full["kind"]]["properties"]["spec"], full["spec"], ("spec",))
        if not {"properties", "items", "additionalProperties"} & set(node)
    ]
    thing, whats = full, []
    for place, node in chance.sample(leaves, min(len(leaves), chance.randint(2, 4))):
        valid = at(full, place)
        value = chance.choice([each for each in values(node, valid) if each is ABSENT or type(each) is type(valid)])
        thing = changed(thing, place, value)
        whats.append(f"{dotted(place)} = {shortened(value)}")
    return Case(", ".join(whats), (), thing)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_limits_are_tried_on_every_field(kind: str) -> None:
    """A field that no full object has would be tried nowhere."""
    spec = SCHEMAS[kind]["properties"]["spec"]
    tried = {general for full in FULL if full["kind"] == kind for _, general, _ in present(spec, full["spec"])}

    assert {place for place, _ in fields(spec)} - tried == set()


@pytest.mark.parametrize("full", FULL, ids=NAMES)
def test_the_reader_knows_the_fields_of_the_schema_and_no_others(full: Plain) -> None:
    """A field that is only read can't be set; one that is only in the schema does nothing."""
    spec = SCHEMAS[full["kind"]]["properties"]["spec"]
    objects = [(place, node) for place, _, node in present(spec, full["spec"], ("spec",)) if "properties" in node]

    for place, node in objects:
        said = meaning(changed(full, (*place, "qqqq"), 1))
        assert isinstance(said, str)
        known = re.search(rf"{re.escape(dotted(place))}\.qqqq: is unknown; known are ([^;]*)", said)
        assert known, said
        assert set(known[1].split(", ")) == set(node["properties"]), dotted(place)


@pytest.mark.parametrize("full", FULL, ids=NAMES)
def test_a_refusal_names_the_field(api: Api, full: Plain) -> None:
    """A tenant must find the line."""
    node = SCHEMAS[full["kind"]]["properties"]["spec"]
    for place, _, below in itertools.islice(present(node, full["spec"], ("spec",)), 1, None):
        wrong = {} if below.get("type") != "object" else "x"
        said = server_says(api, changed(full, place, wrong))
        assert isinstance(said, str)
        assert dotted(place).replace(".example.com/team", "") in said or f".{place[-1]}" in said, said
