"""
What a container requests and may use: what is said, over what is said more generally.

A request of CPU is always among it: an autoscaler measures utilization by it, and without one it would not scale at all.
"""

from collections.abc import Callable, Mapping

from hookline_routes.units import parse_cpu, parse_quantity

Resources = Mapping[str, Mapping[str, str]]
"""`requests` and `limits`, each of cpu and memory."""

_READ: Mapping[str, Callable[[str], int | None]] = {"cpu": parse_cpu, "memory": parse_quantity}


def laid_over(given: Resources, general: Resources) -> dict[str, dict[str, str]]:
    """
    *given*, and what *general* has beside it.

    Where the two do not fit, what is given counts: a general limit grows to a request, a general request shrinks to a limit.
    """
    requests = {**general.get("requests", {}), **given.get("requests", {})}
    limits = {**general.get("limits", {}), **given.get("limits", {})}
    for kind in requests.keys() & limits.keys():
        if _amount(kind, requests[kind]) <= _amount(kind, limits[kind]):
            continue
        if kind in given.get("limits", {}):
            requests[kind] = limits[kind]
        else:
            limits[kind] = requests[kind]
    return {name: amounts for name, amounts in (("requests", requests), ("limits", limits)) if amounts}


def _amount(kind: str, text: str) -> int:
    return _READ[kind](text) or 0
