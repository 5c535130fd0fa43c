"""The order within a batch: what has one partition key runs one after another, everything else at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hookline_kit.event import Event
from hookline_kit.outcome import Outcome, RetryAfter


def lanes(events: Sequence[Event]) -> list[list[Event]]:
    """*events* in lanes that do not wait for each other; an event without a partition key has one to itself."""
    keyed: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        lane = (event.source, event.partition_key) if event.partition_key else ("", event.delivery_id)
        keyed.setdefault(lane, []).append(event)
    return list(keyed.values())


async def run_batch(
    events: Sequence[Event], handle: Callable[[Event], Awaitable[Outcome]], *, in_order: bool
) -> dict[str, Outcome]:
    """The outcome of each of *events* by delivery id; with *in_order* a partition key's events go one by one."""
    outcomes: dict[str, Outcome] = {}
    plan = lanes(events) if in_order else [[event] for event in events]
    async with asyncio.TaskGroup() as tasks:
        for lane in plan:
            tasks.create_task(_run_lane(lane, handle, outcomes))
    return outcomes


async def _run_lane(
    lane: Sequence[Event], handle: Callable[[Event], Awaitable[Outcome]], outcomes: dict[str, Outcome]
) -> None:
    """A later event must not overtake an earlier one that asked to come again, so it is not run and asks the same."""
    waiting: RetryAfter | None = None
    for event in lane:
        outcomes[event.delivery_id] = outcome = waiting or await handle(event)
        if waiting is None and isinstance(outcome, RetryAfter):
            waiting = RetryAfter(outcome.seconds, f"waits for {event.delivery_id}, an earlier event of its key")
