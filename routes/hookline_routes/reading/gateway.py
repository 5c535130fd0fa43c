"""A WebhookGateway: who may attach, limits, replicas, event store, client certificate."""

import re
from enum import StrEnum

from hookline_routes.fields import LABEL_KEY, LABEL_VALUE, NAME, Fields, Pattern, Report
from hookline_routes.reading.capacity import GIB, HOSTNAME, KIB, MIB, read_rate_limit, read_scaling
from hookline_routes.resource import (
    AllowedNamespaces,
    DedicatedPolicy,
    GatewayLimits,
    LabelRequirement,
    Metadata,
    NamespacesFrom,
    WebhookGateway,
)

MAX_PODS = 1000
MAX_BODY = 16 * MIB
"""What the receiver's HTTP side reads of a body at most."""
_OPERATOR = Pattern(re.compile("In|NotIn|Exists|DoesNotExist"), "In or NotIn or Exists or DoesNotExist", 16)


class _Engine(StrEnum):
    SQLITE = "SQLite"


def read_gateway(fields: Fields, metadata: Metadata, report: Report) -> WebhookGateway:
    """The gateway; what is wrong with it goes into *report*."""
    spec = fields.section("spec", required=True)
    if spec.has("replicas") and spec.has("scaling"):
        spec.wrong("scaling", "must be left out where replicas is set")
    store = spec.section("eventStore")
    storage = store.section("storage")
    tls = spec.section("backendTLS")
    certificate = tls.section("clientCertificateRef")
    gateway = WebhookGateway(
        metadata=metadata,
        hostnames=spec.texts("hostnames", HOSTNAME, 16),
        allowed_namespaces=_allowed(spec.section("allowedNamespaces")),
        limits=_limits(spec.section("limits")),
        replicas=spec.integer("replicas", 0, MAX_PODS) if spec.has("replicas") else None,
        scaling=read_scaling(spec, MAX_PODS),
        event_store_size=storage.quantity("size", 64 * MIB, 1 << 50, 10 * GIB),
        storage_class=storage.text("storageClassName", NAME) if storage.has("storageClassName") else "",
        client_certificate=certificate.text("name", NAME) if tls.has("clientCertificateRef") else "",
        dedicated=_dedicated(spec.section("dedicated")),
        origin=report.origin,
    )
    store.one_of("engine", _Engine, _Engine.SQLITE)
    spec.ignore("replicas")
    storage.ignore("storageClassName")
    certificate.ignore("name")
    for section in (certificate, tls, storage, store, spec):
        section.close()
    return gateway


def default_gateway() -> WebhookGateway:
    """The gateway that there is where none was declared: every field its default, every namespace allowed."""
    metadata = Metadata("hookline", "default")
    return read_gateway(Fields({"spec": {}}, (), Report()), metadata, Report())


def _allowed(fields: Fields) -> AllowedNamespaces:
    source = fields.one_of("from", NamespacesFrom, NamespacesFrom.ALL)
    given = fields.has("selector")
    selector = fields.section("selector")
    if given != (source is NamespacesFrom.SELECTOR):
        fields.wrong("selector", "is required when from is Selector, and forbidden otherwise")
    labels = selector.pairs("matchLabels", 16, LABEL_KEY, LABEL_VALUE)
    requirements = selector.objects("matchExpressions", 0, 16, _requirement)
    selector.close()
    fields.close()
    equal = tuple(LabelRequirement(key, "In", (value,)) for key, value in sorted(labels.items()))
    return AllowedNamespaces(source, equal + requirements)


def _requirement(fields: Fields) -> LabelRequirement:
    key, operator = fields.text("key", LABEL_KEY), fields.text("operator", _OPERATOR)
    values = fields.texts("values", LABEL_VALUE, 64)
    if operator and bool(values) != (operator in ("In", "NotIn")):
        fields.wrong("values", "must be given for In and NotIn, and for nothing else")
    return LabelRequirement(key, operator, values)


def _dedicated(fields: Fields) -> DedicatedPolicy:
    policy = DedicatedPolicy(fields.boolean("allowed", False), fields.integer("maxPerNamespace", 0, 100, 2))
    fields.close()
    return policy


def _limits(fields: Fields) -> GatewayLimits:
    limits = GatewayLimits(
        max_body_bytes=fields.quantity("maxBodySize", KIB, MAX_BODY, 2 * MIB),
        max_pending_bytes=fields.quantity("maxPendingBytesPerSubscription", MIB, 1 << 50, GIB),
        max_subscriptions=fields.integer("maxSubscriptions", 1, 1_000_000) if fields.has("maxSubscriptions") else 0,
        rate_limit=read_rate_limit(fields),
    )
    fields.ignore("maxSubscriptions")
    fields.close()
    return limits
