"""Keeps a program running: started again when it ends by itself, ended gracefully when asked to."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

LINE_LIMIT = 1024 * 1024
"""Bytes of one line of a program's log that are kept."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    grace: float
    """Seconds from SIGTERM to SIGKILL."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a program is started again."""

    first: float = 0.1
    largest: float = 5.0
    steady: float = 3.0
    """Seconds of running after which the next failure counts as the first."""

    def delay(self, failures: int) -> float:
        """Seconds to wait after the so-manieth failure in a row, from 1."""
        return float(min(self.largest, self.first * 2 ** min(failures - 1, 30)))


class Supervisor:
    """One program that is to run."""

    def __init__(
        self,
        program: Program,
        say: Callable[[str], None],
        line: Callable[[str, bytes], None],
        backoff: Backoff | None = None,
    ) -> None:
        """*say* is told what a person should know; *line* gets the program's name and each line it writes."""
        self._program = program
        self._say = say
        self._line = line
        self._backoff = backoff or Backoff()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._before = ending_with_parent() if sys.platform == "linux" else None

    @property
    def pid(self) -> int | None:
        """The process that runs now, if one does."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

    async def run(self) -> None:
        """Run the program until `stop`, starting it again whenever it ends."""
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._stopping.is_set():
            begun = loop.time()
            status = await self._run_once()
            if self._stopping.is_set():
                return
            failures = 1 if loop.time() - begun > self._backoff.steady else failures + 1
            delay = self._backoff.delay(failures)
            self._say(f"the {self._program.name} ended ({ending(status)}); starting it again in {delay:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def stop(self) -> None:
        """End the program: SIGTERM, its grace, SIGKILL."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._program.grace)
        except TimeoutError:
            self._say(f"the {self._program.name} did not end within {self._program.grace:g} s; killing it")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _run_once(self) -> int:
        # A session of its own: Ctrl-C in a terminal goes to this process alone, which ends the others in order.
        process = await asyncio.create_subprocess_exec(
            *self._program.arguments,
            env=self._program.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_LIMIT,
            start_new_session=True,
            preexec_fn=self._before,
        )
        self._process = process
        reading = asyncio.create_task(self._read(process))
        try:
            if self._stopping.is_set():
                await self.stop()
            return await process.wait()
        finally:
            # Its children may hold the pipe open a little longer; what they say then is not waited for.
            await asyncio.wait([reading], timeout=1.0)
            reading.cancel()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in lines_of(process.stdout):
            self._line(self._program.name, line)


async def lines_of(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Lines without their ends; one that is too long comes in pieces."""
    while True:
        try:
            line = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                yield error.partial
            return
        except asyncio.LimitOverrunError as error:
            line = await stream.read(error.consumed)
        yield line.rstrip(b"\n")


def ending(status: int) -> str:
    """An exit status for a person."""
    if status >= 0:
        return f"status {status}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"


def ending_with_parent() -> Callable[[], None]:
    """Something to do in a child before its program starts: be sent SIGTERM when the parent dies, however it dies."""
    # Loaded here, in the parent: between fork and exec nothing should be that takes locks or allocates much.
    prctl = ctypes.CDLL(None).prctl
    set_parent_death_signal = 1
    parent = os.getpid()

    def before() -> None:
        prctl(set_parent_death_signal, signal.SIGTERM)
        if os.getppid() != parent:
            # It died before the signal was asked for.
            os._exit(1)

    return before
