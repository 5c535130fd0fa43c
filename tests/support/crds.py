"""
What the chart brings to a cluster, for tests on a real API server.

    install_api(plane)          the custom resource definitions (quick where they are there already)
    install_policies(plane)     the admission policies too, and returns when they are in force
"""

from pathlib import Path

from support.kubernetes.plane import ControlPlane

FILES = Path(__file__).parents[2] / "charts" / "hookline" / "files"
CRDS = tuple(sorted((FILES / "crds").glob("*.yaml")))


def install_api(plane: ControlPlane) -> None:
    """The kinds of hookline.dev, served when this returns."""
    plane.install(*CRDS)
