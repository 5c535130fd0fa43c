import subprocess
import sys

import pytest

from hookline_cli.main import COMMANDS
from support.cli import hookline


def test_help_names_every_command():
    """The first thing one types."""
    shown = hookline("--help")

    assert shown.returncode == 0
    for name, (_, summary) in COMMANDS.items():
        assert f"{name} " in shown.stdout
        assert summary in shown.stdout


def test_help_imports_none_of_the_commands():
    """It must be quick; gRPC alone takes a quarter of a second."""
    program = (
        "import sys\n"
        "from hookline_cli.main import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "heavy = {'grpc', 'google.protobuf', 'yaml', 'rich', 'falcon'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_command_is_a_usage_error():
    """Exit codes mean something: 2 is a wrong command line."""
    failed = hookline("deliver")

    assert failed.returncode == 2
    assert "No such command 'deliver'" in failed.stderr


def test_every_command_explains_itself():
    """A table of commands must not promise one that is not there."""
    for name in COMMANDS:
        assert hookline(name, "--help").returncode == 0, name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_its_completion(shell):
    """As docs/operate/command.md says to ask for it."""
    done = hookline(_HOOKLINE_COMPLETE=f"{shell}_source")

    assert done.returncode == 0, done.stderr
    assert "_HOOKLINE_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hookline re", {"redrive", "replay"}),
        ("hookline events --st", {"--state"}),
        ("hookline events --state D", {"delivered", "dead"}),
        ("hookline dead --reason Rou", {"routeremoved"}),
    ],
    ids=["command", "option", "state", "reason"],
)
def test_what_is_typed_is_completed(typed, expected):
    """Commands, options and their words."""
    words = typed.split()

    done = hookline(_HOOKLINE_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1))

    assert {line.split(",")[1] for line in done.stdout.splitlines()} == expected
