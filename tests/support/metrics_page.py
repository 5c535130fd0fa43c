"""What docs/operate/metrics.md says of each metric."""

import re
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "metrics.md"

Shape = tuple[str, frozenset[str]]
"""Type and labels."""


def on_the_page(program: str) -> Mapping[str, Shape]:
    """Metrics that the page's table of *program* names."""
    section = PAGE.read_text().split(f"\n## {program}\n")[1].split("\n## ")[0]
    found = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            name, kind, labels, meaning, _ = (cell.strip() for cell in line.strip("|").split(" | "))
            assert meaning, name
            found[name.strip("`")] = (kind, frozenset(re.findall(r"`([a-z]+)`", labels)))
    return found
