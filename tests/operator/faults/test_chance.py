"""Everything goes wrong now and then, for a long while; then nothing does."""

import os
import random
import time
from collections.abc import Sequence

from support.churn import Churn
from support.kubernetes.call import Request
from support.kubernetes.faults import Answer, Cut, Delay, LoseAnswer, Mixed, Reset, WatchError
from support.kubernetes.installation import Installation
from support.kubernetes.proxy import FaultProxy
from support.published import Publications, differences
from support.replicas import Replicas

SEED = int(os.environ.get("HOOKLINE_TEST_SEED", "0")) or random.randrange(1 << 32)
SECONDS = float(os.environ.get("HOOKLINE_TEST_FAULT_SECONDS", "30"))
"""That things go wrong for; with minutes it finds more, and nobody waits for that in each run."""
FAULTS = (
    Reset(),
    LoseAnswer(),
    LoseAnswer(),
    Cut(200),
    Delay(0.5),
    Delay(3.0),
    Answer(429, retry_after=1),
    Answer(409),
    Answer(410),
    Answer(500),
    Answer(503),
    Answer(504),
    WatchError(410),
    WatchError(500),
)


def but_leases(request: Request) -> bool:
    """Match all calls but those of the Lease, which would only lose it, over and over."""
    return request.resource != "leases"


def break_things(churn: Churn, chance: random.Random, proxies: Sequence[FaultProxy]) -> None:
    """Change something twenty times a second at most, and now and then end all watches or reset all connections."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        churn.change()
        proxy = chance.choice(proxies)
        act = chance.choice([proxy.end_watches, proxy.reset, None, None, None, None])
        if act:
            act()
        time.sleep(0.05)


async def test_whatever_goes_wrong_for_long_it_ends_where_the_objects_are(
    installation: Installation, publications: Publications
) -> None:
    """Calls fail, lie about having failed, are late; watches break; connections are reset; leaders change; all at once."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    churn = Churn(installation.plane, chance, prefix="mixed")
    churn.begin()
    # Longer than any delay: a write that is under way when another leads already may land, and is undone by the next look.
    with Replicas(installation, {"sweep_seconds": "5", "lease_duration": "10", "lease_held": "8"}) as replicas:
        proxies = []
        for _ in range(2):
            replica = replicas.start()
            replica.proxy.inject(Mixed(chance, 0.2, FAULTS), but_leases)
            proxies.append(replica.proxy)
        break_things(churn, chance, proxies)
        print(f"{len(churn.done)} changes, {sum(len(each.seen) for each in proxies)} calls")
        for proxy in proxies:
            proxy.lift_all()

        replicas.wait_leader(60)
        replicas.wait_quiet(6.0, 120)
        assert await differences(installation.plane, installation.namespace) == [], churn.done
        assert publications.returned(churn.revoked) == []
        assert replicas.writes_of_a_second_run() == []
