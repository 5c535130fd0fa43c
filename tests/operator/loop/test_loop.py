"""The loop, as a tenant sees it: what is applied with kubectl is what receivers do and handlers get."""

import time

import pytest

from support.acme import HOST, a_grant, acme_yaml, an_authority, an_event
from support.inbox import Inbox
from support.manifests import PASSWORD, USERNAME, a_secret
from support.tenancy import Cluster, example, example_tenant, fresh

pytestmark = pytest.mark.needs_network_namespace

WRONG = (USERNAME, "9fKq2LmX7tVb4RzM")


def test_the_example_becomes_ready_and_its_events_reach_the_handlers(cluster: Cluster) -> None:
    """The whole promise in one: what the documentation shows works as it stands there."""
    tenant = example_tenant(cluster, "acme")

    begun = time.monotonic()
    cluster.apply(acme_yaml(tenant.namespace))
    applied = time.monotonic()
    tenant.wait("Ready")
    print(f"kubectl apply {applied - begun:.2f} s, Ready {time.monotonic() - applied:.2f} s later")

    messages = [fresh() for _ in cluster.pods()]
    for pod, message in zip(cluster.pods(), messages, strict=True):
        answer = cluster.post(pod, tenant.path, an_event(message), (USERNAME, PASSWORD), HOST)
        assert answer.status == 200, answer
    for name, route in (("notifier", "notify"), ("analytics", "analytics")):
        inbox = tenant.inbox(name)
        tenant.until(lambda inbox=inbox, route=route: inbox.got(*messages, route=route), what=f"{messages} at {name}")
    assert tenant.statuses(WRONG) == {401}
    assert tenant.statuses(None) == {401}
    stranger = tenant.post(an_event(fresh(), app_id="0000000000000000"))
    assert {answer.status for answer in stranger} == {403}


def test_the_status_says_what_to_enter_at_cometchat(cluster: Cluster) -> None:
    """A person must be able to go on from `kubectl get` without asking anybody."""
    tenant = example(cluster, "told")

    found = tenant.subscription()
    lines = tenant.kubectl("get", "webhooksubscription", "chat").splitlines()
    wide = tenant.kubectl("get", "webhooksubscription", "chat", "-o", "wide").splitlines()

    url = f"https://{HOST}{tenant.path}"
    assert found["status"]["url"] == url
    assert found["status"]["gateway"] == "hookline/default"
    assert lines[0].split() == ["NAME", "URL", "READY", "REASON", "SUSPENDED", "AGE"]
    assert lines[1].split()[:5] == ["chat", url, "True", "Ready", "false"]
    assert wide[1].split()[5:8] == ["hookline/default", "Shared", "True"]


def test_an_event_goes_only_to_the_routes_that_match_now(cluster: Cluster) -> None:
    """A changed match counts for the next event, and no event is lost over it."""
    tenant = example(cluster, "matching")
    notifier, analytics = tenant.inbox("notifier"), tenant.inbox("analytics")

    image = fresh()
    tenant.send(image, type="image")
    tenant.until(lambda: analytics.got(image, route="analytics"))
    assert not notifier.got(image)

    took = tenant.change_routes(
        lambda routes: routes[0].update(match={"expression": "event.data.message.type == 'image'"})
    )
    text, image = fresh(), fresh()
    tenant.send(text)
    tenant.send(image, type="image")
    tenant.until(lambda: notifier.got(image, route="notify") and analytics.got(text, image, route="analytics"))
    assert not notifier.got(text)
    print(f"a route's match: in force everywhere {took:.2f} s after kubectl patch")


def test_a_route_that_names_another_service_goes_there(cluster: Cluster) -> None:
    """Blue and green handlers are two Services and one field."""
    tenant = example(cluster, "blue")
    green = tenant.handler("green")

    tenant.change_routes(lambda routes: routes[1].update(handler={"serviceRef": {"name": "green", "port": 9000}}))

    tenant.delivered(green, "analytics")


def test_a_paused_route_keeps_its_events_until_it_goes_on(cluster: Cluster) -> None:
    """Paused is for a handler that must not be called: nothing of it may be lost meanwhile."""
    tenant = example(cluster, "paused")
    notifier, analytics = tenant.inbox("notifier"), tenant.inbox("analytics")

    tenant.change_routes(lambda routes: routes[0].update(paused=True))
    kept = [fresh() for _ in range(3)]
    for message in kept:
        tenant.send(message)
    tenant.until(lambda: analytics.got(*kept), what="the other route's deliveries")
    assert not notifier.got(*kept)

    tenant.change_routes(lambda routes: routes[0].update(paused=False))
    tenant.until(lambda: notifier.got(*kept, route="notify"), what="what was kept")
    assert len(notifier.messages()) == len(kept)


def test_without_a_grant_a_route_is_held_and_with_one_it_goes_on(cluster: Cluster) -> None:
    """The other team decides who sends to its Services; what came meanwhile is kept, not lost."""
    tenant = example(cluster, "granted")
    analytics = tenant.inbox("analytics")
    tenant.delivered(analytics, "analytics")

    tenant.kubectl("delete", "referencegrant", "tenants", "--namespace", tenant.platform)
    tenant.until(lambda: tenant.says("ResolvedRefs", "False", "RefNotPermitted"), what="RefNotPermitted")
    tenant.wait("Programmed")
    kept = fresh()
    tenant.send(kept)
    tenant.delivered(tenant.inbox("notifier"), "notify")
    assert not analytics.got(kept)

    tenant.apply(a_grant(tenant.namespace))
    tenant.until(lambda: analytics.got(kept, route="analytics"), what="what was kept")
    tenant.wait("Ready")


def test_events_follow_the_pods_of_a_handler(cluster: Cluster) -> None:
    """Rollouts replace every Pod: no event may wait for one that is gone."""
    tenant = example(cluster, "rollout")
    inbox = tenant.inbox("analytics")
    tenant.delivered(inbox, "analytics")

    tenant.add_pod("analytics", "analytics-new", tenant.platform, inbox=inbox)
    tenant.remove_pod("analytics", "analytics-0", tenant.platform)

    took = tenant.delivered(inbox, "analytics")
    print(f"delivered to the new pod {took:.2f} s after an event was sent at the old one's end")


def test_a_handler_that_is_scaled_gets_events_at_every_pod(cluster: Cluster) -> None:
    """New Pods take their share, or scaling would help nobody."""
    tenant = example(cluster, "scaled")
    inboxes = [Inbox() for _ in range(2)]
    for index, inbox in enumerate(inboxes):
        tenant.add_pod("analytics", f"analytics-more-{index}", tenant.platform, inbox=inbox)
    sent: list[str] = []

    def all_have_some() -> bool:
        sent.extend(fresh() for _ in range(5))
        for message in sent[-5:]:
            tenant.send(message)
        return all(inbox.messages() for inbox in (*inboxes, tenant.inbox("analytics")))

    tenant.until(all_have_some, 30, "events at all three")
    every = (*inboxes, tenant.inbox("analytics"))
    tenant.until(lambda: set(sent) <= {each for inbox in every for each in inbox.messages()}, what="all events")


def test_a_handlers_new_authority_counts_from_its_config_map(cluster: Cluster) -> None:
    """Authorities are renewed: with the old one no delivery succeeds any more, with the new one all do."""
    tenant = example(cluster, "renewed")
    notifier = tenant.inbox("notifier")
    tenant.delivered(notifier, "notify")

    renewed = tenant.tls("notifier", tenant.namespace, "renewed")
    tenant.remove_pod("notifier", "notifier-0")
    tenant.add_pod("notifier", "notifier-new", inbox=notifier, tls=renewed)
    kept = fresh()
    tenant.send(kept)
    tenant.delivered(tenant.inbox("analytics"), "analytics")
    assert not notifier.got(kept)

    tenant.apply(an_authority(tenant.namespace, "notifier-ca", renewed.certificate.with_name("ca.crt")))
    took = tenant.until(lambda: notifier.got(kept, route="notify"), 75, "what waited for the new authority")
    print(f"a new authority: {took:.2f} s")


def test_suspended_is_refused_and_taken_up_again(cluster: Cluster) -> None:
    """503 and not 401: the sender is right, and is to come again."""
    tenant = example(cluster, "suspended")

    tenant.patch({"suspend": True})
    took = tenant.until_answered(503)
    assert all("retry-after" in answer.headers for answer in tenant.post(an_event(fresh())))
    tenant.until(lambda: tenant.says("Ready", "False", "Suspended"))

    tenant.patch({"suspend": False})
    again = tenant.until_answered(200)
    tenant.wait("Ready")
    print(f"suspended {took:.2f} s after kubectl patch, accepted again {again:.2f} s after the next")


def test_a_deleted_subscription_is_a_path_that_nobody_has(cluster: Cluster) -> None:
    """What was deleted tells nobody that it was there; made anew it works like the first time."""
    tenant = example(cluster, "deleted")
    unknown = tenant.post(an_event(fresh()), path=f"/{tenant.namespace}/never")

    tenant.kubectl("delete", "webhooksubscription", "chat")
    took = tenant.until_answered(401)
    gone = tenant.post(an_event(fresh()))
    assert [(each.status, each.body) for each in gone] == [(each.status, each.body) for each in unknown]

    tenant.apply(acme_yaml(tenant.namespace, "WebhookSubscription"))
    tenant.wait("Ready")
    tenant.delivered(tenant.inbox("notifier"), "notify")
    print(f"deleted: refused {took:.2f} s after kubectl delete")


def test_the_path_of_another_namespace_is_nobody_elses(cluster: Cluster) -> None:
    """Nobody takes another tenant's events, and nobody learns from the answer which paths there are."""
    first, second = example(cluster, "owner"), example_tenant(cluster, "taker")
    theirs = ("theother", "Zz9fKq2LmX7tVb4R")
    second.apply(a_secret(namespace=second.namespace, username=theirs[0], password=theirs[1]))

    messages = []
    for path in (first.path, f"/{first.namespace}/free"):
        wanted = second.manifest("WebhookSubscription")
        wanted["spec"]["path"] = path
        second.apply(wanted)
        second.until(lambda: second.says("Accepted", "False", "PathNotAllowed"), what="PathNotAllowed")
        messages.append(second.conditions()["Accepted"]["message"].replace(path, "PATH"))
        assert second.statuses(theirs, path=path) == {401}

    assert messages[0] == messages[1]
    assert first.statuses() == {200}
    assert first.says("Ready", "True")


def test_of_two_that_want_one_path_the_older_has_it(cluster: Cluster) -> None:
    """The younger one is told who has it, serves nothing, and takes over when that one leaves, not before."""
    tenant = example(cluster, "paths")
    theirs = ("theother", "Zz9fKq2LmX7tVb4R")
    tenant.apply(a_secret("other", tenant.namespace, username=theirs[0], password=theirs[1]))
    younger = tenant.manifest("WebhookSubscription")
    younger["metadata"]["name"] = "younger"
    younger["spec"].update(path=tenant.path, auth={"basic": {"secretRefs": [{"name": "other"}]}})
    tenant.apply(younger)

    tenant.until(lambda: tenant.says("Accepted", "False", "PathConflict", "younger"), what="PathConflict")
    assert f"{tenant.namespace}/chat" in tenant.conditions("younger")["Accepted"]["message"]
    assert (tenant.statuses(), tenant.statuses(theirs)) == ({200}, {401})
    assert tenant.says("Ready", "True")

    tenant.kubectl("delete", "webhooksubscription", "chat")
    took = tenant.until_answered(200, theirs)
    tenant.wait("Ready", "younger")
    assert tenant.statuses() == {401}
    print(f"the path is the other's {took:.2f} s after kubectl delete")

    tenant.apply(tenant.manifest("WebhookSubscription"))
    tenant.until(lambda: tenant.says("Accepted", "False", "PathConflict"), what="PathConflict the other way round")
    assert (tenant.statuses(), tenant.statuses(theirs)) == ({401}, {200})
