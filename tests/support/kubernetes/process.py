"""
Programs under test as processes of their own: their log in a file, their end in the test's hands.

    with Processes(tmp_path, guard) as processes:
        operator = processes.start("operator", [sys.executable, "-m", "hookline_operator"], environment={...})
        operator.wait_for(lambda: serves(1), what="version 1 served")
        operator.kill()

Each leads a process group, which signals go to as a whole. Nothing outlives the block, nor a killed test run (`guard`).
"""

import asyncio
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from support.kubernetes.guard import Guard
from support.kubernetes.network import Network


class Process:
    """One started program."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log_file: Path, guard: Guard) -> None:
        self.name = name
        self.log_file = log_file
        self._process = process
        self._guard = guard

    @property
    def pid(self) -> int:
        """Also the number of its process group."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; minus the signal's number if one ended it."""
        return self._process.poll()

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.exit_status is None

    def stop(self, within: float = 30.0) -> int:
        """SIGTERM to the program itself, then its exit status; fails, after killing it, if it takes longer."""
        self.terminate()
        return self.wait(within)

    def terminate(self) -> None:
        """SIGTERM to the program itself, without waiting."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, within: float = 30.0) -> int:
        """Its exit status, once it ends by itself."""
        try:
            status = self._process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {within:g} s\n{self.tail()}") from None
        self._guard.remove(self.pid)
        return status

    def kill(self) -> None:
        """SIGKILL to the whole group at once; nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(30)
        self._guard.remove(self.pid)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.killpg(self.pid, signal.SIGCONT)

    def log(self) -> str:
        """Everything it has written."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def tail(self, lines: int = 40) -> str:
        """The end of its log, under a heading."""
        return "\n".join((f"--- {self.name}: the end of {self.log_file}", *self.log().splitlines()[-lines:]))

    def check(self) -> None:
        """Fail, with the end of its log, if it has ended."""
        assert self.alive(), f"{self.name} has ended with {self.exit_status}\n{self.tail()}"

    def wait_for(self, holds: Callable[[], bool], within: float = 20.0, what: str = "") -> None:
        """Return as soon as *holds*; fail, with the end of the log, after *within* seconds or when the program ends."""
        deadline = time.monotonic() + within
        while not holds():
            self.check()
            assert time.monotonic() < deadline, f"not within {within:g} s: {what or holds}\n{self.tail()}"
            time.sleep(0.02)

    async def until(self, holds: Callable[[], bool | Awaitable[bool]], within: float = 20.0, what: str = "") -> None:
        """The same, where an event loop runs."""
        deadline = time.monotonic() + within
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            self.check()
            assert time.monotonic() < deadline, f"not within {within:g} s: {what or holds}\n{self.tail()}"
            await asyncio.sleep(0.02)


class Processes:
    """The programs of one test (or of one control plane), with their logs in *folder*."""

    def __init__(self, folder: Path, guard: Guard, network: Network | None = None) -> None:
        self.folder = folder
        self._guard = guard
        self._network = network
        self._started: list[Process] = []
        self._numbers = itertools.count(1)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        inside: bool | None = None,
    ) -> Process:
        """
        Start *command*; its output goes to a file of its own, named after *name*.

        *environment* comes on top of ours. It runs inside the network, if these processes have one, unless *inside* is
        False.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log_file = self.folder / f"{name}-{next(self._numbers)}.log"
        arguments = [str(part) for part in command]
        if self._network is not None and inside is not False:
            arguments = self._network.command(arguments)
        assert inside is not True or self._network is not None, "these processes were given no network to run in"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                start_new_session=True,
            )
        self._guard.add(process.pid)
        started = Process(name, process, log_file, self._guard)
        self._started.append(started)
        return started

    def close(self) -> None:
        """Kill what still runs, the last started first."""
        while self._started:
            self._started.pop().kill()

    def __enter__(self) -> Self:
        """These."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave nothing running."""
        self.close()
