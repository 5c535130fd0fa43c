"""
Make the virtual environment: the locked packages with their hashes, then this project in editable form.

    python3 tools/setup.py .venv

Needs a Python of 3.11 or later and nothing else; on Debian, where `venv` is a package of its own, installs that package
when run as root, and otherwise says what is missing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)


def main(folder: Path) -> int:
    """Exit status 0 when *folder* holds an environment with everything installed."""
    if sys.version_info < OLDEST:
        have, want = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST))
        return fail(f"Python {want} or later is needed, this is {have}: try `make PYTHON=python3.12 ...`")
    if not has_venv() and not install_venv():
        return fail("Python's `ensurepip` is missing: install it (Debian: the package python3-venv)")
    say(f"setting up {folder} (once; takes about a minute)")
    if not (folder / "bin" / "python").exists():
        run(sys.executable, "-m", "venv", str(folder))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-cache-dir"]
    say("installing the locked packages")
    run(*pip, "--require-hashes", "--only-binary=:all:", "-r", str(ROOT / "constraints.txt"))
    say("installing hookline itself, editable")
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    say(f"done: the command is {folder}/bin/hookline")
    return 0


def has_venv() -> bool:
    """Whether `python -m venv` can bring pip along."""
    return (
        subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode
        == 0
    )


def install_venv() -> bool:
    """Install Debian's venv package, as root on a Debian only."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    say("installing the Debian package python3-venv (you are root)")
    run("apt-get", "update", "-qq")
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv")
    return has_venv()


def run(*command: str) -> None:
    """Run *command* in the project's folder; its failure is ours."""
    subprocess.run(command, cwd=ROOT, check=True)


def say(what: str) -> None:
    """Tell what is going on."""
    print(f"[setup] {what}", flush=True)


def fail(why: str) -> int:
    """Tell why it can't be done."""
    print(f"[setup] {why}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except subprocess.CalledProcessError as error:
        sys.exit(fail(f"`{' '.join(error.cmd)}` ended with {error.returncode}"))
