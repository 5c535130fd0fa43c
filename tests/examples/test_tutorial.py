"""The tutorial, word for word: whoever follows it must see what it shows."""

import os

import pytest

from support.examples import ROOT
from support.pages import Paste, Save, a_shell, missing, steps

TUTORIAL = ROOT / "docs" / "handlers" / "tutorial.md"


def test_the_tutorial_does_what_it_shows(tmp_path):
    """In a fresh folder, with the project's command on the path, from an empty handler to a stopped gateway."""
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    folder = tmp_path
    with a_shell(ROOT, environment) as shell:
        for step in steps(TUTORIAL.read_text(encoding="utf-8")):
            if isinstance(step, Save):
                # The page's first commands have made the folder that the reader is in.
                (folder,) = (tmp_path / "tmp").iterdir()
                (folder / step.name).write_text(step.text, encoding="utf-8")
            else:
                shell.paste(step)
        assert shell.silent() == []

    assert (folder / ".hookline" / "store").is_dir()


def test_the_tutorial_has_what_a_reader_needs():
    """A page without blocks would pass the test above."""
    found = list(steps(TUTORIAL.read_text(encoding="utf-8")))
    saved = [step.name for step in found if isinstance(step, Save)]
    commands = "".join(step.commands for step in found if isinstance(step, Paste))

    assert {"greeter.py", "greeter.yaml", "test_greeter.py"} <= set(saved)
    for command in (
        "hookline check",
        "hookline dev",
        "hookline simulate",
        "hookline dead",
        "hookline redrive",
        "unittest",
    ):
        assert command in commands


@pytest.mark.parametrize(
    ("shown", "seen", "expected"),
    [
        (["a … c"], ["a b c"], []),
        (["a  b"], ["a\tb"], []),
        (["a", "a"], ["a"], ["a"]),
        (["b", "a"], ["a", "b"], []),
        (["a.c"], ["abc"], ["a.c"]),
        (["in …s"], ["in 0.5s"], []),
        (["a"], ["a b"], ["a"]),
    ],
    ids=["anything", "columns", "twice", "any-order", "no-pattern", "joined", "whole-lines"],
)
def test_what_is_shown_is_compared_line_by_line(shown, seen, expected):
    """The comparison must be able to fail."""
    assert missing(shown, seen) == expected


def test_a_page_is_read_as_its_readers_do():
    """A file, commands with what is seen, commands without, and something only to be read."""
    page = "Save as `a.py`:\n\n```python\nx\n```\n```sh\nls\n```\n```text\na.py\n```\n\n```sh\nrm a\n```\nElsewhere:\n```text\nno\n```\n"

    assert list(steps(page)) == [Save("a.py", "x\n"), Paste(6, "ls\n", ("a.py",)), Paste(13, "rm a\n", ())]
