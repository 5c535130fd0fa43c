"""The control plane of the tests: real, quick, and gone afterwards whatever happens."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kubernetes.aio.client import VersionApi

from support.kubernetes.api import Api, Object, Refused
from support.kubernetes.fixtures import NewNamespace, NewPlane
from support.kubernetes.guard import Guard
from support.kubernetes.plane import ControlPlane, KubectlFailed, PlaneOptions
from support.kubernetes.process import Processes
from support.waiting import until_sync

TESTS = Path(__file__).parents[2]

WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.hookline.dev}
spec:
  group: test.hookline.dev
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {size: {type: integer}}
            x-kubernetes-validations: [{rule: "self.size < 10", message: a widget is smaller than 10}]
"""


def a_map(namespace: str, name: str, **data: str) -> Object:
    """A ConfigMap."""
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def a_widget(namespace: str, size: int) -> Object:
    """An object of the kind above."""
    metadata = {"namespace": namespace, "name": "one"}
    return {"apiVersion": "test.hookline.dev/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": size}}


def test_kubectl_speaks_to_a_server_of_the_wanted_version(plane: ControlPlane) -> None:
    """A chart's kubeVersion and kubectl's own comparison go by what the server says of itself."""
    version = json.loads(plane.kubectl("version", "-o", "json"))

    assert version["serverVersion"]["gitVersion"] == version["clientVersion"]["gitVersion"]
    assert version["serverVersion"]["gitVersion"].startswith("v1.")


def test_what_kubectl_says_is_in_the_error(plane: ControlPlane, namespace: str) -> None:
    """A test that fails must say why."""
    with pytest.raises(KubectlFailed, match=r'kubectl get secret nope: exit status 1\n.*secrets "nope" not found'):
        plane.kubectl("get", "secret", "nope", namespace=namespace)


def test_definitions_are_served_and_their_rules_hold(plane: ControlPlane, namespace: str) -> None:
    """The rules of a schema are the API server's to judge, not a re-implementation's."""
    plane.install(WIDGETS)

    with pytest.raises(Refused, match="a widget is smaller than 10") as refused:
        plane.api().create(a_widget(namespace, size=11))
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")
    plane.api().create(a_widget(namespace, size=9))


def test_a_service_account_may_do_what_its_role_lets_it(plane: ControlPlane, namespace: str) -> None:
    """Rights are proved with the account's own token, as in a cluster."""
    token = plane.service_account(namespace, "reader")
    plane.kubectl("create", "role", "reader", "--verb=get", "--resource=configmaps", namespace=namespace)
    account = f"--serviceaccount={namespace}:reader"
    plane.kubectl("create", "rolebinding", "reader", "--role=reader", account, namespace=namespace)
    plane.api().apply(a_map(namespace, "one", a="b"))
    api = plane.api(token)

    until_sync(lambda: allowed(plane, namespace), what="the API server's authorizer has seen the binding")
    assert api.get("v1", "ConfigMap", namespace, "one")["data"] == {"a": "b"}
    with pytest.raises(Refused, match="cannot list resource"):
        api.objects("v1", "ConfigMap", namespace)


def allowed(plane: ControlPlane, namespace: str) -> bool:
    """Whether the reader may read."""
    user = f"system:serviceaccount:{namespace}:reader"
    try:
        return plane.kubectl("auth", "can-i", "get", "cm", f"--as={user}", namespace=namespace).startswith("yes")
    except KubectlFailed:
        return False


def test_the_audit_log_has_every_call_and_nothing_else(plane: ControlPlane, namespace: str) -> None:
    """Claims like "no writes at rest" are counted where they arrive."""
    mark = plane.audit.mark()

    plane.api(user="alice", groups=["system:masters"]).apply(a_map(namespace, "one", a="b"))
    plane.api().get("v1", "ConfigMap", namespace, "one")

    until_sync(lambda: len(plane.audit.calls(mark, namespace=namespace)) == 2, what="two calls are in the log")
    (write,) = plane.audit.writes(mark, namespace=namespace)
    assert (write.user, write.right, write.name, write.status) == ("alice", ("patch", "", "configmaps"), "one", 201)


def test_a_namespace_is_of_the_tests_own_and_emptied(plane: ControlPlane, new_namespace: NewNamespace) -> None:
    """Tests share a control plane and must not meet each other's objects."""
    first, second = new_namespace("acme"), new_namespace("acme")

    assert first != second
    assert plane.api().objects("v1", "Secret", first) == []


def test_a_restarted_server_has_its_data_and_its_port(own_plane: ControlPlane) -> None:
    """Who watched before finds it again."""
    port = own_plane.port
    own_plane.api().apply(a_map("default", "one", a="b"))

    own_plane.restart_apiserver()

    assert own_plane.port == port
    assert own_plane.api().get("v1", "ConfigMap", "default", "one")["data"] == {"a": "b"}


def test_a_paused_server_is_silent_and_goes_on(own_plane: ControlPlane) -> None:
    """An API server that hangs is another thing than one that is away: connections stay open."""
    api = own_plane.api()
    api.request("GET", "/version")

    own_plane.apiserver.pause()
    with pytest.raises(TimeoutError):
        api.request("GET", "/version", timeout=0.5)
    own_plane.apiserver.resume()

    assert api.request("GET", "/version")["major"] == "1"


@pytest.mark.parametrize("watch_cache", [True, False], ids=["watch-cache", "etcd"])
def test_after_forgetting_an_old_watch_ends_in_410(new_plane: NewPlane, watch_cache: bool) -> None:
    """Only then do the objects deleted meanwhile become ghosts for who watches."""
    plane = new_plane(PlaneOptions(watch_cache=watch_cache))
    api = plane.api()
    (made,) = api.apply(a_map("default", "ghost", a="b"))
    api.delete(made)
    api.apply(a_map("default", "other", a="b"))

    if watch_cache:
        plane.forget_history()
    else:
        plane.compact()

    version = made["metadata"]["resourceVersion"]
    query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "5"}
    assert answers_410(plane, query)


def answers_410(plane: ControlPlane, query: dict[str, str]) -> bool:
    """Whether a watch of ConfigMaps is answered so, by its status or its first event."""
    try:
        said = plane.api().request("GET", "/api/v1/namespaces/default/configmaps", query=query)
    except Refused as refused:
        return refused.status == 410
    first = said if isinstance(said, dict) else json.loads(said.splitlines()[0])
    return bool(first["type"] == "ERROR" and first["object"]["code"] == 410)


def test_a_program_that_ends_says_why(tmp_path: Path, guard: Guard) -> None:
    """The reason is in its log, which nobody would look for."""
    programs = {"etcd": Path("/bin/false"), "kube-apiserver": Path("/bin/false"), "kubectl": Path("/bin/false")}

    with pytest.raises(AssertionError, match=r"etcd has ended with 1\n--- etcd: the end of .*etcd-1\.log"):
        ControlPlane(tmp_path, programs, guard).start()


def test_controllers_can_be_had_too(controller_manager: Path, own_plane: ControlPlane) -> None:
    """That what the operator owns goes with its owner is the garbage collector's word, not ours."""
    api = own_plane.api()
    own_plane.start_controllers("garbage-collector-controller")
    (owner,) = api.apply(a_map("default", "owner", a="b"))
    owned = a_map("default", "owned", a="b")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    owned["metadata"]["ownerReferences"] = [reference]
    api.apply(owned)

    api.delete(owner)

    until_sync(lambda: "owned" not in names(api), within=60, what="it is gone")


def names(api: Api) -> list[str]:
    """Of the ConfigMaps."""
    return [one["metadata"]["name"] for one in api.objects("v1", "ConfigMap", "default")]


def test_the_projects_kinds_are_served(plane: ControlPlane, kinds: None, namespace: str) -> None:
    """Every test of the operator begins with them."""
    assert plane.api().objects("hookline.dev/v1alpha1", "WebhookSubscription", namespace) == []
    assert plane.api().objects("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", namespace) == []


async def test_the_operators_client_reaches_it(plane: ControlPlane, namespace: str) -> None:
    """The library's own client, with a token of an account."""
    async with plane.aio(plane.service_account(namespace, "operator")) as client:
        version = await VersionApi(client).get_code()

    assert version.major == "1"


def test_a_pods_files_are_there(plane: ControlPlane, namespace: str) -> None:
    """The agent reads its token as in a pod."""
    folder = plane.account_folder(namespace, "agent")

    token = (folder / "token").read_text(encoding="utf-8")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = plane.api().request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert answer["status"]["user"]["username"] == f"system:serviceaccount:{namespace}:agent"


STARTS_AND_WAITS = """
import sys
from pathlib import Path
from support.kubernetes.guard import Guard
from support.kubernetes.process import Processes

processes = Processes(Path(sys.argv[1]), Guard())
print(processes.start("sleeper", ["sleep", "600"]).pid, flush=True)
sys.stdin.read()
"""


def test_a_killed_test_run_leaves_no_program_running(tmp_path: Path) -> None:
    """A control plane left behind takes half a gigabyte until somebody notices."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))}
    command = [sys.executable, "-c", STARTS_AND_WAITS, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert Path(f"/proc/{pid}").exists()

        run.send_signal(signal.SIGKILL)

        until_sync(lambda: not runs(pid), what="the program has ended with the run")


def runs(pid: int) -> bool:
    """Whether it does; a dead one that nobody has waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_programs_end_and_log_are_in_the_tests_hands(tmp_path: Path, guard: Guard) -> None:
    """What the tests of faults are made of."""
    with Processes(tmp_path, guard) as processes:
        polite = processes.start(
            "polite", ["sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"]
        )
        polite.wait_for(lambda: "up" in polite.log(), what="it is up")

        assert polite.stop() == 3
        assert polite.log() == "up\nbye\n"
        gone = processes.start("gone", ["sh", "-c", "echo why; exit 4"])
        with pytest.raises(AssertionError, match=r"gone has ended with 4\n--- gone: the end of .*\nwhy"):
            gone.wait_for(lambda: False, what="something else")
