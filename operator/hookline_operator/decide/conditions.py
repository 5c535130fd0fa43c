"""
What is true of a subscription or a gateway: the conditions and fields that its status should have.

Pure. The routes lane says what compiling found, agents what is served, the endpoints whether handlers are there; here it
comes to `Accepted`, `ResolvedRefs`, `Programmed` and `Ready`. `status` holds it against what the status says now.
Each reason is explained in docs/operate/conditions.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from hookline_operator.decide.endpoints import UNRESOLVED, Resolved
from hookline_operator.observe.objects import Declared
from hookline_operator.ports import ShardRevision
from hookline_routes.inputs import ObjectReport
from hookline_routes.problem import MAX_MESSAGE, Reason, shortened
from hookline_routes.resource import ServiceRef, WebhookGateway, WebhookSubscription

SOON = 2.0
"""Seconds that something may take before a person is told that it is not done: a change on its way to the receivers."""
LASTING = 10.0
"""Seconds for which something must have come or gone before it is said: handlers start anew, connections are lost."""

ACCEPTED, RESOLVED_REFS, PROGRAMMED, READY = "Accepted", "ResolvedRefs", "Programmed", "Ready"
TYPES = (ACCEPTED, RESOLVED_REFS, PROGRAMMED, READY)
"""Conditions that are decided here, in the order in which they are written."""

_NAMED = 3
"""Pods that a message names."""


class StatusReason(StrEnum):
    """Reasons beside those of compiling and of endpoints."""

    READY = "Ready"
    PROGRAMMED = "Programmed"
    NOT_ACCEPTED = "NotAccepted"
    PENDING = "Pending"
    NO_RECEIVERS = "NoReceivers"
    SUSPENDED = "Suspended"


@dataclass(frozen=True, slots=True)
class Said:
    """A condition, and how long it may wait before it is written (`status.decide`)."""

    type: str
    true: bool
    reason: str
    message: str = ""
    patience: float = 0.0
    """Seconds: it may be over by then. Only for what is False."""
    patience_once_true: float = 0.0
    """The same, at least, where it was True of the same generation: receivers that fall silent serve what they served."""

    @property
    def status(self) -> str:
        """As the API has it."""
        return "True" if self.true else "False"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the status should say."""

    generation: int
    """Of the spec that all of it is about."""
    conditions: tuple[Said, ...]
    fields: Mapping[str, object] = field(default_factory=dict)
    """All fields that are decided here; None: to be absent."""
    fields_patience: float = 0.0
    """Seconds that a change of a field alone may wait."""


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """What the conditions of a subscription are made of."""

    declared: Declared
    report: ObjectReport
    """Of compiling it, of this generation."""
    gateway: Declared | None = None
    """Which it is attached to; None: to none."""
    revision: ShardRevision | None = None
    """None: what it compiles to now is not published yet."""
    pods: int = 0
    """Ready receiver pods of its plane."""
    behind: tuple[str, ...] = ()
    """Those of them that do not serve that revision yet."""
    handlers: Mapping[ServiceRef, Resolved] = field(default_factory=dict)
    """At least those of its routes that `handlers_of` names."""


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """What the conditions of a gateway are made of."""

    declared: Declared
    report: ObjectReport
    attached: int = 0
    """Subscriptions that it serves."""
    pods: int = 0
    """Ready receiver pods of its shared plane."""
    synced: int = 0
    """Those of them that serve what is published."""
    desired: int | None = None
    """Pods that there should be; None: not known."""


def handlers_of(declared: Declared, report: ObjectReport) -> tuple[tuple[str, ServiceRef], ...]:
    """
    Each route's name and Service, where its author may know of the Service.

    SECURITY: not those that a ReferenceGrant is missing for, or a message would tell what other namespaces have.
    """
    if not isinstance(declared.resource, WebhookSubscription):
        return ()
    withheld = {each.field for each in report.problems if each.reason is Reason.REF_NOT_PERMITTED}
    return tuple(
        (route.name, route.handler.service)
        for index, route in enumerate(declared.resource.routes)
        if f"spec.routes[{index}].handler.serviceRef" not in withheld
    )


def subscription_status(facts: SubscriptionFacts) -> Wanted:
    """Conditions, URL and gateway of a subscription."""
    accepted = _compiled(facts.report, ACCEPTED)
    resolved = _resolved_refs(facts)
    programmed = _programmed(facts, accepted)
    ready = _ready([accepted, resolved, programmed], suspended=_is_suspended(facts))
    gateway = facts.gateway
    fields = {
        "observedGeneration": facts.report.generation,
        "url": _url(facts) or None,
        "gateway": str(gateway.key) if gateway else None,
    }
    return Wanted(facts.report.generation, (accepted, resolved, programmed, ready), fields)


def gateway_status(facts: GatewayFacts) -> Wanted:
    """Conditions and counters of a gateway."""
    accepted = _compiled(facts.report, ACCEPTED)
    programmed = _gateway_programmed(facts, accepted)
    fields = {
        "observedGeneration": facts.report.generation,
        "attachedSubscriptions": facts.attached,
        "receivers": {
            "ready": facts.pods,
            "synced": facts.synced,
            "summary": "/".join(
                str(number) for number in (facts.synced, facts.pods, facts.desired) if number is not None
            ),
        },
    }
    return Wanted(
        facts.report.generation, (accepted, programmed, _ready([accepted, programmed])), fields, fields_patience=SOON
    )


def _compiled(report: ObjectReport, kind: str) -> Said:
    found = next((each for each in report.conditions if each.type == kind), None)
    if found is None:
        return Said(kind, False, StatusReason.NOT_ACCEPTED, "was not looked at: see the condition Accepted")
    only_verifiers = bool(report.problems) and all(
        each.reason in (Reason.VERIFIER_PENDING, Reason.NO_CREDENTIALS) for each in report.problems
    )
    pending = not found.status and found.reason == Reason.VERIFIER_PENDING and only_verifiers
    return Said(kind, found.status, found.reason, found.message, SOON if pending else 0.0)


def _resolved_refs(facts: SubscriptionFacts) -> Said:
    compiled = _compiled(facts.report, RESOLVED_REFS)
    missing, remarks = _about_handlers(facts)
    if not compiled.true:
        message = "; ".join(part for part in (compiled.message, *missing.values(), *remarks) if part)
        return Said(RESOLVED_REFS, False, compiled.reason, shortened(message, MAX_MESSAGE), compiled.patience)
    if missing:
        reason = next(iter(missing))
        message = "; ".join((*missing.values(), *remarks))
        return Said(RESOLVED_REFS, False, reason, shortened(message, MAX_MESSAGE), SOON)
    return Said(RESOLVED_REFS, True, compiled.reason, shortened("; ".join(remarks), MAX_MESSAGE))


def _about_handlers(facts: SubscriptionFacts) -> tuple[dict[str, str], list[str]]:
    """By reason what can't be resolved, and remarks on what can."""
    missing: dict[str, list[str]] = {}
    remarks: list[str] = []
    for route, ref in handlers_of(facts.declared, facts.report):
        resolved = facts.handlers.get(ref, Resolved())
        if resolved.reason in UNRESOLVED:
            missing.setdefault(str(resolved.reason), []).append(f"route {route}: {resolved.message}")
        elif resolved.reason is not None:
            remarks.append(f"route {route}: {resolved.message}; its events are kept until there is one")
        elif resolved.remark:
            remarks.append(f"route {route}: {resolved.remark}")
    kept = "; its events are kept until this is mended"
    return {reason: "; ".join(texts) + kept for reason, texts in missing.items()}, remarks


def _programmed(facts: SubscriptionFacts, accepted: Said) -> Said:
    if not accepted.true and facts.gateway is None:
        return Said(PROGRAMMED, False, StatusReason.NOT_ACCEPTED, "is not served: see the condition Accepted")
    if facts.revision is None:
        return _pending("its routes are not published yet; if this lasts, see the operator's log")
    plane = facts.revision.plane
    if facts.pods == 0:
        message = f"no receiver pod of the plane {plane} is ready: see the WebhookGateway's status and its Pods"
        return Said(PROGRAMMED, False, StatusReason.NO_RECEIVERS, message, SOON, LASTING)
    if facts.behind:
        late = _of(len(facts.behind), facts.pods, f" of the plane {plane}")
        return _pending(f"{late} not serve it yet: {_names(facts.behind)}")
    return Said(PROGRAMMED, True, StatusReason.PROGRAMMED)


def _gateway_programmed(facts: GatewayFacts, accepted: Said) -> Said:
    if not accepted.true:
        return Said(PROGRAMMED, False, StatusReason.NOT_ACCEPTED, "is not served: see the condition Accepted")
    if facts.pods == 0:
        wanted = f" of {facts.desired}" if facts.desired is not None else ""
        message = f"no receiver pod{wanted} is ready: see the events of its StatefulSet and Pods"
        return Said(PROGRAMMED, False, StatusReason.NO_RECEIVERS, message, SOON, LASTING)
    late = facts.pods - facts.synced
    if late > 0:
        return Said(
            PROGRAMMED, False, StatusReason.PENDING, f"{_of(late, facts.pods)} not serve what is published yet", LASTING
        )
    return Said(PROGRAMMED, True, StatusReason.PROGRAMMED)


def _pending(message: str) -> Said:
    return Said(PROGRAMMED, False, StatusReason.PENDING, message, SOON, LASTING)


def _of(late: int, every: int, plane: str = "") -> str:
    return f"{late} of {every} ready receiver pods{plane} {'does' if late == 1 else 'do'}"


def _names(pods: Sequence[str]) -> str:
    rest = len(pods) - _NAMED
    return ", ".join(pods[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _ready(others: Sequence[Said], *, suspended: bool = False) -> Said:
    for each in others:
        if not each.true:
            return replace(each, type=READY)
    if suspended:
        message = "events are refused with 503, and those that CometChat can't deliver are gone: spec.suspend is true"
        return Said(READY, False, StatusReason.SUSPENDED, message)
    return Said(READY, True, StatusReason.READY)


def _is_suspended(facts: SubscriptionFacts) -> bool:
    return isinstance(facts.declared.resource, WebhookSubscription) and facts.declared.resource.suspend


def _url(facts: SubscriptionFacts) -> str:
    gateway = facts.gateway.resource if facts.gateway else None
    if not isinstance(gateway, WebhookGateway) or not isinstance(facts.declared.resource, WebhookSubscription):
        return ""
    return f"https://{gateway.hostnames[0]}{facts.declared.resource.path}" if gateway.hostnames else ""
