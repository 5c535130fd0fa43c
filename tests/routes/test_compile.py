"""What the golden files don't show of compiling: versions, keys, selectors, and the inputs that only an operator has."""

from dataclasses import replace

import pytest

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.compile import compile
from hookline_routes.credentials import needed_verifiers
from hookline_routes.inputs import Compiled, GeneratedCredential, VerifierKey, inputs_for_dev
from hookline_routes.manifest import read_manifests
from hookline_routes.problem import Reason
from hookline_routes.resource import ObjectKey
from support.routes import (
    ACME,
    TAG_KEY,
    a_gateway,
    a_route,
    a_secret,
    a_subscription,
    some_inputs,
    with_verifiers,
)


def dev_acme(text: str = "") -> Compiled:
    return compile(with_verifiers(inputs_for_dev(read_manifests({"acme.yaml": text or ACME.read_text()}), TAG_KEY)))


def reasons(compiled: Compiled) -> list[Reason]:
    return [problem.reason for problem in compiled.problems]


def only_endpoint(compiled: Compiled) -> routing.Endpoint:
    (tables,) = compiled.tables.values()
    (endpoint,) = tables.receiver.endpoints
    return endpoint


def test_both_tables_bear_the_same_version() -> None:
    """What a receiver serves and what a forwarder delivers by are compared by it."""
    tables = dev_acme().sole

    assert tables.receiver.version == tables.forwarder.version == tables.version != ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("maxInFlight: 64", "maxInFlight: 65"),
        ("suspend: false", "suspend: true"),
        ("9fKq2LmX7tVb4RzN", "9fKq2LmX7tVb4RzM"),
    ],
    ids=["forwarder-only", "receiver-only", "password"],
)
def test_any_change_of_content_changes_the_version(old: str, new: str) -> None:
    """Or a receiver would be thought to serve what it does not."""
    changed = ACME.read_text().replace(old, new)

    assert dev_acme(changed).sole.version != dev_acme().sole.version


def test_a_comment_changes_no_version() -> None:
    """Nothing is swapped in for nothing."""
    assert dev_acme("# comment\n" + ACME.read_text()).sole == dev_acme().sole


def test_the_tag_key_is_in_the_receivers_table_and_in_no_version() -> None:
    """The version is published; a hash over the key would let guesses at it be tested."""
    manifests = read_manifests({"acme.yaml": ACME.read_text()})
    inputs = with_verifiers(inputs_for_dev(manifests, TAG_KEY))

    one, other = compile(inputs).sole, compile(replace(inputs, tag_key=bytes(32))).sole

    assert one.receiver.tag_key == TAG_KEY
    assert one.version == other.version


def test_a_subscription_keeps_its_uid_and_one_of_a_manifest_has_the_same_each_time() -> None:
    """Pending deliveries belong to a uid: a restart of `hookline dev` must not orphan them."""
    given = compile(some_inputs(a_subscription(metadata={"uid": "u-1"}), a_gateway(), a_secret()))

    assert only_endpoint(given).subscription.uid == "u-1"
    assert dev_acme().sole.receiver.endpoints[0].subscription.uid == "cafceb26-90a8-5079-a5a4-b247533225d1"


def test_endpoints_are_sorted_by_path_and_subscriptions_by_name() -> None:
    """Receivers look a path up by halving, and equal content has equal bytes."""
    one, other = a_subscription(name="a", path="/acme/z"), a_subscription(name="z", path="/acme/a")

    tables = compile(some_inputs(other, one, a_gateway(), a_secret())).tables["hookline/default"]

    assert [endpoint.path for endpoint in tables.receiver.endpoints] == ["/acme/a", "/acme/z"]
    assert [subscription.ref.name for subscription in tables.forwarder.subscriptions] == ["a", "z"]


def test_a_name_is_not_told_across_namespaces() -> None:
    """The loser of a conflict learns who won only within its own namespace."""
    gateways = (a_gateway("a", namespace="one"), a_gateway("b", namespace="one"))
    older = replace(
        a_subscription("other", "secret-project", {"creationTimestamp": "2026-01-01T00:00:00Z"}), path="/acme/x"
    )
    loser = a_subscription("acme", "chat", path="/acme/x")
    younger = replace(loser, metadata=replace(loser.metadata, created="2026-02-01T00:00:00Z"))

    compiled = compile(some_inputs(older, younger, *gateways, default_gateway=gateways[0], single_plane=True))

    (problem,) = (each for each in compiled.problems if each.reason is Reason.PATH_CONFLICT)
    assert problem.subject == "WebhookSubscription acme/chat"
    assert problem.message == 'the path "/acme/x" belongs to another subscription'


@pytest.mark.parametrize(
    ("selector", "labels", "attached"),
    [
        ({"matchLabels": {"tier": "gold"}}, {"tier": "gold"}, True),
        ({"matchLabels": {"tier": "gold"}}, {"tier": "tin"}, False),
        ({"matchLabels": {"kubernetes.io/metadata.name": "acme"}}, {}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]}, {"tier": "b"}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}, {}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}, {"tier": "a"}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, {}, True),
        ({}, {}, True),
    ],
    ids=["label", "other-label", "own-name", "in", "not-in-absent", "not-in", "exists", "does-not-exist", "empty"],
)
def test_a_gateway_selects_namespaces_as_kubernetes_does(
    selector: dict[str, object], labels: dict[str, str], attached: bool
) -> None:
    """Platform owners know these words from Gateway API."""
    gateway = a_gateway(allowedNamespaces={"from": "Selector", "selector": selector})

    compiled = compile(some_inputs(a_subscription(), gateway, a_secret(), namespaces={"acme": labels}))

    assert (Reason.NAMESPACE_NOT_ALLOWED not in reasons(compiled)) is attached
    assert bool(compiled.tables["hookline/default"].receiver.endpoints) is attached


def test_a_generated_credential_opens_a_subscription_that_names_no_secret() -> None:
    """The operator makes one; so may `hookline dev`."""
    credential = GeneratedCredential("chat-webhook@5", "user", "password", VerifierKey("uid-9", "5"))
    subscription = a_subscription(auth={})

    inputs = some_inputs(subscription, a_gateway(), generated={ObjectKey("acme", "chat"): (credential,)})
    endpoint = only_endpoint(compile(inputs))

    assert [verifier.credential for verifier in endpoint.verifiers] == ["chat-webhook@5"]
    assert endpoint.without_credentials == ""


def test_a_verifier_that_is_not_made_yet_means_503_and_not_401() -> None:
    """A 401 would tell the sender that its right password is wrong."""
    inputs = replace(some_inputs(a_subscription(), a_gateway(), a_secret()), verifiers={})

    assert only_endpoint(compile(inputs)).without_credentials == "VerifierPending"


def test_a_verifier_is_needed_once_for_each_version_of_a_secret() -> None:
    """10,000 passwords must not be hashed again at each start or reload."""
    two = (a_subscription(), a_subscription(name="other"), a_gateway(), a_secret())
    inputs = some_inputs(*two)

    assert needed_verifiers(inputs) == ()
    assert len(needed_verifiers(replace(inputs, verifiers={}))) == 1
    (again,) = needed_verifiers(
        replace(
            inputs,
            secrets=(
                a_secret(
                    metadata={"namespace": "acme", "name": "cometchat", "uid": "uid-cometchat", "resourceVersion": "2"}
                ),
            ),
        )
    )
    assert again.credential == "cometchat@2"


def test_a_changed_secret_of_a_manifest_needs_a_new_verifier() -> None:
    """It has no resourceVersion: its data tells, and only here."""
    plain = {"metadata": {"namespace": "acme", "name": "cometchat"}}
    inputs = some_inputs(a_subscription(), a_gateway(), a_secret(**plain))
    changed = a_secret(**plain, stringData={"username": "acmehooks", "password": "another1"})

    (needed,) = needed_verifiers(replace(inputs, secrets=(changed,)))

    assert needed.credential == "cometchat@manifest"


def test_nothing_shows_a_password() -> None:
    """Tracebacks and debug logs print values."""
    inputs = some_inputs(a_subscription(), a_gateway(), a_secret())
    needed = needed_verifiers(replace(inputs, verifiers={}))
    generated = GeneratedCredential("x@1", "user", "9fKq2LmX7tVb4RzN", VerifierKey("u", "1"))

    assert "9fKq2LmX7tVb4RzN" not in repr((inputs, needed, compile(inputs), generated))


def test_two_secrets_stay_valid_while_one_replaces_the_other() -> None:
    """A rotation has no gap."""
    subscription = a_subscription(auth={"basic": {"secretRefs": [{"name": "old"}, {"name": "new"}]}})

    both = compile(some_inputs(subscription, a_gateway(), a_secret(name="old"), a_secret(name="new")))
    one = compile(some_inputs(subscription, a_gateway(), a_secret(name="new")))

    assert [each.credential for each in only_endpoint(both).verifiers] == ["old@1", "new@1"]
    assert [each.credential for each in only_endpoint(one).verifiers] == ["new@1"]
    assert only_endpoint(one).without_credentials == ""


def test_one_subscriptions_mistake_touches_no_other() -> None:
    """Tenants share tables, and nothing else."""
    fine = a_subscription("good", "chat")
    wrong = a_subscription("acme", "chat", routes=[a_route(match={"expression": "nonsense("})])
    secrets = (a_secret("good"), a_secret())

    alone = compile(some_inputs(fine, a_gateway(), *secrets)).tables["hookline/default"]
    beside = compile(some_inputs(fine, wrong, a_gateway(), *secrets)).tables["hookline/default"]

    assert alone.receiver.endpoints[0] in beside.receiver.endpoints
    assert alone.forwarder.subscriptions[0] in beside.forwarder.subscriptions


def test_a_route_that_can_not_be_delivered_is_held_and_not_lost() -> None:
    """Left out, its pending deliveries would become dead letters for a typo."""
    wrong = a_subscription(routes=[a_route("a", match={"expression": "nonsense("}), a_route("b")])

    tables = compile(some_inputs(wrong, a_gateway(), a_secret())).tables["hookline/default"]

    (subscription,) = tables.forwarder.subscriptions
    assert [(route.name, route.paused) for route in subscription.routes] == [("a", True), ("b", False)]
    assert len(tables.receiver.endpoints) == 1


def test_a_handler_is_never_called_plain_where_tls_was_asked_for() -> None:
    """An unresolved certificate holds the route; it does not remove the lock."""
    subscription = a_subscription(
        routes=[a_route(handler={"serviceRef": {"name": "n", "port": 1}, "tls": {"caRef": {"name": "missing"}}})]
    )

    tables = compile(some_inputs(subscription, a_gateway(), a_secret())).tables["hookline/default"]

    route = tables.forwarder.subscriptions[0].routes[0]
    assert route.handler.HasField("tls")
    assert route.paused
