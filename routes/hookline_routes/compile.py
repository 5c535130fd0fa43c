"""
Compiles what people declared into the tables that receiver and forwarder go by, and says of each object what is wrong.

Pure: values in, values out, the same for the same inputs in any order, and no input makes it raise.

What is wrong with one subscription touches no other. One that can't be read or attached is not served. One of whose
routes can't be delivered (an expression that does not compile, a certificate that is not there, a grant that is missing)
is served all the same, since a refused event is gone for good: the route is held, its events are kept.
"""

from dataclasses import dataclass, replace

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes import table
from hookline_routes.attach import Attached, Rejected, Rules, Verdict, attach
from hookline_routes.credentials import resolve_credentials
from hookline_routes.expression import complaints_about
from hookline_routes.fields import dotted
from hookline_routes.inputs import Compiled, Inputs, NeededVerifier, ObjectReport, Tables, VerifierKey
from hookline_routes.problem import Condition, Problem, Reason, Severity, condition
from hookline_routes.resource import (
    GatewayRef,
    Metadata,
    ObjectKey,
    Origin,
    PlaneMode,
    RouteSpec,
    ServiceRef,
    Unreadable,
    WebhookGateway,
    WebhookSubscription,
)
from hookline_routes.surroundings import InputsIndex, Surroundings
from hookline_routes.triggers import CATEGORIES, nearest

_REFERENCES = frozenset(
    (
        Reason.SECRET_NOT_FOUND,
        Reason.INVALID_SECRET,
        Reason.VERIFIER_PENDING,
        Reason.NO_CREDENTIALS,
        Reason.REF_NOT_PERMITTED,
        Reason.CA_NOT_FOUND,
        Reason.INVALID_CA,
    )
)
"""Reasons that the condition ResolvedRefs speaks of; all other errors are Accepted's."""


MAX_ENTRY_BYTES = 512 * 1024
"""Of one subscription, compiled: so that nobody's can make the shard that it shares with others too large."""


MOST_UNKNOWN_TRIGGERS = 8
"""Of one subscription, that are warned of."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one subscription that is served comes to."""

    attached: Attached
    endpoint: routing.Endpoint
    subscription: routing.Subscription
    sources: tuple[VerifierKey, ...]
    """What each verifier of the endpoint was made of."""
    services: tuple[ServiceRef, ...]
    """Those that its routes may call."""


@dataclass(frozen=True, slots=True)
class CompiledSubscription:
    """All that compiling one subscription comes to."""

    entry: Entry | None
    """None: it is not served."""
    report: ObjectReport
    missing: tuple[NeededVerifier, ...] = ()
    """Verifiers that it will have once they are made."""


def compile(inputs: Inputs) -> Compiled:
    """The tables of every plane, and a report of every object of ours."""
    surroundings, rules = InputsIndex(inputs), Rules.of(inputs)
    attached, rejected = attach(inputs)
    verdicts: list[Verdict] = [*attached, *rejected]
    compiled = [compile_subscription(each, surroundings) for each in verdicts]
    reports = [each.report for each in compiled]
    reports.extend(
        report_unreadable(each) for each in inputs.unreadable if rules.is_ours(each.gateway_ref or GatewayRef())
    )
    reports.extend(report_gateway(each) for each in inputs.gateways)
    reports.sort(key=lambda each: (each.kind, each.key, each.uid, each.generation, repr(each.problems)))
    return Compiled(_tables([each.entry for each in compiled if each.entry], inputs), tuple(reports))


def compile_subscription(verdict: Verdict, surroundings: Surroundings) -> CompiledSubscription:
    """What the one subscription comes to; depends on nothing but the arguments."""
    if isinstance(verdict, Rejected):
        return CompiledSubscription(None, _rejection(verdict))
    subscription, limits = verdict.subscription, verdict.gateway.limits
    problems = _Problems(subscription)
    credentials = resolve_credentials(subscription, surroundings)
    for finding in credentials.findings:
        problems.add(finding.severity, finding.reason, finding.field, finding.message)
    without = (
        "" if credentials.verifiers else next(each.reason for each in problems.found if each.reason in _REFERENCES)
    )
    routes, services = _compile_routes(subscription, surroundings, problems)
    if subscription.data_plane.mode is PlaneMode.DEDICATED and surroundings.single_plane:
        message = "is served by the one plane that there is here"
        problems.add(Severity.WARNING, Reason.DEDICATED_AS_SHARED, ("spec", "dataPlane", "mode"), message)
    endpoint = table.endpoint(subscription, limits, credentials.verifiers, without)
    entry = Entry(verdict, endpoint, table.subscription(subscription, limits, routes), credentials.sources, services)
    size = entry.endpoint.ByteSize() + entry.subscription.ByteSize()
    if size > MAX_ENTRY_BYTES:
        message = (
            f"comes to {size} bytes, and {MAX_ENTRY_BYTES} are the limit; "
            "certificates (caRef) count once for every route that names them"
        )
        problems.add(Severity.ERROR, Reason.TOO_LARGE, ("spec", "routes"), message)
        report = _refused("WebhookSubscription", subscription.metadata, tuple(problems.found))
        return CompiledSubscription(None, report)
    return CompiledSubscription(entry, _report(subscription, tuple(problems.found)), credentials.missing)


def report_unreadable(unreadable: Unreadable) -> ObjectReport:
    """What is to be said of an object that can't be read."""
    return _refused(unreadable.kind, unreadable.metadata, unreadable.problems)


def report_gateway(gateway: WebhookGateway) -> ObjectReport:
    """What is to be said of a gateway, as far as it can be told from what it asks for."""
    accepted = (condition("Accepted", "Accepted", ()),)
    metadata = gateway.metadata
    return ObjectReport("WebhookGateway", metadata.key, metadata.uid, metadata.generation, accepted, ())


def report_fault(metadata: Metadata) -> ObjectReport:
    """What is to be said of a subscription that could not be compiled for a fault of ours."""
    message = (
        "could not be compiled for a fault of Hookline's own, which the operator's log describes; "
        "it is served as it was before, if it was"
    )
    problem = Problem(Severity.ERROR, Reason.INTERNAL_ERROR, message, f"WebhookSubscription {metadata.key}")
    return _refused("WebhookSubscription", metadata, (problem,))


def crowded_out(report: ObjectReport, size: int) -> ObjectReport:
    """What is to be said of a subscription of *size* bytes for which there is no room among others."""
    message = (
        f"comes to {size} bytes, for which there is no room in the table that it shares with others; "
        "certificates (caRef) count once for every route that names them"
    )
    subject = f"{report.kind} {report.key}"
    problems = (*report.problems, Problem(Severity.ERROR, Reason.TOO_LARGE, message, subject, "spec.routes"))
    return replace(report, conditions=_conditions(problems), problems=problems)


class _Problems:
    """Collects what is wrong with one subscription."""

    def __init__(self, subscription: WebhookSubscription) -> None:
        self._subject = f"WebhookSubscription {subscription.metadata.key}"
        self._origin: Origin | None = subscription.origin
        self.found: list[Problem] = []

    def add(self, severity: Severity, reason: Reason, path: tuple[str | int, ...], message: str) -> None:
        place = self._origin.place(path) if self._origin else None
        self.found.append(Problem(severity, reason, message, self._subject, dotted(path), place))


def _compile_routes(
    subscription: WebhookSubscription, surroundings: Surroundings, problems: _Problems
) -> tuple[list[routing.Route], tuple[ServiceRef, ...]]:
    complaints = complaints_about([each.match.expression for each in subscription.routes])
    routes, services = [], []
    for index, spec in enumerate(subscription.routes):
        before = len(problems.found)
        routes.append(_compile_route(index, spec, complaints[index], subscription, surroundings, problems))
        if all(each.reason is not Reason.REF_NOT_PERMITTED for each in problems.found[before:]):
            services.append(spec.handler.service)
    return routes, tuple(dict.fromkeys(services))


def _compile_route(
    index: int,
    spec: RouteSpec,
    complaint: str,
    subscription: WebhookSubscription,
    surroundings: Surroundings,
    problems: _Problems,
) -> routing.Route:
    path = ("spec", "routes", index)
    before = len(problems.found)
    _check_triggers(spec, problems, (*path, "match", "triggers"))
    if complaint:
        problems.add(Severity.ERROR, Reason.INVALID_EXPRESSION, (*path, "match", "expression"), complaint)
    _check_grant(spec, subscription, surroundings, problems, (*path, "handler", "serviceRef"))
    ca_pem = _resolve_ca(spec, subscription, surroundings, problems, (*path, "handler", "tls"))
    held = any(each.is_error for each in problems.found[before:])
    return table.route(spec, ca_pem, tls=not surroundings.omit_handler_tls, held=held)


def _check_triggers(spec: RouteSpec, problems: _Problems, path: tuple[str | int, ...]) -> None:
    """Unknown ones are taken, since CometChat adds some; but most of them are typing mistakes, and match nothing ever."""
    for index, trigger in enumerate(spec.match.triggers):
        if trigger not in CATEGORIES:
            # PERF: looking for what was meant costs a third of a millisecond, and a subscription may name 4,096.
            if sum(each.reason is Reason.UNKNOWN_TRIGGER for each in problems.found) == MOST_UNKNOWN_TRIGGERS:
                return
            near = nearest(trigger)
            hint = f'did you mean "{near}"?' if near else "it matches events that CometChat is not known to send"
            message = f'"{trigger}" is no trigger that is known; {hint}'
            problems.add(Severity.WARNING, Reason.UNKNOWN_TRIGGER, (*path, index), message)


def _check_grant(
    spec: RouteSpec,
    subscription: WebhookSubscription,
    surroundings: Surroundings,
    problems: _Problems,
    path: tuple[str | int, ...],
) -> None:
    service, own = spec.handler.service, subscription.metadata.namespace
    grants = None if service.namespace == own else surroundings.grants_in(service.namespace)
    if grants is None:
        return
    for grant in grants:
        if own in grant.from_namespaces and (grant.services is None or service.name in grant.services):
            return
    message = (
        f"needs a ReferenceGrant in the namespace {service.namespace} that lets WebhookSubscriptions of {own} refer"
    )
    problems.add(Severity.ERROR, Reason.REF_NOT_PERMITTED, path, f"{message} to the Service {service.name}")


def _resolve_ca(
    spec: RouteSpec,
    subscription: WebhookSubscription,
    surroundings: Surroundings,
    problems: _Problems,
    path: tuple[str | int, ...],
) -> bytes:
    if spec.handler.tls is None:
        return b""
    if surroundings.omit_handler_tls:
        problems.add(Severity.WARNING, Reason.TLS_OMITTED, path, "handlers are called without TLS here")
        return b""
    ref = spec.handler.tls.ca_ref
    if ref is None:
        return b""
    key = ObjectKey(subscription.metadata.namespace, ref.name)
    pem = surroundings.authority(ref.kind, key, ref.key)
    if pem is None:
        message = f'{ref.kind} {key} with a key "{ref.key}" does not exist'
        problems.add(Severity.ERROR, Reason.CA_NOT_FOUND, (*path, "caRef"), message)
        return b""
    if b"-----BEGIN CERTIFICATE-----" not in pem or b"-----END CERTIFICATE-----" not in pem:
        message = f'{ref.kind} {key} must hold certificates in PEM under the key "{ref.key}"'
        problems.add(Severity.ERROR, Reason.INVALID_CA, (*path, "caRef"), message)
        return b""
    return pem


def _tables(entries: list[Entry], inputs: Inputs) -> dict[str, Tables]:
    planes: dict[str, list[Entry]] = {"": []} if inputs.single_plane else {}
    hostnames: dict[str, list[tuple[str, ...]]] = {}
    for gateway in inputs.gateways:
        plane = "" if inputs.single_plane else str(gateway.metadata.key)
        planes.setdefault(plane, [])
        hostnames.setdefault(plane, []).append(() if inputs.single_plane else gateway.hostnames)
    for entry in entries:
        gateway = entry.attached.gateway
        plane = "" if inputs.single_plane else f"{gateway.metadata.namespace}/{entry.attached.plane}"
        planes.setdefault(plane, []).append(entry)
        if entry.attached.dedicated:
            hostnames[plane] = [gateway.hostnames]
    return {plane: _plane(planes[plane], hostnames.get(plane, []), inputs.tag_key) for plane in sorted(planes)}


def _plane(entries: list[Entry], hostnames: list[tuple[str, ...]], tag_key: bytes) -> Tables:
    # Any gateway without host names takes any; so does a single plane, which stands for no gateway's address.
    names = [name for each in hostnames for name in each] if hostnames and all(hostnames) else []
    return table.tables(
        (entry.endpoint for entry in entries), (entry.subscription for entry in entries), names, tag_key
    )


def _rejection(rejected: Rejected) -> ObjectReport:
    problems = _Problems(rejected.subscription)
    problems.add(Severity.ERROR, rejected.reason, rejected.field, rejected.message)
    return _refused("WebhookSubscription", rejected.subscription.metadata, tuple(problems.found))


def _report(subscription: WebhookSubscription, problems: tuple[Problem, ...]) -> ObjectReport:
    metadata = subscription.metadata
    return ObjectReport(
        "WebhookSubscription", metadata.key, metadata.uid, metadata.generation, _conditions(problems), problems
    )


def _conditions(problems: tuple[Problem, ...]) -> tuple[Condition, ...]:
    references = tuple(each for each in problems if each.reason in _REFERENCES)
    refusals = tuple(each for each in problems if each.is_error and each.reason not in _REFERENCES)
    return (condition("Accepted", "Accepted", refusals), condition("ResolvedRefs", "ResolvedRefs", references))


def _refused(kind: str, metadata: Metadata, problems: tuple[Problem, ...]) -> ObjectReport:
    accepted = (condition("Accepted", "Accepted", problems),)
    return ObjectReport(kind, metadata.key, metadata.uid, metadata.generation, accepted, problems)
