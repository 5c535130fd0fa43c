"""The Go on this machine."""

import functools
import os
import re
import shutil
import subprocess

TOO_OLD = "Go {needed} or later is needed to build {program}, this is {here}"
MISSING = "Go {needed} or later is needed to build {program}, and there is no `go` here"
INSTEAD = "; or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl"


class GoUnfit(Exception):
    """There is no Go here that can build a program: install one, or bring the programs built."""

    def __init__(self, program: str, needed: tuple[int, ...], here: str) -> None:
        text = (TOO_OLD if here else MISSING) + INSTEAD
        super().__init__(text.format(program=program, needed=".".join(map(str, needed)), here=here))


def environment() -> dict[str, str]:
    """
    What a call of Go gets.

    GOTOOLCHAIN=local: a Go that is too old says so, rather than fetching another. CGO_ENABLED=0: no C compiler needed,
    and the same bytes everywhere.
    """
    return {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}


@functools.cache
def version() -> str:
    """Like "1.26.8"; "" where there is no Go. Asked once per process (20 ms)."""
    if shutil.which("go") is None:
        return ""
    asked = subprocess.run(
        ["go", "env", "GOVERSION"], cwd="/", env=environment(), capture_output=True, text=True, check=False
    )
    return asked.stdout.strip().removeprefix("go").partition(" ")[0]


def fits(here: str, needed: tuple[int, ...]) -> bool:
    """Whether the Go *here* can build what needs *needed*."""
    found = re.match(r"\d+(\.\d+)*", here)  # of "1.27rc1" as much as says that it is later than 1.26
    return found is not None and tuple(map(int, found[0].split("."))) >= needed
