"""`python -m tools.demo`: exit status 0 only if everything was as it should be."""

import asyncio
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hookline_cli.simulate.plan import Shot
from hookline_cli.simulate.sender import Endpoint, Manner, Simulator
from tools.demo import account, scenario
from tools.demo.examples import Examples, examples
from tools.demo.ledger import Ledger, in_order, read_deliveries
from tools.demo.stage import Mishap, Stage, stage, wait

ROOT = Path(__file__).resolve().parent.parent.parent / ".hookline"
LATE = "acme/chat/timeline"
"""The route whose handler is down for a while."""
DOWN = 3.0
"""Seconds that it is down after the last event was sent."""
ARRIVING = 25.0
"""Seconds that the last event may take to arrive."""


class Play:
    """The demonstration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began = time.monotonic()
        self._ledger = Ledger()

    def run(self) -> list[str]:
        """Play it; what was not as it should be."""
        self._say(
            "starting nine handlers (the five examples among them), and hookline dev with two workers and a forwarder"
        )
        with (
            examples(self._folder / "examples") as five,
            stage(self._folder, scenario.HANDLERS, five.addresses) as running,
        ):
            self._say(f"ready: {running.url}/acme/chat and {running.url}/globex/support")
            self._send_all(running)
            self._bring_back(running)
            shown = self._look_at(five)
            dead, redriven = self._redrive(running)
            self._say("stopping everything")
            last = running.stop()
        return self._account(dead, redriven, last, shown)

    def _send_all(self, running: Stage) -> None:
        first = scenario.renumbered(scenario.documented(), scenario.hostile())
        self._say(f"acme: every documented payload, a retry of each, and hostile senders ({len(first)} requests)")
        self._send(running, "acme", first)
        self._say("the handler 'timeline' is killed (kill -9)")
        running.handlers["timeline"].end(signal.SIGKILL)
        talk = scenario.talk()
        self._say(f"acme: a conversation of {len(talk)} messages, while nobody is there to take it")
        self._send(running, "acme", talk, concurrency=1)
        other = scenario.another_tenant()
        self._say(
            f"globex: the same payloads as events of its own, half of the retries reworded ({len(other)} requests)"
        )
        self._send(running, "globex", other)
        for_examples = scenario.documented()
        self._say(f"examples: the documented payloads for the five example handlers ({len(for_examples)} requests)")
        self._send(running, "examples", for_examples)

    def _send(self, running: Stage, tenant: str, plan: Sequence[Shot], concurrency: int = 8) -> None:
        endpoint = Endpoint(running.url + scenario.PATHS[tenant], *running.passwords[tenant])
        began = time.monotonic()
        simulator = Simulator(endpoint, Manner(concurrency=concurrency, time_scale=0.1))
        report = asyncio.run(simulator.send(plan))
        self._ledger.enter(tenant, report, began)
        accepted = sum(sent.accepted for sent in report.sent)
        self._say(f"  {accepted} accepted, {len(report.sent) - accepted} refused, {report.seconds:.1f} s")

    def _bring_back(self, running: Stage) -> None:
        self._say(f"the handler 'timeline' stays down for {DOWN:g} s more; its events wait")
        time.sleep(DOWN)
        running.handlers["timeline"].start()
        self._say("the handler 'timeline' is back")
        try:
            wait(lambda: not self._ledger.wrong(read_deliveries(self._folder)), "", ARRIVING)
        except Mishap:
            self._say(f"after {ARRIVING:g} s something is still missing")
        else:
            self._say("everything has arrived")

    def _look_at(self, five: Examples) -> Mapping[str, str]:
        """What the example handlers made of what they got."""
        with suppress(Mishap):
            wait(lambda: all(five.shown().values()), "", ARRIVING)
        shown = five.shown()
        self._say("the examples: " + "; ".join(f"{name}, {found or 'NOTHING'}" for name, found in shown.items()))
        return shown

    def _redrive(self, running: Stage) -> tuple[int, int]:
        letters = running.hookline("dead")
        for letter in letters:
            why = f"{letter['reason']}, {letter['detail']}"
            self._say(f"a dead letter: {letter['trigger']} on {letter['subscription']}/{letter['route']} ({why})")
        before = len(read_deliveries(self._folder))
        redriven = int(running.hookline("redrive", "--all")[0]["redriven"])
        wait(lambda: len(read_deliveries(self._folder)) >= before + redriven, "what was redriven did not arrive")
        self._say(f"hookline redrive --all: {redriven} sent again, and arrived")
        return len(running.hookline("dead")), redriven

    def _account(self, dead: int, redriven: int, last: str, shown: Mapping[str, str]) -> list[str]:
        deliveries = read_deliveries(self._folder)
        account.show(account.rows(self._ledger, deliveries, dead, redriven, LATE))
        wrong = [*self._ledger.refusals(), *self._ledger.wrong(deliveries)]
        if not in_order([shot.body for shot in scenario.talk()], deliveries, LATE):
            wrong.append(f"the conversation did not arrive at {LATE} in the order in which it was sent")
        if (dead, redriven) != (0, 1):
            wrong.append(f"{redriven} dead letters were sent again and {dead} are left, not 1 and 0")
        wrong += [f"the example {name} has nothing to show" for name, found in shown.items() if not found]
        if "nothing is pending" not in last:
            wrong.append(f"hookline dev ended with: {last}")
        self._say(
            "everything accepted arrived, every refusal was the right one" if not wrong else "NOT as it should be:"
        )
        return wrong

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:5.1f} s  {text}", flush=True)


def own_folder() -> Path:
    """An empty folder under `.hookline/`; another one while a demonstration runs in the first."""
    ROOT.mkdir(exist_ok=True)
    for number in range(1, 100):
        folder = ROOT / ("demo" if number == 1 else f"demo-{number}")
        lock = os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        # The lock is held until this process ends.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder
    raise Mishap(f"too many demonstrations run in {ROOT}")


def main() -> int:
    """Play; 0 if everything was as it should be, else 1."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        wrong = Play(own_folder()).run()
    except Mishap as mishap:
        wrong = [str(mishap)]
    except KeyboardInterrupt:
        print("interrupted; everything is stopped", flush=True)
        return 130
    for line in wrong:
        print(f"  {line}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
