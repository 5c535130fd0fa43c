import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_operator.decide.conditions import LASTING, SOON, gateway_status, handlers_of, subscription_status
from hookline_operator.decide.endpoints import Refusal, Resolved, ServiceReason
from hookline_operator.observe.kinds import read_subscription
from hookline_routes.problem import Reason
from hookline_routes.resource import ServiceRef
from support.manifests import a_route
from support.status import a_declared, a_gateway, a_problem, a_report, facts, gateway_facts

HANDLER = ServiceRef("handler", "acme", 9000)
READY = {HANDLER: Resolved(("10.0.0.1:50051",))}


def said(found, kind):
    return next(each for each in subscription_status(found).conditions if each.type == kind)


def truths(found):
    return {each.type: each.true for each in subscription_status(found).conditions}


def test_a_subscription_that_is_served_is_ready():
    """All four conditions, in the order in which they are reached."""
    found = facts(handlers=READY)

    assert list(truths(found).items()) == [
        ("Accepted", True),
        ("ResolvedRefs", True),
        ("Programmed", True),
        ("Ready", True),
    ]


def test_the_url_is_what_to_enter_at_cometchat():
    """The first host name of the gateway, and the path."""
    wanted = subscription_status(facts())

    assert wanted.fields == {
        "observedGeneration": 1,
        "url": "https://hooks.example.com/acme/chat",
        "gateway": "hookline/default",
    }


def test_without_host_names_there_is_no_url():
    """How the gateway is reached is not known then; a wrong URL would be worse than none."""
    assert subscription_status(facts(gateway=a_gateway(hostnames=[]))).fields["url"] is None


def test_a_refused_subscription_is_not_programmed_and_says_why():
    """The loser of a conflict is served by nobody."""
    declared = a_declared()
    report = a_report(declared, [a_problem(Reason.PATH_CONFLICT, 'the path "/a" belongs to another subscription')])
    found = facts(declared, report, gateway=None, revision=None, pods=0)

    assert truths(found) == {"Accepted": False, "ResolvedRefs": True, "Programmed": False, "Ready": False}
    assert said(found, "Ready").reason == "PathConflict"
    assert said(found, "Ready").message == 'spec.path: the path "/a" belongs to another subscription'
    assert said(found, "Programmed").reason == "NotAccepted"
    assert said(found, "Ready").patience == 0


def test_a_subscription_with_one_bad_route_is_programmed_and_not_ready():
    """The rest of it is served: a refused event is gone for good."""
    declared = a_declared()
    report = a_report(declared, [a_problem(Reason.INVALID_EXPRESSION)])

    assert truths(facts(declared, report)) == {
        "Accepted": False,
        "ResolvedRefs": True,
        "Programmed": True,
        "Ready": False,
    }


def test_an_unreadable_subscription_has_its_conditions_too():
    """Admission may have been off when it was written."""
    body = {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {"name": "x", "namespace": "acme", "uid": "u", "resourceVersion": "5", "generation": 3},
        "spec": {"routes": "none"},
    }
    declared = read_subscription(body)
    report = a_report(declared, [a_problem(Reason.INVALID_FIELD, "must be a list", "spec.routes")])

    wanted = subscription_status(facts(declared, report, gateway=None, revision=None))

    assert [each.true for each in wanted.conditions] == [False, True, False, False]
    assert wanted.generation == 3


@pytest.mark.parametrize(
    "reason", [ServiceReason.SERVICE_NOT_FOUND, ServiceReason.PORT_NOT_FOUND, ServiceReason.UNSUPPORTED_SERVICE]
)
def test_a_service_that_cannot_be_resolved_is_a_reference_that_is_not(reason):
    """As in Gateway API; events are accepted and kept, and a person has something to mend."""
    found = facts(handlers={HANDLER: Resolved((), reason, "Service acme/handler is no good")})

    assert truths(found) == {"Accepted": True, "ResolvedRefs": False, "Programmed": True, "Ready": False}
    assert said(found, "Ready").reason == reason
    assert said(found, "Ready").message == (
        "route main: Service acme/handler is no good; its events are kept until this is mended"
    )


@pytest.mark.parametrize("reason", [ServiceReason.NO_READY_ENDPOINTS, ServiceReason.ENDPOINTS_REFUSED])
def test_a_handler_without_ready_endpoints_is_a_remark_and_leaves_the_subscription_ready(reason):
    """It accepts and keeps events; a handler that is rolled must not turn hundreds of subscriptions un-Ready."""
    found = facts(handlers={HANDLER: Resolved((), reason, "Service acme/handler has no ready endpoint")})

    assert truths(found)["Ready"]
    assert said(found, "ResolvedRefs").message == (
        "route main: Service acme/handler has no ready endpoint; its events are kept until there is one"
    )


def test_a_refused_endpoint_is_a_remark():
    """A hand-made slice beside the good ones should be seen by whoever looks."""
    handlers = {HANDLER: Resolved(("10.0.0.1:1",), refused={Refusal.NO_POD: 2})}

    assert said(facts(handlers=handlers), "ResolvedRefs").message.startswith("route main: endpoints not used: ")


def test_nothing_is_said_of_a_service_that_a_grant_is_missing_for():
    """Else anyone could ask which Services another namespace has."""
    declared = a_declared(routes=[a_route("own"), a_route("theirs", service="secret")])
    report = a_report(
        declared,
        references=[a_problem(Reason.REF_NOT_PERMITTED, "needs a grant", "spec.routes[1].handler.serviceRef")],
    )
    missing = Resolved((), ServiceReason.PORT_NOT_FOUND, "Service acme/secret has no TCP port 9000, but 5432")
    found = facts(declared, report, handlers={ServiceRef("secret", "acme", 9000): missing, **READY})

    assert [name for name, _ in handlers_of(declared, report)] == ["own"]
    assert "5432" not in repr(subscription_status(found))


def test_problems_with_secrets_and_services_are_said_together():
    """One look should be enough to mend all."""
    declared = a_declared()
    report = a_report(declared, references=[a_problem(Reason.SECRET_NOT_FOUND, "Secret acme/x does not exist")])
    handlers = {HANDLER: Resolved((), ServiceReason.SERVICE_NOT_FOUND, "Service acme/handler does not exist")}

    found = said(facts(declared, report, handlers=handlers), "ResolvedRefs")

    assert found.reason == "SecretNotFound"
    assert "Secret acme/x does not exist" in found.message
    assert "Service acme/handler does not exist" in found.message


def test_what_is_not_published_yet_is_pending():
    """Programmed is the truth about receivers, not a hope."""
    assert (said(facts(revision=None), "Programmed").reason, said(facts(revision=None), "Ready").true) == (
        "Pending",
        False,
    )


def test_what_one_pod_does_not_serve_is_not_programmed():
    """The next event may come to that pod."""
    found = facts(pods=5, behind=("receiver-1", "receiver-2", "receiver-3", "receiver-4"))

    assert said(found, "Programmed").reason == "Pending"
    assert said(found, "Programmed").message == (
        "4 of 5 ready receiver pods of the plane default do not serve it yet: receiver-1, receiver-2, receiver-3 and 1 more"
    )
    assert said(found, "Programmed").patience == SOON


def test_without_a_ready_pod_nothing_is_programmed():
    """Nobody would answer."""
    found = facts(pods=0)

    assert (said(found, "Programmed").true, said(found, "Ready").reason) == (False, "NoReceivers")


def test_a_suspended_subscription_is_not_ready():
    """What CometChat can't deliver meanwhile is gone: nobody should wait for Ready and believe all is well."""
    found = facts(a_declared(suspend=True))

    assert truths(found) == {"Accepted": True, "ResolvedRefs": True, "Programmed": True, "Ready": False}
    assert said(found, "Ready").reason == "Suspended"


def test_a_verifier_in_the_making_is_given_a_moment():
    """It takes a tenth of a second; two writes for each new subscription would be one too many."""
    declared = a_declared()
    pending = a_problem(Reason.VERIFIER_PENDING, warning=True)
    missing = a_problem(Reason.SECRET_NOT_FOUND)

    assert said(facts(declared, a_report(declared, references=[pending])), "ResolvedRefs").patience == SOON
    assert said(facts(declared, a_report(declared, references=[pending, missing])), "ResolvedRefs").patience == 0


def gateway_said(found, kind):
    return next(each for each in gateway_status(found).conditions if each.type == kind)


def test_a_gateway_counts_what_it_serves():
    """For `kubectl get`, and the scale subresource's owner adds its own."""
    wanted = gateway_status(gateway_facts(pods=3, synced=2, desired=4))

    assert wanted.fields == {
        "observedGeneration": 1,
        "attachedSubscriptions": 5,
        "receivers": {"ready": 3, "synced": 2, "summary": "2/3/4"},
    }


def test_a_gateway_without_pods_is_not_ready():
    """Its webhooks are answered by nobody."""
    found = gateway_facts(pods=0, synced=0, desired=2)

    assert gateway_said(found, "Ready").reason == "NoReceivers"
    assert gateway_said(found, "Ready").message.startswith("no receiver pod of 2 is ready")


def test_a_gateway_whose_pods_lag_behind_is_not_programmed_if_that_lasts():
    """Each change makes them lag for a moment."""
    found = gateway_said(gateway_facts(pods=3, synced=1), "Programmed")

    assert (found.true, found.patience) == (False, LASTING)
    assert found.message == "2 of 3 ready receiver pods do not serve what is published yet"


REASONS = [*Reason, *ServiceReason]


@given(
    st.lists(st.sampled_from(list(Reason)), max_size=3),
    st.lists(st.sampled_from(list(Reason)), max_size=3),
    st.sampled_from([None, *ServiceReason]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
)
def test_ready_means_that_all_others_are_true_and_it_is_not_suspended(
    refused, references, service, pods, late, published, suspend
):
    """So that `kubectl wait --for=condition=Ready` is all that a script needs."""
    declared = a_declared(suspend=suspend)
    report = a_report(declared, [a_problem(each) for each in refused], [a_problem(each) for each in references])
    found = facts(
        declared,
        report,
        revision=facts().revision if published else None,
        pods=pods,
        behind=tuple(f"pod-{index}" for index in range(min(late, pods))),
        handlers={HANDLER: Resolved((), service, "m") if service else Resolved(("a:1",))},
    )

    *others, ready = subscription_status(found).conditions

    assert ready.true == (all(each.true for each in others) and not suspend)
    assert all(each.message for each in (*others, ready) if not each.true)
    assert all(each.reason.isalnum() and len(each.message) <= 1024 for each in (*others, ready))
