"""Where each program is: in KUBEBUILDER_ASSETS, else in this repository's cache under a name that says what it was built of."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from tools.kubernetes import golang
from tools.kubernetes.programs import CONTROL_PLANE, PROGRAMS, Program

CACHE = Path(__file__).resolve().parent.parent.parent / ".cache" / "kubernetes"
ASSETS = "KUBEBUILDER_ASSETS"


class NotInAssets(Exception):
    """KUBEBUILDER_ASSETS names a folder that lacks a program: correct it, or unset it to have the program built."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(f"{ASSETS}={folder} holds no program {name}: correct it, or unset it to have {name} built")


def find(program: Program) -> Path | None:
    """The program's path; None if it has to be built. Raises NotInAssets."""
    assets = os.environ.get(ASSETS)
    if assets and program.in_assets:
        path = Path(assets) / program.name
        if not os.access(path, os.X_OK) or path.is_dir():
            raise NotInAssets(Path(assets), program.name)
        return path
    return next((path for path in candidates(program) if path.is_file()), None)


def candidates(program: Program) -> list[Path]:
    """Where a built one may be. Without Go: any that was built of the same sources, by whatever version."""
    if golang.version():
        return [built(program)]
    return sorted(CACHE.glob(f"{program.module}-{key(program)}-*/{program.name}"))


def built(program: Program) -> Path:
    """Where the program is once it is built: another place for other sources, flags or Go."""
    return CACHE / f"{program.module}-{key(program)}-go{golang.version()}" / program.name


def key(program: Program) -> str:
    """Says what the program is built of: versions and checksums of all modules, and the flags."""
    parts = [(program.folder / name).read_bytes() for name in ("go.mod", "go.sum")]
    digest = hashlib.sha256()
    for part in (*parts, program.ldflags().encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:12]


def why_not(names: Sequence[str] = CONTROL_PLANE) -> str:
    """Why the programs of those *names* are neither here nor can be built; "" if they are or can be."""
    try:
        missing = [program for program in (PROGRAMS[name] for name in names) if find(program) is None]
    except NotInAssets as error:
        return str(error)
    unfit = [program for program in missing if not golang.fits(golang.version(), program.go_version())]
    return str(golang.GoUnfit(unfit[0].name, unfit[0].go_version(), golang.version())) if unfit else ""
