"""
Compiles what people declared into the tables that receiver and forwarder go by, and says of each object what is wrong.

Pure: values in, values out, the same for the same inputs in any order, and no input makes it raise.

What is wrong with one subscription touches no other. One that can't be read or attached is not served. One of whose
routes can't be delivered (an expression that does not compile, a certificate that is not there, a grant that is missing)
is served all the same, since a refused event is gone for good: the route is held, its events are kept.
"""

from dataclasses import dataclass

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes import table
from hookline_routes.attach import Attached, Rejected, attach
from hookline_routes.credentials import Secrets, index_secrets, resolve_credentials
from hookline_routes.expression import complaints_about
from hookline_routes.fields import dotted
from hookline_routes.inputs import Compiled, Inputs, ObjectReport, Tables
from hookline_routes.problem import Condition, Problem, Reason, Severity, condition
from hookline_routes.resource import (
    ConfigMap,
    Metadata,
    ObjectKey,
    Origin,
    PlaneMode,
    RefKind,
    RouteSpec,
    WebhookGateway,
    WebhookSubscription,
)
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


@dataclass(frozen=True, slots=True)
class Entry:
    """What one subscription comes to."""

    gateway: WebhookGateway
    endpoint: routing.Endpoint
    subscription: routing.Subscription


def compile(inputs: Inputs) -> Compiled:
    """The tables of every gateway, and a report of every object."""
    context = _Context(inputs)
    attached, rejected = attach(inputs)
    entries, reports = [], []
    for each in attached:
        entry, problems = _compile_one(each, context)
        entries.append(entry)
        reports.append(_report(each.subscription, problems))
    reports.extend(_rejection(each) for each in rejected)
    reports.extend(_refused(each.kind, each.metadata, each.problems) for each in inputs.unreadable)
    reports.extend(_gateway_report(each) for each in inputs.gateways)
    reports.sort(key=lambda each: (each.kind, each.key, each.uid, each.generation, repr(each.problems)))
    return Compiled(_tables(entries, inputs), tuple(reports))


class _Context:
    """The inputs, indexed."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.secrets: Secrets = index_secrets(inputs.secrets)
        ordered = sorted(
            inputs.config_maps, key=lambda each: (each.metadata.resource_version, sorted(each.data.items()))
        )
        self.config_maps: dict[ObjectKey, ConfigMap] = {each.metadata.key: each for each in ordered}


class _Problems:
    """Collects what is wrong with one subscription."""

    def __init__(self, subscription: WebhookSubscription) -> None:
        self._subject = f"WebhookSubscription {subscription.metadata.key}"
        self._origin: Origin | None = subscription.origin
        self.found: list[Problem] = []

    def add(self, severity: Severity, reason: Reason, path: tuple[str | int, ...], message: str) -> None:
        place = self._origin.place(path) if self._origin else None
        self.found.append(Problem(severity, reason, message, self._subject, dotted(path), place))


def _compile_one(attached: Attached, context: _Context) -> tuple[Entry, tuple[Problem, ...]]:
    subscription, gateway = attached.subscription, attached.gateway
    problems = _Problems(subscription)
    credentials = resolve_credentials(subscription, context.secrets, context.inputs)
    for finding in credentials.findings:
        problems.add(finding.severity, finding.reason, finding.field, finding.message)
    without = (
        "" if credentials.verifiers else next(each.reason for each in problems.found if each.reason in _REFERENCES)
    )
    complaints = complaints_about([each.match.expression for each in subscription.routes])
    routes = [
        _compile_route(index, each, complaints[index], subscription, context, problems)
        for index, each in enumerate(subscription.routes)
    ]
    if subscription.data_plane.mode is PlaneMode.DEDICATED and context.inputs.single_plane:
        message = "is served by the one plane that there is here"
        problems.add(Severity.WARNING, Reason.DEDICATED_AS_SHARED, ("spec", "dataPlane", "mode"), message)
    entry = Entry(
        gateway,
        table.endpoint(subscription, gateway.limits, credentials.verifiers, without),
        table.subscription(subscription, gateway.limits, routes),
    )
    return entry, tuple(problems.found)


def _compile_route(
    index: int,
    spec: RouteSpec,
    complaint: str,
    subscription: WebhookSubscription,
    context: _Context,
    problems: _Problems,
) -> routing.Route:
    path = ("spec", "routes", index)
    before = len(problems.found)
    _check_triggers(spec, problems, (*path, "match", "triggers"))
    if complaint:
        problems.add(Severity.ERROR, Reason.INVALID_EXPRESSION, (*path, "match", "expression"), complaint)
    _check_grant(spec, subscription, context, problems, (*path, "handler", "serviceRef"))
    ca_pem = _resolve_ca(spec, subscription, context, problems, (*path, "handler", "tls"))
    held = any(each.is_error for each in problems.found[before:])
    return table.route(spec, ca_pem, tls=not context.inputs.omit_handler_tls, held=held)


def _check_triggers(spec: RouteSpec, problems: _Problems, path: tuple[str | int, ...]) -> None:
    """Unknown ones are taken, since CometChat adds some; but most of them are typing mistakes, and match nothing ever."""
    for index, trigger in enumerate(spec.match.triggers):
        if trigger not in CATEGORIES:
            near = nearest(trigger)
            hint = f'did you mean "{near}"?' if near else "it matches events that CometChat is not known to send"
            message = f'"{trigger}" is no trigger that is known; {hint}'
            problems.add(Severity.WARNING, Reason.UNKNOWN_TRIGGER, (*path, index), message)


def _check_grant(
    spec: RouteSpec,
    subscription: WebhookSubscription,
    context: _Context,
    problems: _Problems,
    path: tuple[str | int, ...],
) -> None:
    service, own, grants = spec.handler.service, subscription.metadata.namespace, context.inputs.grants
    if service.namespace == own or grants is None:
        return
    for grant in grants:
        if (
            grant.metadata.namespace == service.namespace
            and own in grant.from_namespaces
            and (grant.services is None or service.name in grant.services)
        ):
            return
    message = (
        f"needs a ReferenceGrant in the namespace {service.namespace} that lets WebhookSubscriptions of {own} refer"
    )
    problems.add(Severity.ERROR, Reason.REF_NOT_PERMITTED, path, f"{message} to the Service {service.name}")


def _resolve_ca(
    spec: RouteSpec,
    subscription: WebhookSubscription,
    context: _Context,
    problems: _Problems,
    path: tuple[str | int, ...],
) -> bytes:
    if spec.handler.tls is None:
        return b""
    if context.inputs.omit_handler_tls:
        problems.add(Severity.WARNING, Reason.TLS_OMITTED, path, "handlers are called without TLS here")
        return b""
    ref = spec.handler.tls.ca_ref
    if ref is None:
        return b""
    key = ObjectKey(subscription.metadata.namespace, ref.name)
    pem = _ca_bytes(context, ref.kind, key, ref.key)
    if pem is None:
        message = f'{ref.kind} {key} with a key "{ref.key}" does not exist'
        problems.add(Severity.ERROR, Reason.CA_NOT_FOUND, (*path, "caRef"), message)
        return b""
    if b"-----BEGIN CERTIFICATE-----" not in pem or b"-----END CERTIFICATE-----" not in pem:
        message = f'{ref.kind} {key} must hold certificates in PEM under the key "{ref.key}"'
        problems.add(Severity.ERROR, Reason.INVALID_CA, (*path, "caRef"), message)
        return b""
    return pem


def _ca_bytes(context: _Context, kind: RefKind, key: ObjectKey, entry: str) -> bytes | None:
    if kind is RefKind.SECRET:
        secret = context.secrets.get(key)
        return secret.data.get(entry) if secret else None
    found = context.config_maps.get(key)
    text = found.data.get(entry) if found else None
    return None if text is None else text.encode("utf-8", "replace")


def _tables(entries: list[Entry], inputs: Inputs) -> dict[str, Tables]:
    planes: dict[str, list[Entry]] = {"": []} if inputs.single_plane else {}
    hostnames: dict[str, list[tuple[str, ...]]] = {}
    for gateway in inputs.gateways:
        plane = "" if inputs.single_plane else str(gateway.metadata.key)
        planes.setdefault(plane, [])
        hostnames.setdefault(plane, []).append(() if inputs.single_plane else gateway.hostnames)
    for entry in entries:
        planes.setdefault("" if inputs.single_plane else str(entry.gateway.metadata.key), []).append(entry)
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


def _gateway_report(gateway: WebhookGateway) -> ObjectReport:
    accepted = (condition("Accepted", "Accepted", ()),)
    metadata = gateway.metadata
    return ObjectReport("WebhookGateway", metadata.key, metadata.uid, metadata.generation, accepted, ())
