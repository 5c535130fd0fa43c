"""
Replicas of the operator, each behind a fault proxy of its own, so that what goes wrong goes wrong for one of them, and
what one of them wrote can be told from what another did.

    with Replicas(installation) as replicas:
        first = replicas.start()
        replicas.wait_leader()
        first.kill()
"""

import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from support.kubernetes.call import Request
from support.kubernetes.installation import OPS_PORT, Installation, Operator
from support.kubernetes.process import Process
from support.kubernetes.proxy import FaultProxy, Seen
from support.waiting import until_sync

SHORT_LEASE = {"lease_duration": "3", "lease_held": "2.4", "lease_renew": "0.3", "lease_look": "0.1"}
"""A crash costs 3 s, and a machine that is busy with other things may lose it."""
STEADY_LEASE = {"lease_duration": "8", "lease_held": "6.4", "lease_renew": "0.5", "lease_look": "0.1"}
"""A crash costs 8 s; nobody loses it by accident."""
QUIET = 1.5
"""Seconds without a write after which it is taken that there will be none."""


def publishing(request: Request) -> bool:
    """Match what would change something other than a Lease."""
    return request.writes and request.resource != "leases"


@dataclass
class Replica:
    """One of them."""

    operator: Operator
    proxy: FaultProxy
    port: int
    """Of this machine, which leads to its `/metrics`."""
    ended: bool = False
    """By the test."""

    @property
    def name(self) -> str:
        """As in the Lease."""
        return self.operator.name

    @property
    def process(self) -> Process:
        """To pause and to end it."""
        return self.operator.process

    def metric(self, name: str) -> float:
        """A number of `/metrics`; -1 where there is none."""
        found = re.search(rf"^hookline_operator_{name} (\S+)$", self._page("/metrics"), re.MULTILINE)
        return float(found[1]) if found else -1.0

    def leads(self) -> bool:
        """Whether it does, by its own account."""
        return self.metric("leading") == 1

    def has_published(self) -> bool:
        """Whether it leads and has published all that it found."""
        return self.metric("published") == 1

    def is_ready(self) -> bool:
        """Whether it has listed everything (and, if it leads, published it)."""
        return self._page("/readyz") != ""

    def waits(self) -> bool:
        """Whether it is ready to take over."""
        return self.is_ready() and not self.leads()

    def wrote(self, since: int = 0) -> list[Seen]:
        """What it asked the API server to change since that mark of its proxy, but for Leases."""
        return self.proxy.calls(since, publishing)

    def kill(self) -> None:
        """As kill -9 does."""
        self.ended = True
        self.process.kill()

    def terminate(self) -> None:
        """As Kubernetes does first."""
        self.ended = True
        self.process.terminate()

    def _page(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""


@dataclass
class Replicas:
    """Those of one installation."""

    installation: Installation
    settings: dict[str, Any] = field(default_factory=lambda: dict(SHORT_LEASE))
    started: list[Replica] = field(default_factory=list)
    _proxies: ExitStack = field(default_factory=ExitStack)

    def start(self, **settings: Any) -> Replica:
        """One more; nothing is waited for."""
        plane, network = self.installation.plane, self.installation.network
        proxy = self._proxies.enter_context(FaultProxy(plane, network))
        operator = self.installation.start_operator(server=proxy.url, **{**self.settings, **settings})
        replica = Replica(operator, proxy, network.reach(operator.address, OPS_PORT))
        self.started.append(replica)
        return replica

    def start_ready(self, **settings: Any) -> Replica:
        """One more, which is ready (and has published what there was to publish, if it leads)."""
        replica = self.start(**settings)
        replica.process.wait_for(replica.is_ready, 60, f"{replica.name} ready")
        return replica

    @property
    def living(self) -> list[Replica]:
        """Those that run; fails if one has ended by itself."""
        there = [each for each in self.started if not each.ended]
        for each in there:
            each.process.check()
        return there

    def holder(self) -> str:
        """Who holds the Lease; "" for nobody."""
        leases = self.installation.plane.admin.objects("coordination.k8s.io/v1", "Lease", self.installation.namespace)
        return next((str(lease["spec"].get("holderIdentity") or "").partition("_")[0] for lease in leases), "")

    def terms(self) -> int:
        """How many terms there were."""
        leases = self.installation.plane.admin.objects("coordination.k8s.io/v1", "Lease", self.installation.namespace)
        return sum(lease["spec"].get("leaseTransitions", 0) for lease in leases)

    def leader(self) -> Replica | None:
        """The one that holds the Lease, if it runs."""
        holder = self.holder()
        return next((each for each in self.living if each.name == holder), None)

    def wait_leader(self, within: float = 40.0) -> Replica:
        """The one that holds the Lease and has published all that it found."""
        found: list[Replica] = []

        def published() -> bool:
            found[:] = [each for each in [self.leader()] if each is not None and each.has_published()]
            return bool(found)

        self.until(published, within, "a leader that has published")
        return found[0]

    def until(self, holds: Any, within: float = 30.0, what: str = "") -> float:
        """Seconds until *holds*; the replicas' logs if it does not."""
        began = time.monotonic()
        try:
            until_sync(holds, within, what)
        except AssertionError as error:
            raise AssertionError("\n".join((str(error), *(each.process.tail(25) for each in self.living)))) from None
        return time.monotonic() - began

    def wait_quiet(self, seconds: float = QUIET, within: float = 60.0) -> None:
        """Until nobody has written anything for so long."""
        seen, since = -1, time.monotonic()

        def quiet() -> bool:
            nonlocal seen, since
            now = sum(len(each.wrote()) for each in self.started)
            if now != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since > seconds

        self.until(quiet, within, f"no write for {seconds:g} s")

    def stop_all(self) -> None:
        """All of them, as a rolling update does."""
        ending = self.living
        for each in ending:
            each.terminate()
        for each in ending:
            each.process.wait(30)

    def writes_of_a_second_run(self) -> list[str]:
        """End all, start one anew, and let it come to rest: what that one wrote, which should be nothing."""
        self.stop_all()
        fresh = self.start()
        fresh.process.wait_for(fresh.has_published, 60, f"{fresh.name} has published")
        self.wait_quiet()
        assert fresh.leads()
        return [f"{each.request.verb} {each.request.target}" for each in fresh.wrote()]

    def __enter__(self) -> Self:
        """None yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Kill them, and end their proxies."""
        for each in self.started:
            each.kill()
        self._proxies.close()


@contextmanager
def two_replicas(installation: Installation, **settings: Any) -> Iterator[tuple[Replicas, Replica, Replica]]:
    """All, the one that leads and the one that waits; both at work."""
    with Replicas(installation, {**STEADY_LEASE, **settings}) as replicas:
        for _ in range(2):
            replicas.start()
        replicas.until(lambda: all(each.is_ready() for each in replicas.started), 60, "both ready")
        leader = replicas.wait_leader()
        (other,) = [each for each in replicas.living if each is not leader]
        replicas.until(other.waits, 30, "the other one waits")
        yield replicas, leader, other
