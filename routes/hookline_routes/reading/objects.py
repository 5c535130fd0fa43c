"""From a plain object to the typed value of its kind, or what is wrong with it."""

import re
from collections.abc import Callable, Mapping

from hookline_routes.fields import LABEL, NAME, Fields, Report
from hookline_routes.reading.gateway import read_gateway
from hookline_routes.reading.subscription import read_subscription
from hookline_routes.reading.surroundings import read_config_map, read_grant, read_secret
from hookline_routes.resource import (
    Metadata,
    Origin,
    Resource,
    Unreadable,
    WebhookSubscription,
)

_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_GROUP = "hookline.dev/v1alpha1"
_GRANTS = ("gateway.networking.k8s.io/v1beta1", "gateway.networking.k8s.io/v1")
Reader = Callable[[Fields, Metadata, Report], Resource]


def is_known(value: object) -> bool:
    """Whether *value* is of a kind that is read; others are nobody's business here."""
    return _reader(value) is not None


def kind_of(value: object) -> str:
    """The kind as messages name it; "" where there is none."""
    kind = value.get("kind") if isinstance(value, Mapping) else None
    return kind if isinstance(kind, str) else ""


def read_object(value: object, *, strict: bool = False, origin: Origin | None = None) -> Resource | Unreadable | None:
    """
    The object as a typed value, or what is wrong with it; None for a kind that is not read.

    *strict*, for manifests: unknown fields are errors. *origin* gives the messages their file and line.
    """
    reader = _reader(value)
    if reader is None or not isinstance(value, Mapping):
        return None
    report = Report(origin=origin, strict=strict)
    fields = Fields(value, (), report)
    fields.ignore("apiVersion", "kind", "status")
    metadata = _metadata(fields, kind_of(value), report)
    resource = reader(fields, metadata, report)
    fields.close()
    if report.problems:
        ref = resource.gateway_ref if isinstance(resource, WebhookSubscription) else None
        return Unreadable(kind_of(value), metadata, tuple(report.problems), ref)
    return resource


def _reader(value: object) -> Reader | None:
    if not isinstance(value, Mapping):
        return None
    version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        return None
    if kind == "ReferenceGrant" and version in _GRANTS:
        return read_grant
    readers: dict[tuple[str, str], Reader] = {
        (_GROUP, "WebhookSubscription"): read_subscription,
        (_GROUP, "WebhookGateway"): read_gateway,
        ("v1", "Secret"): read_secret,
        ("v1", "ConfigMap"): read_config_map,
    }
    return readers.get((version, kind))


def _metadata(fields: Fields, kind: str, report: Report) -> Metadata:
    inner = fields.section("metadata", required=True)
    raw_namespace, raw_name = inner.raw("namespace"), inner.raw("name")
    name = raw_name if isinstance(raw_name, str) else "?"
    report.subject = f"{kind} {raw_namespace if isinstance(raw_namespace, str) else 'default'}/{name}"
    own = kind in ("WebhookSubscription", "WebhookGateway")
    created = inner.raw("creationTimestamp")
    metadata = Metadata(
        namespace=inner.text("namespace", LABEL, "") or "default",
        # One that is wrong still names the object in what is said of it.
        name=inner.text("name", LABEL if own else NAME) or (name if raw_name else ""),
        uid=_token(inner.raw("uid")),
        resource_version=_token(inner.raw("resourceVersion")),
        generation=inner.integer("generation", 0, 1 << 62, 0),
        created=created if isinstance(created, str) and _TIME.fullmatch(created) else "",
        labels=inner.strings("labels", 1000),
        annotations=inner.strings("annotations", 1000),
    )
    inner.ignore("deletionTimestamp", "deletionGracePeriodSeconds", "finalizers", "managedFields", "ownerReferences")
    inner.ignore("generateName", "selfLink")
    inner.close()
    return metadata


def _token(value: object) -> str:
    # What an API server makes; nothing else gets into tables and names.
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else ""
