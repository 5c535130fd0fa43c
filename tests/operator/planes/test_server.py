"""The lane against a real API server, with the rights that the chart grants and no others."""

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Self

import pytest

from hookline_operator.decide.planes.manifests import manifests
from hookline_operator.decide.planes.plane import shared_plane
from hookline_operator.decide.planes.pod import PodSettings
from hookline_operator.decide.planes.steps import step
from hookline_operator.observe.objects import Pod
from hookline_routes.resource import ObjectKey, WebhookGateway
from support.kubernetes.api import Object, Refused
from support.kubernetes.plane import ControlPlane
from support.planes import PlanesScene
from support.waiting import until_sync

pytestmark = pytest.mark.usefixtures("kinds")
SCALING = {"minReplicas": 2, "maxReplicas": 5}


@pytest.fixture
def scene(plane: ControlPlane, namespace: str) -> PlanesScene:
    """An installation in a namespace of its own."""
    return PlanesScene(plane, namespace)


async def test_a_gateway_gets_what_its_plane_needs(scene: PlanesScene) -> None:
    """Two pods to begin with, as nothing scales them yet, and two Services; everything owned by the gateway alone."""
    key = scene.gateway()

    async with scene.running():
        names = scene.names()
        owners = [
            each["metadata"]["ownerReferences"]
            for each in (scene.get(), scene.get("Service"), scene.get("PodDisruptionBudget"))
        ]

    assert names == {
        "StatefulSet/hookline-default",
        "Service/hookline-default",
        "Service/pods-of-hookline-default",
        "PodDisruptionBudget/hookline-default",
    }
    assert scene.replicas() == 2
    assert {owner["uid"] for each in owners for owner in each} == {scene.others.gateways[key].uid}
    assert scene.said() == {"status": "True", "reason": "Deployed", "message": ""}
    assert scene.lane.contribution("WebhookGateway", key).desired_pods == 2
    assert ("WebhookGateway", key) in scene.told


async def test_pods_are_fit_for_namespaces_that_restrict_them(scene: PlanesScene) -> None:
    """Admission of Pods by the `restricted` standard is what careful clusters have."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.namespace}}
    scene.admin.patch(namespace, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    scene.admin.apply({**account, "metadata": {"name": "hookline-agent", "namespace": scene.namespace}})
    scene.gateway(backendTLS={"clientCertificateRef": {"name": "client"}})

    async with scene.running():
        template = scene.get()["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "one", "namespace": scene.namespace},
        "spec": copy.deepcopy(template["spec"]),
    }
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "data-one"}}
    pod["spec"]["volumes"] = [*pod["spec"]["volumes"], claim]
    careless = copy.deepcopy(pod)
    careless["spec"]["containers"][0]["securityContext"]["capabilities"] = {}

    assert scene.admin.create(pod)["metadata"]["name"] == "one"
    with pytest.raises(Refused, match="PodSecurity"):
        scene.admin.create({**careless, "metadata": {**pod["metadata"], "name": "two"}})


@pytest.mark.parametrize(
    "spec",
    [{}, {"replicas": 3}, {"scaling": SCALING}, {"backendTLS": {"clientCertificateRef": {"name": "client"}}}],
    ids=["left to others", "fixed", "scaled", "client certificate"],
)
async def test_nothing_is_written_at_rest_nor_after_a_restart(scene: PlanesScene, spec: Object) -> None:
    """What the API server adds to objects is no difference; else every operator's start would roll all pods."""
    scene.gateway(**spec)
    async with scene.running(PODS):
        mark = scene.plane.audit.mark()
        for _ in range(3):
            await scene.look()
        assert scene.plane.audit.writes(mark, namespace=scene.namespace) == []

    async with scene.running(PODS):
        await scene.look()

    assert scene.plane.audit.writes(mark, namespace=scene.namespace) == []


PODS = PodSettings(
    image="registry.example.com/hookline/receiver:1",
    workers=3,
    trusted_proxies=("10.0.0.0/8",),
    resources={"receiver": {"requests": {"cpu": "1000m", "memory": "1Gi"}, "limits": {"memory": "2048Mi"}}},
    labels={"team": "chat"},
    annotations={"example.com/scrape": "true"},
    node_selector={"pool": "webhooks"},
    tolerations=({"key": "webhooks", "operator": "Exists", "effect": "NoSchedule"},),
    affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    priority_class="system-cluster-critical",
    image_pull_secrets=("registry",),
    env=({"name": "TZ", "value": "UTC"},),
)


async def test_what_is_taken_out_of_the_settings_goes(scene: PlanesScene) -> None:
    """Who creates or updates a field otherwise than by applying it owns it twice, and it would stay."""
    scene.gateway()
    async with scene.running(PODS):
        assert scene.get()["spec"]["template"]["spec"]["nodeSelector"] == {"pool": "webhooks"}

    async with scene.running():
        spec = scene.get()["spec"]["template"]["spec"]

    assert {"nodeSelector", "tolerations", "affinity", "priorityClassName"} & set(spec) == set()
    assert "TZ" not in {each["name"] for each in spec["containers"][0]["env"]}


async def test_drift_is_set_right_once(scene: PlanesScene) -> None:
    """Somebody's change of what is ours goes; what they added beside it stays."""
    scene.gateway()
    async with scene.running():
        change = {"metadata": {"labels": {"app.kubernetes.io/name": "other", "team": "chat"}}}
        scene.admin.patch(scene.get("Service"), change)
        scene.admin.patch(scene.get(), {"spec": {"minReadySeconds": 0}})
        mark = scene.plane.audit.mark()

        await scene.look()
        await scene.look()

    assert len(scene.plane.audit.writes(mark, namespace=scene.namespace)) == 2
    assert scene.get()["spec"]["minReadySeconds"] == 5
    assert scene.get("Service")["metadata"]["labels"]["app.kubernetes.io/name"] == "hookline-receiver"
    assert scene.get("Service")["metadata"]["labels"]["team"] == "chat"


async def test_whoever_keeps_changing_a_field_is_not_fought(scene: PlanesScene) -> None:
    """Two controllers that set each other right for ever would roll the pods for ever."""
    scene.gateway()
    async with scene.running():
        mark = scene.plane.audit.mark()
        for _ in range(5):
            scene.admin.patch(scene.get(), {"spec": {"minReadySeconds": 1}})
            await scene.look()
        said, ours = scene.said(), scene.plane.audit.writes(mark, namespace=scene.namespace, verb="patch")
        assert said["reason"] == "ObjectsDiffer"
        assert said["message"].endswith("somebody else sets spec.minReadySeconds")
        assert len([call for call in ours if "fieldManager=hookline-operator" in call.path]) == 1

        # Another field of the same object is another matter.
        scene.admin.patch(scene.get(), {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}})
        await scene.look()
        assert scene.get()["spec"]["updateStrategy"]["type"] == "RollingUpdate"

        # And after a while it is tried again.
        scene.admin.patch(scene.get(), {"spec": {"minReadySeconds": 1}})
        scene.now += 4000
        await scene.look()
        assert scene.get()["spec"]["minReadySeconds"] == 5
        assert scene.said()["status"] == "True"


async def test_a_mutating_opponent_is_not_fought(scene: PlanesScene) -> None:
    """An admission policy or webhook changes what we apply while it is stored: to apply it again would change nothing."""
    if not mutates(scene):
        pytest.fail("the API server knows no MutatingAdmissionPolicy")
    scene.gateway()
    async with scene.running():
        for _ in range(3):
            await scene.look()
        said = scene.said()
        mark = scene.plane.audit.mark()
        await scene.look()

    assert scene.get("PodDisruptionBudget")["spec"]["unhealthyPodEvictionPolicy"] == "IfHealthyBudget"
    assert "PodDisruptionBudget hookline-default does not stay" in said["message"]
    assert scene.plane.audit.writes(mark, namespace=scene.namespace) == []


def mutates(scene: PlanesScene) -> bool:
    """Make a policy for the namespace, and return when it is in force."""
    group = "admissionregistration.k8s.io"
    served = scene.admin.request("GET", "/apis")["groups"]
    versions = next(each["versions"] for each in served if each["name"] == group)
    version = next(
        (
            each["groupVersion"]
            for each in versions
            if any(
                one["kind"] == "MutatingAdmissionPolicy"
                for one in scene.admin.request("GET", f"/apis/{each['groupVersion']}")["resources"]
            )
        ),
        "",
    )
    if not version:
        return False
    metadata = {"name": scene.namespace}
    expression = 'Object{spec: Object.spec{unhealthyPodEvictionPolicy: "IfHealthyBudget"}}'
    scene.admin.apply(
        {
            "apiVersion": version,
            "kind": "MutatingAdmissionPolicy",
            "metadata": metadata,
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}},
                    "resourceRules": [
                        {
                            "apiGroups": ["policy"],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE", "UPDATE"],
                            "resources": ["poddisruptionbudgets"],
                        }
                    ],
                },
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
            },
        },
        {
            "apiVersion": version,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": scene.namespace},
        },
    )
    probe = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"generateName": "probe-", "namespace": scene.namespace},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "probe"}}},
    }

    def in_force() -> bool:
        made = scene.admin.create(probe)
        scene.admin.delete(made)
        return bool(made["spec"].get("unhealthyPodEvictionPolicy") == "IfHealthyBudget")

    until_sync(in_force, 30, "the policy is in force")
    return True


async def test_the_number_of_pods_never_dips_while_its_owner_changes(scene: PlanesScene) -> None:
    """A field that its last owner leaves out falls back to 1: each change of who scales could cost all pods but one."""
    steps: list[tuple[Object, int]] = [
        ({"replicas": 4}, 4),
        ({"scaling": SCALING}, 4),
        ({"replicas": 3}, 3),
        ({}, 3),
        ({"replicas": 3}, 3),
        ({"scaling": SCALING}, 3),
        ({}, 3),
    ]
    scene.gateway(replicas=4)
    async with scene.running():
        with Replicas(scene) as seen:
            for spec, pods in steps:
                scene.gateway(**spec)
                await scene.look()
                assert scene.replicas() == pods, spec
                assert scene.is_there("HorizontalPodAutoscaler") == ("scaling" in spec)
                assert ("hookline-operator" in scene.owners_of_replicas()) == ("replicas" in spec)
            assert scene.said()["status"] == "True"

    assert set(seen.numbers) == {4, 3}


async def test_who_scales_is_left_alone(scene: PlanesScene) -> None:
    """The autoscaler, or a person, by the scale subresource; the operator's next looks and starts leave the number."""
    scene.gateway(scaling=SCALING)
    async with scene.running():
        assert scene.replicas() == 2
        scene.plane.kubectl("scale", "statefulset/hookline-default", "--replicas=5", namespace=scene.namespace)
        await scene.look()
    scene.gateway(scaling={**SCALING, "maxReplicas": 9})

    async with scene.running(PODS):
        await scene.look()

    assert scene.replicas() == 5
    assert scene.get("HorizontalPodAutoscaler")["spec"]["maxReplicas"] == 9


async def test_a_hand_over_that_was_interrupted_is_ended(scene: PlanesScene) -> None:
    """The operator may be killed between the first write of a StatefulSet and the next."""
    scene.gateway()
    async with scene.running():
        scene.admin.delete(scene.get())
        wished = first_write(scene)
        scene.admin.request(
            "PATCH",
            f"/apis/apps/v1/namespaces/{scene.namespace}/statefulsets/hookline-default",
            wished,
            content_type="application/apply-patch+yaml",
            query={"fieldManager": "hookline-operator"},
        )
        assert scene.owners_of_replicas() == ["hookline-operator"]

        await scene.look()

    assert scene.replicas() == 2
    assert scene.owners_of_replicas() == ["hookline-operator-replicas"]


def first_write(scene: PlanesScene) -> Object:
    """What the operator would apply first."""
    (declared,) = scene.others.gateways.values()
    assert isinstance(declared.resource, WebhookGateway)
    pods = PodSettings(image="registry.example.com/hookline/receiver:1")
    every = manifests(shared_plane(declared.resource), pods)
    return step(next(each for each in every if each["kind"] == "StatefulSet"), None, 2).wish


async def test_another_size_of_volumes_is_said_and_fails_nothing(scene: PlanesScene) -> None:
    """Claims of a StatefulSet can't be changed; everything else of the gateway must go on to take effect."""
    scene.gateway(eventStore={"storage": {"size": "1Gi"}}, replicas=2)
    async with scene.running():
        scene.gateway(eventStore={"storage": {"size": "2Gi"}}, replicas=3)
        await scene.look()
        said = scene.said()
        mark = scene.plane.audit.mark()
        await scene.look()

        assert said["status"] == "False"
        assert "volumes stay as they were made" in said["message"]
        assert scene.replicas() == 3
        assert scene.plane.audit.writes(mark, namespace=scene.namespace) == []

        # The documented way: the StatefulSet is made anew (around its pods, which no controller is here to keep).
        scene.admin.delete(scene.get())
        await scene.look()

    template = scene.get()["spec"]["volumeClaimTemplates"][0]
    assert template["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert scene.said()["status"] == "True"


async def test_a_strangers_object_is_not_touched(scene: PlanesScene) -> None:
    """Somebody's Service may have had the name for years; with our labels on it too."""
    labels = {"app.kubernetes.io/name": "hookline-receiver", "app.kubernetes.io/managed-by": "hookline-operator"}
    metadata = {"name": "hookline-default", "namespace": scene.namespace, "labels": labels}
    spec = {"selector": {"app": "shop"}, "ports": [{"port": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "spec": spec}
    theirs = scene.admin.create({**service, "metadata": metadata})
    copied = {**metadata, "name": "shop", "annotations": {"hookline.dev/plane": "default"}}
    shop = scene.admin.create({**service, "metadata": copied})
    scene.gateway()

    async with scene.running():
        await scene.look()
        said = scene.said()

    assert scene.get("Service") == theirs
    assert scene.get("Service", "shop") == shop
    assert said["status"] == "False"
    assert "Service hookline-default is there already" in said["message"]
    assert scene.is_there("StatefulSet")


async def test_one_object_that_is_refused_holds_up_no_other(scene: PlanesScene) -> None:
    """Settings that the API server does not take must not cost a gateway its Services."""
    scene.gateway(scaling=SCALING)
    odd = PodSettings(image="one", tolerations=({"operator": "Sometimes"},))

    async with scene.running(odd):
        said = scene.said()

    assert scene.is_there("HorizontalPodAutoscaler")
    assert "StatefulSet hookline-default was refused" in said["message"]
    assert "Sometimes" in said["message"]


async def test_a_dedicated_plane_comes_and_goes(scene: PlanesScene) -> None:
    """It is removed when its routes have moved, nothing waits in its pods, and that has been so for a while; no sooner."""
    gateway = scene.gateway()
    key = scene.subscription("acme", gateway=gateway)
    plane = "default.acme.chat"
    async with scene.running():
        own = {each for each in scene.names() if "acme" in each}
        assert {each.partition("/")[0] for each in own} == {
            "StatefulSet",
            "Service",
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget",
        }

        scene.subscription("acme", gateway=gateway, own=False)
        scene.pods(plane, 2)
        scene.others.holding = {plane}
        scene.others.served_by = {key: plane}
        for change in (lambda: None, lambda: scene.others.holding.clear(), moved_but_late(scene, key)):
            change()
            for _ in range(3):
                scene.now += 20
                await scene.look()
                assert own <= scene.names()
        assert scene.said() == {
            "status": "True",
            "reason": "Deployed",
            "message": f"data plane {plane} is being left and removed when nothing waits in it",
        }

        scene.others.late = ()
        await scene.look()
        assert own <= scene.names()
        scene.now += 20
        await scene.look()

        assert {each for each in scene.names() if "acme" in each} == set()
        assert scene.is_there("StatefulSet")
        assert scene.said()["message"] == ""


def moved_but_late(scene: PlanesScene, key: ObjectKey) -> Callable[[], None]:
    """The routes are published in the shared plane, which does not serve them yet."""

    def change() -> None:
        scene.others.served_by = {key: "default"}
        scene.others.late = ("hookline-default-0",)

    return change


async def test_a_plane_stays_while_one_of_its_pods_can_not_say_what_it_holds(scene: PlanesScene) -> None:
    """A pod that waits for a node has a volume, perhaps with events in it."""
    gateway = scene.gateway()
    scene.subscription("acme", gateway=gateway)
    async with scene.running():
        scene.others.subscriptions.clear()
        scene.others.attached.clear()
        key = ObjectKey(scene.namespace, "hookline-default-acme-chat-0")
        scene.others.pods[key] = Pod(key, "uid", 1, frozenset(), False, False, False, plane="default.acme.chat")
        for _ in range(3):
            scene.now += 20
            await scene.look()
        assert any("acme" in each for each in scene.names())

        scene.others.pods.clear()
        scene.pods("default.acme.chat", 2)
        for _ in range(2):
            scene.now += 20
            await scene.look()

    assert not any("acme" in each for each in scene.names())


async def test_a_plane_without_all_its_pods_stays_unless_a_person_wants_none(scene: PlanesScene) -> None:
    """Where a quota, or a node that is lost, keeps pods away nobody says what is in their volumes: it would be stranded."""
    gateway = scene.gateway()
    scene.subscription("acme", gateway=gateway)
    async with scene.running():
        scene.others.subscriptions.clear()
        scene.others.attached.clear()
        for there in range(2):
            scene.pods("default.acme.chat", there)
            for _ in range(3):
                scene.now += 20
                await scene.look()
            assert any("acme" in each for each in scene.names()), f"{there} of 2 pods are there"

        (name,) = [each for each in scene.names() if each.startswith("StatefulSet/") and "acme" in each]
        scene.admin.patch(scene.get(name=name.partition("/")[2]), {"spec": {"replicas": 0}})
        scene.others.pods.clear()
        for _ in range(2):
            scene.now += 20
            await scene.look()

    assert not any("acme" in each for each in scene.names())


async def test_a_plane_that_fails_holds_up_no_other(scene: PlanesScene) -> None:
    """An admission webhook that is out of order for one tenant must not keep others from getting, or losing, theirs."""
    gateway = scene.gateway()
    leaving = scene.subscription("initech", gateway=gateway)
    async with scene.running():
        scene.api.failing = ("acme",)
        del scene.others.subscriptions[leaving], scene.others.attached[leaving]
        scene.pods("default.initech.chat", 2)
        scene.subscription("acme", gateway=gateway)
        scene.subscription("globex", gateway=gateway)
        for _ in range(2):
            scene.now += 20
            await scene.look()

        assert any("StatefulSet/" in each and "globex" in each for each in scene.names())
        assert not any("initech" in each for each in scene.names())
        assert scene.said()["status"] == "False"
        assert "the webhook is out of order" in scene.said()["message"]
        assert scene.lane.queue.failures(gateway) == 2
        assert scene.lane.queue.waiting == 1

        scene.api.failing = ()
        await scene.look()
        assert any("StatefulSet/" in each and "acme" in each for each in scene.names())
        assert scene.said()["status"] == "True"
        assert scene.lane.queue.failures(gateway) == 0


async def test_what_can_not_be_removed_holds_up_no_other_plane(scene: PlanesScene) -> None:
    """The same for planes that go."""
    gateway = scene.gateway()
    for namespace in ("acme", "globex"):
        scene.subscription(namespace, gateway=gateway)
    async with scene.running():
        scene.others.subscriptions.clear()
        scene.others.attached.clear()
        for namespace in ("acme", "globex"):
            scene.pods(f"default.{namespace}.chat", 2)
        scene.api.failing = ("acme",)
        for _ in range(2):
            scene.now += 20
            await scene.look()

        assert not any("globex" in each for each in scene.names())
        assert any("StatefulSet/" in each and "acme" in each for each in scene.names())
        assert "the webhook is out of order" in scene.said()["message"]


async def test_a_plane_that_a_person_has_ended_is_removed(scene: PlanesScene) -> None:
    """Whatever its pods held: it is in their volumes, and nobody is left who could say that it is delivered."""
    gateway = scene.gateway()
    scene.subscription("acme", gateway=gateway)
    async with scene.running():
        scene.others.subscriptions.clear()
        scene.others.attached.clear()
        scene.others.holding = {"default.acme.chat"}
        await scene.look()
        (name,) = [each for each in scene.names() if each.startswith("StatefulSet/") and "acme" in each]

        scene.admin.delete(scene.get(name=name.partition("/")[2]))
        await scene.look()

    assert not any("acme" in each for each in scene.names())


async def test_before_all_is_compiled_no_dedicated_plane_is_made_or_removed(scene: PlanesScene) -> None:
    """A new leader knows nothing of attachments at first: it must neither forget planes nor exceed quotas."""
    gateway = scene.gateway()
    scene.subscription("acme", gateway=gateway)
    async with scene.running():
        there = scene.names()
    scene.subscription("globex", gateway=gateway)
    scene.others.published = False

    async with scene.running():
        for _ in range(2):
            scene.now += 20
            await scene.look()
        assert scene.names() == there
        scene.others.published = True
        await asyncio.sleep(0.3)
        await scene.settled()
        assert any("globex" in each for each in scene.names())


async def test_planes_with_names_alike_have_objects_of_their_own(scene: PlanesScene) -> None:
    """acme-eu/chat and acme/eu-chat are two tenants': neither may come by the other's pods."""
    gateway = scene.gateway()
    scene.subscription("acme-eu", "chat", gateway=gateway)
    scene.subscription("acme", "eu-chat", gateway=gateway)

    async with scene.running():
        await scene.look()
        planes = {
            each["metadata"]["name"]: each["metadata"]["annotations"]["hookline.dev/plane"]
            for each in scene.admin.objects("apps/v1", "StatefulSet", scene.namespace)
        }

    assert sorted(planes.values()) == ["default", "default.acme-eu.chat", "default.acme.eu-chat"]
    assert scene.said()["status"] == "True"


async def test_scaling_that_goes_takes_its_autoscaler_along(scene: PlanesScene) -> None:
    """One that stayed would scale against the fixed number."""
    scene.gateway(scaling=SCALING)
    async with scene.running():
        assert scene.is_there("HorizontalPodAutoscaler")
        scene.gateway(replicas=2)
        await scene.look()

    assert not scene.is_there("HorizontalPodAutoscaler")
    assert scene.replicas() == 2


class Replicas:
    """Every number of pods that the StatefulSet ever had meanwhile, by a watch."""

    def __init__(self, scene: PlanesScene) -> None:
        self._scene = scene
        self.numbers: list[int] = []

    def __enter__(self) -> Self:
        self._version = self._scene.get()["metadata"]["resourceVersion"]
        return self

    def __exit__(self, *exception: object) -> None:
        path = f"/apis/apps/v1/namespaces/{self._scene.namespace}/statefulsets"
        query = {"watch": "true", "resourceVersion": self._version, "timeoutSeconds": "2"}
        text = self._scene.admin.request("GET", path, query=query)
        lines = text.splitlines() if isinstance(text, str) else [json.dumps(text)]
        events = [json.loads(line) for line in lines if line.strip()]
        assert events, "the watch tells every change since the mark"
        self.numbers = [each["object"]["spec"]["replicas"] for each in events]
