"""The project's own files: what the README promises of them."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def locked() -> dict[str, str]:
    """Package → version, as constraints.txt has them."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE))


def test_every_dependency_is_locked() -> None:
    """An unlocked one would install whatever is newest on the day."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>=~!; ]", one)[0].lower().replace("_", "-") for one in named} - {"hookline"}

    assert names - set(locked()) == set()


def test_every_locked_package_has_hashes() -> None:
    """pip installs with --require-hashes: one without would stop the set-up."""
    blocks = re.split(r"(?m)^(?=[a-z0-9])", (ROOT / "constraints.txt").read_text(encoding="utf-8"))[1:]

    assert len(blocks) == len(locked())
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_lock_names_no_registry_host() -> None:
    """Who installs decides where from."""
    assert not re.search(r"https?://|--index-url|--find-links", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
