"""
The programs of Kubernetes that tests run for real: found where they are, else built from source, once.

    python -m tools.kubernetes [--list] [PROGRAM ...]     prints a path a line; without a name: those the tests need

In the order of use:

- `programs`: the table of programs. A further one is a row there and, if its versions differ, a folder in `modules/`.
- `place`: where each program is, or would be once built.
- `golang`: the Go on this machine.
- `build`: builds what is missing, with progress, one builder at a time.

KUBEBUILDER_ASSETS, if set, names a folder with etcd, kube-apiserver and kubectl to be used instead (as other projects'
tests do), and then nothing of those is built.
"""

from tools.kubernetes.build import BuildFailed, provide
from tools.kubernetes.golang import GoUnfit
from tools.kubernetes.place import NotInAssets, why_not

__all__ = ["BuildFailed", "GoUnfit", "NotInAssets", "provide", "why_not"]
