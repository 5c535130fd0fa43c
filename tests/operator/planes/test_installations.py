"""Two installations on one API server: neither touches what is the other's."""

from pathlib import Path

import pytest

from support.crds import a_gateway, a_subscription
from support.kubernetes.api import Object
from support.kubernetes.audit import Call
from support.kubernetes.installation import Installation, Operator, install
from support.kubernetes.network import Network
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Processes
from support.planes import KINDS
from support.rbac import OPERATOR, account

OURS = "hookline.dev/v1alpha1"
FIRST, SECOND = "hookline", "hooks-of-a-team"


class Two:
    """The cluster's default installation, and a team's own."""

    def __init__(self, plane: ControlPlane, network: Network, processes: Processes, folder: Path) -> None:
        self.plane, self.admin = plane, plane.admin
        self.installations = {name: self._install(name, network, processes, folder) for name in (FIRST, SECOND)}
        self.operators: dict[str, Operator] = {}

    def _install(self, name: str, network: Network, processes: Processes, folder: Path) -> Installation:
        (folder / name).mkdir()
        return install(self.plane, network, processes, folder / name, namespace=name)

    def start(self, name: str) -> None:
        """Its operator."""
        default = "true" if name == FIRST else "false"
        self.operators[name] = self.installations[name].start_operator(cluster_default=default, sweep_seconds="1")

    def until(self, holds, what: str) -> None:  # type: ignore[no-untyped-def]
        """Wait for what either does."""
        operator = next(iter(self.operators.values()))
        operator.process.wait_for(holds, within=60, what=what)

    def status(self, name: str, namespace: str = "acme", kind: str = "WebhookSubscription") -> Object:
        """Of an object; empty where it has none, or is not there."""
        every = self.admin.objects(OURS, kind, namespace)
        return next((dict(each.get("status", {})) for each in every if each["metadata"]["name"] == name), {})

    def attached_to(self, name: str) -> str:
        """The gateway that a subscription's status names."""
        return str(self.status(name).get("gateway", ""))

    def writes(self, name: str, since: int = 0) -> list[Call]:
        """Of its operator."""
        return self.plane.audit.writes(since, user=account(name, OPERATOR))


@pytest.fixture
def two(own_plane: ControlPlane, network: Network, processes: Processes, tmp_path: Path) -> Two:
    """In one cluster, at work; tenants write to acme."""
    network.mirror(own_plane.port)
    made = Two(own_plane, network, processes, tmp_path)
    own_plane.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme"}})
    for name in (FIRST, SECOND):
        made.start(name)
    for name in (FIRST, SECOND):
        made.until(lambda name=name: bool(made.status("default", name, "WebhookGateway")), f"{name} has a gateway")
    return made


def test_neither_touches_what_is_the_others(two: Two) -> None:
    """Gateways, planes, tables, statuses; a subscription that names no namespace is the cluster default's alone."""
    two.admin.apply(
        a_gateway(SECOND, "edge", dedicated={"allowed": True}),
        a_subscription("acme", "plain"),
        a_subscription("acme", "named", gatewayRef={"name": "default", "namespace": FIRST}),
        a_subscription("acme", "theirs", gatewayRef={"name": "default", "namespace": SECOND}),
        a_subscription(
            "acme",
            "own",
            gatewayRef={"name": "edge", "namespace": SECOND},
            dataPlane={"mode": "Dedicated", "dedicated": {"scaling": {"maxReplicas": 2}}},
        ),
        # There is a gateway of that name, in the installation that is not the default.
        a_subscription("acme", "nowhere", gatewayRef={"name": "edge"}),
    )

    expected = {
        "plain": f"{FIRST}/default",
        "named": f"{FIRST}/default",
        "theirs": f"{SECOND}/default",
        "own": f"{SECOND}/edge",
    }
    for name, gateway in expected.items():
        two.until(lambda name=name, gateway=gateway: two.attached_to(name) == gateway, f"{name} is attached")
    two.until(lambda: bool(two.status("nowhere")), "nowhere is refused")
    two.until(lambda: len(planes(two, SECOND)) == 3, "the planes of the second")
    settled(two)

    assert two.status("nowhere").get("gateway", "") == ""
    assert planes(two, FIRST) == {"default"}
    assert planes(two, SECOND) == {"default", "edge", "edge.acme.own"}
    for name, other in ((FIRST, SECOND), (SECOND, FIRST)):
        writes = two.writes(name)
        assert {call.namespace for call in writes} <= {name, "acme"}
        assert not [call for call in writes if call.namespace == other]
        mine = {each for each, gateway in expected.items() if gateway.startswith(f"{name}/")}
        mine |= {"nowhere"} if name == FIRST else set()
        assert {call.name for call in writes if call.resource == "webhooksubscriptions"} == mine


def test_the_other_goes_on_when_one_is_removed(two: Two) -> None:
    """A team may take its installation away; the cluster's default must not take over what was the team's."""
    two.admin.apply(
        a_subscription("acme", "plain"),
        a_subscription("acme", "theirs", gatewayRef={"name": "default", "namespace": SECOND}),
    )
    two.until(lambda: two.attached_to("plain") == f"{FIRST}/default", "plain is attached")
    two.until(lambda: two.attached_to("theirs") == f"{SECOND}/default", "theirs is attached")
    settled(two)
    two.operators.pop(SECOND).process.stop()
    for each in two.admin.objects(OURS, "WebhookGateway", SECOND):
        two.admin.delete(each)
    mark = two.plane.audit.mark()

    two.admin.apply(a_subscription("acme", "newer"))
    two.until(lambda: two.attached_to("newer") == f"{FIRST}/default", "the first goes on")
    settled(two)

    touched = {call.name for call in two.writes(FIRST, mark) if call.resource == "webhooksubscriptions"}
    assert touched == {"newer"}
    assert two.attached_to("theirs") == f"{SECOND}/default"


def planes(two: Two, namespace: str) -> set[str]:
    """Those that have objects there."""
    return {
        each["metadata"]["annotations"]["hookline.dev/plane"]
        for kind, version in KINDS.items()
        for each in two.admin.objects(version, kind, namespace)
        if "hookline.dev/plane" in each["metadata"].get("annotations", {})
    }


def settled(two: Two) -> None:
    """Return when neither has written anything but its Lease while each was seen to renew it twice."""

    def quiet(mark: int) -> bool:
        return all(
            len([call for call in two.writes(name, mark) if call.resource == "leases"]) >= 3 for name in two.operators
        )

    def others(mark: int) -> list[Call]:
        return [call for name in two.operators for call in two.writes(name, mark) if call.resource != "leases"]

    for _ in range(20):
        mark = two.plane.audit.mark()
        two.until(lambda mark=mark: quiet(mark), "both Leases are renewed")
        if not others(mark):
            return
    raise AssertionError(f"they go on writing: {others(mark)[:5]}")
