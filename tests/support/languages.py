"""The example handlers in other languages: built as their READMEs say, and run."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.cli import Running

EXAMPLES = Path(__file__).parents[2] / "examples"
NODE_MODULES = EXAMPLES / "typescript" / "node_modules"
STAMP = NODE_MODULES / ".installed"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Program:
    """A program that was built."""

    name: str
    command: Sequence[str]
    quick_stop: Sequence[str]
    """Flags with which it does not wait for the gateway to notice that it stops."""

    @contextmanager
    def serving(self, out: Path, *arguments: str) -> Iterator[tuple[Running, str]]:
        """Run it on a free port until the block ends; the process and its address."""
        flags = arguments or self.quick_stop
        command = [*self.command, "--listen", "127.0.0.1:0", "--out", str(out), *flags]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
            running = Running(process)
            try:
                said = running.line("listening on ", err=True)
                yield running, said.removeprefix("listening on ").strip()
            finally:
                try:
                    running.stop()
                except subprocess.TimeoutExpired:
                    process.kill()
                    running.stop()


def build_go(folder: Path, say: Say) -> Program:
    """Generate, vet and build into *folder*."""
    home = EXAMPLES / "go"
    say("examples/go: generating and building (minutes the first time, then seconds)")
    step(home, "go", "generate", "./...")
    step(home, "go", "vet", "./...")
    step(home, "go", "build", "-o", str(folder / "activity"), ".")
    return Program("go", [str(folder / "activity")], ["--notice", "0s"])


def build_typescript(folder: Path, say: Say) -> Program:
    """Install what package.json pins, generate and compile; *folder* is not needed."""
    home = EXAMPLES / "typescript"
    wanted = hashlib.sha256((home / "package.json").read_bytes()).hexdigest()
    if not STAMP.exists() or STAMP.read_text() != wanted:
        say("examples/typescript: installing the packages that package.json names into its node_modules")
        step(home, "npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
        STAMP.write_text(wanted)
    say("examples/typescript: generating and compiling (about half a minute)")
    step(home, "npm", "run", "--silent", "generate")
    step(home, "npm", "run", "--silent", "build")
    return Program("typescript", ["node", str(home / "dist" / "main.js")], ["--notice-ms", "0"])


def step(home: Path, *command: str) -> None:
    """Run one step of a build; what it said is shown if it failed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "GOTOOLCHAIN": "local"}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
