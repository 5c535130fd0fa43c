"""The operator killed with -9 in the middle of anything, and started again."""

import os
import random
import time

from support.churn import Churn
from support.kubernetes.faults import Delay
from support.kubernetes.installation import Installation
from support.published import Publications, differences
from support.replicas import Replica, Replicas, publishing

KILLS = 8
SEED = int(os.environ.get("HOOKLINE_TEST_SEED", "0")) or random.randrange(1 << 32)


def kill_at_write(victim: Replica, number: int, within: float) -> str:
    """Kill it when it has sent so many writes, at the latest after so many seconds; what it was writing."""
    deadline = time.monotonic() + within
    mark = victim.proxy.mark()
    while len(wrote := victim.wrote(mark)) < number and time.monotonic() < deadline:
        victim.process.check()
        time.sleep(0.001)
    victim.kill()
    return f"{wrote[-1].request.verb} {wrote[-1].request.target}, answered {wrote[-1].status}" if wrote else "nothing"


async def test_killed_in_the_middle_of_anything_it_ends_where_the_objects_are(
    installation: Installation, publications: Publications
) -> None:
    """Whatever was half done is done by the next one; what was revoked stays revoked; and a restart writes nothing."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    churn = Churn(installation.plane, chance)
    churn.begin()
    with Replicas(installation) as replicas:
        # Its first 64 tables and all else are being made: somewhere in there.
        first = replicas.start()
        print("killed during", kill_at_write(first, chance.randint(1, 90), 60))
        for _ in range(2):
            replicas.start()
        for _ in range(KILLS):
            replicas.until(lambda: replicas.leader() is not None, 40, "a leader")
            victim = replicas.leader()
            assert victim is not None
            number = chance.randint(1, 12)
            for _ in range(chance.randint(2, 6)):
                churn.change()
            slow = chance.choice([None, Delay(0.1), Delay(0.1)])
            if slow:  # so that it is killed while what it writes is still under way
                victim.proxy.inject(slow, publishing)
            print("killed during", kill_at_write(victim, number, chance.uniform(0.0, 1.0)))
            replicas.start()

        replicas.wait_leader()
        replicas.wait_quiet()
        assert await differences(installation.plane, installation.namespace) == [], churn.done
        assert publications.returned(churn.revoked) == []
        assert replicas.writes_of_a_second_run() == []
        assert await differences(installation.plane, installation.namespace) == []
