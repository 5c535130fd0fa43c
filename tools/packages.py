"""Programs from Debian's packages, installed where that is ours to do."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence


def provide(programs: Mapping[str, Sequence[str]], what_for: str) -> None:
    """
    Install the packages of those *programs* that are missing, as root on a Debian only, after saying so.

    Elsewhere says what is missing for *what_for*, and whoever needs it does without.
    """
    missing = sorted(
        {package for program, packages in programs.items() if not shutil.which(program) for package in packages}
    )
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"{what_for}: not here: {', '.join(missing)} (Debian packages); a part will not run", flush=True)
        return
    print(f"{what_for}: installing the Debian packages {', '.join(missing)} (you are root)", flush=True)
    subprocess.run(["apt-get", "update", "-qq"], check=False)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=False)
