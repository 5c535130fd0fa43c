"""
How much of each route is under way, and how much more may be: what keeps one route from taking what others need.

A route may hold a quarter of the calls and bytes that nobody holds: alone it gets a fifth of all, of n routes that hang
each gets one of n + 4 parts, and some are left for the next one, whatever the routes' own limits are. It gets them step
by step, so that whoever comes first does not take all before the others have come. Handlers that failed lately, and have
not answered since, get no more than half of all calls together: the other half is for those that answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hookline_receiver.carrying.routebook import RoutePlan
from hookline_receiver.event import RouteRef
from hookline_receiver.store.port import Claimed

_PART = 4
_COPIES = 2
"""A message stands in memory as long as its call lasts, ours and gRPC's own."""
_SEEN = 8 << 20
"""Bytes of bodies by which is judged how much larger than bodies messages are: of typed ones up to four times."""
_CALLS_A_TURN = 16
"""Calls that a route may begin in one turn: several small batches share the cost of the visit to the store."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What all routes together may have under way."""

    calls: int = 1024
    bytes: int = 128 << 20
    """
    Bytes in memory: bodies as they were claimed, the messages that were built of them, and once more gRPC's own.

    Measured: eight routes whose handlers hang, events of 42 KB: 460 MiB when only bodies counted, 110 MiB now.
    """


@dataclass(slots=True)
class Lane:
    """One route's deliveries under way."""

    plan: RoutePlan
    deliveries: int = 0
    """Claimed and not yet answered, those of a forming batch included."""
    calls: int = 0
    bytes: int = 0
    """Of their bodies and messages."""
    forming: list[Claimed] = field(default_factory=list)
    """A batch that waits for more."""
    flush_at: int = 0
    served: int = 0
    """Number of the turn in which it was last served."""
    nothing_until: int = 0
    """A claim came back empty: not asked again before this time."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not self.deliveries and not self.calls

    @property
    def forming_bytes(self) -> int:
        """Bytes of the bodies of the forming batch."""
        return sum(len(one.event.body) for one in self.forming)


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be claimed."""

    events: int
    bytes: int
    """Of bodies."""
    weight: int = 0
    """What that will come to in memory with the messages, going by those of late."""


@dataclass(slots=True)
class Planned:
    """What is asked for in the turn that is being planned, at its largest."""

    calls: int = 0
    bytes: int = 0
    """Of bodies and messages."""


class Lanes:
    """All routes' deliveries under way."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._lanes: dict[RouteRef, Lane] = {}
        self.calls = 0
        self.bytes = 0
        self._bodies_seen = 1 << 20
        self._weight_seen = _weight(1 << 20, 1 << 20)

    def of(self, plan: RoutePlan) -> Lane:
        """The lane of *plan*'s route, by the plan of this moment."""
        lane = self._lanes.get(plan.ref)
        if lane is None:
            lane = self._lanes[plan.ref] = Lane(plan)
        lane.plan = plan
        return lane

    def known(self, route: RouteRef) -> Lane:
        """The lane of *route*, which there is one of."""
        return self._lanes[route]

    def served(self, route: RouteRef) -> int:
        """The turn in which *route* was last served; 0: not lately."""
        lane = self._lanes.get(route)
        return lane.served if lane else 0

    def room(self, lane: Lane, message_bytes: int, planned: "Planned", *, suspect: bool) -> "Room":
        """What may be claimed for *lane* now, beside what is *planned* for others; *suspect*: its handler failed lately."""
        capacity = self._capacity.calls // 2 if suspect else self._capacity.calls
        free = capacity - self.calls - planned.calls
        calls = min(_CALLS_A_TURN, -(-free // _PART) - lane.calls)
        size = (self._capacity.bytes - self.bytes - planned.bytes) // _PART - lane.bytes
        if calls <= 0 or size <= 0:
            return Room(0, 0)
        plan = lane.plan
        events = min(calls * plan.batch_max_events - len(lane.forming), plan.max_in_flight - lane.deliveries)
        expansion = self._weight_seen / self._bodies_seen
        bodies = max(1, min(message_bytes - lane.forming_bytes, int(size / expansion)))
        return Room(max(0, events), bodies, int(bodies * expansion))

    def claimed(self, lane: Lane, claimed: list[Claimed]) -> None:
        """These join the forming batch."""
        lane.forming.extend(claimed)
        lane.deliveries += len(claimed)
        bodies = _bodies(claimed)
        self._weigh(lane, _weight(bodies, bodies))

    def built(self, lane: Lane, claimed: Claimed, size: int) -> None:
        """*claimed*'s message is of *size* bytes; until now it was taken to be as large as its body."""
        body = len(claimed.event.body)
        self._weigh(lane, _weight(body, size) - _weight(body, body))
        self._bodies_seen += body
        self._weight_seen += _weight(body, size)
        if self._bodies_seen > _SEEN:
            self._bodies_seen //= 2
            self._weight_seen //= 2

    def call_begins(self, lane: Lane) -> None:
        """A call of its deliveries starts."""
        lane.calls += 1
        self.calls += 1

    def call_ended(self, lane: Lane) -> None:
        """A call of its deliveries ended."""
        lane.calls -= 1
        self.calls -= 1

    def let_go(self, lane: Lane, claimed: list[Claimed], messages: int | None = None) -> None:
        """These are no longer under way, nor are their *messages* of so many bytes; None: none were built."""
        lane.deliveries -= len(claimed)
        bodies = _bodies(claimed)
        self._weigh(lane, -_weight(bodies, bodies if messages is None else messages))

    def forming(self) -> list[Lane]:
        """Lanes with a batch that waits for more."""
        return [lane for lane in self._lanes.values() if lane.forming]

    def waits(self, now: int) -> list[int]:
        """When lanes whose last claim came back empty may be asked again."""
        return [lane.nothing_until for lane in self._lanes.values() if lane.nothing_until > now]

    def forget_idle(self) -> None:
        """Drop what nothing is under way for; their turn is then the oldest."""
        self._lanes = {route: lane for route, lane in self._lanes.items() if not lane.idle}

    def _weigh(self, lane: Lane, size: int) -> None:
        lane.bytes += size
        self.bytes += size


def _weight(bodies: int, messages: int) -> int:
    return bodies + _COPIES * messages


def _bodies(claimed: Iterable[Claimed]) -> int:
    return sum(len(one.event.body) for one in claimed)
