import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_operator.decide.endpoints import (
    MAX_ADDRESSES,
    UNRESOLVED,
    Refusal,
    ServiceReason,
    resolve,
    table_of,
)
from hookline_routes.resource import ServiceRef
from support.service_endpoints import a_cluster, a_pod, a_service, a_slice, an_endpoint, the_port


def resolved(*bodies, port=9000):
    return resolve(the_port(port), a_cluster(*bodies))


def test_ready_pods_are_found_at_the_target_port():
    """What all of it is for."""
    found = resolved(
        a_service(),
        a_pod("b", "10.0.0.2"),
        a_pod("a", "10.0.0.10"),
        a_slice(an_endpoint("10.0.0.2", "b"), an_endpoint("10.0.0.10", "a")),
    )

    assert found.addresses == ("10.0.0.10:50051", "10.0.0.2:50051")
    assert (found.reason, found.message, found.remark) == (None, "", "")


ATTACKS = {
    "another tenant's Pod, no target": (an_endpoint("10.0.9.9"), Refusal.NO_POD),
    "another tenant's Pod, said to be one's own": (an_endpoint("10.0.9.9", "mine"), Refusal.NO_POD),
    "another tenant's Pod, named with its namespace": (
        an_endpoint("10.0.9.9", "theirs", namespace="other"),
        Refusal.NO_POD,
    ),
    "a Pod that does not exist": (an_endpoint("10.0.9.9", "nobody"), Refusal.NO_POD),
    "an address that nobody has": (an_endpoint("10.77.0.1"), Refusal.NO_POD),
    "the API server": (an_endpoint("10.96.0.1"), Refusal.NO_POD),
    "a node": (an_endpoint("192.168.0.5"), Refusal.NO_POD),
    "a Pod on its node's network": (an_endpoint("192.168.0.5", "on-node"), Refusal.HOST_NETWORK),
    "cloud metadata": (an_endpoint("169.254.169.254"), Refusal.SPECIAL_ADDRESS),
    "cloud metadata, said to be one's own": (an_endpoint("169.254.169.254", "mine"), Refusal.SPECIAL_ADDRESS),
    "loopback": (an_endpoint("127.0.0.1", "mine"), Refusal.SPECIAL_ADDRESS),
    "any address": (an_endpoint("0.0.0.0"), Refusal.SPECIAL_ADDRESS),
    "multicast": (an_endpoint("224.0.0.1"), Refusal.SPECIAL_ADDRESS),
    "an address in other writing": (an_endpoint("010.0.0.1", "mine"), Refusal.SPECIAL_ADDRESS),
    "one's own address under another Pod's name": (an_endpoint("10.0.0.1", "second"), Refusal.OTHER_POD),
    "one's own address under an older Pod's uid": (an_endpoint("10.0.0.1", "mine", uid="older"), Refusal.OTHER_POD),
    "a finished Pod's address": (an_endpoint("10.0.0.7", "finished"), Refusal.NO_POD),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_endpoint_that_no_pod_of_the_namespace_stands_behind_is_refused(name):
    """Whoever writes a slice chooses what the platform calls with its own reach and certificate."""
    endpoint, refusal = ATTACKS[name]
    found = resolved(
        a_service(),
        a_service("theirs", "other"),
        a_pod("mine", "10.0.0.1"),
        a_pod("second", "10.0.0.2"),
        a_pod("on-node", "192.168.0.5", hostNetwork=True),
        a_pod("finished", "10.0.0.7", phase="Succeeded"),
        a_pod("theirs", "10.0.9.9", namespace="other"),
        a_pod("neighbour", "192.168.0.5", namespace="other", hostNetwork=True),
        a_slice(endpoint),
    )

    assert (found.addresses, found.reason) == ((), ServiceReason.ENDPOINTS_REFUSED)
    assert dict(found.refused) == {refusal: 1}
    assert found.message == f"Service acme/notifier has no ready endpoint: endpoints not used: {refusal}"


def test_a_refusal_is_the_same_whether_another_tenant_has_the_address_or_nobody():
    """Else slices could be used to find out which addresses other tenants' Pods have."""
    theirs = a_pod("theirs", "10.0.9.9", namespace="other")
    attack = a_slice(an_endpoint("10.0.9.9", "mine"))

    assert resolved(a_service(), attack, theirs) == resolved(a_service(), attack)


@pytest.mark.parametrize("address", ["::1", "fe80::1", "::ffff:10.0.0.1", "ff02::1", "::", "fd00::1%eth0", "not one"])
def test_special_addresses_of_the_other_family_are_refused_too(address):
    """An IPv4 address in IPv6's writing reaches the same place."""
    found = resolved(a_service(), a_pod("mine", address, "10.0.0.1"), a_slice(an_endpoint(address), family="IPv6"))

    assert dict(found.refused) == {Refusal.SPECIAL_ADDRESS: 1}


def test_an_address_in_a_slice_of_the_other_family_is_refused():
    """No controller writes that."""
    found = resolved(a_service(), a_pod("mine", "10.0.0.1"), a_slice(an_endpoint("10.0.0.1"), family="IPv6"))

    assert dict(found.refused) == {Refusal.SPECIAL_ADDRESS: 1}


def test_host_names_are_refused():
    """A name can lead anywhere, and somewhere else a moment later."""
    found = resolved(a_service(), a_slice(an_endpoint("kubernetes.default.svc"), family="FQDN"))

    assert dict(found.refused) == {Refusal.HOST_NAME: 1}


def test_a_refused_endpoint_does_not_harm_those_beside_it():
    """The Pods that the selector found go on, and a person sees that something is wrong."""
    found = resolved(
        a_service(),
        a_pod("mine", "10.0.0.1"),
        a_slice(an_endpoint("10.0.0.1", "mine")),
        a_slice(an_endpoint("169.254.169.254"), name="by-hand"),
    )

    assert (found.addresses, found.message) == (("10.0.0.1:50051",), "")
    assert found.remark == f"endpoints not used: {Refusal.SPECIAL_ADDRESS}"


UNUSABLE = {
    "not there": ([], ServiceReason.SERVICE_NOT_FOUND, "Service acme/notifier does not exist"),
    "ExternalName": (
        [a_service(type="ExternalName", externalName="metadata.internal", selector=None)],
        ServiceReason.UNSUPPORTED_SERVICE,
        "Service acme/notifier is of type ExternalName; Hookline calls Services that select Pods",
    ),
    "without selector": (
        [a_service(selector=None)],
        ServiceReason.UNSUPPORTED_SERVICE,
        "Service acme/notifier has no selector; Hookline calls Services that select Pods",
    ),
    "another port": (
        [a_service(ports=[{"port": 80}, {"port": 8080}])],
        ServiceReason.PORT_NOT_FOUND,
        "Service acme/notifier has no TCP port 9000, but 80, 8080",
    ),
    "a UDP port": (
        [a_service(ports=[{"port": 9000, "protocol": "UDP"}])],
        ServiceReason.PORT_NOT_FOUND,
        "Service acme/notifier has no TCP port 9000",
    ),
    "no slice": (
        [a_service()],
        ServiceReason.NO_READY_ENDPOINTS,
        "Service acme/notifier has no ready endpoint: its selector finds no Pod",
    ),
    "not ready": (
        [a_service(), a_slice(an_endpoint("10.0.0.1", "mine", ready=False))],
        ServiceReason.NO_READY_ENDPOINTS,
        "Service acme/notifier has no ready endpoint: its Pods are not ready",
    ),
    "target port": (
        [a_service(ports=[{"port": 9000, "name": "grpc"}]), a_slice(an_endpoint("10.0.0.1", "mine"))],
        ServiceReason.NO_READY_ENDPOINTS,
        'Service acme/notifier has no ready endpoint: no Pod has the target port of its port "grpc"',
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_why_there_is_no_endpoint_is_said_in_words(name):
    """A person reads it in the subscription's status and in the log of its forwarder."""
    bodies, reason, message = UNUSABLE[name]

    found = resolved(a_pod("mine", "10.0.0.1"), *bodies)

    assert (found.addresses, found.reason, found.message) == ((), reason, message)


def test_only_a_wrong_reference_is_unresolved():
    """A handler that is away for a while leaves the reference right: nothing is to be mended in the subscription."""
    assert {name for name, (_, reason, _) in UNUSABLE.items() if reason not in UNRESOLVED} == {
        "no slice",
        "not ready",
        "target port",
    }


def test_slices_of_a_service_without_selector_count_for_nothing_even_with_own_pods():
    """A Service whose slices are made by hand is whatever its author says from moment to moment."""
    found = resolved(a_service(selector=None), a_pod("mine", "10.0.0.1"), a_slice(an_endpoint("10.0.0.1", "mine")))

    assert found.reason is ServiceReason.UNSUPPORTED_SERVICE


def test_a_port_is_found_by_its_number_and_mapped_by_its_name():
    """A Service's 9000 may be its Pods' 50051, and another one's 9001."""
    ports = [{"port": 9000, "name": "grpc"}, {"port": 9001, "name": "admin"}]
    targets = ({"name": "grpc", "port": 50051}, {"name": "admin", "port": 6000})
    bodies = [
        a_service(ports=ports),
        a_pod("mine", "10.0.0.1"),
        a_slice(an_endpoint("10.0.0.1", "mine"), ports=targets),
    ]

    assert resolved(*bodies).addresses == ("10.0.0.1:50051",)
    assert resolved(*bodies, port=9001).addresses == ("10.0.0.1:6000",)


@pytest.mark.parametrize(
    "conditions", [{"ready": False}, {"ready": True, "terminating": True}, {"ready": False, "serving": True}]
)
def test_unready_and_terminating_endpoints_are_left_out(conditions):
    """They would cost each delivery a failed call."""
    endpoint = {**an_endpoint("10.0.0.1", "mine"), "conditions": conditions}

    assert resolved(a_service(), a_pod("mine", "10.0.0.1"), a_slice(endpoint)).addresses == ()


def test_a_pod_that_is_being_deleted_is_left_out_before_its_slice_says_so():
    """Its address may be another Pod's soon, and feeds of two kinds come in no order."""
    found = resolved(a_service(), a_pod("mine", "10.0.0.1", deleting=True), a_slice(an_endpoint("10.0.0.1", "mine")))

    assert (found.addresses, found.reason) == ((), ServiceReason.NO_READY_ENDPOINTS)


def test_a_pod_of_two_families_is_one_endpoint():
    """Two channels to one Pod would give it twice its share."""
    found = resolved(
        a_service(),
        a_pod("both", "10.0.0.1", "fd00::1"),
        a_pod("six", "fd00::2"),
        a_slice(an_endpoint("10.0.0.1", "both")),
        a_slice(an_endpoint("fd00::1", "both"), an_endpoint("fd00::2", "six"), family="IPv6"),
    )

    assert found.addresses == ("10.0.0.1:50051", "[fd00::2]:50051")


def test_a_service_with_very_many_pods_is_published_in_part():
    """A forwarder uses 32 at once; the table of all tenants must not grow with one."""
    addresses = [f"10.1.{index // 250}.{index % 250 + 1}" for index in range(MAX_ADDRESSES + 50)]
    pods = [a_pod(f"pod-{index}", address) for index, address in enumerate(addresses)]

    found = resolved(a_service(), *pods, a_slice(*(an_endpoint(address) for address in addresses)))

    assert len(found.addresses) == MAX_ADDRESSES


def test_slices_with_very_many_endpoints_are_looked_at_in_part():
    """A tenant's hand-made slices must not hold up the loop in which the Lease is renewed."""
    slices = [
        a_slice(*(an_endpoint(f"10.{n}.{i // 250}.{i % 250}") for i in range(900)), name=f"by-hand-{n}")
        for n in range(5)
    ]

    found = resolved(a_service(), *slices)

    assert sum(found.refused.values()) < 1100
    assert Refusal.TOO_MANY in found.refused


def test_the_table_has_equal_bytes_for_equal_content():
    """A restart must publish nothing."""
    refs = [the_port(), the_port(9001), the_port(9000, "analytics", "platform"), the_port(80, "zeta", "acme")]
    cluster = a_cluster(a_service(), a_pod("mine", "10.0.0.1"), a_slice(an_endpoint("10.0.0.1", "mine")))
    found = {ref: resolve(ref, cluster) for ref in refs}

    tables = {
        table_of({ref: found[ref] for ref in order}).SerializeToString(deterministic=True)
        for order in itertools.permutations(refs)
    }

    assert len(tables) == 1
    table = table_of(found)
    assert [(one.namespace, one.service, one.port) for one in table.services] == sorted(
        (ref.namespace, ref.name, ref.port) for ref in refs
    )


NAMESPACES = ["acme", "other"]
ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.168.0.5", "127.0.0.1", "169.254.169.254", "fd00::1", "::1", "x"]
PODS = ["a", "b", "c"]

pods = st.builds(
    lambda name, namespace, addresses, host, phase, deleting: a_pod(
        name, *addresses, namespace=namespace, phase=phase, deleting=deleting, hostNetwork=host
    ),
    st.sampled_from(PODS),
    st.sampled_from(NAMESPACES),
    st.lists(st.sampled_from(ADDRESSES), max_size=2, unique=True),
    st.booleans(),
    st.sampled_from(["Running", "Running", "Failed"]),
    st.booleans(),
)
endpoints = st.builds(
    lambda address, pod, namespace, uid, ready: an_endpoint(address, pod, namespace=namespace, uid=uid, ready=ready),
    st.sampled_from(ADDRESSES),
    st.sampled_from(["", *PODS]),
    st.sampled_from(NAMESPACES),
    st.sampled_from([None, None, "older"]),
    st.sampled_from([True, True, False, None]),
)
slices = st.builds(
    lambda found, namespace, service, name, family: a_slice(
        *found, namespace=namespace, service=service, name=name, family=family
    ),
    st.lists(endpoints, max_size=5),
    st.sampled_from(NAMESPACES),
    st.sampled_from(["notifier", "another"]),
    st.sampled_from(["s1", "s2"]),
    st.sampled_from(["IPv4", "IPv4", "IPv6", "FQDN"]),
)
services = st.builds(
    lambda kind, selector: a_service(type=kind, selector=selector),
    st.sampled_from(["ClusterIP", "ClusterIP", "ExternalName"]),
    st.sampled_from([{"app": "notifier"}, {"app": "notifier"}, None]),
)


@given(st.lists(pods, max_size=6), st.lists(slices, max_size=4), services)
def test_whatever_slices_say_only_living_pods_of_the_namespace_are_called(pods, slices, service):
    """The rule against confused deputies, without a case in mind."""
    cluster = a_cluster(service, *pods, *slices)

    found = resolve(the_port(), cluster)

    own = {
        address
        for key, pod in cluster.pods.items()
        if key.namespace == "acme" and not pod.host_network and not pod.deleting
        for address in pod.addresses
    }
    hosts = {address.rpartition(":")[0].strip("[]") for address in found.addresses}
    assert hosts <= own - {"127.0.0.1", "169.254.169.254", "::1", "x"}
    assert list(found.addresses) == sorted(set(found.addresses))
    assert (found.reason is None) == bool(found.addresses) == (not found.message)


@given(
    st.lists(pods, max_size=5, unique_by=lambda pod: (pod["metadata"]["namespace"], pod["metadata"]["name"])),
    st.lists(slices, max_size=3, unique_by=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"])),
    st.data(),
)
def test_the_order_in_which_things_are_seen_does_not_matter(pods, slices, data):
    """Feeds of three kinds come in no order, and two replicas must publish the same."""
    bodies = [a_service(), *pods, *slices]
    for version, body in enumerate(bodies, 1):
        body["metadata"]["resourceVersion"] = str(version)
    other = data.draw(st.permutations(bodies))

    first, second = resolve(the_port(), a_cluster(*bodies)), resolve(the_port(), a_cluster(*other))

    assert (first.addresses, first.message) == (second.addresses, second.message)


@given(st.text(max_size=20), st.text(max_size=20), st.integers())
def test_no_reference_makes_it_raise(name, namespace, port):
    """A route can name anything."""
    assert resolve(ServiceRef(name, namespace, port), a_cluster(a_service())).addresses == ()
