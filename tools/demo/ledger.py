"""What was sent held against what the handlers noted: nothing may be missing, changed, or invented."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hookline_cli.simulate.plan import Kind
from hookline_cli.simulate.report import Report, Sent
from tools.demo.scenario import PATHS, routes_of


@dataclass(frozen=True)
class Delivery:
    """What a handler noted."""

    route: str
    delivery: str
    at: float
    body: bytes


@dataclass
class Ledger:
    """Everything that was sent, by tenant, and when."""

    sent: dict[str, list[Sent]] = field(default_factory=lambda: {tenant: [] for tenant in PATHS})
    begun: dict[tuple[str, bytes], float] = field(default_factory=dict)
    """When a body was first sent, by tenant and body."""

    def enter(self, tenant: str, report: Report, began: float) -> None:
        """Add what *report* tells of a plan that began at this time of the monotonic clock."""
        for sent in report.sent:
            self.sent[tenant].append(sent)
            key = (tenant, sent.shot.body)
            self.begun.setdefault(key, began + sent.attempts[0].begun)

    @property
    def everything(self) -> list[Sent]:
        """All shots of all tenants."""
        return [sent for tenant in self.sent.values() for sent in tenant]

    def wanted(self) -> dict[str, set[bytes]]:
        """By route the bodies that must arrive: of every accepted event, its retries being the same event."""
        wanted: dict[str, set[bytes]] = {}
        for tenant, all_sent in self.sent.items():
            for sent in all_sent:
                if sent.accepted and sent.shot.kind is not Kind.DUPLICATE:
                    for route in routes_of(tenant, sent.shot.body):
                        wanted.setdefault(route, set()).add(sent.shot.body)
        return wanted

    def wrong(self, deliveries: Iterable[Delivery]) -> list[str]:
        """What is not as it should be, in sentences."""
        arrived = by_route(deliveries)
        found = []
        for route, bodies in self.wanted().items():
            missing = bodies - arrived.get(route, set())
            if missing:
                found.append(
                    f"{len(missing)} of {len(bodies)} accepted events did not reach {route}: {_named(missing)}"
                )
        for route, bodies in arrived.items():
            tenant = route.partition("/")[0]
            accepted = {sent.shot.body for sent in self.sent[tenant] if sent.accepted}
            misled = {body for body in bodies & accepted if route not in routes_of(tenant, body)}
            if bodies - accepted:
                found.append(f"{len(bodies - accepted)} bodies arrived at {route} that nobody sent, or not like this")
            if misled:
                found.append(f"{len(misled)} events arrived at {route} that it does not take: {_named(misled)}")
        return found

    def refusals(self) -> list[str]:
        """Shots that were not answered as they should be, in sentences."""
        found = []
        for sent in self.everything:
            outcomes = ", ".join(attempt.outcome for attempt in sent.attempts)
            if not sent.as_expected:
                found.append(f"{sent.shot.kind} ({sent.shot.name}) was answered {outcomes}, not {sent.shot.expected}")
            elif sent.accepted and sent.attempts[-1].answer != b"{}":
                found.append(f"{sent.shot.kind} ({sent.shot.name}) was answered {sent.attempts[-1].answer!r}, not {{}}")
        return found


def read_deliveries(folder: Path) -> list[Delivery]:
    """What all handlers have noted so far; a line that a killed one left unfinished does not count."""
    found = []
    for file in folder.glob("*.jsonl"):
        for line in file.read_bytes().split(b"\n")[:-1]:
            read = json.loads(line)
            body = base64.b64decode(read["body"])
            found.append(Delivery(read["route"], read["delivery"], read["at"], body))
    return sorted(found, key=lambda delivery: delivery.at)


def by_route(deliveries: Iterable[Delivery]) -> Mapping[str, set[bytes]]:
    """The bodies that arrived."""
    arrived: dict[str, set[bytes]] = {}
    for delivery in deliveries:
        arrived.setdefault(delivery.route, set()).add(delivery.body)
    return arrived


def in_order(sent: Sequence[bytes], deliveries: Iterable[Delivery], route: str) -> bool:
    """Whether *sent* first arrived at *route* in this order."""
    wanted = set(sent)
    arrived = dict.fromkeys(each.body for each in deliveries if each.route == route and each.body in wanted)
    return list(arrived) == list(sent)


def _named(bodies: Iterable[bytes]) -> str:
    return ", ".join(sorted({str(json.loads(body)["trigger"]) for body in bodies})[:5])
