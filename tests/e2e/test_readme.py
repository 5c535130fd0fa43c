import re
import shlex
import socket
from pathlib import Path

from support.cli import hookline, running

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_readme_s_commands_do_what_they_say(tmp_path, monkeypatch):
    """Whoever tries them should not have to mend them first. Only ports and the data folder are others here."""
    monkeypatch.chdir(ROOT)
    ports = {"9000": str(_free_port()), "8080": str(_free_port())}
    listen, dev, simulate, dead, redrive = (_arguments(line, ports) for line in _commands())
    own = ["--data", str(tmp_path / "data")]
    # One listener plays both handlers, wherever their routes look for them.
    handlers = [f"--handler={name}=127.0.0.1:{ports['9000']}" for name in ("analytics", "notifier")]

    with running(*listen) as handler:
        handler.line("listening on", err=True)
        with running(*dev, *own, *handlers, "--listen", f"127.0.0.1:{ports['8080']}") as gateway:
            gateway.line("ready (", timeout=60)
            simulated = hookline(*simulate)
            assert simulated.returncode == 0, simulated.stdout + simulated.stderr
            handler.line("message_sent acme/chat/analytics")
            assert hookline(*dead, *own).returncode == 0
            assert hookline(*redrive, *own).stdout == "0 sent again\n"


def _commands() -> list[str]:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own subscription")[2]
    commands = re.findall(r"^\.venv/bin/hookline (.*)$", section, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["listen", "dev", "simulate", "dead", "redrive"]
    return commands


def _arguments(command: str, ports: dict[str, str]) -> list[str]:
    given = shlex.split(command, comments=True)
    return [re.sub(r"(?<=:)\d{4}(?=/|$)|^\d{4}$", lambda port: ports[port[0]], each) for each in given]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
