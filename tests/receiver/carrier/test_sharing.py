"""What carrying takes of the store's thread at a time: claims and settlements wait for the same one."""

from collections.abc import Callable
from dataclasses import replace

from hookline_receiver.record import encode
from hookline_routes.match import Facts
from support.carrier import Rig, Ticks
from support.forwarder import a_book, a_route, a_subscription, an_event

MILLISECOND = 1_000_000


class Slow:
    """A match that takes its time."""

    def __init__(self, clock: Ticks, takes: int) -> None:
        self._clock = clock
        self._takes = takes

    def matches(self, facts: Facts, payload: Callable[[], object]) -> bool:
        self._clock.now += self._takes
        return True


async def test_dear_expressions_end_a_batch_early() -> None:
    """A batch of 500 events at half a second each kept all tenants' deliveries from being claimed for minutes."""
    rig = Rig()
    book = a_book(a_subscription(a_route()))
    (plan,) = book.subscriptions.values()
    slow = replace(plan, routes=tuple(replace(route, match=Slow(rig.wall, 30 * MILLISECOND)) for route in plan.routes))
    rig.routes.newer = replace(book, subscriptions={plan.ref.uid: slow})
    rig.routes.refresh()
    worker = rig.worker("a")
    for _ in range(10):
        await rig.append(worker, encode(an_event()))

    before = rig.wall.now
    rig.ticks.now += 1
    first = rig.carrier.step()

    assert first.carried == 2
    assert first.more
    assert rig.wall.now - before == 60 * MILLISECOND
    rig.carry()
    assert len(rig.store.events) == 10
