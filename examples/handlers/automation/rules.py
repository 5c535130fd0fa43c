"""What a rule consists of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from automation.conditions import Condition


@dataclass(frozen=True, slots=True)
class Webhook:
    """POST some JSON. The address is fixed: no payload chooses whom we call."""

    url: str
    body: Any
    """Anything that JSON can hold. Texts in it are templates; None: the event's own body, byte for byte."""
    timeout: float
    """Seconds."""
    token_file: Path | None
    """Holds the token for "Authorization: Bearer"; read at each call, so it can be renewed."""


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program, without a shell. It gets the event's body on standard input."""

    program: str
    arguments: tuple[str, ...]
    """Templates, each filled into one argument."""
    timeout: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Log:
    """Write a line."""

    text: str
    """A template."""


Action: TypeAlias = Webhook | Command | Log


@dataclass(frozen=True, slots=True)
class Rule:
    """When something happens, do something."""

    name: str
    condition: Condition
    actions: tuple[Action, ...]
