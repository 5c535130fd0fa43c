"""One tenant's handler is away until its share of storage is full: it alone is refused, and only until it is back."""

from pathlib import Path

from hookline_receiver.event import SubscriptionRef
from hookline_receiver.limits.share import SLACK
from support.forwarder import DataFolder, ForwarderProcess, Handler, a_route, a_subscription, serving
from support.receiver import EVENT, a_receiver, an_endpoint
from support.waiting import until

SHARE = 40 * len(EVENT)
SENT = 10 * 40
"""Ten times the share, each event delivered at once."""
FULL = SubscriptionRef("uid-full", "acme", "full")
FINE = SubscriptionRef("uid-fine", "acme", "fine")


def an_event(number: int) -> bytes:
    """Unlike every other one, as long as every other one."""
    return EVENT.replace(b'"7"', b'"%04d"' % number)


async def test_only_the_subscription_over_its_share_is_refused_and_only_as_long_as_it_is(tmp_path: Path) -> None:
    """From the store's sums through the table between the processes to the answer, and back again."""
    data = DataFolder(tmp_path)
    forwarder = ForwarderProcess(data)
    endpoints = [an_endpoint(f"/acme/{one.name}", uid=one.uid, max_pending_bytes=SHARE) for one in (FULL, FINE)]

    def route(*, paused: bool) -> None:
        data.route(
            a_subscription(a_route("kept", service="kept", paused=paused), ref=FULL),
            a_subscription(a_route("taken", service="taken"), ref=FINE),
        )

    kept, taken = Handler(), Handler()
    async with serving(kept) as one, serving(taken) as other:
        data.endpoints(kept=[one.address], taken=[other.address])
        route(paused=True)
        with a_receiver(data.root, *endpoints) as receiver:
            forwarder.start()
            try:
                accepted = 0
                while (answer := receiver.post("/acme/full", an_event(accepted))).status == 200:
                    accepted += 1
                    assert accepted * len(EVENT) <= SHARE + SLACK, "the share holds nothing back"
                assert answer.status == 503
                assert answer.headers["retry-after"]
                for number in range(SENT):
                    assert receiver.post("/acme/fine", an_event(number)).status == 200
                    await until(lambda number=number: len(taken.requests) > number)  # type: ignore[misc]

                route(paused=False)
                await until(lambda: len(kept.requests) == accepted)
                await until(lambda: receiver.post("/acme/full", an_event(9_001)).status == 200)
                assert forwarder.stop() == 0
            finally:
                forwarder.kill()
    assert sorted(kept.bodies)[:accepted] == [an_event(number) for number in range(accepted)]
