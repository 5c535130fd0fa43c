"""What subscriptions refer to: Secrets, ConfigMaps, ReferenceGrants."""

import base64
import binascii
from collections.abc import Mapping

from hookline_routes.fields import KEY, LABEL, NAME, Fields, Report
from hookline_routes.resource import ConfigMap, Metadata, ReferenceGrant, Secret


def read_secret(fields: Fields, metadata: Metadata, report: Report) -> Secret:
    """The Secret, its data decoded."""
    data = {key: _decoded(fields, key, value) for key, value in _entries(fields, "data").items()}
    data |= {key: value.encode("utf-8", "replace") for key, value in _entries(fields, "stringData").items()}
    kind = fields.raw("type")
    fields.ignore("immutable")
    return Secret(metadata, kind if isinstance(kind, str) else "Opaque", data, report.origin)


def _entries(fields: Fields, name: str) -> dict[str, str]:
    # SECURITY: the values are never shown, not even wrong ones.
    value = fields.raw(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        fields.wrong(name, "must be an object of strings")
        return {}
    for key, each in value.items():
        if not isinstance(each, str):
            fields.wrong((name, str(key)), f"must be a string, got {type(each).__name__} (put it in quotes)")
    return {str(key): each for key, each in value.items() if isinstance(each, str)}


def _decoded(fields: Fields, key: str, value: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        fields.wrong(("data", key), "must be base64 (or put the plain text into stringData)")
        return b""


def read_config_map(fields: Fields, metadata: Metadata, report: Report) -> ConfigMap:
    """The ConfigMap."""
    data = fields.strings("data", 10_000)
    fields.ignore("binaryData", "immutable")
    return ConfigMap(metadata, data, report.origin)


def read_grant(fields: Fields, metadata: Metadata, report: Report) -> ReferenceGrant:
    """What the grant allows of what concerns us: subscriptions referring to Services."""
    spec = fields.section("spec", required=True)
    sources = spec.objects("from", 1, 16, _grant_source)
    targets = spec.objects("to", 1, 16, _grant_target)
    spec.close()
    names = [name for group, kind, name in targets if (group, kind) == ("", "Service")]
    allowed = {place for group, kind, place in sources if (group, kind) == ("hookline.dev", "WebhookSubscription")}
    services = None if "" in names else frozenset(names)
    return ReferenceGrant(metadata, frozenset(allowed), services)


def _grant_source(fields: Fields) -> tuple[str, str, str]:
    return _string(fields.raw("group")), fields.text("kind", KEY), fields.text("namespace", LABEL)


def _grant_target(fields: Fields) -> tuple[str, str, str]:
    return _string(fields.raw("group")), fields.text("kind", KEY), fields.text("name", NAME, "")


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
