"""What must not be in the tree, whatever else changes."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PLACES = {
    "operator/__init__.py": "it would shadow the standard library's `operator` for every `python -m` run from here"
}
NAMES = dict.fromkeys(("uv.lock", "package-lock.json"), "it writes registry hosts; constraints.txt is the lock")


def main() -> int:
    """Exit status 1 if something is there that must not be."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    bad = [
        (name, why) for name in listed.stdout.splitlines() if (why := PLACES.get(name) or NAMES.get(Path(name).name))
    ]
    for name, why in bad:
        print(f"{name} must not be tracked: {why}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
