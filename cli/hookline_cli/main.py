"""`hookline`: finds the command and runs it."""

import importlib
import os
import sys
from collections.abc import Mapping

import click
from click.shell_completion import CompletionItem

from hookline_cli.failure import FAILED

COMMANDS: Mapping[str, tuple[str, str]] = {
    "dev": ("hookline_cli.dev.command", "Run receiver, event store and forwarder on this machine."),
    "listen": ("hookline_cli.listen", "Be a handler that prints every delivery."),
    "simulate": ("hookline_cli.simulate.command", "Play CometChat against an endpoint."),
    "events": ("hookline_cli.people.events", "List events and where they stand."),
    "show": ("hookline_cli.people.show", "Tell an event's story."),
    "dead": ("hookline_cli.people.dead", "List dead letters."),
    "redrive": ("hookline_cli.people.redrive", "Send dead letters again."),
    "replay": ("hookline_cli.people.replay", "Send events again, delivered or not."),
    "erase": ("hookline_cli.people.erase", "Remove a tenant's or a user's events for good."),
    "check": ("hookline_cli.check", "Compile manifests and say what is wrong with them."),
    "status": ("hookline_cli.status.command", "Say why subscriptions in a cluster are not ready."),
}
"""The module that has the command as `command`, and what it does in one line."""


class Commands(click.Group):
    """Imports a command's module when the command is run: `hookline --help` should not wait for gRPC."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of use, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands, from the table too; options of ours where one begins."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        known = ((name, summary) for name, (_, summary) in COMMANDS.items() if name.startswith(incomplete))
        return [CompletionItem(name, help=summary) for name, summary in known]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table above, so that no module is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hookline", prog_name="hookline", message="%(prog)s %(version)s")
def cli() -> None:
    """Take CometChat's webhooks and hand every event to its handlers."""


def program_name(started_as: str) -> str:
    """What the command is called in its help: kubectl finds a program named `kubectl-hookline` as its own command."""
    return "kubectl hookline" if os.path.basename(started_as) == "kubectl-hookline" else "hookline"


def main() -> None:
    """Run the command line; a mistake of ours is one line too, and a traceback only where it was asked for."""
    # gRPC's own library writes to standard error beside our one line; whoever needs that sets the variable.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        cli.main(prog_name=program_name(sys.argv[0]))
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does: nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("HOOKLINE_TRACEBACK"):
            raise
        hint = "(HOOKLINE_TRACEBACK=1 shows where)"
        click.echo(f"hookline: internal error: {type(error).__name__}: {error} {hint}", err=True)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
