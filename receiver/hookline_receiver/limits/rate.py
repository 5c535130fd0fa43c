"""
A token bucket as one number: pure.

The bucket is told by the moment at which it will be full again (the "theoretical arrival time" of the generic cell rate
algorithm). It behaves as a bucket of `burst` tokens that gains `requests_per_second`, needs no timer to fill, and fits
into eight bytes that several workers can share.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a subscription may send."""

    requests_per_second: float
    burst: int
    """Requests that may come at once after a pause; at least 1."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The request took a token."""

    full_at: int


@dataclass(frozen=True, slots=True)
class Limited:
    """There was no token; the bucket is unchanged."""

    wait: float
    """Seconds until there is one."""


def take(limit: RateLimit, full_at: int, now: int) -> Allowed | Limited:
    """
    Take a token out of the bucket that is full again at *full_at*, at *now* (both ns of one monotonic clock).

    A bucket whose *full_at* lies further ahead than the whole bucket takes to fill is of another clock or another
    limit; it counts as empty, never as worse.
    """
    if limit.requests_per_second <= 0:
        return Limited(math.inf)
    interval = max(1, round(1e9 / limit.requests_per_second))
    span = interval * limit.burst
    start = min(max(full_at, now), now + span)
    wait = start + interval - now - span
    return Limited(wait / 1e9) if wait > 0 else Allowed(start + interval)
