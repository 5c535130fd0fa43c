"""What both kinds say of rates and replicas, and the units of limits."""

from hookline_routes.fields import NAME, Fields, Pattern
from hookline_routes.resource import RateLimitSpec, ScalingSpec
from hookline_routes.units import SECOND

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
