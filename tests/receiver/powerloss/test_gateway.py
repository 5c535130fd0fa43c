"""The same with the whole gateway: real requests, real 200s, the receiver under gunicorn and the real forwarder."""

import os
import random
from pathlib import Path
from random import Random

import pytest

from support.gateway import gateway
from support.manifests import PASSWORD, USERNAME, a_secret, a_subscription
from support.powerloss.disk import Disk
from support.powerloss.recording import DATA, FRESH, Recorder, build_shim
from support.powerloss.recovery import losses, recover_bodies
from support.powerloss.trace import Step

pytestmark = pytest.mark.needs_cc

CUTS = 200


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """A gateway made anew, 200 events sent to it, and stopped."""
    recorder = Recorder(build_shim(tmp_path), tmp_path)
    with monkeypatch.context() as environment:
        for name, value in recorder.variables.items():
            environment.setenv(name, value)
        with gateway(recorder.root / FRESH, a_secret(), a_subscription()) as running:
            client = recorder.client(f"{running.url}/acme/chat", USERNAME, PASSWORD, 4, 50)
            client.ends()
            assert client.said() == 200
            assert running.command.stop() == 0
    return recorder.steps()


def test_every_event_that_got_its_200_outlasts_a_loss_of_power(life: list[Step], scratch: Path) -> None:
    """From the first request on a data folder that was made a moment ago, to a stop in good order."""
    seed = int(os.environ.get("HOOKLINE_TEST_SEED", random.randrange(2**32)))
    print(f"seed of the cuts {seed}")
    rng = Random(seed)
    cuts = sorted(rng.sample(range(len(life) + 1), CUTS))

    wrong = [found for found in losses(life, cuts, rng, scratch, Disk([DATA, FRESH]), recover_bodies) if found[1]]

    assert wrong == []
