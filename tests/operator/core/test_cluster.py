"""What is true now: the newest version of each object, whatever order things are heard in."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline_operator.observe.kinds import Identity, identity
from hookline_operator.observe.objects import KindName
from hookline_routes.resource import ObjectKey, Unreadable, WebhookSubscription
from support.operator_core import (
    OWN,
    Body,
    FaultyReader,
    a_cluster,
    a_gateway,
    a_namespace,
    a_pod,
    a_secret,
    a_service,
    a_slice,
    a_subscription,
    again,
    happens,
    metadata,
)

SUBSCRIPTIONS, SECRETS, PODS, SLICES = KindName.SUBSCRIPTIONS, KindName.SECRETS, KindName.PODS, KindName.SLICES
CHAT, LOGIN = ObjectKey("acme", "chat"), ObjectKey("acme", "login")


def seen(*bodies: Body) -> dict[ObjectKey, Identity]:
    """As a list of metadata has them."""
    return {each.key: each for each in map(identity, bodies) if each}


def position_after(body: Body) -> int:
    return int(body["metadata"]["resourceVersion"]) + 1_000_000


def test_an_object_is_typed_and_trimmed() -> None:
    """kubectl repeats the whole object in an annotation; ten thousand of these are memory for nothing."""
    cluster = a_cluster()
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 10_000, "hookline.dev/rotate": "1"}

    happens(cluster, SUBSCRIPTIONS, a_subscription(annotations=applied, managedFields=[{"manager": "x"}]))

    declared = cluster.subscriptions[CHAT]
    assert isinstance(declared.resource, WebhookSubscription)
    assert declared.annotations == {"hookline.dev/rotate": "1"}
    assert "xxx" not in repr(declared)


def test_what_is_older_than_what_is_known_changes_nothing() -> None:
    """A feed that lags must not bring back what was revoked."""
    cluster = a_cluster()
    old = a_subscription()
    new = again(old, spec={**old["spec"], "suspend": True})
    happens(cluster, SUBSCRIPTIONS, new)

    assert cluster.apply(SUBSCRIPTIONS, "MODIFIED", old) is None
    assert cluster.apply(SUBSCRIPTIONS, "DELETED", old) is None
    resource = cluster.subscriptions[CHAT].resource
    assert isinstance(resource, WebhookSubscription)
    assert resource.suspend


def test_what_a_reader_fails_at_stays_as_it_was_and_is_tried_again() -> None:
    """One object that nobody foresaw must not end the feed of all others, nor be taken for known while nothing is known."""
    reader = FaultyReader(SUBSCRIPTIONS)
    cluster = reader.cluster()
    old = a_subscription()
    happens(cluster, SUBSCRIPTIONS, old)
    new = again(old, spec={**old["spec"], "suspend": True})
    reader.fails.add("chat")

    assert [cluster.apply(SUBSCRIPTIONS, "MODIFIED", new) for _ in range(3)] == [None] * 3
    happens(cluster, SUBSCRIPTIONS, a_subscription(name="login"))

    assert cluster.subscriptions[CHAT].resource_version == int(old["metadata"]["resourceVersion"])
    assert cluster.compare(SUBSCRIPTIONS, seen(new), position_after(new)).unknown == (CHAT,)
    assert reader.told == [CHAT]
    reader.fails.clear()
    assert cluster.admit(SUBSCRIPTIONS, new) is not None
    assert cluster.subscriptions[CHAT].resource_version == int(new["metadata"]["resourceVersion"])


def test_what_was_deleted_is_not_brought_back_by_something_older() -> None:
    """kopf lists anew after a gap, and the list may come from a cache that lags."""
    cluster = a_cluster()
    old = a_subscription()
    happens(cluster, SUBSCRIPTIONS, old)
    happens(cluster, SUBSCRIPTIONS, again(old), "DELETED")

    assert cluster.apply(SUBSCRIPTIONS, None, old) is None
    assert CHAT not in cluster.subscriptions


def test_an_object_that_a_list_did_not_have_is_not_brought_back_by_something_older() -> None:
    """The list says what is not there, up to its position."""
    cluster = a_cluster()
    ghost = a_subscription()
    cluster.retain(SUBSCRIPTIONS, (), position_after(ghost))

    assert cluster.apply(SUBSCRIPTIONS, "ADDED", ghost) is None


def test_deleting_one_object_says_nothing_of_another() -> None:
    """Feeds keep no order between objects: one made earlier may be heard of after one deleted later."""
    cluster = a_cluster()
    gone = a_subscription(name="gone")
    happens(cluster, SUBSCRIPTIONS, gone)
    made = a_subscription(name="made")
    happens(cluster, SUBSCRIPTIONS, again(gone), "DELETED")

    assert cluster.apply(SUBSCRIPTIONS, "ADDED", made) is not None


def test_one_made_anew_under_an_old_name_replaces_it() -> None:
    """Its deletion may be heard of after it, and must not take it away."""
    cluster = a_cluster()
    old = a_subscription()
    happens(cluster, SUBSCRIPTIONS, old)
    deletion = again(old)
    change = happens(cluster, SUBSCRIPTIONS, a_subscription(uid="another"), "ADDED")

    assert change.old is not None
    assert cluster.apply(SUBSCRIPTIONS, "DELETED", deletion) is None
    assert cluster.subscriptions[CHAT].uid == "another"


def test_a_later_version_with_nothing_new_is_no_change() -> None:
    """Pods report their state all the time; nobody is to be woken for what nobody keeps."""
    cluster = a_cluster()
    pod = a_pod("acme", "handler-0", "10.0.0.1")
    happens(cluster, PODS, pod)

    assert cluster.apply(PODS, "MODIFIED", again(pod)) is None
    assert cluster.apply(PODS, "MODIFIED", pod) is None


def test_a_secret_of_the_same_content_is_a_change_all_the_same() -> None:
    """Verifiers are named after the version: a restart would find another one and write what nobody changed."""
    cluster = a_cluster()
    secret = a_secret()
    happens(cluster, SECRETS, secret)

    assert cluster.apply(SECRETS, "MODIFIED", again(secret)) is not None


def test_gateways_of_other_installations_are_not_kept() -> None:
    """An operator serves those of its own namespace only."""
    cluster = a_cluster()

    assert cluster.apply(KindName.GATEWAYS, "ADDED", a_gateway(namespace="elsewhere")) is None
    assert cluster.apply(KindName.GATEWAYS, "ADDED", a_gateway()) is not None


def test_secrets_of_other_types_are_not_kept() -> None:
    """What the operator does not need it does not remember."""
    cluster = a_cluster()

    assert cluster.apply(SECRETS, "ADDED", {**a_secret(), "type": "Opaque"}) is None
    assert not cluster.secrets


def test_an_unreadable_subscription_is_kept_as_that() -> None:
    """Its owner is told what is wrong, and what it was no longer holds."""
    cluster = a_cluster()
    body = a_subscription()
    happens(cluster, SUBSCRIPTIONS, body)

    happens(cluster, SUBSCRIPTIONS, again(body, spec={"routes": "none"}))

    assert isinstance(cluster.subscriptions[CHAT].resource, Unreadable)


def test_a_list_tells_ghosts_and_what_was_missed() -> None:
    """After a gap that ends in 410 kopf never reports what was deleted meanwhile."""
    cluster = a_cluster()
    ghost, changed, same = (a_subscription(name=name) for name in ("ghost", "changed", "same"))
    for body in (ghost, changed, same):
        happens(cluster, SUBSCRIPTIONS, body)
    missed = a_subscription(name="missed")
    there = seen(again(changed), same, missed)

    differences = cluster.compare(SUBSCRIPTIONS, there, position_after(missed))

    assert differences.ghosts == (ObjectKey("acme", "ghost"),)
    assert set(differences.unknown) == {ObjectKey("acme", "changed"), ObjectKey("acme", "missed")}


def test_what_is_newer_than_a_list_is_no_ghost() -> None:
    """It was made while the list was on its way."""
    cluster = a_cluster()
    body = a_subscription()
    happens(cluster, SUBSCRIPTIONS, body)
    earlier = int(body["metadata"]["resourceVersion"]) - 1

    assert cluster.compare(SUBSCRIPTIONS, {}, earlier).ghosts == ()
    assert cluster.retain(SUBSCRIPTIONS, (), earlier) == []


def test_what_was_deleted_after_a_list_was_made_is_not_missed() -> None:
    """The deletion was heard of while the list was on its way."""
    cluster = a_cluster()
    body = a_subscription()
    happens(cluster, SUBSCRIPTIONS, body)
    happens(cluster, SUBSCRIPTIONS, again(body), "DELETED")

    assert cluster.compare(SUBSCRIPTIONS, seen(body), int(body["metadata"]["resourceVersion"])).unknown == ()
    assert cluster.admit(SUBSCRIPTIONS, body) is None


def test_an_object_that_could_not_be_read_is_not_asked_for_again_and_again() -> None:
    """Else one odd Secret would cost a call in every sweep."""
    cluster = a_cluster()
    odd = {**a_secret(), "type": "Opaque"}
    cluster.admit(SECRETS, odd)

    assert cluster.compare(SECRETS, seen(odd), position_after(odd)).unknown == ()


def test_a_kind_that_the_api_server_has_no_more_is_empty() -> None:
    """ReferenceGrants are of an optional definition; without it nothing is granted."""
    cluster = a_cluster()
    happens(cluster, SUBSCRIPTIONS, a_subscription())

    (change,) = cluster.empty(SUBSCRIPTIONS)

    assert change.new is None
    assert not cluster.subscriptions


def test_slices_are_found_by_their_service() -> None:
    """Also after they have moved to another one."""
    cluster = a_cluster()
    body = a_slice("acme", "handler", "10.0.0.1")
    happens(cluster, SLICES, body)
    assert [each.key.name for each in cluster.slices_of(ObjectKey("acme", "handler"))] == ["handler-1"]

    moved = again(body)
    moved["metadata"]["labels"] = {"kubernetes.io/service-name": "other"}
    happens(cluster, SLICES, moved)

    assert cluster.slices_of(ObjectKey("acme", "handler")) == ()
    assert len(cluster.slices_of(ObjectKey("acme", "other"))) == 1


def test_pods_are_found_by_an_address_in_their_own_namespace() -> None:
    """SECURITY: an endpoint counts only if a Pod of the Service's own namespace holds its address."""
    cluster = a_cluster()
    happens(cluster, PODS, a_pod("acme", "handler-0", "10.0.0.1", "fd00::1"))

    found = cluster.pod_with("acme", "fd00::1")
    assert found is not None
    assert found.key.name == "handler-0"
    assert cluster.pod_with("other", "10.0.0.1") is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"status": {"phase": "Succeeded", "podIPs": [{"ip": "10.0.0.1"}]}}, id="ended"),
        pytest.param({"status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.2"}]}}, id="moved"),
        pytest.param({"spec": {"hostNetwork": True}}, id="host-network"),
    ],
)
def test_a_pod_that_holds_an_address_no_more_is_not_found_by_it(change: Body) -> None:
    """The address may be another tenant's next; that of a node was never a Pod's."""
    cluster = a_cluster()
    body = a_pod("acme", "handler-0", "10.0.0.1")
    happens(cluster, PODS, body)

    happens(cluster, PODS, again(body, **change))

    assert cluster.pod_with("acme", "10.0.0.1") is None


def test_only_pods_of_the_own_namespace_are_receivers() -> None:
    """SECURITY: anybody can write our annotation on a Pod of theirs."""
    cluster = a_cluster()
    annotations = {"hookline.dev/plane": "default"}
    happens(cluster, PODS, a_pod(OWN, "receiver-0", "10.0.0.1", annotations=annotations))
    happens(cluster, PODS, a_pod("evil", "receiver-0", "10.0.0.2", annotations=annotations))

    planes = {pod.key.namespace: pod.plane for pod in cluster.pods.values()}
    assert planes == {OWN: "default", "evil": ""}


def test_an_endpoint_is_ready_unless_it_says_otherwise() -> None:
    """The API says that an unknown state is to be taken for ready, and what is terminating is not."""
    cluster = a_cluster()
    body = a_slice("acme", "handler")
    body["endpoints"] = [
        {"addresses": ["10.0.0.1"]},
        {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
        {"addresses": ["10.0.0.3"], "conditions": {"ready": True, "terminating": True}},
        {"addresses": ["10.0.0.4", "10.9.9.9"], "targetRef": {"kind": "Pod", "name": "p", "namespace": "other"}},
    ]
    happens(cluster, SLICES, body)

    (found,) = cluster.slices_of(ObjectKey("acme", "handler"))
    assert [(each.address, each.ready, each.pod) for each in found.addresses] == [
        ("10.0.0.1", True, ""),
        ("10.0.0.2", False, ""),
        ("10.0.0.3", False, ""),
        ("10.0.0.4", True, ""),
    ]


def test_ports_that_are_not_tcp_are_left_out() -> None:
    """gRPC can't be spoken over them."""
    cluster = a_cluster()
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 8080}, {"name": "grpc", "port": 9090, "protocol": "TCP"}]
    happens(cluster, KindName.SERVICES, a_service(ports=ports))

    service = cluster.services[ObjectKey("acme", "handler")]
    assert [(port.number, port.name) for port in service.ports] == [(8080, ""), (9090, "grpc")]


def test_namespaces_are_known_by_their_labels() -> None:
    """Gateways choose by them who may attach."""
    cluster = a_cluster()
    body = a_namespace("acme", team="a")
    happens(cluster, KindName.NAMESPACES, body)
    assert cluster.namespaces["acme"].labels == {"team": "a"}

    happens(cluster, KindName.NAMESPACES, again(body), "DELETED")
    assert not cluster.namespaces


def test_a_secret_shows_its_data_to_nobody() -> None:
    """SECURITY: a change may end up in a log or a traceback."""
    change = happens(a_cluster(), SECRETS, a_secret())

    assert "secret'" not in repr(change)
    assert "c2VjcmV0" not in repr(change)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PARTS = [
    "metadata", "spec", "status", "data", "type", "endpoints", "ports", "addressType", "name", "namespace", "labels",
    "annotations", "ownerReferences", "podIPs", "ip", "conditions", "addresses", "targetRef", "port", "protocol",
    "routes", "auth", "basic", "secretRefs", "handler", "serviceRef", "from", "to", "kind", "group", "phase",
]  # fmt: skip
ODD: Any = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(PARTS), inner, max_size=6),
    max_leaves=20,
)


@given(body=ODD, kind=st.sampled_from(list(KindName)[:8]), with_identity=st.booleans())
@settings(max_examples=200)
def test_no_body_makes_a_reader_raise(body: Any, kind: KindName, with_identity: bool) -> None:
    """One tenant's odd object must not end the feed of all."""
    cluster = a_cluster()
    if with_identity and isinstance(body, dict):
        given_metadata = body.get("metadata")
        more = given_metadata if isinstance(given_metadata, dict) else {}
        body = {**body, "metadata": {**more, **metadata(OWN, "odd")}}

    cluster.apply(kind, "ADDED", body)
    cluster.admit(kind, body)
    cluster.is_stale(kind, body)


@given(history=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=20), order=st.randoms())
@settings(max_examples=100)
def test_whatever_the_order_the_end_is_the_same(history: list[tuple[str, bool]], order: Any) -> None:
    """Feeds, calls and lists bring the same history in any order, several times; the last state of each object holds."""
    events: list[tuple[str, Body]] = []
    final: dict[str, Body] = {}
    for version, (name, deleted) in enumerate(history, 1):
        if deleted and name not in final:
            continue
        body = a_pod("acme", name, f"10.0.0.{version}", resourceVersion=str(version))
        events.append(("DELETED" if deleted else "MODIFIED", body))
        if deleted:
            del final[name]
        else:
            final[name] = body
    heard = events + order.sample(events, len(events) // 2)
    order.shuffle(heard)
    cluster = a_cluster()

    for event_type, body in heard:
        cluster.apply(PODS, event_type, body)

    known = {key.name: next(iter(pod.addresses)) for key, pod in cluster.pods.items()}
    assert known == {name: body["status"]["podIPs"][0]["ip"] for name, body in final.items()}
    for name in "abc":
        expected = known.get(name)
        held = [address for version in range(1, 21) if cluster.pod_with("acme", address := f"10.0.0.{version}")]
        assert expected is None or expected in held
    assert len(held) == len(known)
