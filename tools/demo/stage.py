"""The processes of the demonstration, all of them ended at its end, however it ends."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hookline_cli.dev.supervising import ending_with_parent

MANIFESTS = Path(__file__).parent / "manifests"
HOOKLINE = (sys.executable, "-m", "hookline_cli.main")

STARTING = 30.0
"""Seconds that a process gets to be ready; it takes about two."""


class Mishap(Exception):
    """The demonstration can't go on; the message says why."""


@dataclass
class HandlerProcess:
    """One handler: killed and started again at will, at the same port, noting in the same folder."""

    name: str
    folder: Path
    port: int
    refuse: str = ""
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def address(self) -> str:
        """Where the gateway finds it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return once it listens."""
        self.starts += 1
        # A file for each process: what a killed one left unfinished must not be continued by the next.
        record = self.folder / f"{self.name}.{self.starts}.jsonl"
        arguments = ["--port", str(self.port), "--record", str(record), "--refuse", self.refuse]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = spawn([sys.executable, "-m", "tools.demo.handler", *arguments], stdout=log, stderr=log)
        wait(lambda: listens(self.port), f"the handler {self.name} did not start: see {self.folder}/{self.name}.log")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal and wait until it is gone."""
        if self.process is not None:
            end(self.process, number)


@dataclass
class Stage:
    """Everything that runs."""

    folder: Path
    handlers: Mapping[str, HandlerProcess]
    url: str
    dev: subprocess.Popen[bytes]
    said: Path
    """What `hookline dev` prints."""
    passwords: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Username and password by tenant."""

    @property
    def data(self) -> Path:
        """The gateway's data folder."""
        return self.folder / "data"

    def hookline(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command of `hookline` on the gateway's data; the objects that it prints."""
        command = [*HOOKLINE, arguments[0], "--data", str(self.data), "--json", *arguments[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise Mishap(f"hookline {' '.join(arguments)} failed: {done.stderr.strip()}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def stop(self) -> str:
        """Stop the gateway as Ctrl-C does; the last line that it said."""
        status = end(self.dev, signal.SIGINT)
        last = self.said.read_text().rstrip().rpartition("\n")[2]
        if status != 0:
            raise Mishap(f"hookline dev ended with status {status}: {last}")
        return last


@contextmanager
def stage(folder: Path, names: Mapping[str, str], others: Mapping[str, str]) -> Iterator[Stage]:
    """
    Start handlers (name → trigger that it refuses, or "") and `hookline dev`; end all at the end of the block.

    *others* are handlers that run already: name → "host:port".
    """
    with ExitStack() as stack:
        handlers = {}
        for name, refuse in names.items():
            handlers[name] = HandlerProcess(name, folder, free_port(), refuse)
            stack.callback(handlers[name].end)
            handlers[name].start()
        addresses = {**others, **{name: handler.address for name, handler in handlers.items()}}
        given = [f"--handler={name}={address}" for name, address in addresses.items()]
        said = folder / "dev.out"
        arguments = ["dev", "-f", str(MANIFESTS), "--data", str(folder / "data"), "--listen", "127.0.0.1:0"]
        with said.open("wb") as out:
            dev = spawn([*HOOKLINE, *arguments, "--workers", "2", *given], stdout=out, stderr=out)
        stack.callback(end, dev, signal.SIGTERM)
        wait(lambda: "\nready (" in said.read_text() or dev.poll() is not None, f"not ready: see {said}")
        url = re.search(r"http://127\.0\.0\.1:\d+", said.read_text())
        if dev.poll() is not None or url is None:
            raise Mishap(f"hookline dev did not start:\n{said.read_text()}")
        yield Stage(folder, handlers, url[0], dev, said, passwords(folder / "data"))


def passwords(data: Path) -> Mapping[str, tuple[str, str]]:
    """By tenant, from the manifests; globex has no Secret, and `hookline dev` says where it put the generated one."""
    username, _, password = (data / "keys" / "generated" / "globex.support").read_text().strip().partition(":")
    return {"acme": chosen("acme"), "examples": chosen("examples"), "globex": (username, password)}


def chosen(tenant: str) -> tuple[str, str]:
    """Username and password in a tenant's manifest."""
    secret = re.search(r"username: (\w+), password: (\w+)", (MANIFESTS / f"{tenant}.yaml").read_text())
    assert secret is not None
    return secret[1], secret[2]


def spawn(arguments: Sequence[str], **given: Any) -> subprocess.Popen[bytes]:
    """A process that ends when this one does, and that Ctrl-C in the terminal does not reach."""
    before = ending_with_parent() if sys.platform == "linux" else None
    given.setdefault("cwd", Path(__file__).resolve().parent.parent.parent)
    # No thread runs in this process, so that there is nothing to meet between fork and exec.
    return subprocess.Popen(arguments, start_new_session=True, preexec_fn=before, **given)  # noqa: PLW1509


def end(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> int:
    """Send a signal, wait, and kill what does not end; the exit status."""
    with suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def wait(holds: Callable[[], bool], otherwise: str, within: float = STARTING) -> None:
    """Return as soon as *holds*, or raise Mishap."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise Mishap(otherwise)
        time.sleep(0.05)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens on this port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
