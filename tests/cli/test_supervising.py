import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hookline_cli.dev.supervising import Backoff, Program, Supervisor, ending
from support.waiting import until, until_sync

QUICK = Backoff(first=0.01, largest=0.02, steady=60)


def a_program(source: str, grace: float = 10.0) -> Program:
    return Program("receiver", [sys.executable, "-u", "-c", source], dict(os.environ), grace)


class Record:
    """What a supervisor said and passed on."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.lines: list[bytes] = []

    def line(self, name: str, line: bytes) -> None:
        self.lines.append(line)


@asynccontextmanager
async def supervising(program: Program, backoff: Backoff = QUICK) -> AsyncIterator[tuple[Supervisor, Record]]:
    record = Record()
    supervisor = Supervisor(program, record.said.append, record.line, backoff)
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, record
    finally:
        await supervisor.stop()
        await running


async def test_a_program_that_ends_is_started_again_and_that_is_said():
    """A crash of one must not end the gateway."""
    async with supervising(a_program("print('up'); raise SystemExit(7)")) as (_, record):
        await until(lambda: record.lines.count(b"up") >= 3)

    assert record.said[0] == "the receiver ended (status 7); starting it again in 0.01 s"


async def test_a_killed_program_is_started_again():
    """kill -9 is the crash that gives no notice."""
    async with supervising(a_program("print('up'); import time; time.sleep(60)")) as (supervisor, record):
        await until(lambda: record.lines == [b"up"])
        assert supervisor.pid is not None
        os.kill(supervisor.pid, signal.SIGKILL)
        await until(lambda: record.lines == [b"up", b"up"])

    assert record.said == ["the receiver ended (killed by SIGKILL); starting it again in 0.01 s"]


async def test_stop_lets_a_program_finish():
    """A graceful stop is what keeps in-flight requests."""
    source = """
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: (print('finishing'), sys.exit(0)))
        print('up')
        signal.pause()
    """
    async with supervising(a_program(textwrap.dedent(source))) as (supervisor, record):
        await until(lambda: record.lines == [b"up"])
        await supervisor.stop()
        await until(lambda: record.lines == [b"up", b"finishing"])

    assert record.said == []


async def test_a_program_that_will_not_end_is_killed_after_its_grace():
    """Ctrl-C must end `hookline dev` in bounded time."""
    source = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); signal.pause()"
    async with supervising(a_program(source, grace=0.1)) as (supervisor, record):
        await until(lambda: record.lines == [b"up"])
        await supervisor.stop()
        assert supervisor.pid is None

    assert record.said == ["the receiver did not end within 0.1 s; killing it"]


async def test_a_line_longer_than_the_limit_does_not_stop_the_reading():
    """A program blocks on a full pipe when nobody reads on."""
    async with supervising(a_program("print('x' * 3_000_000); print('after'); import time; time.sleep(60)")) as (
        _,
        record,
    ):
        await until(lambda: b"after" in record.lines)

    assert sum(map(len, record.lines)) == 3_000_000 + len("after")


def test_a_killed_parent_takes_its_program_along():
    """kill -9 of `hookline dev` must not leave a receiver that holds the port."""
    program = f"""
        import asyncio, os, sys
        from hookline_cli.dev.supervising import Program, Supervisor
        child = Program("child", [{sys.executable!r}, "-c", "import time; time.sleep(60)"], dict(os.environ), 5)
        async def main():
            supervisor = Supervisor(child, print, print)
            running = asyncio.create_task(supervisor.run())
            while supervisor.pid is None:
                await asyncio.sleep(0.01)
            print(supervisor.pid, flush=True)
            await running
        asyncio.run(main())
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())

    parent.kill()
    parent.communicate()

    until_sync(_gone(child))


def test_waiting_grows_and_ends():
    """A program that can't start must not keep a core busy, nor be given up."""
    backoff = Backoff(first=0.2, largest=10)

    assert [backoff.delay(failures) for failures in (1, 2, 3, 6, 7, 1000)] == [0.2, 0.4, 0.8, 6.4, 10, 10]


def test_an_ending_is_named():
    """SIGKILL tells a person more than -9."""
    assert [ending(status) for status in (0, 3, -9)] == ["status 0", "status 3", "killed by SIGKILL"]


def _gone(pid: int) -> Callable[[], bool]:
    def gone() -> bool:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    return gone
