"""Say what there is instead, for who starts the operator already."""

import sys

SAYING = "hookline: the operator is not in this release; `hookline dev -f MANIFESTS` serves the same manifests on this machine"


def main() -> int:
    """Exit status 2: nothing was done."""
    print(SAYING, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
