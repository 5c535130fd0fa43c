"""
When each credential was last shown and right: by which an operator knows that a new password is in use.

Each worker keeps times in memory, one dictionary store a request, and writes them to its place once a second if they
changed. What is told of a credential is the newest of all workers' times. A worker that is killed loses a second of them.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from hookline_receiver.workers.slot import all_slots

FILE = "last-used.json"


class LastUsed:
    """The times of one worker: credential → seconds since the epoch."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._times = dict(_read(self._file))
        self._written = dict(self._times)

    def mark(self, credential: str, now_ns: int) -> None:
        """*credential* was right, at *now_ns* (nanoseconds since the epoch)."""
        self._times[credential] = now_ns // 1_000_000_000

    def keep(self, credentials: Iterable[str]) -> None:
        """Forget all but *credentials*: those that the routes in force name."""
        names = set(credentials)
        self._times = {name: time for name, time in self._times.items() if name in names}

    def write(self) -> None:
        """Tell the others, if there is anything new; OSError if it can't be written."""
        if self._times != self._written:
            times = dict(self._times)
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(times))
            os.replace(new, self._file)
            self._written = times


def last_used(workers: Path) -> Mapping[str, int]:
    """The newest time of each credential over all workers, living or dead."""
    newest: dict[str, int] = {}
    for folder in all_slots(workers):
        for credential, time in _read(folder / FILE).items():
            newest[credential] = max(time, newest.get(credential, 0))
    return newest


def _read(file: Path) -> Mapping[str, int]:
    try:
        times = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return times if isinstance(times, dict) else {}
