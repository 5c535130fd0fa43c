"""
Follows a page of the docs as a reader does: saves its files, pastes its commands into a shell, compares what is shown.

The conventions of such a page, visible to its readers:

- A block after a line that ends in "Save as `NAME`:" is that file.
- A `sh` block is pasted into one shell, block after block; a command that ends in `&` runs on.
- A `text` block that follows with nothing between is what is seen, in any order, as several programs write at once; `…` stands for anything
  within a line. Where there is none, nothing is seen.
- Other blocks are only read.
"""

import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.processes import descendants

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAVE = re.compile(r"Save as\s+`([^`]+)`:\s*\Z")

_PASSING = re.compile(r"\d\d:\d\d:\d\d forwarder WARNING: ")
"""Begins a line that may come or not: a try was too early for a handler that has just been started."""

LO_UP = """
import fcntl, os, socket, struct, sys
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Brings up the loopback device (SIOCSIFFLAGS; IFF_UP, IFF_RUNNING), then becomes another program."""


@dataclass(frozen=True)
class Save:
    """A file to be written."""

    name: str
    text: str


@dataclass(frozen=True)
class Paste:
    """Commands, and the lines that must be seen."""

    line: int
    """Of the page."""
    commands: str
    seen: tuple[str, ...]


def steps(page: str) -> Iterator[Save | Paste]:
    """What a reader does, in order."""
    blocks = list(_FENCE.finditer(page))
    for number, block in enumerate(blocks):
        kind, text = block[1], block[2]
        if save := _SAVE.search(page[: block.start()]):
            yield Save(save[1], text)
        elif kind == "sh":
            following = blocks[number + 1] if number + 1 < len(blocks) else None
            shown = (
                following is not None and following[1] == "text" and not page[block.end() : following.start()].strip()
            )
            seen = tuple(following[2].splitlines()) if following is not None and shown else ()
            yield Paste(page[: block.start()].count("\n") + 1, text, seen)


class Shell:
    """A bash that is typed into."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._pastes = 0
        threading.Thread(target=self._read, daemon=True).start()

    def paste(self, step: Paste, within: float = 60.0) -> None:
        """Run the commands, and wait until exactly the lines of *step* were seen; fails with what was seen instead."""
        self._pastes += 1
        prompt = f"prompt {self._pastes}"
        assert self._process.stdin is not None
        self._process.stdin.write(f"{step.commands}\necho '{prompt}'\n")
        self._process.stdin.flush()
        seen: list[str] = []
        deadline = time.monotonic() + within
        while prompt not in seen or missing(step.seen, seen):
            try:
                seen.append(self._lines.get(timeout=max(0.01, deadline - time.monotonic())))
            except queue.Empty:
                break
        told = "\n".join(seen)
        assert prompt in seen, f"line {step.line}: did not end within {within:g} s:\n{step.commands}\nseen:\n{told}"
        lines = [line for line in seen if line != prompt and not _PASSING.match(line)]
        assert not missing(step.seen, lines), f"line {step.line}: not seen: {missing(step.seen, lines)}\nseen:\n{told}"
        assert len(lines) == len(step.seen), f"line {step.line}: more was seen than the page shows:\n{told}"

    def silent(self) -> list[str]:
        """Lines that came meanwhile, which no page shows."""
        lines = []
        with suppress(queue.Empty):
            while True:
                lines.append(self._lines.get_nowait())
        return [line for line in lines if not _PASSING.match(line)]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip():
                self._lines.put(line.rstrip("\n"))


def missing(shown: Sequence[str], seen: Sequence[str]) -> list[str]:
    """Lines of *shown* without one of their own in *seen*."""
    left = list(seen)
    without = []
    for line in shown:
        parts = (re.escape(" ".join(part.split())) for part in line.split("…"))
        pattern = re.compile(".*".join(parts).replace(r"\ ", " "))
        found = next((each for each in left if _loose(pattern, each)), None)
        if found is None:
            without.append(line)
        else:
            left.remove(found)
    return without


def _loose(pattern: re.Pattern[str], line: str) -> bool:
    """White space counts as a space: columns depend on the widths of what stands in them."""
    return re.fullmatch(pattern.pattern.replace(".*", " ?.* ?"), " ".join(line.split())) is not None


def own_network() -> list[str]:
    """
    The beginning of a command that gives it a network of its own, where the machine allows that; else nothing.

    A page names ports, as 8080, that something else on the machine may have.
    """
    prefix = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", LO_UP]
    with suppress(OSError):
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
            return prefix
    return []


@contextmanager
def a_shell(folder: Path, environment: dict[str, str]) -> Iterator[Shell]:
    """A shell in *folder*; whatever was started in it is ended with the block."""
    process = subprocess.Popen(
        [*own_network(), "bash", "--noprofile", "--norc"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Shell(process)
    finally:
        started = descendants(process.pid)
        assert process.stdin is not None
        process.stdin.close()
        for each in started:
            each.kill()
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
