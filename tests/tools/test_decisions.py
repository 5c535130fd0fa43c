"""The pages of decisions can be cited by their number."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    """Two pages written at the same time take the same number, and a citation then means either."""
    pages = sorted(path.name for path in FOLDER.glob("[0-9]*.md"))

    listed = re.findall(r"^\| \[(\d{4})\]\((.+)\) \|", (FOLDER / "README.md").read_text(), re.MULTILINE)

    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    assert listed == [(name[:4], name) for name in pages]
