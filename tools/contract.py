"""
Guard the contract in proto/.

    python -m tools.contract breaking    nothing that the released contract promised was changed or taken away
    python -m tools.contract drift       the generated Python is what the .proto files give
    python -m tools.contract release     proto/ as it stands becomes the released contract
"""

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
RELEASED = PROTO / "released.binpb"
BUF = Path(sys.executable).parent / "buf"


def breaking() -> int:
    """Compare proto/ with the released image; buf prints what broke."""
    return subprocess.run([BUF, "breaking", "--against", str(RELEASED)], cwd=ROOT, check=False).returncode


def release() -> int:
    """Write the released image, without source positions so that comments don't change it."""
    command = [BUF, "build", "--exclude-source-info", "-o", str(RELEASED)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def drift() -> int:
    """Generate into a copy and compare; prints each file that differs."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "proto"
        shutil.copytree(PROTO, copy, ignore=shutil.ignore_patterns("*_pb2*", "__pycache__"))
        shutil.copytree(ROOT / "tools", Path(folder) / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = [sys.executable, str(Path(folder) / "tools" / "generate_protos.py")]
        subprocess.run(command, env={**os.environ, "PATH": path}, check=True, capture_output=True)
        fresh, committed = generated(copy), generated(PROTO)
        stale = sorted(name for name in fresh | committed if not same(copy / name, PROTO / name))
    for name in stale:
        print(f"proto/{name} is not what `make proto` gives")
    return 1 if stale else 0


def generated(folder: Path) -> set[str]:
    """Names of the generated files below *folder*."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*_pb2*.py*") if "__pycache__" not in path.parts}


def same(one: Path, other: Path) -> bool:
    """Whether both are there with the same bytes."""
    return one.exists() and other.exists() and filecmp.cmp(one, other, shallow=False)


if __name__ == "__main__":
    sys.exit({"breaking": breaking, "drift": drift, "release": release}[sys.argv[1]]())
