"""The table of programs. A version stands in one place only: the go.mod of the module that the program is built in."""

import re
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "modules"


@dataclass(frozen=True, slots=True)
class Program:
    """One program and how it is built."""

    name: str
    module: str
    """Folder in `modules/`. Programs whose dependencies agree share one."""
    package: str
    """Go's name of it; the go.mod lists it under `tool`."""
    takes: str
    """How long a first build usually takes on two cores, in words."""
    versioned_by: str = ""
    """Go module whose version the program says is its own; "" for one that knows it by itself."""
    in_assets: bool = False
    """Whether a folder of KUBEBUILDER_ASSETS holds it."""

    @property
    def folder(self) -> Path:
        """Where its go.mod and go.sum are."""
        return MODULES / self.module

    def ldflags(self) -> str:
        """Small, and with its version: without, the API server calls itself v0.0.0 and charts refuse it."""
        if not self.versioned_by:
            return "-s -w"
        version = self.version()
        major, minor, _ = version.removeprefix("v").split(".", 2)
        values = {
            "k8s.io/component-base/version.gitVersion": version,
            "k8s.io/component-base/version.gitMajor": major,
            "k8s.io/component-base/version.gitMinor": minor,
            "k8s.io/client-go/pkg/version.gitVersion": version,
        }
        return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])

    def version(self) -> str:
        """The version that go.mod names, for a *versioned_by*."""
        found = re.search(rf"(?m)^\s*{re.escape(self.versioned_by)} (v\S+)", self.go_mod())
        if found is None:
            raise LookupError(f"{self.folder / 'go.mod'} requires no {self.versioned_by}")
        return found[1]

    def go_version(self) -> tuple[int, ...]:
        """The oldest Go that can build it."""
        found = re.search(r"(?m)^go ([\d.]+)", self.go_mod())
        if found is None:
            raise LookupError(f"{self.folder / 'go.mod'} names no version of Go")
        return tuple(map(int, found[1].split(".")))

    def go_mod(self) -> str:
        """The text of its go.mod."""
        return (self.folder / "go.mod").read_text(encoding="utf-8")


KUBERNETES = "k8s.io/kubernetes"

PROGRAMS = {
    program.name: program
    for program in (
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", "half a minute", in_assets=True),
        Program(
            "kube-apiserver", "kube", f"{KUBERNETES}/cmd/kube-apiserver", "4 to 9 minutes", KUBERNETES, in_assets=True
        ),
        Program("kubectl", "kube", f"{KUBERNETES}/cmd/kubectl", "half a minute after kube-apiserver", KUBERNETES, True),
        Program(
            "kube-controller-manager",
            "kube",
            f"{KUBERNETES}/cmd/kube-controller-manager",
            "a minute after kube-apiserver",
            KUBERNETES,
        ),
    )
}

CONTROL_PLANE = ("etcd", "kube-apiserver", "kubectl")
"""What the tests of the operator need."""
