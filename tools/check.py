"""
What must hold before any test runs: `make check`.

Each step is a command that anyone can run alone; it is printed when it fails.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Step:
    """One command and what it holds up."""

    what: str
    command: tuple[str, ...]


STEPS = (
    Step("style", ("ruff", "check", ".")),
    Step("format", ("ruff", "format", "--check", ".")),
    Step("types", ("mypy",)),
    Step("architecture", ("lint-imports",)),
    Step("contract: style", ("buf", "lint")),
    Step("contract: compatible with the released one", ("python", "-m", "tools.contract", "breaking")),
    Step("contract: generated files are current", ("python", "-m", "tools.contract", "drift")),
    Step("reference: pages are current", ("python", "-m", "tools.reference", "--check")),
    Step("no operator/__init__.py, no lock file with hosts", ("python", "-m", "tools.tree")),
)


def main() -> int:
    """Run every step; exit status 1 if one failed."""
    failed = [step.what for step in STEPS if not passes(step)]
    print(f"check: {len(STEPS) - len(failed)} passed, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def passes(step: Step) -> bool:
    """Run one step and tell how it went, with its output if it failed."""
    begin = time.monotonic()
    done = subprocess.run(
        [str(BIN / step.command[0]), *step.command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    word = "ok" if done.returncode == 0 else "FAILED"
    print(f"check: {step.what:<48} {word:<7} {time.monotonic() - begin:5.1f} s", flush=True)
    if done.returncode != 0:
        print(f"$ {' '.join(step.command)}\n{done.stdout}{done.stderr}", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
