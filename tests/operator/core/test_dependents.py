"""A change → the keys of each lane: everything that it concerns, and nothing that it does not."""

import pytest

from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.dependents import Keys, dependents, everything
from hookline_operator.observe.objects import Change, KindName
from hookline_routes.reading import read_object
from hookline_routes.resource import ConfigMap, ObjectKey
from support.operator_core import (
    OWN,
    Body,
    a_cluster,
    a_gateway,
    a_grant,
    a_namespace,
    a_pod,
    a_route_to,
    a_secret,
    a_service,
    a_slice,
    a_subscription,
    again,
    happens,
)

SUBSCRIPTIONS, GATEWAYS, SECRETS = KindName.SUBSCRIPTIONS, KindName.GATEWAYS, KindName.SECRETS
CHAT, DEFAULT = ObjectKey("acme", "chat"), ObjectKey(OWN, "default")
HANDLER = ObjectKey("acme", "handler")


def with_subscriptions(*bodies: Body) -> Cluster:
    cluster = a_cluster()
    for body in bodies:
        happens(cluster, SUBSCRIPTIONS, body)
    return cluster


def what(cluster: Cluster, kind: KindName, body: Body, event_type: str = "MODIFIED") -> Keys:
    """The keys that an event concerns."""
    return dependents(happens(cluster, kind, body, event_type), cluster)


def subscriptions(*keys: ObjectKey) -> frozenset[tuple[str, ObjectKey]]:
    return frozenset(("WebhookSubscription", key) for key in keys)


def test_a_new_subscription_concerns_itself_its_services_and_its_gateway() -> None:
    """Giving is not urgent: it may be gathered with others' changes."""
    keys = what(a_cluster(), SUBSCRIPTIONS, a_subscription(), "ADDED")

    assert keys == Keys(
        routes=frozenset({CHAT}),
        endpoints=frozenset({HANDLER}),
        planes=frozenset({DEFAULT}),
        credentials=frozenset({CHAT}),
        status=subscriptions(CHAT) | {("WebhookGateway", DEFAULT)},
    )


def test_a_subscription_whose_status_was_written_concerns_the_status_alone() -> None:
    """Else every status that we write would be compiled."""
    body = a_subscription()
    cluster = with_subscriptions(body)

    assert what(cluster, SUBSCRIPTIONS, again(body, status={"url": "x"})) == Keys(status=subscriptions(CHAT))


@pytest.mark.parametrize(
    ("before", "after", "urgent"),
    [
        pytest.param({}, {"suspend": True}, True, id="suspended"),
        pytest.param({"suspend": True}, {}, False, id="resumed"),
        pytest.param({}, {"auth": {"basic": {"secretRefs": [{"name": "other"}]}}}, True, id="other-secret"),
        pytest.param({}, {"appIds": ["a1"]}, True, id="fewer-apps"),
        pytest.param({"appIds": ["a1"]}, {}, False, id="any-app"),
        pytest.param({}, {"path": "/acme/elsewhere"}, True, id="another-path"),
        pytest.param({}, {"gatewayRef": {"name": "other"}}, True, id="another-gateway"),
        pytest.param({}, {"routes": 5}, True, id="unreadable"),
        pytest.param({}, {"routes": [a_route_to("b")]}, False, id="another-handler"),
    ],
)
def test_what_takes_something_away_is_urgent(before: Body, after: Body, urgent: bool) -> None:
    """A revocation is never delayed by gathering."""
    body = a_subscription(spec=before)
    cluster = with_subscriptions(body)

    keys = what(cluster, SUBSCRIPTIONS, again(body, spec=a_subscription(spec=after)["spec"]))

    assert keys.urgent is urgent
    assert CHAT in keys.routes


def test_a_subscription_that_goes_is_urgent_and_wakes_its_rival() -> None:
    """The path is free now for the one that lost it."""
    winner, loser = a_subscription(name="winner", spec={"path": "/acme/x"}), a_subscription(spec={"path": "/acme/x"})
    cluster = with_subscriptions(winner, loser, a_subscription(name="other"))

    keys = what(cluster, SUBSCRIPTIONS, again(winner), "DELETED")

    assert keys.urgent
    assert keys.routes == {CHAT, ObjectKey("acme", "winner")}


def test_one_that_leaves_a_full_gateway_wakes_all_of_its() -> None:
    """The next one in line may come in."""
    cluster = with_subscriptions(a_subscription(), a_subscription("b", "b"))
    happens(cluster, GATEWAYS, a_gateway(spec={"limits": {"maxSubscriptions": 1}}))

    keys = what(cluster, SUBSCRIPTIONS, again(a_subscription()), "DELETED")

    assert ObjectKey("b", "b") in keys.routes


def test_a_secret_reaches_exactly_the_subscriptions_that_name_it() -> None:
    """Ten thousand subscriptions, one changed password: one compiled."""
    cluster = with_subscriptions(
        a_subscription(),
        a_subscription(name="same"),
        a_subscription("other"),
        a_subscription(name="no", spec={"auth": {}}),
    )
    secret = a_secret()

    first = what(cluster, SECRETS, secret, "ADDED")
    gone = what(cluster, SECRETS, again(secret), "DELETED")

    assert first.routes == gone.routes == {CHAT, ObjectKey("acme", "same")}
    assert (first.urgent, gone.urgent) == (False, True)


def test_an_owned_secret_reaches_its_owner_in_its_namespace_only() -> None:
    """SECURITY: a tenant may name any owner in a Secret of its own."""
    body = a_subscription(spec={"auth": {}})
    cluster = with_subscriptions(body)
    owner = [{"kind": "WebhookSubscription", "name": "chat", "uid": body["metadata"]["uid"]}]

    own = what(cluster, SECRETS, a_secret("acme", "generated", ownerReferences=owner), "ADDED")
    foreign = what(cluster, SECRETS, a_secret("evil", "forged", ownerReferences=owner), "ADDED")

    assert own.credentials == own.routes == {CHAT}
    assert foreign == Keys()
    assert [each.key.name for each in cluster.secrets_owned_by(body["metadata"]["uid"])] == ["generated", "forged"]


def test_a_gateway_reaches_all_of_its_subscriptions() -> None:
    """Those that name it, or none where it is the default; not another installation's."""
    cluster = with_subscriptions(
        a_subscription(),
        a_subscription(name="named", spec={"gatewayRef": {"name": "default", "namespace": OWN}}),
        a_subscription(name="other", spec={"gatewayRef": {"name": "other"}}),
        a_subscription(name="foreign", spec={"gatewayRef": {"name": "default", "namespace": "elsewhere"}}),
    )

    keys = what(cluster, GATEWAYS, a_gateway(), "ADDED")

    assert keys.routes == {CHAT, ObjectKey("acme", "named"), DEFAULT}
    assert keys.planes == {DEFAULT}


def test_references_without_a_namespace_are_nobodys_where_the_default_is_elsewhere() -> None:
    """Two installations must not both serve them."""
    cluster = a_cluster(default_namespace="")
    happens(cluster, SUBSCRIPTIONS, a_subscription())

    assert what(cluster, GATEWAYS, a_gateway(), "ADDED").routes == {DEFAULT}


def test_a_grant_reaches_who_has_handlers_in_its_namespace() -> None:
    """And the endpoints of these."""
    abroad = a_subscription(spec={"routes": [a_route_to("billing", "shop")]})
    cluster = with_subscriptions(abroad, a_subscription(name="home"), a_subscription("shop", "own"))
    grant = a_grant("shop", "acme")

    given, taken = (
        what(cluster, KindName.GRANTS, each, how) for each, how in ((grant, "ADDED"), (again(grant), "DELETED"))
    )

    assert given.routes == taken.routes == {CHAT}
    assert given.endpoints == {ObjectKey("shop", "billing")}
    assert (given.urgent, taken.urgent) == (False, True)


def test_a_namespaces_labels_reach_its_subscriptions() -> None:
    """Gateways choose by them; a namespace that only ends says nothing of them."""
    cluster = with_subscriptions(a_subscription(), a_subscription("other"))
    body = a_namespace("acme", team="a")
    assert what(cluster, KindName.NAMESPACES, body, "ADDED").routes == {CHAT}

    relabelled = what(cluster, KindName.NAMESPACES, again(body, metadata={"labels": {"team": "b"}}))

    assert (relabelled.routes, relabelled.urgent) == (frozenset({CHAT}), True)


def test_services_that_no_route_names_wake_nobody() -> None:
    """A cluster has thousands of Services, and Pods that come and go all day."""
    cluster = with_subscriptions(a_subscription())

    assert what(cluster, KindName.SERVICES, a_service("acme", "unrelated")) == Keys()
    assert what(cluster, KindName.SLICES, a_slice("acme", "unrelated", "10.0.0.9")) == Keys()
    assert what(cluster, KindName.PODS, a_pod("acme", "unrelated-0", "10.0.0.9")) == Keys()


def test_what_endpoints_hang_on_reaches_the_service() -> None:
    """The Service, its slices, and the Pods behind them, in whatever order these are heard of."""
    cluster = with_subscriptions(a_subscription())
    service, pieces, pod = a_service(), a_slice("acme", "handler", "10.0.0.1"), a_pod("acme", "handler-0", "10.0.0.1")

    keys = [
        what(cluster, kind, body)
        for kind, body in ((KindName.SERVICES, service), (KindName.SLICES, pieces), (KindName.PODS, pod))
    ]

    assert keys == [Keys(endpoints=frozenset({HANDLER}))] * 3
    gone = what(cluster, KindName.PODS, again(pod), "DELETED")
    assert gone == Keys(endpoints=frozenset({HANDLER}), urgent=True)


def test_a_receivers_pod_reaches_its_plane() -> None:
    """Of a plane of a subscription's own, that subscription too."""
    cluster = with_subscriptions(a_subscription())
    annotations = {"hookline.dev/plane": "default.acme.chat"}

    keys = what(cluster, KindName.PODS, a_pod(OWN, "r-0", "10.0.0.1", annotations=annotations))

    assert keys == Keys(
        routes=frozenset({CHAT}), planes=frozenset({DEFAULT}), status=frozenset({("WebhookGateway", DEFAULT)})
    )


def test_an_authority_reaches_who_names_it() -> None:
    """A new certificate must get to the forwarders."""
    tls = {"tls": {"caRef": {"name": "ca"}}}
    cluster = with_subscriptions(a_subscription(spec={"routes": [a_route_to("b", **tls)]}), a_subscription(name="no"))
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "acme", "name": "ca"}, "data": {}}
    value = read_object(body)
    assert isinstance(value, ConfigMap)

    change = cluster.set_authority(KindName.CONFIG_MAPS, ObjectKey("acme", "ca"), value)

    assert change is not None
    assert dependents(change, cluster).routes == {CHAT}


def test_a_term_begins_with_everything() -> None:
    """Whatever the replica before has left undone."""
    cluster = with_subscriptions(a_subscription(), a_subscription("b", "b"))
    happens(cluster, GATEWAYS, a_gateway())

    keys = everything(cluster)

    assert keys.routes == {CHAT, ObjectKey("b", "b"), DEFAULT}
    assert keys.endpoints == {HANDLER, ObjectKey("b", "handler")}
    assert keys.planes == {DEFAULT}
    assert len(keys.status) == 3


def test_what_nobody_names_any_more_is_forgotten() -> None:
    """Else names of all that ever was would stay in memory."""
    body = a_subscription(spec={"routes": [a_route_to("b", tls={"caRef": {"name": "ca"}})]})
    cluster = with_subscriptions(body)
    assert cluster.references.authorities

    happens(cluster, SUBSCRIPTIONS, again(body), "DELETED")

    assert not cluster.references.authorities
    assert not cluster.references.services()
    assert what(cluster, SECRETS, a_secret(), "ADDED") == Keys()


def test_a_change_of_nothing_concerns_nobody() -> None:
    """It can't happen; it must not raise."""
    assert dependents(Change(SECRETS, CHAT, None, None), a_cluster()) == Keys()
