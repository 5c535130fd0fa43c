"""A WebhookSubscription but for its routes: gateway, path, credentials, limits, data plane."""

import re

from hookline_routes.fields import KEY, LABEL, NAME, Fields, Pattern, Report
from hookline_routes.problem import Reason
from hookline_routes.reading.capacity import HOUR, read_rate_limit, read_resources, read_scaling
from hookline_routes.reading.route import read_routes
from hookline_routes.resource import (
    DataPlaneSpec,
    GatewayRef,
    Metadata,
    PlaneMode,
    RotationSpec,
    SecretRef,
    WebhookSubscription,
)
from hookline_routes.units import SECOND, format_duration

MAX_SECRET_REFS = 4
MAX_ROTATION_INTERVAL, MAX_OVERLAP = 17520 * HOUR, 720 * HOUR
MAX_PATH = 512
_PATH = Pattern(
    re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*"),
    f"an absolute path of at most {MAX_PATH} characters (letters, digits and -._~!$&'()*+,;=:@/)",
    MAX_PATH,
)
_APP_ID = Pattern(re.compile(r"[A-Za-z0-9_-]+"), "an app id (a string of letters and digits, in quotes)", 64)


def read_subscription(fields: Fields, metadata: Metadata, report: Report) -> WebhookSubscription:
    """The subscription; what is wrong with it goes into *report*."""
    spec = fields.section("spec", required=True)
    deduplication, retention = spec.section("deduplication"), spec.section("retention")
    secret_refs, rotation = _credentials(spec)
    subscription = WebhookSubscription(
        metadata=metadata,
        gateway_ref=_gateway_ref(spec.section("gatewayRef")),
        path=_path(spec, metadata),
        app_ids=spec.texts("appIds", _APP_ID, 64),
        secret_refs=secret_refs,
        routes=read_routes(spec, metadata.namespace),
        deduplication_window=deduplication.duration("window", SECOND, 168 * HOUR, HOUR),
        rate_limit=read_rate_limit(spec),
        retain_delivered=retention.duration("delivered", 0, 720 * HOUR, 24 * HOUR),
        retain_dead=retention.duration("dead", HOUR, 2160 * HOUR, 168 * HOUR),
        suspend=spec.boolean("suspend", False),
        data_plane=_data_plane(spec),
        rotation=rotation,
        origin=report.origin,
    )
    for section in (deduplication, retention, spec):
        section.close()
    return subscription


def _gateway_ref(fields: Fields) -> GatewayRef:
    ref = GatewayRef(fields.text("name", LABEL, "default"), fields.text("namespace", LABEL, ""))
    fields.close()
    return ref


def _path(spec: Fields, metadata: Metadata) -> str:
    prefix = f"/{metadata.namespace}/"
    path = spec.text("path", _PATH, "")
    if not path:
        return f"{prefix}{metadata.name}"
    if not path.startswith(prefix) or path == prefix:
        spec.wrong("path", f'must start with "{prefix}" and go on, got "{path}"', Reason.PATH_NOT_ALLOWED)
    segments = path[1:].split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        spec.wrong("path", f'must have no empty, "." or ".." segments, got "{path}"')
    return path


def _credentials(spec: Fields) -> tuple[tuple[SecretRef, ...], RotationSpec]:
    auth = spec.section("auth")
    basic = auth.section("basic")
    refs = basic.objects("secretRefs", 0, MAX_SECRET_REFS, _secret_ref)
    if len({ref.name for ref in refs}) < len(refs):
        basic.wrong("secretRefs", "must name each Secret once")
    if refs and basic.has("rotation"):
        basic.wrong("rotation", "must be absent where secretRefs name Secrets: only what the operator made is rotated")
    rotation = _rotation(basic.section("rotation"))
    basic.close()
    auth.close()
    return refs, rotation


def _rotation(fields: Fields) -> RotationSpec:
    usual = RotationSpec()
    spec = RotationSpec(
        fields.duration("interval", HOUR, MAX_ROTATION_INTERVAL, usual.interval),
        fields.duration("overlap", 0, MAX_OVERLAP, usual.overlap),
    )
    if spec.interval and spec.overlap >= spec.interval:
        limit, got = format_duration(spec.interval), format_duration(spec.overlap)
        fields.wrong("overlap", f"must be shorter than interval ({limit}), got {got}")
    fields.close()
    return spec


def _secret_ref(fields: Fields) -> SecretRef:
    return SecretRef(
        fields.text("name", NAME),
        fields.text("usernameKey", KEY, "username"),
        fields.text("passwordKey", KEY, "password"),
    )


def _data_plane(spec: Fields) -> DataPlaneSpec:
    plane = spec.section("dataPlane")
    mode = plane.one_of("mode", PlaneMode, PlaneMode.SHARED)
    given = plane.has("dedicated")
    dedicated = plane.section("dedicated")
    if given != (mode is PlaneMode.DEDICATED):
        plane.wrong("dedicated", "is required when mode is Dedicated, and forbidden otherwise")
    scaling = read_scaling(dedicated, 50)
    if given and scaling is None:
        dedicated.wrong("scaling", "is required")
    amounts = read_resources(dedicated.section("resources"))
    for section in (dedicated, plane):
        section.close()
    return DataPlaneSpec(mode, scaling, amounts)
