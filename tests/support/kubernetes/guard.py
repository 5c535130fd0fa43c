"""
Ends what a test run has started when the run itself is ended in a way that lets it clean up nothing (SIGKILL).

    python guard.py     reads "+PID" and "-PID" lines; at the end of input kills the process groups still on its list

A process of its own: it sees the end of its input whichever way the other side ended. A parent-death signal would not do,
as it comes with the end of the *thread* that started a process.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress


class Guard:
    """The list, as the test run sees it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            start_new_session=True,  # an interrupt of the run's whole group is not for it
        )

    def add(self, pid: int) -> None:
        """Watch over the process group led by *pid*."""
        self._write(f"+{pid}\n")

    def remove(self, pid: int) -> None:
        """It has ended."""
        self._write(f"-{pid}\n")

    def close(self) -> None:
        """End; whatever is still on the list is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()


def main() -> None:
    """Keep the list; at the end kill. A pidfd tells a process from a later one with the same number."""
    watched: dict[int, int] = {}
    for line in sys.stdin:
        number = int(line[1:])
        if line[0] == "+":
            with suppress(ProcessLookupError):
                watched[number] = os.pidfd_open(number)
        elif number in watched:
            os.close(watched.pop(number))
    for number, descriptor in watched.items():
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, 0)
            os.killpg(number, signal.SIGKILL)


if __name__ == "__main__":
    main()
