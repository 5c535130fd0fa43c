"""`python -m automation serve` runs the rules, `python -m automation check` says what is wrong with them."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from automation.actions import Doer
from automation.ledger import Ledger
from automation.loading import BadRules, read_rules
from automation.rules import Rule
from automation.running import Automation, make_handler
from hookline_kit.program import Flags, add_server_flags, serve

BUILT_IN = Path(__file__).parent / "rules.yaml"
FAILED, USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    given = parser().parse_args(arguments)
    try:
        rules = read_rules(given.rules)
    except BadRules as error:
        print(error, file=sys.stderr)
        return FAILED if given.command == "check" else USAGE
    if given.command == "check":
        print(f"{given.rules}: {len(rules)} rules, {sum(len(rule.actions) for rule in rules)} actions, no mistakes")
        return 0
    return run(rules, given)


def run(rules: Sequence[Rule], given: argparse.Namespace) -> int:
    """Run the rules until told to stop."""
    given.data.mkdir(parents=True, exist_ok=True)
    with closing(Ledger(given.data / "automation.db")) as ledger:
        return serve(make_handler(Automation(rules, Doer(given.data), ledger)), given)


def parser() -> argparse.ArgumentParser:
    """Every flag is also a variable AUTOMATION_… of the environment."""
    made = argparse.ArgumentParser("automation", description="Do what rules say when something happens.")
    commands = made.add_subparsers(dest="command", required=True)
    serving = Flags(commands.add_parser("serve", help="handle events"), "AUTOMATION")
    checking = Flags(commands.add_parser("check", help="say what is wrong with a rules file"), "AUTOMATION")
    for flags in (serving, checking):
        flags.add("--rules", type=Path, default=BUILT_IN, metavar="FILE", help="YAML file (default: the example's own)")
    add_server_flags(serving, port=9005)
    serving.add("--data", type=Path, default=Path(".hookline"), help="folder of automation.db (default: %(default)s)")
    return made


if __name__ == "__main__":
    sys.exit(main())
