"""Attaching step by step: the same as in one go, and only what is concerned changes."""

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline_routes.attach import Attached, Attachments, Rejected, Rules, Verdict, attach
from hookline_routes.inputs import Inputs
from hookline_routes.problem import Reason
from hookline_routes.resource import (
    DedicatedPolicy,
    GatewayRef,
    ObjectKey,
    WebhookGateway,
    WebhookSubscription,
)
from support.routes import TAG_KEY, a_gateway, a_subscription

NAMES = ("a", "b", "c", "d", "e", "f")
SHARED = a_subscription()
DEDICATED = a_subscription(dataPlane={"mode": "Dedicated", "dedicated": {"scaling": {"maxReplicas": 4}}})


def aged(
    name: str, day: int = 1, namespace: str = "acme", path: str = "", *, dedicated: bool = False
) -> WebhookSubscription:
    """A subscription of that day."""
    plain = DEDICATED if dedicated else SHARED
    created = f"2026-01-{day:02d}T00:00:00Z"
    metadata = replace(plain.metadata, namespace=namespace, name=name, uid=f"uid-{namespace}-{name}", created=created)
    return replace(plain, metadata=metadata, path=path or f"/{namespace}/{name}")


def limited(most: int = 0, dedicated: int = 0, name: str = "default", namespaces: str = "All") -> WebhookGateway:
    """A gateway that takes so many."""
    gateway = a_gateway(name, allowedNamespaces={"from": namespaces})
    limits = replace(gateway.limits, max_subscriptions=most)
    return replace(gateway, limits=limits, dedicated=DedicatedPolicy(dedicated > 0, dedicated))


def said(verdict: Verdict | None) -> object:
    """What a verdict says, to be compared."""
    match verdict:
        case Attached():
            return verdict.plane, verdict.gateway.metadata.key
        case Rejected():
            return verdict.reason, verdict.field, verdict.message
        case None:
            return None


def from_scratch(
    rules: Rules, subscriptions: Sequence[WebhookSubscription], gateways: Sequence[WebhookGateway]
) -> dict[ObjectKey, object]:
    """The verdicts that `attach` comes to."""
    inputs = Inputs(
        TAG_KEY,
        tuple(subscriptions),
        tuple(gateways),
        gateway_namespace=rules.gateway_namespace,
        cluster_default=rules.cluster_default,
        default_gateway=rules.default_gateway,
        single_plane=rules.single_plane,
        namespaces={},
    )
    attached, rejected = attach(inputs)
    verdicts: list[Verdict] = [*attached, *rejected]
    return {each.subscription.metadata.key: said(each) for each in verdicts}


subscriptions = st.builds(
    aged,
    name=st.sampled_from(NAMES),
    day=st.integers(1, 4),
    namespace=st.sampled_from(("acme", "other")),
    path=st.sampled_from(("", "/acme/x", "/acme/y")),
    dedicated=st.booleans(),
)
refs = st.builds(GatewayRef, st.sampled_from(("default", "second")), st.sampled_from(("", "hookline", "elsewhere")))
referring = st.builds(lambda each, ref: replace(each, gateway_ref=ref), subscriptions, refs)
gateways = st.builds(
    limited,
    most=st.integers(0, 4),
    dedicated=st.integers(0, 2),
    name=st.just("default"),
    namespaces=st.sampled_from(("All", "Same")),
)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), referring),
        st.tuples(st.just("remove"), st.tuples(st.sampled_from(("acme", "other")), st.sampled_from(NAMES))),
        st.tuples(st.just("gateways"), st.lists(gateways, max_size=1)),
        st.tuples(st.just("settle"), st.none()),
    ),
    max_size=40,
)
RULES = {
    "installation": Rules("hookline", cluster_default=True),
    "not-the-default": Rules("hookline", cluster_default=False),
    "any": Rules(),
    "single-plane": Rules(single_plane=True, default_gateway=limited(3)),
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@settings(max_examples=300, deadline=None)
@given(steps=changes)
def test_whatever_the_steps_the_verdicts_are_those_of_one_go(rules: Rules, steps: list[tuple[str, object]]) -> None:
    """And what `settle` says has changed is what has changed: whoever else was compiled before is up to date."""
    attachments = Attachments(rules)
    there: dict[ObjectKey, WebhookSubscription] = {}
    known: dict[ObjectKey, object] = {}
    standing: Sequence[WebhookGateway] = ()
    second = limited(2, 1, "second")
    for step, value in [*steps, ("settle", None)]:
        match step, value:
            case "put", WebhookSubscription() as each:
                there[each.metadata.key] = each
                attachments.put(each, {})
            case "remove", (str() as namespace, str() as name):
                there.pop(ObjectKey(namespace, name), None)
                attachments.remove(ObjectKey(namespace, name))
            case "gateways", list() as several:
                standing = [*several, second]
                attachments.set_gateways(standing)
            case _:
                changed = attachments.settle()
                wanted = from_scratch(rules, list(there.values()), standing)
                now = {key: said(attachments.verdict(key)) for key in there}
                assert {key: each for key, each in now.items() if each is not None} == wanted
                differing = {key for key in known.keys() | now.keys() if known.get(key) != now.get(key)}
                assert differing <= changed
                for key in (gateway.metadata.key for gateway in standing):
                    attached = [each for each in wanted.values() if isinstance(each, tuple) and each[1] == key]
                    assert attachments.attached_to(key) == len(attached)
                known = now


def test_who_frees_a_path_lets_the_next_one_in_at_once() -> None:
    """Its verdict is among those that have changed, without a change of its own."""
    attachments = Attachments(Rules("hookline"))
    attachments.set_gateways([a_gateway()])
    older, younger, stranger = aged("older", 1, path="/acme/x"), aged("younger", 2, path="/acme/x"), aged("stranger")
    for each in (younger, stranger, older):
        attachments.put(each, {})
    assert attachments.settle() == {each.metadata.key for each in (older, younger, stranger)}
    assert isinstance(attachments.verdict(younger.metadata.key), Rejected)

    attachments.remove(older.metadata.key)

    assert attachments.settle() == {older.metadata.key, younger.metadata.key}
    assert isinstance(attachments.verdict(younger.metadata.key), Attached)


def test_a_status_that_was_written_changes_no_verdict() -> None:
    """A gateway's own changes often; nobody is compiled again for that."""
    attachments = Attachments(Rules("hookline"))
    gateway = a_gateway()
    attachments.set_gateways([gateway])
    attachments.put(aged("one"), {})
    attachments.settle()

    assert not attachments.set_gateways([replace(gateway, metadata=replace(gateway.metadata, resource_version="9"))])
    assert attachments.settle() == frozenset()
    assert attachments.set_gateways([replace(gateway, hostnames=("hooks.example.com",))])
    assert attachments.settle() == {ObjectKey("acme", "one")}


def test_another_installations_subscription_is_neither_attached_nor_rejected() -> None:
    """Nothing is said of it: its own operator does."""
    rules = Rules("hookline", cluster_default=False)
    unnamed = aged("unnamed")
    theirs = replace(aged("theirs"), gateway_ref=GatewayRef("default", "elsewhere"))
    ours = replace(aged("ours"), gateway_ref=GatewayRef("default", "hookline"))

    verdicts = from_scratch(rules, [theirs, unnamed, ours], [a_gateway()])

    assert verdicts.keys() == {ours.metadata.key}


def test_dedicated_planes_go_to_the_oldest_of_a_namespace() -> None:
    """One tenant's wishes take nothing from another's."""
    wishes = [
        aged(name, day, namespace, dedicated=True)
        for day, name in enumerate("abc", 1)
        for namespace in ("acme", "other")
    ]

    verdicts = from_scratch(Rules("hookline"), wishes[::-1], [limited(0, 2)])

    served = {key for key, each in verdicts.items() if isinstance(each, tuple) and "." in str(each[0])}
    assert served == {ObjectKey(namespace, name) for namespace in ("acme", "other") for name in "ab"}
    assert [each[0] for key, each in verdicts.items() if key.name == "c" and isinstance(each, tuple)] == [
        Reason.TOO_MANY_DEDICATED
    ] * 2


@pytest.mark.parametrize("most", [0, 9_000], ids=["no-quota", "exceeded-quota"])
def test_a_step_among_ten_thousand_costs_less_than_attaching_all(most: int) -> None:
    """A turn must not cost what all of them cost: at least ten times less, of a gateway that is not over its quota."""
    attachments = Attachments(Rules("hookline"))
    attachments.set_gateways([limited(most)])
    every = [aged(f"s{number}", 1 + number % 28, f"n{number % 500}") for number in range(10_000)]
    began = time.process_time()
    for each in every:
        attachments.put(each, {})
    attachments.settle()
    whole = time.process_time() - began

    began = time.process_time()
    for each in every[:20]:
        attachments.remove(each.metadata.key)
        attachments.settle()
        attachments.put(each, {})
        attachments.settle()
    step = (time.process_time() - began) / 40

    assert step < whole / (2 if most else 100)
