"""What `python -m tools.kubernetes` promises: programs that are there are found, others built, whole or not at all."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.kubernetes import golang
from tools.kubernetes.build import BuildFailed, alone, run
from tools.kubernetes.place import ASSETS, CACHE, built, key
from tools.kubernetes.programs import MODULES, PROGRAMS, Program

ROOT = Path(__file__).parents[2]

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def call() -> Call:
    """The command."""

    def run_it(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if name != ASSETS}
        command = [sys.executable, "-m", "tools.kubernetes", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env={**kept, **environment}, capture_output=True, text=True, check=False
        )

    return run_it


def a_folder_with(folder: Path, *names: str) -> Path:
    """Programs that somebody brought."""
    for name in names:
        (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def test_programs_that_somebody_brought_are_taken(call: Call, tmp_path: Path) -> None:
    """Who has official binaries builds nothing, and needs no Go."""
    a_folder_with(tmp_path, "etcd", "kube-apiserver", "kubectl")

    done = call(KUBEBUILDER_ASSETS=str(tmp_path), PATH="/nowhere")

    assert done.stdout.splitlines() == [f"{tmp_path}/{name}" for name in ("etcd", "kube-apiserver", "kubectl")]


def test_a_wrong_folder_is_named(call: Call, tmp_path: Path) -> None:
    """Building silently instead would hide the mistake for minutes, and test another version."""
    a_folder_with(tmp_path, "etcd")

    done = call(KUBEBUILDER_ASSETS=str(tmp_path))

    assert done.returncode == 1
    assert f"KUBEBUILDER_ASSETS={tmp_path} holds no program kube-apiserver" in done.stderr


def test_a_program_that_is_not_in_the_table_is_refused(call: Call) -> None:
    """With those that are."""
    done = call("kubelt")

    assert (done.returncode, done.stderr) == (2, f"no such program: kubelt; there are {', '.join(PROGRAMS)}\n")


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_go_the_error_says_what_to_do(name: str) -> None:
    """On a machine of somebody who only wants to run the tests."""
    needed = PROGRAMS[name].go_version()

    assert str(golang.GoUnfit(name, needed, "")) == (
        f"Go 1.26.0 or later is needed to build {name}, and there is no `go` here;"
        " or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl"
    )


@pytest.mark.parametrize(
    ("here", "fits"),
    [("1.26.8", True), ("1.26.0", True), ("1.27rc1", True), ("2.0", True), ("1.25.9", False), ("1.26rc1", False), ("", False)],
    ids=["later", "equal", "candidate", "major", "older", "candidate-of-it", "none"],
)  # fmt: skip
def test_go_is_compared_by_number(here: str, fits: bool) -> None:
    """1.9 is older than 1.26."""
    assert golang.fits(here, (1, 26, 0)) == fits


@pytest.mark.parametrize("module", sorted({program.module for program in PROGRAMS.values()}))
def test_every_module_is_locked_and_names_no_host_to_fetch_from(module: str) -> None:
    """Who builds decides where from; checksums decide what."""
    sums = (MODULES / module / "go.sum").read_text(encoding="utf-8")

    assert all(re.fullmatch(r"\S+ v\S+ h1:[A-Za-z0-9+/]{43}=", line) for line in sums.splitlines())
    assert "://" not in sums + (MODULES / module / "go.mod").read_text(encoding="utf-8")


def test_the_programs_name_their_version() -> None:
    """Otherwise the server calls itself v0.0.0-master and a chart's kubeVersion refuses it."""
    flags = PROGRAMS["kube-apiserver"].ldflags()

    version = PROGRAMS["kube-apiserver"].version()
    assert f"-X k8s.io/component-base/version.gitVersion={version}" in flags
    assert "-X k8s.io/component-base/version.gitMajor=1 " in flags


@pytest.mark.needs_go
def test_a_build_that_fails_says_what_go_said() -> None:
    """Thirty lines of it, not an exit status."""
    program = PROGRAMS["etcd"]

    with pytest.raises(BuildFailed, match=r"(?s)building etcd: go ended with 1\n.*no/such/package"):
        run(["go", "build", "-mod=readonly", "./no/such/package"], program, say=lambda text: None)


def test_one_builds_at_a_time() -> None:
    """Two would compile the same for minutes, each slowed by the other."""
    code = "from tools.kubernetes.build import alone\nwith alone(print): print('alone', flush=True)"
    with alone(print):
        second = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        waiting = second.stdout.readline()
        assert second.poll() is None

    assert waiting == "waiting for another build of this folder, 0 s\n"
    assert second.communicate(timeout=30)[0] == "alone\n"


@pytest.mark.needs_kubernetes
def test_a_second_call_is_quick(call: Call) -> None:
    """Every run of the tests makes it."""
    assert call().returncode == 0
    quickest = min(timed(call) for _ in range(5))

    assert quickest < 1.0  # 0.07 s on a machine with nothing else to do


def timed(call: Call) -> float:
    """Seconds that a call takes."""
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


def test_what_is_built_depends_on_sources_flags_and_go() -> None:
    """A changed version is built anew, and the old one is not taken for it."""
    program = PROGRAMS["kube-apiserver"]
    other = Program("other", program.module, program.package, "", "")

    assert built(program).is_relative_to(CACHE)
    assert key(program) != key(other)
    assert key(PROGRAMS["kubectl"]) == key(program)
