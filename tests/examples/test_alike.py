"""What all five examples have in common."""

import ast
import sys

import pytest
import yaml

from hookline_kit.testing import HandlerClient, a_delivery
from support.cli import hookline
from support.examples import EXAMPLES, serving

NAMES = ("notifications", "analytics", "moderation", "sync", "automation")
ALLOWED = {"hookline", "hookline_kit", "google"}
"""Besides the standard library and itself: the contract, the kit, protobuf."""
MORE = {"automation": {"yaml"}}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_needs_the_kit_and_nothing_of_the_gateway(name):
    """It is copied into a project of its own, where there is no gateway."""
    allowed = ALLOWED | MORE.get(name, set()) | sys.stdlib_module_names | {name}
    imported = set()
    for file in (EXAMPLES / "handlers" / name).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(str(node.module).partition(".")[0])

    assert imported <= allowed


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_a_page_a_readme_and_a_subscription(name):
    """Whoever finds one of them finds the others."""
    readme = (EXAMPLES / "handlers" / name / "README.md").read_text(encoding="utf-8")

    assert f"docs/handlers/{name}.md" in readme
    assert f"examples/handlers/{name}" in (EXAMPLES.parent / "docs" / "handlers" / f"{name}.md").read_text("utf-8")
    secret, subscription = yaml.safe_load_all((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    (route,) = subscription["spec"]["routes"]
    assert route["handler"]["serviceRef"]["name"] == name
    username, password = secret["stringData"].values()
    comment = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8").split("apiVersion", 1)[0]
    assert f"/examples/{name}, user {username}, password {password}" in comment


def test_all_subscriptions_can_be_served_together():
    """One `hookline dev` for all of them: no two have a path or a name in common."""
    files = [argument for name in NAMES for argument in ("-f", str(EXAMPLES / f"{name}.yaml"))]

    done = hookline("check", *files)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("examples/") == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
async def test_an_example_is_started_and_stopped_as_all_are(name, tmp_path):
    """By the environment alone, as in a container; it says where it listens, answers, and ends with 0 on SIGTERM."""
    people = tmp_path / "people.json"
    people.write_text("{}")
    given = {f"{name.upper()}_DATA": str(tmp_path / "data"), "NOTIFICATIONS_DIRECTORY": str(people)}

    with serving(name, **given) as (handler, address):
        async with HandlerClient(address) as client:
            (outcome,) = await client.deliver(a_delivery({"trigger": "message_deleted", "appId": "app", "data": {}}))
        assert outcome is not None
        assert handler.stop() == 0

    assert (tmp_path / "data" / f"{name}.db").is_file()
    assert not [line for line in handler.err if "Traceback" in line]
