"""`python -m tools.reference [--check]`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from tools.reference.contract import ROOT, messages
from tools.reference.kinds import kinds
from tools.reference.pages import index, page
from tools.reference.payloads import examples
from tools.reference.shapes import shapes
from tools.reference.table import message_of, page_of, table

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"


def files() -> Mapping[Path, str]:
    """What there should be."""
    contract, found = messages(), examples()
    events = frozenset(message_of(example.event) for each in found.values() for example in each)
    pages = {
        REFERENCE / "triggers" / page_of(trigger): page(trigger, each, contract) for trigger, each in found.items()
    }
    return {
        DOCS / "triggers.md": table(found),
        REFERENCE / "README.md": index(found, contract),
        REFERENCE / "kubernetes.md": kinds(),
        REFERENCE / "shapes.md": shapes(contract, events),
        **pages,
    }


def stale(wanted: Mapping[Path, str]) -> list[Path]:
    """Files that are missing, differ, or should not be there."""
    differ = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return sorted([*differ, *(path for path in REFERENCE.rglob("*.md") if path not in wanted)])


def main(arguments: list[str]) -> int:
    """Write what differs; with --check only say so, with exit status 1."""
    wanted = files()
    for path in stale(wanted):
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is not what `python -m tools.reference` gives")
        elif path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
        else:
            path.unlink()
            print(f"removed {path.relative_to(ROOT)}")
    return 1 if "--check" in arguments and stale(wanted) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
