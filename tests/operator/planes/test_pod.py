"""A receiver pod: what its containers are told fits the programs, and each can reach what it needs and no more."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from hookline_operator.decide.planes.manifests import headless_name, manifests, object_name
from hookline_operator.decide.planes.plane import Plane
from hookline_operator.decide.planes.pod import GRACE_SECONDS, PodSettings, pod_template
from hookline_operator.decide.planes.pod_settings import PodSettingsError, read_pod_settings
from hookline_receiver.agent.settings import settings_from as agent_settings
from hookline_receiver.forwarder.settings import settings_from as forwarder_settings
from hookline_receiver.settings import from_environment as receiver_settings
from hookline_routes.resource import ScalingSpec
from support.planes import a_plane

GOLDEN = Path(__file__).parent / "golden"
IMAGE = PodSettings(image="registry.example.com/hookline/receiver:1")
FULL = PodSettings(image="one", trusted_proxies=("10.0.0.0/8", "fd00::/8"), workers=4, log_level="DEBUG")
CERTIFIED = a_plane(client_certificate="client")


def containers(plane: Plane, settings: PodSettings) -> dict[str, Any]:
    """By name."""
    spec: Any = pod_template(plane, settings, {})["spec"]
    return {each["name"]: each for each in (*spec["initContainers"], *spec["containers"])}


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """What its process is told."""
    return {each["name"]: each["value"] for each in container["env"]}


READERS: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
    "receiver": receiver_settings,
    "forwarder": forwarder_settings,
    "agent": agent_settings,
}


@pytest.mark.parametrize("name", READERS)
def test_each_program_takes_what_its_container_says(name: str) -> None:
    """A setting that is renamed would end every pod at its start."""
    cluster = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}

    settings = READERS[name](cluster | environment(containers(CERTIFIED, FULL)[name]))

    assert settings.log_level == "DEBUG"


@pytest.mark.parametrize("name", READERS)
def test_each_program_writes_where_it_may_alone(name: str) -> None:
    """The root file system is read-only: a path that no volume holds could not be written."""
    container = containers(CERTIFIED, FULL)[name]
    mounts = {each["mountPath"]: bool(each.get("readOnly")) for each in container["volumeMounts"]}
    settings = READERS[name]({"KUBERNETES_SERVICE_HOST": "10.96.0.1"} | environment(container))

    for path in WRITES[name](settings):
        folders = [folder for folder in mounts if path.is_relative_to(folder)]
        assert folders, f"{name} writes {path}, which is in no volume"
        assert not mounts[max(folders, key=len)], f"{name} writes {path}, which is mounted read-only"
    for path in READS[name](settings):
        assert any(path.is_relative_to(folder) for folder in mounts), f"{name} reads {path}, which is in no volume"


WRITES: Mapping[str, Callable[[Any], list[Path]]] = {
    "receiver": lambda given: [given.journals, given.run, given.edge.run_folder],
    "forwarder": lambda given: [given.journals, given.store, given.pending, given.aside, given.admin],
    "agent": lambda given: [given.receiver_index, given.forwarder_index, given.endpoints_index],
}
READS: Mapping[str, Callable[[Any], list[Path]]] = {
    "receiver": lambda given: [given.routes, given.pending],
    "forwarder": lambda given: [given.routes, given.endpoints, given.client_certificate, given.client_key],
    "agent": lambda given: [given.keys_dir / "tagKey", given.token_file, given.ca_file],
}


def test_what_one_writes_another_reads_in_the_same_folder_of_the_volume() -> None:
    """The three share one volume in parts: a journal that the forwarder does not see would never be delivered."""
    found = containers(a_plane(), IMAGE)

    def folder(name: str, path: str) -> str:
        mounts = {each["mountPath"]: each.get("subPath", "") for each in found[name]["volumeMounts"]}
        mount = max((each for each in mounts if path.startswith(each)), key=len)
        return f"{mounts[mount]}{path.removeprefix(mount)}"

    assert folder("receiver", "/data/journal") == folder("forwarder", "/data/journal")
    assert folder("receiver", "/data/share") == folder("forwarder", "/data/share")
    assert folder("receiver", "/data/routes/x") == folder("agent", "/data/routes/receiver/x")
    assert folder("forwarder", "/data/routes/x") == folder("agent", "/data/routes/forwarder/x")


def test_the_container_that_faces_the_internet_has_no_token_and_no_key() -> None:
    """SECURITY: whoever takes it over could read every subscription's verifiers, or speak to handlers as the product."""
    found = containers(CERTIFIED, IMAGE)
    volumes = {name: {each["name"] for each in one["volumeMounts"]} for name, one in found.items()}

    assert volumes["receiver"] == {"data", "run", "tmp"}
    assert volumes["forwarder"] == {"data", "run", "tmp", "client-certificate"}
    assert volumes["agent"] == {"data", "tmp", "internal", "token"}
    folders = {each["subPath"] for each in found["receiver"]["volumeMounts"] if each["name"] == "data"}
    assert folders == {"journal", "routes/receiver", "share"}


def test_probes_and_ports_are_where_the_programs_listen() -> None:
    """A probe of a port where nobody listens restarts a pod that works."""
    found = containers(a_plane(), IMAGE)
    for name, binds in {"receiver": ("BIND", "OPS_BIND"), "forwarder": ("OPS_BIND",), "agent": ("OPS_BIND",)}.items():
        told = environment(found[name])
        listens = {int(told[f"HOOKLINE_{name.upper()}_{bind}"].rpartition(":")[2]) for bind in binds}
        ports = {each["containerPort"] for each in found[name]["ports"]}
        assert listens <= ports
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe in found[name]:
                assert found[name][probe]["httpGet"]["port"] in listens


def test_a_pod_may_take_as_long_to_end_as_its_programs_may() -> None:
    """A kill in the middle of a call is a delivery that comes twice."""
    settings = receiver_settings(environment(containers(a_plane(), IMAGE)["receiver"]))
    forwarder = forwarder_settings(environment(containers(a_plane(), IMAGE)["forwarder"]))
    edge = settings.edge

    assert edge.drain_seconds + edge.idle_grace + edge.graceful_timeout + forwarder.stop_patience < GRACE_SECONDS


GATEWAYS = {
    "left-to-others": a_plane(),
    "fixed": a_plane(replicas=3, storage_class="fast", storage_bytes=1 << 30),
    "scaled": a_plane("edge", scaling=ScalingSpec(2, 10, 65), client_certificate="client"),
    "dedicated": a_plane(
        "default.acme.chat",
        scaling=ScalingSpec(2, 4, 50),
        resources={"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    ),
}


@pytest.mark.parametrize("name", GATEWAYS)
def test_objects_are_as_they_were(name: str) -> None:
    """
    A change of a template rolls every pod of every installation: it must be meant.

    `HOOKLINE_WRITE_GOLDEN=1 pytest …` writes the files anew.
    """
    import os

    objects = json.loads(json.dumps(manifests(GATEWAYS[name], IMAGE)))
    text = yaml.safe_dump_all(objects, sort_keys=False, width=120)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("HOOKLINE_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")

    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    ["default", "g" * 63, "default.acme.chat", f"default.{'n' * 63}.{'s' * 63}", f"{'g' * 30}.n.s", "a.b-.c"],
    ids=["short", "long gateway", "dedicated", "long", "at the limit", "odd"],
)
def test_names_fit_where_kubernetes_puts_them(name: str) -> None:
    """A StatefulSet's pods get its name and a hash of ten as a label: 52 characters are left of 63."""
    plane = a_plane(name)

    assert len(object_name(plane)) <= 52
    assert len(headless_name(plane)) <= 63
    for each in (object_name(plane), headless_name(plane)):
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", each)


def test_names_of_different_planes_differ() -> None:
    """SECURITY: a tenant chooses namespace and name."""
    planes = ["default", "default-pods", "pods-default", "default.a-b.c", "default.a.b-c", "default-a.b.c"]
    names = [name for each in map(a_plane, planes) for name in (object_name(each), headless_name(each))]

    assert len(set(names)) == len(names)


# --- the file of pod settings


def test_a_whole_file_is_read() -> None:
    """Everything that can be set, as the docs show it."""
    text = (Path(__file__).parent / "pods.yaml").read_text(encoding="utf-8")

    settings = read_pod_settings(text)

    assert settings.image == "registry.example.com/hookline/receiver:1.4.0"
    assert settings.resources["receiver"]["requests"] == {"cpu": "1", "memory": "512Mi"}
    default = PodSettings(image="")
    unset = [name for name in settings.__slots__ if getattr(settings, name) == getattr(default, name)]
    assert unset == ["agent_service_account", "internal_secret"]


def test_the_documented_file_is_read() -> None:
    """People copy it."""
    page = (Path(__file__).parents[3] / "docs" / "operate" / "scaling.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if block.startswith("image:")]

    assert read_pod_settings(example).workers == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "image is required"),
        ("[]", "the file must be an object"),
        ("image: [", "not YAML"),
        ("{image: a, imagePulPolicy: Always}", 'imagePulPolicy is unknown; did you mean "imagePullPolicy"?'),
        ("{image: a, resources: {reciever: {}}}", 'resources.reciever is unknown; did you mean "receiver"?'),
        ("{image: a, resources: {agent: {requests: {cpu: 1m}}}}", "resources.agent.requests.cpu must be"),
        ("{image: a, workers: 0}", "workers must be an integer from 1 to 64, got 0"),
        ("{image: a, logLevel: info}", "logLevel must be INFO or DEBUG"),
        ("{image: a, trustedProxies: [10.0.0.1/8]}", "trustedProxies[0] must be a network"),
        ("{image: a, tolerations: [x]}", "tolerations[0] must be an object"),
        ("{image: a, affinity: []}", "affinity must be an object"),
        ("{image: a, env: [{value: x}]}", "env[0].name is required"),
        ("{image: a, env: [{name: A}, {name: A}]}", "env[1].name must not be repeated"),
        ("{image: a, env: [{name: HOOKLINE_AGENT_PLANE}]}", "env[0].name must not be one that the operator sets"),
        ("{image: a, labels: {team: 'a b'}}", "labels.team must be a label's value"),
    ],
)
def test_a_mistake_is_named(text: str, message: str) -> None:
    """A setting that is spelled wrong would otherwise be found when it is missed."""
    with pytest.raises(PodSettingsError) as caught:
        read_pod_settings(text)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}),
        ({"requests": {"memory": "2Gi"}}, {"requests": {"cpu": "250m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}),
        (
            {"limits": {"cpu": "100m", "memory": "128Mi"}},
            {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "100m", "memory": "128Mi"}},
        ),
        ({"requests": {"cpu": "2"}}, {"requests": {"cpu": "2", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}),
    ],
    ids=["nothing", "a large request", "small limits", "CPU alone"],
)
def test_what_is_said_of_resources_is_laid_over_what_holds_in_general(given: Any, expected: Any) -> None:
    """A container without a request of CPU would not be scaled, one that requests more than its limit not be made."""
    settings = PodSettings(image="a", resources={"receiver": given})

    assert containers(a_plane(), settings)["receiver"]["resources"] == expected
    assert containers(a_plane(resources=given), IMAGE)["receiver"]["resources"] == expected


def test_labels_of_people_do_not_replace_ours() -> None:
    """A pod that its StatefulSet does not select would be made again and again."""
    settings = PodSettings(image="a", labels={"hookline.dev/plane": "other", "team": "chat"})

    metadata: Any = pod_template(a_plane(), settings, {"hookline.dev/plane": "default"})["metadata"]

    assert metadata["labels"] == {"hookline.dev/plane": "default", "team": "chat"}
