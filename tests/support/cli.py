"""The `hookline` command as a user runs it: processes of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HOOKLINE = (sys.executable, "-m", "hookline_cli.main")


def hookline(*args: str | Path, timeout: float = 60.0, **given: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself; *given* goes into its environment."""
    command = [*HOOKLINE, *map(str, args)]
    environment = {**os.environ, **given}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)


class Running:
    """A command that stays up: what it prints can be waited for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read, args=(process.stdout, self.out), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, self.err), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def line(self, wanted: Callable[[str], bool] | str, *, err: bool = False, timeout: float = 30.0) -> str:
        """The first line printed, now or soon, that *wanted* holds for (a text: that contains it)."""
        test = wanted if callable(wanted) else lambda line: wanted in line
        lines = self.err if err else self.out
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in lines:
                    if test(line):
                        return line
                if not self._changed.wait(max(0.0, min(0.5, deadline - time.monotonic()))) and self._over(deadline):
                    raise AssertionError(f"no such line ({wanted}).\nout: {self.out}\nerr: {self.err}")

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Send a signal and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(timeout)
        for thread in self._threads:
            thread.join(5)
        return status

    def _over(self, deadline: float) -> bool:
        ended = self.process.poll() is not None and not any(thread.is_alive() for thread in self._threads)
        return ended or time.monotonic() > deadline

    def _read(self, stream: Iterator[str], lines: list[str]) -> None:
        for line in stream:
            with self._changed:
                lines.append(line.rstrip("\n"))
                self._changed.notify_all()


@contextmanager
def running(*args: str | Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start `hookline *args*`, and end it when the block ends."""
    process = subprocess.Popen(
        [*HOOKLINE, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    command = Running(process)
    try:
        yield command
    finally:
        try:
            command.stop()
        except subprocess.TimeoutExpired:
            process.kill()
            command.stop()
        process.stdout.close()
        process.stderr.close()


@contextmanager
def listening(*args: str | Path) -> Iterator[tuple[Running, str]]:
    """A `hookline listen` on a free port, and its address."""
    with running("listen", "--port", "0", *args) as command:
        yield command, command.line("listening on ", err=True).removeprefix("listening on ")
