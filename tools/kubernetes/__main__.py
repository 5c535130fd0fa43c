"""Print where the programs are, after building what is missing: `python -m tools.kubernetes [--list] [PROGRAM ...]`."""

import sys

from tools.kubernetes import BuildFailed, GoUnfit, NotInAssets, provide
from tools.kubernetes.place import find
from tools.kubernetes.programs import CONTROL_PLANE, PROGRAMS


def main(arguments: list[str]) -> int:
    """Exit status 0 when every program is there, 1 when one can't be had, 2 for a name that is not in the table."""
    unknown = [name for name in arguments if name not in PROGRAMS and name != "--list"]
    if unknown:
        print(f"no such program: {', '.join(unknown)}; there are {', '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    try:
        if "--list" in arguments:
            for name, program in PROGRAMS.items():
                print(f"{name:<24} {find(program) or 'not built'}")
            return 0
        for path in provide(arguments or CONTROL_PLANE).values():
            print(path)
    except (BuildFailed, GoUnfit, NotInAssets) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
