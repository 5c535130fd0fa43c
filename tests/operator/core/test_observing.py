"""What is observed of a real API server: lists, watches, verifications, and the faults between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest

from hookline_operator.apply.api import Api, ApiError, Limits
from hookline_operator.observe.authorities import Authorities, AuthorityPace
from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.feeds import Feeds
from hookline_operator.observe.kinds import Body
from hookline_operator.observe.kinds import kinds as kinds_table
from hookline_operator.observe.objects import Change, KindName
from hookline_operator.observe.verification import Found, Verification
from hookline_routes.resource import ObjectKey
from support.kubernetes.call import matching, writing
from support.kubernetes.faults import Answer, WatchError
from support.kubernetes.fixtures import NewNamespace, NewPlane
from support.kubernetes.kinds import install_kinds
from support.kubernetes.plane import ADMIN_TOKEN, ControlPlane
from support.kubernetes.proxy import FaultProxy
from support.waiting import until

SUBSCRIPTIONS, SECRETS = KindName.SUBSCRIPTIONS, KindName.SECRETS
QUICK = Limits(seconds=5, attempts=2)


class Listening(Cluster):
    """Remembers what feeds have passed on."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.passed_on: list[str] = []

    def apply(self, kind: KindName, event_type: str | None, body: Body) -> Change | None:
        self.passed_on.append(body["metadata"]["name"])
        return super().apply(kind, event_type, body)


class Observed:
    """An operator's observing parts, and what they told."""

    def __init__(self, client: Any, plane: ControlPlane, server: str, own: str, secrets: tuple[str, ...]) -> None:
        self.changes: list[Change] = []
        self.cluster = Listening(kinds_table(own, secrets), own)
        self.api = Api(client, limits=QUICK)
        self.authorities = Authorities(self.api, self.cluster, self.hear, pace=AuthorityPace(period=0.2))
        self.verification = Verification(self.api, self.cluster, self.authorities, self.hear)
        info = kopf.ConnectionInfo(server=server, ca_path=str(plane.authority), token=ADMIN_TOKEN, scheme="Bearer")
        self.feeds = Feeds(self.cluster, lambda: info, self.hear)

    def hear(self, change: Change) -> None:
        self.authorities.note(change)
        self.changes.append(change)

    def has(self, namespace: str, *names: str) -> bool:
        """Whether these and no others are the namespace's subscriptions."""
        return {key.name for key in self.cluster.subscriptions if key.namespace == namespace} == set(names)


@contextlib.asynccontextmanager
async def observing(
    plane: ControlPlane, server: str, own: str, secrets: tuple[str, ...] = (), *, feeds: bool = False
) -> AsyncIterator[Observed]:
    """Everything listed, and with *feeds* watched."""
    async with plane.aio(server=server) as client:
        observed = Observed(client, plane, server, own, secrets)
        await observed.verification.load()
        if feeds:
            observed.feeds.start()
        try:
            yield observed
        finally:
            if feeds:
                await observed.feeds.stop()


def a_subscription(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    route = {"name": "all", "handler": {"serviceRef": {"name": "handler", "port": 8080}}}
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"routes": [route], **spec},
    }


def with_authority(namespace: str, name: str, authority: str) -> dict[str, Any]:
    ref = {"name": "handler", "port": 8080}
    route = {"name": "all", "handler": {"serviceRef": ref, "tls": {"caRef": {"name": authority}}}}
    return a_subscription(namespace, name, routes=[route])


def a_secret(namespace: str, name: str, kind: str = "kubernetes.io/basic-auth") -> dict[str, Any]:
    data = {"username": "dXNlcg==", "password": "c2VjcmV0"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "type": kind,
        "data": data,
    }


def a_config_map(namespace: str, name: str, text: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": text}}


@pytest.mark.usefixtures("kinds")
async def test_lists_bring_what_there_is(plane: ControlPlane, new_namespace: NewNamespace) -> None:
    """More than one page of it; of Secrets those of our type only."""
    own, acme = new_namespace("own"), new_namespace("acme", labels={"team": "a"})
    names = [f"s{number}" for number in range(510)]
    api = plane.api()
    api.apply(*(a_subscription(acme, name) for name in names))
    api.apply(a_secret(acme, "login"), a_secret(acme, "other", "Opaque"))

    async with observing(plane, plane.server, own) as observed:
        assert observed.has(acme, *names)
        assert {key.name for key in observed.cluster.secrets if key.namespace == acme} == {"login"}
        assert observed.cluster.namespaces[acme].labels["team"] == "a"
        assert observed.verification.is_complete
        assert await observed.verification.verify() == Found()


@pytest.mark.usefixtures("kinds")
async def test_watches_bring_what_changes(plane: ControlPlane, new_namespace: NewNamespace) -> None:
    """And nothing of what was listed already comes a second time."""
    own, acme = new_namespace("own"), new_namespace("acme")
    api = plane.api()
    api.apply(a_subscription(acme, "a"))
    async with observing(plane, plane.server, own, feeds=True) as observed:
        first = len(observed.changes)
        api.apply(a_subscription(acme, "b"), a_secret(acme, "login"))
        await until(lambda: observed.has(acme, "a", "b") and ObjectKey(acme, "login") in observed.cluster.secrets)
        api.apply(a_subscription(acme, "a", suspend=True))
        api.delete(a_subscription(acme, "b"))
        await until(lambda: observed.has(acme, "a"))
        await until(lambda: observed.cluster.subscriptions[ObjectKey(acme, "a")].generation == 2)

        heard = [change.key.name for change in observed.changes[first:] if change.key.namespace == acme]
        assert sorted(heard) == ["a", "b", "b", "login"]


@pytest.mark.usefixtures("kinds")
async def test_watches_pass_on_nothing_that_is_known(plane: ControlPlane, new_namespace: NewNamespace) -> None:
    """kopf lists all that was just listed, tens of thousands: each would be kept, wake the operator up and be judged again."""
    own, acme = new_namespace("own"), new_namespace("acme")
    api = plane.api()
    api.apply(*(a_subscription(acme, f"known-{number}") for number in range(20)))

    async with observing(plane, plane.server, own, feeds=True) as observed:
        # What kopf lists after these is told after these; a page's events come before those of the watch that follows it.
        for name in ("first", "second"):
            api.apply(a_subscription(acme, name))
            await until(lambda name=name: name in observed.cluster.passed_on)  # type: ignore[misc]

    assert [name for name in observed.cluster.passed_on if name.startswith("known-")] == []


@pytest.mark.usefixtures("kinds")
async def test_watching_writes_nothing(
    plane: ControlPlane, fault_proxy: FaultProxy, new_namespace: NewNamespace
) -> None:
    """Neither finalizers nor annotations nor Events: ten thousand objects would cost ten thousand writes."""
    own, acme = new_namespace("own"), new_namespace("acme")
    api = plane.api()
    mark = fault_proxy.mark()
    stored = api.apply(*(a_subscription(acme, f"s{number}") for number in range(20)))
    async with observing(plane, fault_proxy.url, own, feeds=True) as observed:
        api.apply(*(a_subscription(acme, f"s{number}", suspend=True) for number in range(20)))
        await until(
            lambda: all(
                each.generation == 2 for key, each in observed.cluster.subscriptions.items() if key.namespace == acme
            )
        )
        api.delete(stored[0])
        await until(lambda: not observed.cluster.subscriptions.get(ObjectKey(acme, "s0")))

    assert fault_proxy.calls(mark, writing) == []
    for thing in api.objects("hookline.dev/v1alpha1", "WebhookSubscription", acme):
        assert "finalizers" not in thing["metadata"]
        assert not [key for key in thing["metadata"].get("annotations", {}) if "kopf" in key]


@pytest.mark.usefixtures("kinds")
async def test_a_verification_finds_what_feeds_have_missed(
    plane: ControlPlane, fault_proxy: FaultProxy, new_namespace: NewNamespace
) -> None:
    """It reads names and versions, and of the objects themselves only those that differ."""
    own, acme = new_namespace("own"), new_namespace("acme")
    api = plane.api()
    api.apply(*(a_subscription(acme, name) for name in ("ghost", "changed", "same")))
    async with observing(plane, fault_proxy.url, own) as observed:
        api.delete(a_subscription(acme, "ghost"))
        api.apply(a_subscription(acme, "changed", suspend=True), a_subscription(acme, "missed"))
        mark = fault_proxy.mark()

        found = await observed.verification.verify([SUBSCRIPTIONS])

        assert found == Found(changed=2, ghosts=1)
        assert observed.has(acme, "changed", "same", "missed")
        assert observed.verification.found[SUBSCRIPTIONS] == found
        assert sorted(seen.request.verb for seen in fault_proxy.calls(mark)) == ["get", "get", "list"]


@pytest.mark.usefixtures("kinds")
async def test_feeds_begin_anew_after_they_were_refused(
    plane: ControlPlane, fault_proxy: FaultProxy, new_namespace: NewNamespace
) -> None:
    """An API server that starts answers 403 until it has read its roles; kopf ends at that, and must not stay ended."""
    own, acme = new_namespace("own"), new_namespace("acme")
    api = plane.api()
    watches = matching(verb="watch", resource="webhooksubscriptions")
    async with observing(plane, fault_proxy.url, own, feeds=True) as observed:
        api.apply(a_subscription(acme, "before"))
        await until(lambda: observed.has(acme, "before"))

        with fault_proxy.inject(Answer(403), watches):
            fault_proxy.reset(watches)
            await until(lambda: observed.feeds.restarts > 0, within=40, what="kopf given up, and started again")

        api.apply(a_subscription(acme, "after"))
        await until(lambda: observed.has(acme, "before", "after"))


@pytest.mark.usefixtures("kinds")
async def test_what_is_deleted_in_a_gap_that_ends_in_410_is_found(
    plane: ControlPlane, fault_proxy: FaultProxy, new_namespace: NewNamespace
) -> None:
    """kopf lists anew after it and says nothing of what is there no more: a ghost that would go on accepting events."""
    own, acme = new_namespace("own"), new_namespace("acme")
    api = plane.api()
    api.apply(a_subscription(acme, "ghost"))
    watches = matching(verb="watch", resource="webhooksubscriptions")
    async with observing(plane, fault_proxy.url, own, feeds=True) as observed:
        api.apply(a_subscription(acme, "seen"))
        await until(lambda: observed.has(acme, "ghost", "seen"))
        relisted = matching(verb="list", resource="webhooksubscriptions")
        with fault_proxy.inject(WatchError(410), watches) as rule:
            fault_proxy.reset(watches)
            await until(lambda: rule.hits > 0)
            api.delete(a_subscription(acme, "ghost"))
            mark = fault_proxy.mark()
            await until(lambda: len(fault_proxy.calls(mark, relisted)) > 2)
        api.apply(a_subscription(acme, "later"))
        await until(lambda: ObjectKey(acme, "later") in observed.cluster.subscriptions)
        was_ghost = ObjectKey(acme, "ghost") in observed.cluster.subscriptions

        found = await observed.verification.verify([SUBSCRIPTIONS])

        assert was_ghost
        assert found.ghosts == 1
        assert observed.has(acme, "seen", "later")


@pytest.mark.usefixtures("kinds")
async def test_a_list_that_fails_drops_nothing(
    plane: ControlPlane, fault_proxy: FaultProxy, new_namespace: NewNamespace
) -> None:
    """What is not known to be gone must not be taken for gone."""
    own, acme = new_namespace("own"), new_namespace("acme")
    plane.api().apply(a_subscription(acme, "a"), a_secret(acme, "login"))
    async with observing(plane, fault_proxy.url, own) as observed:
        plane.api().delete(a_subscription(acme, "a"))
        for status in (500, 403, 504):
            with fault_proxy.inject(Answer(status), matching(verb="list")), pytest.raises(ApiError):
                await observed.verification.verify()

        assert observed.has(acme, "a")
        assert ObjectKey(acme, "login") in observed.cluster.secrets
        assert (await observed.verification.verify()).ghosts == 1


@pytest.mark.usefixtures("kinds")
async def test_those_who_ask_at_the_same_time_share_a_list_made_after_they_asked(
    plane: ControlPlane, fault_proxy: FaultProxy, new_namespace: NewNamespace
) -> None:
    """Ten conflicts at once must not cost ten lists; a list that was under way already does not count."""
    own = new_namespace("own")
    async with observing(plane, fault_proxy.url, own) as observed:
        mark = fault_proxy.mark()
        under_way = asyncio.create_task(observed.verification.verify([SUBSCRIPTIONS]))
        await asyncio.sleep(0)
        await asyncio.gather(under_way, *(observed.verification.verify([SUBSCRIPTIONS]) for _ in range(10)))

        assert len(fault_proxy.calls(mark, matching(verb="list"))) == 2


@pytest.mark.usefixtures("kinds")
async def test_secrets_of_named_namespaces_only(
    plane: ControlPlane, fault_proxy: FaultProxy, new_namespace: NewNamespace
) -> None:
    """A platform may let the operator see the Secrets of some namespaces and no others."""
    own, acme, other = new_namespace("own"), new_namespace("acme"), new_namespace("other")
    api = plane.api()
    api.apply(a_secret(acme, "login"), a_secret(other, "login"))
    mark = fault_proxy.mark()
    async with observing(plane, fault_proxy.url, own, (acme, own), feeds=True) as observed:
        api.apply(a_secret(acme, "second"), a_secret(other, "second"))
        await until(lambda: ObjectKey(acme, "second") in observed.cluster.secrets)

        assert {key.namespace for key in observed.cluster.secrets} == {acme}
        asked = {seen.request.namespace for seen in fault_proxy.calls(mark, matching(resource="secrets"))}
        assert asked == {acme, own}


@pytest.mark.usefixtures("kinds")
async def test_an_authority_is_read_with_the_subscription_that_names_it_and_again(
    plane: ControlPlane, new_namespace: NewNamespace
) -> None:
    """Nobody watches a cluster's ConfigMaps; a new certificate takes effect within the period all the same."""
    own, acme = new_namespace("own"), new_namespace("acme")
    api = plane.api()
    api.apply(a_config_map(acme, "ca", "first"), with_authority(acme, "known", "ca"))
    async with observing(plane, plane.server, own, feeds=True) as observed:
        key = ObjectKey(acme, "ca")
        assert observed.cluster.config_maps[key].data == {"ca.crt": "first"}
        running = asyncio.create_task(observed.authorities.run())
        api.apply(
            a_config_map(acme, "ca", "second"), a_config_map(acme, "ca2", "x"), with_authority(acme, "new", "ca2")
        )

        await until(lambda: observed.cluster.config_maps[key].data == {"ca.crt": "second"})
        await until(lambda: ObjectKey(acme, "ca2") in observed.cluster.config_maps)
        api.delete(a_config_map(acme, "ca", ""))
        await until(lambda: key not in observed.cluster.config_maps)
        api.delete(with_authority(acme, "new", "ca2"))
        await until(lambda: ObjectKey(acme, "ca2") not in observed.cluster.config_maps)
        running.cancel()
        await asyncio.wait((running,))
        assert running.cancelled()


async def test_grants_may_come_later(new_plane: NewPlane) -> None:
    """Their definition is another project's: without it everything else works, with it they count at once."""
    plane = new_plane()
    install_kinds(plane, reference_grants=False)
    api = plane.api()
    for name in ("own", "shop"):
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    async with observing(plane, plane.server, "own", feeds=True) as observed:
        assert not observed.cluster.grants
        install_kinds(plane)
        source = {"group": "hookline.dev", "kind": "WebhookSubscription", "namespace": "acme"}
        grant = {
            "apiVersion": "gateway.networking.k8s.io/v1beta1",
            "kind": "ReferenceGrant",
            "metadata": {"namespace": "shop", "name": "g"},
            "spec": {"from": [source], "to": [{"group": "", "kind": "Service"}]},
        }
        plane.api().apply(grant)

        await until(lambda: ObjectKey("shop", "g") in observed.cluster.grants)
        assert await observed.verification.verify() == Found()
        plane.kubectl("delete", "crd", "referencegrants.gateway.networking.k8s.io")
        await until(lambda: not observed.cluster.grants)
        await observed.verification.verify()
        api.apply(a_subscription("shop", "still"))
        await until(lambda: observed.has("shop", "still"))
