import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline_cli.main import program_name
from hookline_cli.status.advice import DO
from hookline_cli.status.explaining import explain
from hookline_operator.decide.conditions import StatusReason, subscription_status
from hookline_operator.decide.endpoints import UNRESOLVED, Resolved, ServiceReason
from hookline_operator.decide.status import Contribution, decide
from hookline_routes.problem import Reason
from hookline_routes.resource import ServiceRef
from support.cli import hookline
from support.crds import install_api
from support.kubernetes.api import Api
from support.kubernetes.plane import ControlPlane
from support.manifests import a_subscription
from support.status import NOW, a_condition, a_declared, a_problem, a_report, facts

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "conditions.md"
OFFLINE_ONLY = {
    Reason.UNKNOWN_KIND,
    Reason.DUPLICATE_OBJECT,
    Reason.UNKNOWN_TRIGGER,
    Reason.TLS_OMITTED,
    Reason.DEDICATED_AS_SHARED,
}
"""Those that no condition in a cluster bears."""


def an_item(*conditions, generation=1, **status):
    metadata = {"namespace": "acme", "name": "chat", "generation": generation}
    return {"kind": "WebhookSubscription", "metadata": metadata, "status": {"conditions": list(conditions), **status}}


def explained(found):
    """What is said of what the operator would write."""
    status = decide(subscription_status(found), Contribution(), {}, NOW).status
    return explain({"kind": "WebhookSubscription", "metadata": {"namespace": "acme", "name": "chat"}, "status": status})


def test_a_ready_subscription_needs_no_words():
    """Only its URL, to be entered at CometChat."""
    found = explained(facts())

    assert (found.ready, found.why, found.todo, found.notes) == (True, "", "", ())
    assert found.url == "https://hooks.example.com/acme/chat"


def test_what_is_wrong_comes_with_what_to_do():
    """One sentence each."""
    declared = a_declared()
    report = a_report(declared, references=[a_problem(Reason.SECRET_NOT_FOUND, "Secret acme/cometchat does not exist")])

    found = explained(facts(declared, report))

    assert (found.ready, found.reason) == (False, "SecretNotFound")
    assert "Secret acme/cometchat does not exist" in found.why
    assert found.todo.startswith("create the Secret")


def test_a_handler_that_is_away_is_noted_of_a_ready_subscription():
    """Its events wait, and whoever asks should hear of it."""
    missing = Resolved((), ServiceReason.NO_READY_ENDPOINTS, "Service acme/handler has no ready endpoint")
    found = explained(facts(handlers={ServiceRef("handler", "acme", 9000): missing}))

    assert found.ready
    assert found.notes == (
        "route main: Service acme/handler has no ready endpoint; its events are kept until there is one",
    )


def test_what_another_lane_says_is_noted():
    """Such as a password to enter at CometChat."""
    found = explain(an_item(a_condition("Ready"), a_condition("RotationPending", message="enter the new password")))

    assert found.notes == ("RotationPending: enter the new password",)


def test_a_generated_credential_that_nobody_uses_is_noted():
    """The operator made a password, and somebody must enter it: that is easily forgotten."""
    active = {"secretName": "chat-hookline-1", "state": "Active", "since": NOW}
    note = "enter username and password of Secret acme/chat-hookline-1 at CometChat: they were not used yet"

    assert explain(an_item(a_condition("Ready"), credentials=[active])).notes == (note,)
    assert explain(an_item(a_condition("Ready"), credentials=[{**active, "usedSince": NOW}])).notes == ()


def test_a_status_of_an_older_generation_is_not_believed():
    """The newest change may be the one that is refused."""
    found = explain(an_item(a_condition("Ready", generation=2), generation=3))

    assert (found.ready, found.reason) == (False, "Outdated")
    assert "generation 3, its status is of 2" in found.why


def test_an_object_that_no_operator_looked_at_says_so():
    """A gatewayRef to nowhere looks like this, as does an operator that is not there."""
    found = explain(an_item())

    assert (found.ready, found.reason, found.why) == (False, "", "no operator has looked at it yet")
    assert "gatewayRef" in found.todo


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["conditions", "type", "status", "message"]), inner)
        ),
        max_leaves=8,
    )
)
def test_whatever_is_in_a_status_is_explained(status):
    """Anyone with the right may have written anything there."""
    assert not explain({"kind": "WebhookSubscription", "metadata": {"name": "x"}, "status": status}).ready


@pytest.mark.parametrize("reason", sorted({*Reason, *ServiceReason, *StatusReason} - OFFLINE_ONLY))
def test_every_reason_is_explained_on_the_page_with_what_to_do(reason):
    """docs/operate/conditions.md: a reason that nobody can look up helps nobody."""
    assert f"`{reason}`" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "reason",
    sorted(({*Reason, *UNRESOLVED, *StatusReason} - OFFLINE_ONLY) - {StatusReason.READY, StatusReason.PROGRAMMED}),
)
def test_every_reason_that_something_is_not_ready_for_has_an_advice(reason):
    """What to do is the half of the sentence that people came for."""
    assert DO[reason]


def test_kubectl_finds_it_as_a_plugin():
    """The help must show what was typed."""
    assert program_name("/usr/bin/kubectl-hookline") == "kubectl hookline"
    assert program_name("/usr/bin/hookline") == "hookline"


@pytest.fixture
def tenant(plane: ControlPlane, namespace: str) -> Api:
    """The API with Hookline's kinds, and a subscription in the namespace that no operator looks at."""
    install_api(plane)
    api = plane.api()
    api.apply(a_subscription(namespace=namespace))
    return api


def written(api: Api, namespace: str, *conditions, **status) -> None:
    subscription = api.get("hookline.dev/v1alpha1", "WebhookSubscription", namespace, "chat")
    api.set_status(subscription, {"conditions": list(conditions), **status})


def test_a_cluster_is_asked_and_the_exit_status_says_whether_all_are_ready(tenant, plane, namespace):
    """For people and for scripts."""
    config = str(plane.kubeconfig())

    before = hookline("status", "-n", namespace, KUBECONFIG=config)
    written(tenant, namespace, a_condition("Ready", "False", "ServiceNotFound", "Service x/y does not exist"))
    bad = hookline("status", "-n", namespace, "chat", KUBECONFIG=config)
    written(tenant, namespace, a_condition("Ready"), url="https://hooks.example.com/x/chat")
    good = hookline("status", "-n", namespace, "-o", "json", KUBECONFIG=config)

    assert (before.returncode, bad.returncode, good.returncode) == (1, 1, 0), before.stderr + bad.stderr + good.stderr
    assert f"{namespace}/chat is not ready: no operator has looked at it yet. What to do: see that" in before.stdout
    assert f"{namespace}\tchat\tno: ServiceNotFound\t" in bad.stdout
    assert "Service x/y does not exist. What to do: create the Service, or" in bad.stdout
    assert json.loads(good.stdout)["url"] == "https://hooks.example.com/x/chat"


def test_what_is_not_there_is_said(tenant, plane, namespace, tmp_path):
    """Each with the exit status that a script can tell apart."""
    config = str(plane.kubeconfig(namespace=namespace))

    nobody = hookline("status", "nobody", KUBECONFIG=config)
    gateways = hookline("status", "--gateway", KUBECONFIG=config)
    nowhere = hookline("status", KUBECONFIG=str(tmp_path / "none"))
    both = hookline("status", "-A", "chat", KUBECONFIG=config)

    assert (nobody.returncode, nobody.stderr) == (
        1,
        f"hookline: WebhookSubscription {namespace}/nobody does not exist\n",
    )
    assert (gateways.returncode, gateways.stderr) == (0, f"no WebhookGateway in the namespace {namespace}\n")
    assert (nowhere.returncode, nowhere.stderr.startswith("hookline: no cluster to ask: ")) == (3, True)
    assert (both.returncode, both.stdout) == (2, "")


def test_who_may_not_read_is_told_so(tenant, plane, namespace):
    """Rights are the cluster's to give."""
    token = plane.service_account(namespace, "stranger")

    done = hookline("status", "-n", namespace, KUBECONFIG=str(plane.kubeconfig(token)))

    assert done.returncode == 3
    assert "refuses to show WebhookSubscriptions" in done.stderr


def test_very_many_are_read_in_pages(tenant, plane, namespace):
    """Ten thousand in one answer would be a burden to the API server."""
    tenant.apply(*(a_subscription(name=f"s-{index}", namespace=namespace) for index in range(520)))

    done = hookline("status", "-n", namespace, "-o", "json", KUBECONFIG=str(plane.kubeconfig()))

    names = [json.loads(line)["name"] for line in done.stdout.splitlines()]
    assert len(names) == len(set(names)) == 521
