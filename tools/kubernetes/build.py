"""Building what is missing: one builder at a time, with progress, and each program there whole or not at all."""

import fcntl
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.kubernetes import golang
from tools.kubernetes.place import CACHE, built, find
from tools.kubernetes.programs import CONTROL_PLANE, PROGRAMS, Program

EVERY = 15.0
"""Seconds between two signs of life."""
LONGEST = 60 * 60.0
"""Seconds after which a build is given up: more than six times what a slow machine took."""

Say = Callable[[str], None]


class BuildFailed(Exception):
    """Go could not build a program; the message has the end of what it said."""

    def __init__(self, name: str, why: str, said: Sequence[str]) -> None:
        super().__init__("\n".join((f"building {name}: {why}", *said)))


def say_on_stderr(text: str) -> None:
    """Tell who is waiting."""
    print(f"[kubernetes] {text}", file=sys.stderr, flush=True)


def provide(names: Sequence[str] = CONTROL_PLANE, say: Say = say_on_stderr) -> dict[str, Path]:
    """
    The path of each of the programs *names*, built where necessary.

    Raises NotInAssets, GoUnfit, BuildFailed. A second call takes milliseconds.
    """
    wanted = [PROGRAMS[name] for name in names]
    missing = [program for program in wanted if find(program) is None]
    if missing:
        check(missing)
        with alone(say):
            for program in missing:
                if find(program) is None:
                    build(program, say)
    found = {program.name: find(program) for program in wanted}
    return {name: path for name, path in found.items() if path is not None}


def check(programs: Sequence[Program]) -> None:
    """Say at once, not after minutes, what can't be built."""
    for program in programs:
        if not golang.fits(golang.version(), program.go_version()):
            raise golang.GoUnfit(program.name, program.go_version(), golang.version())


@contextmanager
def alone(say: Say) -> Iterator[None]:
    """Wait for a builder that is at work already: it may be building the same."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        begin = told = time.monotonic()
        while not _locked(lock.fileno()):
            if time.monotonic() - begin > LONGEST:
                raise BuildFailed("the programs", f"another build holds {CACHE / 'lock'} for {LONGEST / 60:g} min", [])
            if time.monotonic() - told > EVERY or told == begin:
                told = time.monotonic()
                say(f"waiting for another build of this folder, {duration(told - begin)}")
            time.sleep(0.2)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def build(program: Program, say: Say) -> None:
    """Build one program and put it where it belongs."""
    place = built(program)
    place.parent.mkdir(parents=True, exist_ok=True)
    say(f"building {program.name} (the first time {program.takes} on two cores; later builds are quicker)")
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building-") as folder:
        result = Path(folder) / program.name
        flags = ["-mod=readonly", "-buildvcs=false", "-v", "-ldflags", program.ldflags()]
        run(["go", "build", *flags, "-o", str(result), program.package], program, say)
        result.replace(place)
    say(f"{program.name} is built, {duration(time.monotonic() - begin)}")


def run(command: list[str], program: Program, say: Say) -> None:
    """Run Go; `-v` makes it name each package when it is compiled, which is the progress."""
    process = subprocess.Popen(
        command, cwd=program.folder, env=golang.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    output = Output()
    reader = threading.Thread(target=output.read, args=(process,), daemon=True)
    reader.start()
    begin = time.monotonic()
    try:
        while process.poll() is None:
            if time.monotonic() - begin > LONGEST:
                raise BuildFailed(program.name, f"not done within {LONGEST / 60:g} min", output.tail)
            reader.join(EVERY)
            if reader.is_alive():
                say(f"{program.name}: {output}, {duration(time.monotonic() - begin)}")
            else:
                process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join()
    if process.returncode != 0:
        raise BuildFailed(program.name, f"go ended with {process.returncode}", output.tail)


class Output:
    """What Go says while it builds, counted."""

    def __init__(self) -> None:
        self.downloaded = 0
        self.compiled = 0
        self.tail: deque[str] = deque(maxlen=30)

    def read(self, process: "subprocess.Popen[bytes]") -> None:
        """Until the end."""
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip()
                self.tail.append(text)
                if text.startswith("go: downloading "):
                    self.downloaded += 1
                elif " " not in text:
                    self.compiled += 1

    def __str__(self) -> str:
        """How far it is."""
        downloads = f"{self.downloaded} modules downloaded, " if self.downloaded else ""
        return f"{downloads}{self.compiled} packages compiled"


def duration(seconds: float) -> str:
    """In words."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
