"""
Processor time of a running program, itemised: what each step takes in its own thread.

A step is one or more functions or coroutines that are wrapped before the program starts. Every visit of it is counted; of
what is done for each event one visit in some sixty, by chance, is measured with the thread's own processor clock, so that
waiting, other threads and other processes count for nothing: of a coroutine the pieces between its waits. Reading the
clock is a system call, after which a program runs slower for a while (some microseconds where caches are cold): with so few
it doesn't matter for the program, and what it adds to a visit that is measured is found out in place, by a step that does
next to nothing.

What a step takes by itself is what it takes less what the steps within it take, by the tree that it is told. The counts lie
in a file of doubles that whoever measures maps too, and turns on and off by its first number.
"""

import functools
import itertools
import mmap
import os
import random
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ON = 0
_FIELDS = 5
_VISITS, _MEASURED, _PIECES, _TIME, _THREAD = range(_FIELDS)


@dataclass(frozen=True, slots=True)
class Step:
    """What is itemised."""

    name: str
    within: str = ""
    """The step in which it is done; "": none."""
    every: int = 64
    """One visit in so many is measured, on average: each one of what is done for many events at once."""


@dataclass(frozen=True, slots=True)
class Count:
    """Of a step, since some moment."""

    visits: float
    measured: float
    pieces: float
    """Of the measured visits: between two readings of the clock."""
    seconds: float
    """Of the measured visits."""
    thread: int
    """Where they were: the thread's number to the kernel; 0: unknown."""

    def since(self, before: "Count") -> "Count":
        """What came after *before*."""
        return Count(
            self.visits - before.visits,
            self.measured - before.measured,
            self.pieces - before.pieces,
            self.seconds - before.seconds,
            self.thread,
        )

    def whole(self, bias: float) -> float:
        """Seconds of all visits, with the steps within; measuring adds *bias* seconds to each piece."""
        return self.visits * (self.seconds - self.pieces * bias) / self.measured if self.measured else 0.0


class Ledger:
    """The counts of one program's *steps*, in *file*."""

    def __init__(self, file: Path, steps: Sequence[Step]) -> None:
        self.steps = list(steps)
        self._numbers = {step.name: number for number, step in enumerate(steps)}
        size = 8 * (1 + len(steps) * _FIELDS)
        with file.open("a+b") as opened:
            opened.truncate(size)
            self._cells = memoryview(mmap.mmap(opened.fileno(), size)).cast("d")

    def turn(self, *, on: bool) -> None:
        """Count from now on, or don't."""
        self._cells[_ON] = on

    def counts(self) -> dict[str, Count]:
        """By step, since the file was made."""
        found = {}
        for name, number in self._numbers.items():
            first = 1 + number * _FIELDS
            visits, measured, pieces, seconds, thread = self._cells[first : first + _FIELDS]
            found[name] = Count(visits, measured, pieces, seconds, int(thread))
        return found

    def function(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """*call* as a part of *step*."""
        cells, visit = self._cells, self._visit(step)
        chosen, measure = visit.chosen, visit.measure

        @functools.wraps(call)
        def counted(*args: Any, **given: Any) -> Any:
            if not cells[_ON] or not chosen():
                return call(*args, **given)
            return measure(call, *args, **given)

        return counted

    def coroutine(self, step: str, call: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        """The coroutine function *call* as a part of *step*."""
        cells, visit = self._cells, self._visit(step)
        chosen, measure = visit.chosen, visit.measure

        @functools.wraps(call)
        def counted(*args: Any, **given: Any) -> Any:
            made = call(*args, **given)
            # PERF: what is not measured stays the coroutine that it is; awaiting another kind of object costs microseconds.
            return _Measured(made, measure) if cells[_ON] and chosen() else made

        return counted

    def _visit(self, step: str) -> "_Visit":
        number = self._numbers[step]
        return _Visit(self._cells, 1 + number * _FIELDS, self.steps[number])


class _Visit:
    """Counts the visits of a step, and measures some."""

    def __init__(self, cells: "memoryview[float]", first: int, step: Step) -> None:
        self._cells, self._first = cells, first
        chance = random.Random(step.name)
        # By chance: one in a fixed number would fall into step with batches of as many.
        self._gaps = itertools.cycle([chance.randint(1, 2 * step.every - 1) for _ in range(4096)])
        self._left = next(self._gaps)

    def chosen(self) -> bool:
        """Count a visit; whether it is to be measured."""
        self._cells[self._first + _VISITS] += 1
        self._left -= 1
        if self._left:
            return False
        self._left = next(self._gaps)
        self._cells[self._first + _MEASURED] += 1
        return True

    def measure(self, call: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """Call it; what that takes goes to the step."""
        cells, first = self._cells, self._first
        began = time.thread_time()
        try:
            return call(*args, **given)
        finally:
            cells[first + _TIME] += time.thread_time() - began
            cells[first + _PIECES] += 1
            cells[first + _THREAD] = threading.get_native_id()


class _Measured(Coroutine[Any, Any, Any]):
    """A coroutine each of whose resumptions is measured."""

    __slots__ = ("_made", "_measure")

    def __init__(self, made: Coroutine[Any, Any, Any], measure: Callable[..., Any]) -> None:
        self._made, self._measure = made, measure

    def send(self, value: Any) -> Any:
        """Go on."""
        return self._measure(self._made.send, value)

    def throw(self, *raised: Any) -> Any:
        """Go on with an exception."""
        return self._measure(self._made.throw, *raised)

    def close(self) -> None:
        """Go on no more."""
        self._made.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # what `await` needs of it is there

    def __iter__(self) -> "_Measured":
        return self

    def __next__(self) -> Any:
        return self._measure(self._made.send, None)


def alone(steps: Sequence[Step], counts: Mapping[str, Count], bias: float) -> dict[str, float]:
    """Seconds of each step without those within it."""
    whole = {step.name: counts[step.name].whole(bias) for step in steps}
    found = dict(whole)
    for step in steps:
        if step.within:
            found[step.within] -= whole[step.name]
    return found


def thread_times(pid: int) -> dict[int, float]:
    """Seconds of processor time of each thread of a process."""
    times = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        fields = (thread / "stat").read_text().rpartition(")")[2].split()
        times[int(thread.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return times
