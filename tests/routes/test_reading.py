"""Objects of an API server and of manifests become the same values, whatever is in them."""

import copy
import random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline_receiver.edge.settings import EdgeSettings
from hookline_routes.compile import compile
from hookline_routes.manifest import read_manifests
from hookline_routes.reading import default_gateway, read_object
from hookline_routes.resource import GatewayRef, Ordering, Unreadable, WebhookGateway, WebhookSubscription
from hookline_routes.units import SECOND
from support.routes import ACME, a_plain_subscription, a_route, a_subscription, problems_of, some_inputs

HOUR = 3600 * SECOND


def test_a_manifest_and_an_api_server_say_the_same() -> None:
    """One reader: what `hookline check` says is what the operator does."""
    text = ACME.read_text()
    plain = [read_object(document) for document in yaml.safe_load_all(text)]

    assert tuple(plain) == read_manifests({"acme.yaml": text}).objects


def test_no_gateway_may_allow_bodies_that_the_receiver_does_not_read() -> None:
    """A limit that is taken and does not hold is found out by the first event that is refused."""
    gateway = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookGateway", "metadata": {"name": "default"}}

    most = read_object({**gateway, "spec": {"limits": {"maxBodySize": "16Mi"}}})
    more = read_object({**gateway, "spec": {"limits": {"maxBodySize": "16385Ki"}}})

    assert isinstance(most, WebhookGateway)
    assert most.limits.max_body_bytes == EdgeSettings().body_max_bytes
    assert isinstance(more, Unreadable)
    assert [str(each) for each in more.problems] == [
        (
            "WebhookGateway default/default: spec.limits.maxBodySize: "
            'must be a quantity such as "2Mi" from 1Ki to 16Mi, got "16385Ki"'
        )
    ]


def test_what_is_left_out_has_the_documented_default() -> None:
    """The example's values are the defaults, but for its comments' optional parts."""
    subscription = a_subscription()
    (route,) = subscription.routes

    assert subscription.path == "/acme/chat"
    assert subscription.gateway_ref == GatewayRef("default", "")
    assert (subscription.deduplication_window, subscription.retain_delivered) == (HOUR, 24 * HOUR)
    assert (subscription.retain_dead, subscription.rate_limit, subscription.suspend) == (168 * HOUR, None, False)
    assert (route.handler.timeout, route.handler.service.namespace, route.handler.tls) == (10 * SECOND, "acme", None)
    assert (route.delivery.ordering, route.delivery.max_in_flight) == (Ordering.NONE, 64)
    assert (route.delivery.batch_max_events, route.delivery.batch_max_wait) == (32, SECOND // 50)
    assert (route.delivery.initial_backoff, route.delivery.max_backoff) == (SECOND, 600 * SECOND)
    assert (route.delivery.max_age, route.delivery.max_attempts, route.paused) == (72 * HOUR, 0, False)


def test_the_default_gateway_takes_everybody_within_safe_limits() -> None:
    """`hookline dev` needs no gateway's manifest."""
    gateway = default_gateway()

    assert (gateway.limits.max_body_bytes, gateway.limits.max_pending_bytes) == (2 << 20, 1 << 30)
    assert gateway.hostnames == ()


def test_an_unknown_field_is_an_error_in_a_manifest_only() -> None:
    """A typo must not be a silent default; a newer API server must not stop an older operator."""
    plain = a_plain_subscription(routes=[a_route(puased=True)])

    assert problems_of(plain, strict=True) == [
        'WebhookSubscription acme/chat: spec.routes[0].puased: is unknown; did you mean "paused"?'
    ]
    assert problems_of(plain, strict=False) == []


@pytest.mark.parametrize("value", [None, [], {}, "x", 1, True, {"kind": "WebhookSubscription"}, {"apiVersion": "v1"}])
def test_what_is_of_no_known_kind_is_passed_over(value: object) -> None:
    """Feeds hold other things."""
    assert read_object(value) is None


def test_an_integer_may_come_as_a_float() -> None:
    """JSON makes no difference, and some clients write 9000.0."""
    plain = a_plain_subscription(routes=[a_route(handler={"serviceRef": {"name": "n", "port": 9000.0}})])

    assert problems_of(plain) == []


def test_text_that_no_message_can_hold_is_refused() -> None:
    """Half a surrogate pair is JSON, and would make the table's writer raise."""
    plain = a_plain_subscription(routes=[a_route(match={"expression": "event.a == '\ud800'"})])

    (problem,) = problems_of(plain)

    assert "spec.routes[0].match.expression" in problem


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(
    [
        ("hookline.dev/v1alpha1", "WebhookSubscription"),
        ("hookline.dev/v1alpha1", "WebhookGateway"),
        ("v1", "Secret"),
        ("v1", "ConfigMap"),
        ("gateway.networking.k8s.io/v1", "ReferenceGrant"),
    ]
)
OBJECTS = list(yaml.safe_load_all(ACME.read_text()))


@st.composite
def strange_objects(draw: st.DrawFn) -> dict[str, Any]:
    """An object of a known kind that holds anything."""
    version, kind = draw(KINDS)
    fields = draw(st.dictionaries(st.sampled_from(["metadata", "spec", "data", "type", "stringData", "x"]), JSON))
    return {**fields, "apiVersion": version, "kind": kind}


@st.composite
def changed_examples(draw: st.DrawFn) -> dict[str, Any]:
    """An object of the example with some values replaced, removed or moved."""
    changed: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(OBJECTS)))
    chance = draw(st.randoms(use_true_random=False))
    for _ in range(chance.randint(1, 3)):
        holder, key = chance.choice(_places(changed))
        holder[key] = draw(JSON) if chance.random() < 0.7 else copy.deepcopy(chance.choice(_values(changed)))
    return changed


def _places(value: Any) -> list[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in pairs for place in [(value, key), *_places(each)]]


def _values(value: Any) -> list[Any]:
    return [holder[key] for holder, key in _places(value)]


@settings(max_examples=300, deadline=None)
@given(st.lists(strange_objects() | changed_examples(), max_size=5), st.randoms(use_true_random=False))
def test_no_input_makes_compiling_raise_and_no_order_shows(objects: list[Any], chance: random.Random) -> None:
    """One tenant's object must not be able to stop the operator for all."""
    read = [each for each in map(read_object, objects) if each is not None]
    for each in read:
        assert isinstance(each, Unreadable | WebhookSubscription | WebhookGateway) or each.metadata.name
    shuffled = chance.sample(read, len(read))

    forwards, backwards = compile(some_inputs(*read)), compile(some_inputs(*shuffled))

    assert [
        (plane, each.receiver.SerializeToString(), each.forwarder.SerializeToString())
        for plane, each in forwards.tables.items()
    ] == [
        (plane, each.receiver.SerializeToString(), each.forwarder.SerializeToString())
        for plane, each in backwards.tables.items()
    ]
    assert forwards.reports == backwards.reports
    for tables in forwards.tables.values():
        paths = [endpoint.path for endpoint in tables.receiver.endpoints]
        assert paths == sorted(set(paths))
        assert all(endpoint.verifiers or endpoint.without_credentials for endpoint in tables.receiver.endpoints)
