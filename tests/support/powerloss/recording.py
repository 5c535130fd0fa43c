"""Makes a trace: real processes under the shim, started, killed and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from support.powerloss.disk import Disk, Tree
from support.powerloss.trace import Kind, Step, read_trace

HERE = Path(__file__).parent
TESTS = HERE.parents[1]
DATA = "data"
"""The data folder's name in the recorded folder; it is there, durably, from the beginning."""
FRESH = "fresh"
"""A folder, there from the beginning too, in which a gateway makes its data folder."""


def build_shim(folder: Path) -> Path:
    """Compile the shim into *folder*."""
    shim = folder / "shim.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(shim), str(HERE / "shim.c"), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return shim


class Recorder:
    """Starts programs whose calls go into one trace."""

    def __init__(self, shim: Path, folder: Path) -> None:
        """Record what happens below *folder*, which is made."""
        self.root = folder / "recorded"
        self.data = self.root / DATA
        self.data.mkdir(parents=True)
        (self.root / FRESH).mkdir()
        self.trace = folder / "trace"
        self.variables = {
            "LD_PRELOAD": str(shim),
            "POWERLOSS_ROOT": str(self.root),
            "POWERLOSS_TRACE": str(self.trace),
        }
        """What a process must have in its environment to be recorded."""
        self._said = folder / "said"
        self._said.mkdir()
        self._started: list[Program] = []

    def worker(self, tag: str, callers: int, count: int, pause: float = 0.0, *, raw: bool = False) -> "Program":
        """A worker of which each of *callers* appends *count* records, with *raw* some unreadable ones."""
        arguments = [str(self.data), tag, str(callers), str(count), str(pause), *(["raw"] if raw else [])]
        return self._start(tag, "support.powerloss.worker", arguments)

    def forwarder(self, name: str, wal_bytes: int) -> "Program":
        """The forwarder's part; a checkpoint whenever its WAL has *wal_bytes*."""
        return self._start(name, "support.powerloss.forwarder", [str(self.data), str(wal_bytes)])

    def client(self, url: str, username: str, password: str, senders: int, count: int) -> "Program":
        """Senders of events to a gateway."""
        return self._start("client", "support.powerloss.client", [url, username, password, str(senders), str(count)])

    def _start(self, name: str, module: str, arguments: Sequence[str]) -> "Program":
        environment = {
            **os.environ,
            "PYTHONPATH": str(TESTS),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.variables,
        }
        output = self._said / name
        with output.open("wb") as file:
            command = [sys.executable, "-m", module, *arguments]
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        program = Program(name, process, output)
        self._started.append(program)
        return program

    def end(self) -> None:
        """Kill whatever is left."""
        for program in self._started:
            program.kill()

    def steps(self) -> list[Step]:
        """What was recorded."""
        return list(read_trace(self.trace))

    def actual(self) -> Tree:
        """What is in the recorded folder."""
        found: Tree = {}
        for path in self.root.rglob("*"):
            found[path.relative_to(self.root).as_posix()] = None if path.is_dir() else path.read_bytes()
        return found


@dataclass(slots=True)
class Program:
    """A program under the shim."""

    name: str
    process: "subprocess.Popen[bytes]"
    output: Path

    def said(self) -> int:
        """How many dots it has printed: one for each step forward."""
        return self.output.read_bytes().count(b".")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and a good end."""
        self.process.send_signal(signal.SIGTERM)
        self.ends()

    def ends(self) -> None:
        """Wait for its good end."""
        code = self.process.wait(60)
        assert code == 0, f"{self.name} ended with {code}:\n{self.output.read_text(errors='replace')[-4000:]}"

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for *condition*, as long as the program lives."""
        deadline = time.monotonic() + 60
        while not condition():
            text = self.output.read_text(errors="replace")[-4000:]
            assert self.process.poll() is None or condition(), f"{self.name} ended early:\n{text}"
            assert time.monotonic() < deadline, f"{self.name}: nothing for 60 s:\n{text}"
            time.sleep(0.002)


def record_a_life(recorder: Recorder, rng: Random) -> None:
    """
    Workers come, end and are killed; the forwarder is killed and starts again; at the end something is left to carry.

    One after the other where it matters: what one did not make durable must not be made so by the way too soon, by another
    one's flush of the same folder or SQLite's checkpoint.
    """
    journals = recorder.data / "journal"
    early = recorder.worker("early", 3, 20)
    early.until(lambda: early.said() > 5)
    killed = recorder.worker("killed", 3, 10**6, 0.05)
    killed.until(lambda: killed.said() > rng.randrange(20))
    forwarder = recorder.forwarder("forwarder", 10**9)
    forwarder.until(lambda: forwarder.said() > 0)
    killed.until(lambda: killed.said() >= rng.randrange(40, 60))
    killed.kill()
    early.ends()
    forwarder.until(lambda: len(names(journals)) <= 1)
    forwarder.kill()
    later = recorder.worker("later", 2, 30, 0.02, raw=True)
    second = recorder.forwarder("second", 60_000)
    later.ends()
    second.until(lambda: not names(journals))
    last = recorder.worker("last", 2, 10, raw=True)
    second.until(lambda: last.said() >= 5)
    second.stop()
    last.ends()


def names(folder: Path) -> list[str]:
    """What is in *folder*, but for what is being made or removed."""
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def whole(steps: Sequence[Step]) -> Tree:
    """What the model makes of all steps: the same as `Recorder.actual`, if nothing was missed."""
    disk = Disk([DATA, FRESH])
    for step in steps:
        disk.do(step)
    return disk.latest()


def mapped(steps: Sequence[Step]) -> set[str]:
    """Files that were written by mapping them, which the trace does not show."""
    return {step.text for step in steps if step.kind is Kind.MAPPED}
