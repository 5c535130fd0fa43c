"""The reference for handlers' authors is made of what the code goes by, and is current."""

import json
import re

import pytest

from hookline_receiver.cometchat.rules import RULES
from hookline_routes.triggers import CATEGORIES, NAMES_ONLY
from tools.reference.__main__ import DOCS, REFERENCE, files, stale
from tools.reference.contract import ROOT, messages


def test_the_pages_are_what_the_code_gives() -> None:
    """`python -m tools.reference` writes them anew."""
    assert [str(path.relative_to(ROOT)) for path in stale(files())] == []


def test_a_page_that_was_edited_or_is_too_much_is_noticed() -> None:
    """Or a page would say what once was."""
    wanted = dict(files())
    missing, edited = REFERENCE / "shapes.md", DOCS / "triggers.md"
    wanted[edited] += "\n"
    del wanted[missing]

    assert stale(wanted) == sorted([edited, missing])


def test_every_trigger_is_in_the_table_with_each_of_its_shapes() -> None:
    """The table is what an author looks into first."""
    rows = re.findall(r"^\| \[?`([^`]+)`", (DOCS / "triggers.md").read_text(), re.MULTILINE)

    assert sorted(rows) == sorted(trigger for trigger in CATEGORIES for _ in range(len(RULES.get(trigger, ())) or 1))


@pytest.mark.parametrize("trigger", [trigger for trigger in CATEGORIES if trigger not in NAMES_ONLY])
def test_every_trigger_has_a_page_with_meaning_identity_payload_and_typed_form(trigger: str) -> None:
    """Nobody should have to look into three files to handle one event."""
    page = (REFERENCE / "triggers" / f"{trigger}.md").read_text()

    assert "| key |" in page
    for raw, typed in re.findall(
        r"```json\n(.*?)\n```\n\nIts typed form, as JSON:\n\n```json\n(.*?)\n```", page, re.DOTALL
    ):
        assert json.loads(raw)["trigger"] == trigger
        assert any(name.removeprefix("legacy_") == trigger.replace("-", "_") for name in json.loads(typed))
        assert any(name.removeprefix("legacy_") == trigger.replace("-", "_") for name in json.loads(typed))
    assert page.count("```json") >= 2


def test_every_message_and_field_of_the_contract_says_what_it_is() -> None:
    """The pages are made of the comments; buf's lint looks at messages of the wire only."""
    silent = [
        f"{message.name}.{field.name}"
        for message in messages().values()
        for field in message.fields
        if not field.comment or not message.comment
    ]

    assert silent == []


def test_links_lead_somewhere() -> None:
    """A page, and a heading on it."""
    for page in [DOCS / "triggers.md", *REFERENCE.rglob("*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text()):
            there = (page.parent / target).resolve() if target else page
            assert there.exists(), f"{page}: {target}"
            if anchor:
                assert re.search(rf"^## {anchor}$", there.read_text(), re.MULTILINE | re.IGNORECASE), (
                    f"{page}: #{anchor}"
                )


@pytest.mark.parametrize(
    "field", ["routes[].handler.timeout", "dataPlane.dedicated.scaling.maxReplicas", "eventStore.storage.size"]
)
def test_the_page_of_the_kubernetes_api_has_every_field(field: str) -> None:
    """With type, default, limits and what it is for; and no field is left without words."""
    page = (REFERENCE / "kubernetes.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]

    assert any(cells[0] == f"| `{field}`" for cells in rows)
    assert [cells[0] for cells in rows if len(cells) != 5 or not cells[4].rstrip(" |")] == []
