"""
Make the virtual environment: the locked packages with their hashes, then this project in editable form.

    python3 tools/setup.py .venv

Needs a Python of 3.11 or later and nothing else; on Debian, where `venv` is a package of its own, installs that package
when run as root, and otherwise says what is missing.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "constraints.txt"
OLDEST = (3, 11)


def main(folder: Path) -> int:
    """Exit status 0 when *folder* holds an environment with everything installed."""
    if sys.version_info < OLDEST:
        have, want = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST))
        return fail(f"Python {want} or later is needed, this is {have}: try `make PYTHON=python3.12 ...`")
    if not has_venv() and not install_venv():
        return fail("Python's `ensurepip` is missing: install it (Debian: the package python3-venv)")
    say(f"setting up {folder} (once; up to a minute, longer on a busy machine)")
    python = folder / "bin" / "python"
    if not works(python):
        run(sys.executable, "-m", "venv", "--clear", str(folder))
    install_locked(python)
    say("installing hookline itself, editable")
    run(*pip(python), "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    say(f"done: the command is {folder}/bin/hookline")
    return 0


def works(python: Path) -> bool:
    """Whether an environment is there and whole: an interrupted set-up leaves one without pip."""
    if not python.exists():
        return False
    return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def install_locked(python: Path) -> None:
    """Install everything in the lock: by uv, itself from the lock, which is several times quicker; else by pip."""
    blocks = re.split(r"(?m)^(?=[a-z0-9])", LOCK.read_text(encoding="utf-8"))[1:]
    say(f"installing the {len(blocks)} locked packages")
    with tempfile.TemporaryDirectory() as place:
        only_uv = Path(place) / "uv.txt"
        only_uv.write_text("".join(block for block in blocks if block.startswith("uv==")), encoding="utf-8")
        run(*pip(python), "--require-hashes", "--only-binary=:all:", "-r", str(only_uv))
    uv = [str(python.parent / "uv"), "pip", "install", "--quiet", "--no-cache", "--python", str(python)]
    if subprocess.run([*uv, "--require-hashes", "--no-build", "-r", str(LOCK)], cwd=ROOT, check=False).returncode != 0:
        say("once more, with pip (it knows settings of this machine that uv does not)")
        run(*pip(python), "--require-hashes", "--only-binary=:all:", "-r", str(LOCK))


def pip(python: Path) -> list[str]:
    """The beginning of a command that installs; keeps nothing outside of this folder."""
    return [str(python), "-m", "pip", "install", "--quiet", "--no-cache-dir"]


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
    except KeyboardInterrupt:
        fail("interrupted; the next call goes on from here")
        sys.exit(130)
