"""
A YAML file → rules, or everything that is wrong with it.

Whoever writes rules gets all mistakes at once, each with its place, before the first event comes.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from automation.conditions import TESTS, Check, Condition
from automation.paths import objection
from automation.rules import Action, Command, Log, Rule, Webhook
from automation.templates import objections

TIMEOUT = 5.0
"""Seconds that an action may take, unless its rule says otherwise."""
LONGEST = 60.0
"""Seconds; the route's `handler.timeout` must be longer than all actions of an event together."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class BadRules(Exception):
    """The file can't be used. The message has a line for each mistake."""


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a file; raises BadRules."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadRules(f"{path}: {error}") from error
    loader = _Loader(path.resolve().parent)
    rules = loader.rules(document)
    if loader.problems:
        raise BadRules("\n".join(f"{path}: {problem}" for problem in loader.problems))
    return rules


class _Loader:
    """Reads what it can, and notes what it can't."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.problems: list[str] = []

    def rules(self, document: Any) -> tuple[Rule, ...]:
        fields = self._fields(document, "the file", ("rules",))
        found = [
            self._rule(rule, f"rules[{number}]") for number, rule in enumerate(self._list(fields, "rules", "rules"))
        ]
        names = [rule.name for rule in found]
        for name in sorted({name for name in names if name and names.count(name) > 1}):
            # The name is part of the key by which an action is known to be done.
            self._problem("rules", f"two rules are named {name!r}")
        return tuple(found)

    def _rule(self, given: Any, place: str) -> Rule:
        fields = self._fields(given, place, ("name", "when", "then"))
        name = fields.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self._problem(f"{place}.name", f"must be small letters, digits and '-', got {name!r}")
            name = ""
        place = f"{place} ({name})" if name else place
        actions = [
            self._action(action, f"{place}.then[{number}]")
            for number, action in enumerate(self._list(fields, "then", f"{place}.then"))
        ]
        condition = self._condition(fields.get("when") or {}, f"{place}.when")
        return Rule(name, condition, tuple(action for action in actions if action is not None))

    def _condition(self, given: Any, place: str) -> Condition:
        fields = self._fields(given, place, ("triggers", "categories", "where"))
        where = fields.get("where") or {}
        if not isinstance(where, Mapping):
            self._problem(f"{place}.where", "must map paths to what they must be")
            where = {}
        tests = [test for path, wanted in where.items() for test in self._tests(path, wanted, f"{place}.where")]
        return Condition(
            frozenset(self._names(fields, "triggers", place)),
            frozenset(self._names(fields, "categories", place)),
            tuple(tests),
        )

    def _names(self, fields: Mapping[str, Any], name: str, place: str) -> list[str]:
        given = fields.get(name, [])
        if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
            self._problem(f"{place}.{name}", f"must be a list of names, got {given!r}")
            return []
        return given

    def _tests(self, path: Any, wanted: Any, place: str) -> list[Check]:
        """A bare value means `equals`."""
        if problem := objection(str(path)):
            self._problem(place, problem)
        place = f"{place}.{path}"
        tests = wanted if isinstance(wanted, Mapping) else {"equals": wanted}
        for name, value in tests.items():
            if name not in TESTS:
                self._problem(place, f"unknown test {name!r}; known are {', '.join(TESTS)}")
            elif reason := _unfit(name, value):
                self._problem(f"{place}.{name}", reason)
        return [Check(str(path), name, value) for name, value in tests.items()]

    def _action(self, given: Any, place: str) -> Action | None:
        kinds: dict[str, Callable[[Any, str], Action | None]] = {
            "webhook": self._webhook,
            "command": self._command,
            "log": self._log,
        }
        if not isinstance(given, Mapping) or len(given) != 1 or next(iter(given)) not in kinds:
            self._problem(place, f"must be one of {', '.join(kinds)}, got {_names_of(given)}")
            return None
        ((kind, what),) = given.items()
        return kinds[kind](what, f"{place}.{kind}")

    def _webhook(self, given: Any, place: str) -> Webhook:
        fields = self._fields(given, place, ("url", "body", "timeout", "tokenFile"))
        url = fields.get("url")
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or "{" in str(url):
            self._problem(f"{place}.url", f"must be a fixed http or https address, got {url!r}")
        self._templates(fields.get("body"), f"{place}.body")
        token = fields.get("tokenFile")
        token_file = self._folder / str(token) if token is not None else None
        if token_file is not None and not token_file.is_file():
            self._problem(f"{place}.tokenFile", f"no such file: {token_file}")
        return Webhook(str(url), fields.get("body"), self._timeout(fields, place), token_file)

    def _command(self, given: Any, place: str) -> Command | None:
        fields = self._fields(given if isinstance(given, Mapping) else {"run": given}, place, ("run", "timeout"))
        words = fields.get("run")
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            self._problem(place, f"must be a list of texts, the program first, got {words!r}")
            return None
        # A path is looked for beside the rules, a bare name where programs are.
        program = shutil.which(str(self._folder / words[0]) if "/" in words[0] else words[0])
        if program is None:
            self._problem(place, f"no program {words[0]!r}")
        self._templates(words[1:], place)
        return Command(str(program), tuple(words[1:]), self._timeout(fields, place))

    def _log(self, given: Any, place: str) -> Log:
        if not isinstance(given, str):
            self._problem(place, f"must be a text, got {given!r}")
        self._templates(given, place)
        return Log(str(given))

    def _timeout(self, fields: Mapping[str, Any], place: str) -> float:
        given = fields.get("timeout", TIMEOUT)
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= LONGEST:
            self._problem(f"{place}.timeout", f"must be above 0 and at most {LONGEST:g} seconds, got {given!r}")
            return TIMEOUT
        return float(given)

    def _templates(self, given: Any, place: str) -> None:
        for problem in objections(given):
            self._problem(place, problem)

    def _list(self, fields: Mapping[str, Any], name: str, place: str) -> list[Any]:
        given = fields.get(name)
        if not isinstance(given, list) or not given:
            self._problem(place, "must be a list that is not empty")
            return []
        return given

    def _fields(self, given: Any, place: str, known: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(given, Mapping):
            self._problem(place, f"must have {', '.join(known)}; got {_names_of(given)}")
            return {}
        for name in given:
            if name not in known:
                self._problem(place, f"unknown field {name!r}; known are {', '.join(known)}")
        return given

    def _problem(self, place: str, what: str) -> None:
        self.problems.append(f"{place}: {what}")


def _unfit(test: str, wanted: Any) -> str:
    """Why *wanted* is nothing for this test, "" if it is."""
    if test == "matches":
        try:
            re.compile(wanted)
        except (re.error, TypeError) as error:
            return f"not a regular expression: {error}"
    if test in ("above", "below") and (isinstance(wanted, bool) or not isinstance(wanted, int | float)):
        return f"must be a number, got {wanted!r}"
    if test == "in" and not isinstance(wanted, list):
        return f"must be a list, got {wanted!r}"
    if test == "exists" and not isinstance(wanted, bool):
        return f"must be true or false, got {wanted!r}"
    if test == "contains" and not isinstance(wanted, str | int | float):
        return f"must be a text or a number, got {wanted!r}"
    return ""


def _names_of(given: Any) -> str:
    return ", ".join(map(str, given)) if isinstance(given, Mapping) else repr(given)
