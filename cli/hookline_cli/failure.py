"""What went wrong, as one line and an exit code."""

import click

FAILED = 1
"""What was asked for could not be done, or a check found errors."""
USAGE = 2
"""The command line is wrong (click's own code)."""
UNAVAILABLE = 3
"""What the command needs is not there: no data folder, no forwarder that answers, a port in use."""


class Failure(click.ClickException):
    """A message for a person, without a traceback, and the exit code that goes with it."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance too

    def show(self, file: object = None) -> None:
        """One line on standard error."""
        click.echo(f"hookline: {self.format_message()}", err=True)
