"""The docs for handlers' authors: what they show is so, what they link to is there, what they quote can be used."""

import ast
import os
import re

import pytest
import yaml

from automation.loading import read_rules
from support.examples import EXAMPLES, ROOT
from support.pages import Paste, a_shell, steps

DOCS = ROOT / "docs" / "handlers"
EXAMPLE_NAMES = ("notifications", "analytics", "moderation", "sync", "automation")
PAGES = sorted(DOCS.glob("*.md"))
READMES = sorted((EXAMPLES / "handlers").glob("*/README.md"))
LINK = re.compile(r"\]\(([^)#\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", EXAMPLE_NAMES)
def test_an_example_s_page_does_what_it_shows(name, tmp_path):
    """From a shell in the clone, block by block."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    pasted = 0
    with a_shell(ROOT, environment) as shell:
        for step in steps(page):
            assert isinstance(step, Paste)
            shell.paste(step)
            pasted += 1
        assert shell.silent() == []

    assert pasted >= 2


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda page: f"{page.parent.name}/{page.name}")
def test_every_link_leads_somewhere(page):
    """Relative ones; nothing here needs the network."""
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]

    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_reached_from_the_index():
    """A page that nobody finds is not there."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")

    assert {page.name for page in PAGES} - {"index.md"} <= set(LINK.findall(index))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_that_is_shown_is_code(page):
    """Python parses; imports of the kit can be had."""
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind != "python":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hookline_kit"):
                module = __import__(str(node.module), fromlist=["*"])
                assert all(hasattr(module, name.name) for name in node.names)


def test_the_rules_that_are_shown_can_be_used(tmp_path):
    """Whoever copies them must not meet an error."""
    (text,) = (text for kind, text in BLOCK.findall((DOCS / "automation.md").read_text("utf-8")) if kind == "yaml")
    rules = yaml.safe_load(text)
    rules["rules"][0]["then"][0]["webhook"]["tokenFile"] = "token"
    (tmp_path / "token").write_text("t")
    (tmp_path / "actions").mkdir()
    (tmp_path / "actions" / "page.sh").write_text("#!/bin/sh\n")
    (tmp_path / "actions" / "page.sh").chmod(0o755)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))

    (rule,) = read_rules(tmp_path / "rules.yaml")

    assert len(rule.actions) == 3
    assert len(rule.condition.tests) == 2
