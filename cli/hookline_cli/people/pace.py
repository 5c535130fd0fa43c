"""Long work in steps: not faster than wanted, and telling how far it has come."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from hookline_cli.failure import FAILED, Failure

F = TypeVar("F", bound=Callable[..., None])

STEP = 2000
"""What one step does at most where no rate is wanted: often enough to see it move."""


def rate_option(function: F) -> F:
    """`--rate N`."""
    decorate = click.option(
        "--rate",
        type=click.FloatRange(min=0, min_open=True),
        metavar="N",
        help="At most so many a second, for the handler's sake.",
    )
    return decorate(function)


class Pace:
    """How much a step may do, and how long to wait after it."""

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._begun = clock()

    @property
    def step(self) -> int:
        """At most so many in one step: a tenth of a second's, one at least."""
        return STEP if self._rate is None else max(1, min(STEP, round(self._rate / 10)))

    def wait(self, done: int) -> None:
        """Return when *done* in all is not more than the rate allows."""
        if self._rate is not None:
            ahead = done / self._rate - (self._clock() - self._begun)
            if ahead > 0:
                self._sleep(ahead)


@contextmanager
def progress(what: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """
    Gives a function that shows *what* is done so far, on a terminal only; interrupted, that is said too.

    What was done stays done.
    """
    shown = sys.stderr.isatty()

    def show() -> None:
        if shown:
            click.echo(f"\r\x1b[K{what()}", nl=False, err=True)

    try:
        yield show
    except KeyboardInterrupt:
        raise Failure(f"interrupted: {what()}", FAILED) from None
    finally:
        if shown:
            click.echo("\r\x1b[K", nl=False, err=True)
