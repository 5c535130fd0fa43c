"""
Run every layer of tests that this machine can carry, and say which those were: `make test`.

    python -m tools.layers [--all] [PYTEST ARGUMENT ...]

`--all` (or CI=true) makes a layer that could not run a failure. What a layer needs beyond Python is installed from Debian's
packages when this is a Debian and we are root, after saying so; elsewhere the layer is left out, and the table at the end
says why.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools import check

ROOT = Path(__file__).resolve().parent.parent

TOOLS = {"cc": ["gcc", "libc6-dev"], "go": ["golang-go"], "node": ["nodejs"], "npm": ["npm"]}
"""Commands that a layer needs, and the Debian packages that bring them."""


def main(arguments: list[str]) -> int:
    """Exit status 0 when every step and test that ran passed, and none was missing that had to run."""
    strict = "--all" in arguments or os.environ.get("CI") == "true"
    provide(TOOLS)
    checked = check.main()
    environment = {**os.environ, "HOOKLINE_CHECK": "failed" if checked else "passed"}
    if strict:
        environment["HOOKLINE_ALL_LAYERS"] = "1"
    command = [sys.executable, "-m", "pytest", *(argument for argument in arguments if argument != "--all")]
    tested = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    return checked or tested


def provide(tools: dict[str, list[str]]) -> None:
    """Install what is missing, where that is ours to do."""
    missing = sorted({package for tool, packages in tools.items() if not shutil.which(tool) for package in packages})
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"test: not here: {', '.join(missing)} (Debian packages); some layers will not run", flush=True)
        return
    print(f"test: installing the Debian packages {', '.join(missing)} (you are root)", flush=True)
    subprocess.run(["apt-get", "update", "-qq"], check=False)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
