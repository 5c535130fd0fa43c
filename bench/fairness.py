"""
What others cost a healthy route: its time to delivery alone, and beside a handler that hangs and one that refuses all.

`python -m bench.fairness [--rounds 7] [--events 100]`. Two forwarders of the same build, each on a folder of its own; they
take turns, one round each. In the second one's store 2,000 events wait for the two bad handlers, and each event for the
healthy one comes with one for each of them. Times are from the journal's "durable" to the handler's call; medians of the
rounds, to be read as a ratio.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / "tests")]

import grpc

from hookline.handler.v1 import handler_pb2 as pb
from hookline_receiver.journal.writer import SegmentJournal
from hookline_receiver.record import encode
from support.forwarder import (
    Behaviour,
    DataFolder,
    ForwarderProcess,
    Handler,
    Status,
    a_route,
    a_subscription,
    accept,
    an_event,
    serving,
)

BACKLOG = 2_000
BAD = ("hangs", "refuses")
TRIGGERS = {"fine": "message_sent", "hangs": "call_ended", "refuses": "group_created"}


@dataclass
class Side:
    """One forwarder with its handlers, and what was measured of its healthy route."""

    name: str
    bad: bool
    journal: SegmentJournal
    came: dict[bytes, float] = field(default_factory=dict)
    rounds: list[list[float]] = field(default_factory=list)

    def take(self, request: pb.DeliverRequest) -> pb.DeliverResponse:
        """The healthy handler: note the time."""
        now = time.perf_counter()
        for one in request.deliveries:
            self.came.setdefault(one.event.binary_data, now)
        return accept(request)

    async def play(self, events: int) -> None:
        """One round: an event every 5 ms; with each, where there are others, one for each of them."""
        sent: dict[bytes, float] = {}
        for _ in range(events):
            event = an_event(trigger=TRIGGERS["fine"])
            await self.journal.append(encode(event))
            sent[event.body] = time.perf_counter()
            for name in BAD if self.bad else ():
                await self.journal.append(encode(an_event(trigger=TRIGGERS[name])))
            await asyncio.sleep(0.005)
        deadline = time.perf_counter() + 30
        while not sent.keys() <= self.came.keys():
            if time.perf_counter() > deadline:
                raise SystemExit(f"{self.name}: {len(sent.keys() - self.came.keys())} events did not come")
            await asyncio.sleep(0.005)
        self.rounds.append([self.came[body] - when for body, when in sent.items()])


async def hang(request: pb.DeliverRequest) -> pb.DeliverResponse:
    """Never answer."""
    await asyncio.Event().wait()
    return accept(request)


def refuse(request: pb.DeliverRequest) -> pb.DeliverResponse:
    """Answer that it won't."""
    raise Status(grpc.StatusCode.PERMISSION_DENIED, "not you")


async def a_side(stack: AsyncExitStack, folder: Path, name: str, *, bad: bool) -> Side:
    """Start it."""
    data = DataFolder(folder / name)
    journal = SegmentJournal.open(data.journal)
    stack.push_async_callback(journal.close)
    side = Side(name, bad, journal)
    behaviours: dict[str, Behaviour] = {"fine": side.take, "hangs": hang, "refuses": refuse}
    servers = {one: await stack.enter_async_context(serving(Handler(does))) for one, does in behaviours.items()}
    fine, hangs, refuses = ([servers[one].address] for one in ("fine", *BAD))
    data.endpoints(fine=fine, hangs=hangs, refuses=refuses)
    data.route(a_subscription(*(a_route(one, service=one, triggers=[TRIGGERS[one]], timeout=10) for one in behaviours)))
    for _ in range(BACKLOG // 2 if bad else 0):
        await asyncio.gather(*(journal.append(encode(an_event(trigger=TRIGGERS[one]))) for one in BAD))
    forwarder = ForwarderProcess(data, {"LOG_LEVEL": "ERROR"})
    forwarder.start()
    stack.callback(forwarder.kill)
    return side


async def measure(rounds: int, events: int) -> None:
    """Play and print."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            sides = [
                await a_side(stack, Path(folder), "alone", bad=False),
                await a_side(stack, Path(folder), "beside", bad=True),
            ]
            for number in range(rounds + 1):
                for side in sides if number % 2 else sides[::-1]:
                    await side.play(events)
            print(
                f"{rounds} rounds of {events} events, milliseconds from durable to the handler; medians of the rounds\n"
            )
            print(f"  {'':<8}{'median':>8}{'p90':>8}{'p99':>8}")
            for side in sides:
                # The first round finds connections and caches cold.
                figures = [percentiles(one) for one in side.rounds[1:]]
                print(
                    f"  {side.name:<8}"
                    + "".join(f"{statistics.median(each) * 1e3:8.1f}" for each in zip(*figures, strict=True))
                )
            ratios = [
                statistics.median(beside) / statistics.median(alone)
                for alone, beside in zip(sides[0].rounds[1:], sides[1].rounds[1:], strict=True)
            ]
            print(f"\n  beside : alone, median of the rounds' ratios {statistics.median(ratios):.2f}")


def percentiles(times: list[float]) -> tuple[float, float, float]:
    """Median, p90 and p99."""
    ordered = sorted(times)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.9)], ordered[int(len(ordered) * 0.99)]


def main() -> None:
    """Run it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--events", type=int, default=100)
    given = arguments.parse_args()
    asyncio.run(measure(given.rounds, given.events))


if __name__ == "__main__":
    main()
