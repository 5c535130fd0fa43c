"""What both kinds say of rates, replicas and resources, and the units of limits."""

from collections.abc import Mapping

from hookline_routes.fields import NAME, Fields, Pattern
from hookline_routes.resource import RateLimitSpec, ScalingSpec
from hookline_routes.units import SECOND, format_cpu, format_quantity

MILLISECOND = SECOND // 1000
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
HOSTNAME = Pattern(NAME.regex, "a host name (lower-case letters, digits, '-' and '.')", 253)


def read_rate_limit(fields: Fields) -> RateLimitSpec | None:
    """`rateLimit`; None where there is none."""
    present = fields.has("rateLimit")
    limit = fields.section("rateLimit")
    if not present:
        return None
    rate = limit.integer("requestsPerSecond", 1, 100_000)
    burst = limit.integer("burst", 1, 1_000_000, rate)
    if burst < rate:
        limit.wrong("burst", f"must be at least requestsPerSecond ({rate}), got {burst}")
    limit.close()
    return RateLimitSpec(rate, burst)


def read_scaling(fields: Fields, high: int) -> ScalingSpec | None:
    """`scaling` up to *high* pods; None where there is none."""
    present = fields.has("scaling")
    scaling = fields.section("scaling")
    if not present:
        return None
    low = scaling.integer("minReplicas", 1, high, 2)
    spec = ScalingSpec(
        low, scaling.integer("maxReplicas", 1, high), scaling.integer("targetCPUUtilization", 10, 95, 65)
    )
    if spec.max_replicas < low:
        scaling.wrong("maxReplicas", f"must be at least minReplicas ({low}), got {spec.max_replicas}")
    scaling.close()
    return spec


def read_resources(fields: Fields) -> Mapping[str, Mapping[str, str]]:
    """`resources`: what is given of requests and limits, each of cpu and memory, as the API server would write it."""
    amounts = {name: _amounts(fields.section(name)) for name in ("requests", "limits") if fields.has(name)}
    fields.ignore("requests", "limits")
    for kind, size in amounts.get("requests", {}).items():
        limit = amounts.get("limits", {}).get(kind, size)
        if size > limit:
            shown = _AMOUNTS[kind]
            fields.wrong(("requests", kind), f"must be at most limits.{kind} ({shown(limit)}), got {shown(size)}")
    fields.close()
    return {name: {kind: _AMOUNTS[kind](size) for kind, size in each.items()} for name, each in amounts.items()}


_AMOUNTS = {"cpu": format_cpu, "memory": format_quantity}


def _amounts(fields: Fields) -> dict[str, int]:
    found = {}
    if fields.has("cpu"):
        found["cpu"] = fields.cpu("cpu", 10, 64_000)
    if fields.has("memory"):
        found["memory"] = fields.quantity("memory", 32 * MIB, 256 * GIB, 32 * MIB)
    fields.ignore("cpu", "memory")
    fields.close()
    return found
