"""What the routes of this moment make of an event: pure."""

from dataclasses import dataclass

from hookline_receiver.carrying.routebook import Ordering, RoutePlan, SubscriptionPlan
from hookline_receiver.event import Event, RouteRef
from hookline_receiver.store.port import Arrival, Target
from hookline_routes.match import MatchFailed
from hookline_routes.payload import Payload

SUBSCRIPTION_REMOVED = "SubscriptionRemoved"
NO_ROUTE_MATCHED = "NoRouteMatched"
MATCH_FAILED = "MatchFailed"
INTERNAL_ERROR = "InternalError"

RETRY_HORIZON = 60 * 1_000_000_000
"""How long a weak identity holds, in nanoseconds: the sender's last retry comes about 40 s after its first try."""

_REASON_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Misfit:
    """A route whose expression failed on an event."""

    route: RouteRef
    reason: str


@dataclass(frozen=True, slots=True)
class FannedOut:
    """An event with its targets, and the routes that could not say whether it is theirs."""

    arrival: Arrival
    misfits: tuple[Misfit, ...]


def fan_out(event: Event, plan: SubscriptionPlan | None) -> FannedOut:
    """
    Return where *event* goes by *plan*, its subscription's routes (None: the subscription is gone).

    A failed expression leaves the event unrouted for that route only; the arrival names the route and the reason even
    where other routes match, so that the event's story shows what it missed.
    """
    if plan is None:
        return FannedOut(Arrival(event, (), SUBSCRIPTION_REMOVED, _duplicate_until(event, RETRY_HORIZON)), ())
    targets: list[Target] = []
    misfits: list[Misfit] = []
    payload = Payload(event.body)
    for route in plan.routes:
        verdict = route.match.matches(event.envelope, payload)
        if isinstance(verdict, MatchFailed):
            misfits.append(Misfit(route.ref, verdict.reason))
        elif verdict:
            targets.append(Target(route.ref, ordering_key(event, route)))
    missed = _missed(targets, misfits)
    return FannedOut(Arrival(event, tuple(targets), missed, _duplicate_until(event, plan.window)), tuple(misfits))


def unrouted(event: Event, error: Exception) -> FannedOut:
    """Return *event* kept for a person, who can have it sent later: what the routes make of it failed with *error*."""
    reason = f"{INTERNAL_ERROR}: {type(error).__name__}"
    return FannedOut(Arrival(event, (), reason, _duplicate_until(event, RETRY_HORIZON)), ())


def ordering_key(event: Event, route: RoutePlan) -> str | None:
    """
    Return what *event* waits its turn under in *route*; None: it waits for nothing.

    An event without conversation, group or session belongs to no line: ordered by conversation it goes at once.
    """
    if route.ordering is Ordering.SUBSCRIPTION:
        return ""
    if route.ordering is Ordering.CONVERSATION:
        return event.identity.partition_key or None
    return None


def _duplicate_until(event: Event, window: int) -> int:
    return event.received_at_ns + (window if event.identity.strong else min(window, RETRY_HORIZON))


def _missed(targets: list[Target], misfits: list[Misfit]) -> str:
    if misfits:
        reasons = "; ".join(f"{misfit.route.name}: {misfit.reason}" for misfit in misfits)
        return f"{MATCH_FAILED}: {reasons}"[:_REASON_LIMIT]
    return "" if targets else NO_ROUTE_MATCHED
