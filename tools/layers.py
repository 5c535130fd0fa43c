"""
Run every layer of tests that this machine can carry, and say which those were: `make test`.

    python -m tools.layers [--all] [PYTEST ARGUMENT ...]

`--all` (or CI=true) makes a layer that could not run a failure. What a layer needs beyond Python is installed from Debian's
packages when this is a Debian and we are root, after saying so; etcd, kube-apiserver and kubectl are built from source, once
(`python -m tools.kubernetes`). Elsewhere the layer is left out, and the table at the end says why.
"""

import os
import subprocess
import sys
from pathlib import Path

from tools import check
from tools.kubernetes import BuildFailed, GoUnfit, NotInAssets
from tools.kubernetes import provide as provide_kubernetes
from tools.kubernetes.programs import CONTROL_PLANE
from tools.packages import provide

ROOT = Path(__file__).resolve().parent.parent

PROGRAMS = (*CONTROL_PLANE, "kube-controller-manager")

TOOLS = {"cc": ["gcc", "libc6-dev"], "go": ["golang-go"], "node": ["nodejs"], "npm": ["npm"]}
"""Commands that a layer needs, and the Debian packages that bring them."""


def main(arguments: list[str]) -> int:
    """Exit status 0 when every step and test that ran passed, and none was missing that had to run."""
    strict = "--all" in arguments or os.environ.get("CI") == "true"
    provide(TOOLS, "test")
    without_kubernetes = not has_kubernetes()
    checked = check.main()
    environment = {**os.environ, "HOOKLINE_CHECK": "failed" if checked else "passed"}
    if without_kubernetes:
        environment["HOOKLINE_WITHOUT_KUBERNETES"] = "1"
    if strict:
        environment["HOOKLINE_ALL_LAYERS"] = "1"
    command = [sys.executable, "-m", "pytest", *(argument for argument in arguments if argument != "--all")]
    tested = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    return checked or tested


def has_kubernetes() -> bool:
    """Whether the programs of Kubernetes are there; builds them if they can be built, else says why not."""
    try:
        provide_kubernetes(PROGRAMS)
    except (BuildFailed, GoUnfit, NotInAssets) as error:
        print(f"test: no control plane: {error}", flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
