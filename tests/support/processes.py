"""The processes that a test has started, and theirs: found by parenthood, so that nobody else's is ever touched."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, told by its start from a later one with the same number."""

    pid: int
    parent: int
    started: int
    """Clock ticks since boot."""
    command: str

    def alive(self) -> bool:
        """Whether it still runs."""
        now = _read(self.pid)
        return now is not None and now.started == self.started

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal, if it still runs."""
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def descendants(pid: int) -> list[Process]:
    """Every living process below *pid*, parents first."""
    by_parent: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            process = _read(int(entry.name))
            if process is not None:
                by_parent.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    waiting = [pid]
    while waiting:
        below = by_parent.get(waiting.pop(0), [])
        found.extend(below)
        waiting.extend(process.pid for process in below)
    return found


def _read(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return Process(pid, int(fields[1]), int(fields[19]), command)
