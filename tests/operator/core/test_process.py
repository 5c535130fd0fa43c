"""The operator as a process beside a real API server, with the chart's rights and no more."""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hookline_operator.settings import SettingsError, from_environment
from support.kubernetes.fixtures import NewNamespace
from support.kubernetes.installation import Installation, Operator, install
from support.kubernetes.network import Network
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Processes

LEASE = ("coordination.k8s.io/v1", "Lease")


@pytest.fixture
def installation(
    kinds: None,
    plane: ControlPlane,
    network: Network,
    processes: Processes,
    tmp_path: Path,
    new_namespace: NewNamespace,
) -> Installation:
    """One in a namespace of its own of the shared cluster."""
    return install(plane, network, processes, tmp_path, namespace=new_namespace("hookline"))


def page(installation: Installation, operator: Operator, path: str) -> tuple[int, str]:
    """Status and text; (0, "") without an answer."""
    port = installation.network.reach(operator.address, 8085)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def metric(installation: Installation, operator: Operator, name: str) -> float:
    """Its value; -1 if it is not there."""
    lines = page(installation, operator, "/metrics")[1].splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"hookline_operator_{name} ")), -1)


def is_ready(installation: Installation, operator: Operator) -> Callable[[], bool]:
    return lambda: page(installation, operator, "/readyz")[0] == 200


def leads(installation: Installation, operator: Operator) -> bool:
    return metric(installation, operator, "leading") == 1


def holder(installation: Installation) -> str:
    """Name of the replica that holds the Lease; "" for nobody."""
    leases = installation.plane.api().objects(*LEASE, installation.namespace)
    return next((str(lease["spec"].get("holderIdentity", "")).partition("_")[0] for lease in leases), "")


def wait_ready(installation: Installation, operator: Operator) -> None:
    operator.process.wait_for(is_ready(installation, operator), 40, f"{operator.name} ready")


def wait_published(installation: Installation, operator: Operator) -> None:
    """Until it leads and has published all that it found."""
    operator.process.wait_for(
        lambda: metric(installation, operator, "published") == 1, 40, f"{operator.name} has published"
    )
    wait_ready(installation, operator)


def tables(installation: Installation) -> list[Any]:
    return installation.plane.api().objects("hookline.dev/v1alpha1", "RouteTable", installation.namespace)


def test_it_starts_makes_what_is_missing_and_stops_at_a_signal(installation: Installation) -> None:
    """The default gateway, the internal Secret, all tables; and at the end the Lease is nobody's."""
    operator = installation.start_operator(gateway={"limits": {"maxBodySize": "1Mi"}})
    wait_published(installation, operator)

    api = installation.plane.api()
    gateway = api.get("hookline.dev/v1alpha1", "WebhookGateway", installation.namespace, "default")
    secret = api.get("v1", "Secret", installation.namespace, "hookline-internal")
    operator.process.wait_for(lambda: len(tables(installation)) == 64, 30, "64 tables")
    assert gateway["spec"]["limits"]["maxBodySize"] == "1Mi"
    assert set(secret["data"]) == {"tagKey", "agentToken"}
    assert holder(installation) == operator.name
    assert secret["data"]["tagKey"] not in operator.process.log()

    assert operator.process.stop() == 0
    assert holder(installation) == ""


def test_a_restart_writes_nothing_but_the_lease(installation: Installation) -> None:
    """Ten thousand subscriptions must not be written because a node was drained."""
    first = installation.start_operator()
    wait_published(installation, first)
    first.process.wait_for(lambda: len(tables(installation)) == 64, 30, "64 tables")
    before = settled(installation)
    first.process.stop()
    mark = installation.plane.audit.mark()

    second = installation.start_operator()
    wait_published(installation, second)

    assert settled(installation) == before
    wrote = installation.plane.audit.writes(mark, namespace=installation.namespace)
    assert [call for call in wrote if call.resource != "leases"] == []


def test_a_replica_that_waits_is_warm_once_the_internal_secret_is_there(installation: Installation) -> None:
    """In a new installation the leader makes it a moment after the others looked: they would be cold for ever."""
    api = installation.plane.api()
    lease = {"holderIdentity": "somebody", "leaseDurationSeconds": 600}
    metadata = {"name": "hookline-operator", "namespace": installation.namespace}
    api.create({"apiVersion": LEASE[0], "kind": LEASE[1], "metadata": metadata, "spec": lease})
    operator = installation.start_operator()
    wait_ready(installation, operator)
    assert not has_lanes(installation, operator)

    data = {"tagKey": base64.b64encode(bytes(32)).decode(), "agentToken": base64.b64encode(b"token").decode()}
    secret = {"name": "hookline-internal", "namespace": installation.namespace}
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": data})

    operator.process.wait_for(lambda: has_lanes(installation, operator), 20, "lanes")
    assert not leads(installation, operator)


def has_lanes(installation: Installation, operator: Operator) -> bool:
    return 'hookline_operator_queue_keys{lane="routes"' in page(installation, operator, "/metrics")[1]


def test_another_internal_secret_ends_the_process_which_begins_anew_with_it(installation: Installation) -> None:
    """Pods mount the new key by themselves: with verifiers of the old one they would refuse everybody for ever."""
    operator = installation.start_operator(sweep_seconds="1")
    wait_published(installation, operator)
    api = installation.plane.api()
    secret = api.get("v1", "Secret", installation.namespace, "hookline-internal")

    secret["data"]["tagKey"] = base64.b64encode(b"too short").decode()
    api.replace(secret)
    operator.process.wait_for(lambda: "its last content counts" in operator.process.log(), 20, "it is noticed")
    assert leads(installation, operator)

    secret = api.get("v1", "Secret", installation.namespace, "hookline-internal")
    secret["data"]["tagKey"] = base64.b64encode(bytes(32)).decode()
    api.replace(secret)
    assert operator.process.wait() == 0
    assert "starts again with it" in operator.process.log()


def settled(installation: Installation) -> dict[str, str]:
    """Versions of the tables, once they have stayed the same for a second."""
    versions: dict[str, str] = {}
    since = time.monotonic()
    while time.monotonic() < since + 1:
        now = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in tables(installation)}
        if now != versions:
            versions, since = now, time.monotonic()
        time.sleep(0.05)
    return versions


def test_people_may_change_the_default_gateway_until_its_configuration_does(installation: Installation) -> None:
    """A person's change in an emergency must not be undone by a restart; a new configuration must not be ignored."""
    api = installation.plane.api()

    def size() -> str:
        gateway = api.get("hookline.dev/v1alpha1", "WebhookGateway", installation.namespace, "default")
        return str(gateway["spec"]["limits"]["maxBodySize"])

    first = installation.start_operator(gateway={"limits": {"maxBodySize": "1Mi"}})
    wait_published(installation, first)
    gateway = api.get("hookline.dev/v1alpha1", "WebhookGateway", installation.namespace, "default")
    api.patch(gateway, {"spec": {"limits": {"maxBodySize": "3Mi"}}})
    first.process.stop()

    second = installation.start_operator(gateway={"limits": {"maxBodySize": "1Mi"}})
    wait_published(installation, second)
    assert size() == "3Mi"
    second.process.stop()
    third = installation.start_operator(gateway={"limits": {"maxBodySize": "2Mi"}})
    wait_published(installation, third)
    third.process.wait_for(lambda: size() == "2Mi", 20)

    api.delete(gateway)
    third.process.wait_for(lambda: "default" in {each["metadata"]["name"] for each in gateways(installation)}, 20)


def gateways(installation: Installation) -> list[Any]:
    return installation.plane.api().objects("hookline.dev/v1alpha1", "WebhookGateway", installation.namespace)


def two(installation: Installation) -> tuple[Operator, Operator]:
    """The one that leads and the one that waits, both ready."""
    replicas = installation.start_operator(), installation.start_operator()
    for each in replicas:
        wait_ready(installation, each)
    replicas[0].process.wait_for(lambda: any(leads(installation, each) for each in replicas), 20)
    wait_ready(installation, replicas[0])
    wait_ready(installation, replicas[1])
    return replicas if leads(installation, replicas[0]) else (replicas[1], replicas[0])


def seconds_until_it_publishes(installation: Installation, operator: Operator, since: float) -> float:
    """From *since* until that replica leads and has published all that it found."""
    published = lambda: metric(installation, operator, "published") == 1
    operator.process.wait_for(published, 30, f"{operator.name} has published")
    return time.monotonic() - since


def test_the_other_replica_takes_over_from_one_that_is_stopped(installation: Installation) -> None:
    """A rolling update of the operator costs less than two seconds."""
    leader, other = two(installation)

    began = time.monotonic()
    os.kill(leader.process.pid, 15)
    took = seconds_until_it_publishes(installation, other, began)

    print(f"planned end: {took:.2f} s")
    assert took < 2
    assert holder(installation) == other.name


def test_the_other_replica_takes_over_from_one_that_is_killed(installation: Installation) -> None:
    """A crash costs less than ten seconds."""
    leader, other = two(installation)

    began = time.monotonic()
    leader.process.kill()
    took = seconds_until_it_publishes(installation, other, began)

    print(f"crash: {took:.2f} s")
    assert took < 10


def test_one_that_was_paused_goes_on_as_the_one_that_waits(installation: Installation) -> None:
    """It must neither write what it had in mind nor have to be started again."""
    leader, other = two(installation)
    leader.process.pause()
    seconds_until_it_publishes(installation, other, time.monotonic())
    mark = installation.plane.audit.mark()

    leader.process.resume()
    leader.process.wait_for(lambda: '"lost": true' in leader.process.log(), 20, "has noticed")

    assert is_ready(installation, leader)()
    assert not leads(installation, leader)
    assert [
        call
        for call in installation.plane.audit.writes(mark, namespace=installation.namespace)
        if call.resource != "leases"
    ] == []


def test_an_api_server_that_is_away_ends_nothing(installation: Installation, fault_proxy: Any) -> None:
    """It works on when it is back, in a new term."""
    operator = installation.start_operator(
        server=fault_proxy.url, lease_duration="2", lease_held="1.5", lease_renew="0.3"
    )
    wait_published(installation, operator)
    first = metric(installation, operator, "term")
    fault_proxy.away()
    operator.process.wait_for(lambda: not leads(installation, operator), 20, "leads no more")

    fault_proxy.back()

    operator.process.wait_for(lambda: metric(installation, operator, "published") == 1, 40, "published again")
    assert metric(installation, operator, "term") > first
    assert operator.process.alive()


def test_every_line_of_its_log_is_json(installation: Installation) -> None:
    """Whoever collects logs parses them; kopf has formats of its own."""
    operator = installation.start_operator()
    wait_published(installation, operator)
    operator.process.stop()

    lines = [json.loads(line) for line in operator.process.log().splitlines() if line.strip()]
    assert {"time", "level", "message"} <= lines[0].keys()
    assert [line["message"] for line in lines if line["level"] in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        pytest.param({"HOOKLINE_OPERATOR_NAMESPAEC": "x"}, "NAMESPAEC is not a setting", id="unknown"),
        pytest.param({}, "NAMESPACE (or POD_NAMESPACE) must be set", id="no-namespace"),
        pytest.param({"HOOKLINE_OPERATOR_LEASE_HELD": "6"}, "at most 0.8 of duration", id="two-leaders"),
        pytest.param({"HOOKLINE_OPERATOR_CLUSTER_DEFAULT": "yes"}, "true or false, got 'yes'", id="no-boolean"),
        pytest.param({"HOOKLINE_OPERATOR_SWEEP_SECONDS": "soon"}, "a number, got 'soon'", id="no-number"),
        pytest.param({"HOOKLINE_OPERATOR_SWEEP_SECONDS": "0"}, "1 or more", id="too-often"),
        pytest.param({"HOOKLINE_OPERATOR_OPS_BIND": "8085"}, "HOST:PORT, got '8085'", id="no-address"),
        pytest.param({"HOOKLINE_OPERATOR_DEBOUNCE_LEAST": "9"}, "debounce_least", id="debounce"),
        pytest.param({"HOOKLINE_OPERATOR_LOG_LEVEL": "LOUD"}, "got 'LOUD'", id="log-level"),
    ],
)
def test_a_setting_that_can_not_be_is_refused(environment: dict[str, str], said: str) -> None:
    """A typing error must not run with the default for months."""
    given = {"POD_NAMESPACE": "hookline"} if "NAMESPACE (or" not in said else {}

    with pytest.raises(SettingsError) as refused:
        from_environment({**given, **environment})

    assert said in str(refused.value)


def test_settings_come_from_the_environment() -> None:
    """As the chart gives them."""
    settings = from_environment(
        {
            "POD_NAMESPACE": "platform",
            "POD_NAME": "operator-0",
            "HOOKLINE_OPERATOR_SECRET_NAMESPACES": "acme, shop",
            "HOOKLINE_OPERATOR_CLUSTER_DEFAULT": "true",
            "HOOKLINE_OPERATOR_DEFAULT_GATEWAY": "",
        }
    )

    assert (settings.namespace, settings.name, settings.default_namespace) == ("platform", "operator-0", "platform")
    assert settings.watched_secret_namespaces == ("acme", "platform", "shop")
    assert settings.default_gateway is None


def test_a_start_that_can_not_be_says_why() -> None:
    """Exit status 78 tells a supervisor that trying again is of no use."""
    command = [sys.executable, "-m", "hookline_operator"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HOOKLINE_", "POD_"))}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 78
    assert "HOOKLINE_OPERATOR_NAMESPACE" in done.stderr
