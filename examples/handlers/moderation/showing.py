"""The queue as text."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from moderation.item import Item

EXCERPT = 60


def line(item: Item, now: float) -> str:
    """An item in a line."""
    text = item.subject.text or "(no text)"
    shown = text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"
    seen = "withheld" if item.withheld else "visible"
    age = _age(now - item.queued_at)
    return printable(f"{item.number:>5}  {item.state:<8}  {seen:<8}  {age:>4}  {item.subject.sender}: {shown}")


def lines(items: Sequence[Item], now: float) -> str:
    """The queue, an item a line."""
    return "\n".join(line(item, now) for item in items) or "nothing to review"


def whole(item: Item) -> str:
    """Everything that is known of an item."""
    subject = item.subject
    settled = item.settlement
    decided = f"by {settled.by}: {settled.note}".rstrip(": ") if settled and item.state == settled.verdict else ""
    rows = (
        ("item", str(item.number)),
        ("state", f"{item.state} {decided}".strip()),
        ("message", f"{subject.message} of app {subject.app}, {'withheld' if item.withheld else 'visible'}"),
        ("from", f"{subject.sender} to {subject.receiver} ({subject.conversation})"),
        *(("found", str(reason)) for reason in item.reasons),
        ("text", subject.text or "(no text)"),
    )
    return "\n".join(printable(f"{name:<8} {value}") for name, value in rows)


def as_object(item: Item) -> dict[str, Any]:
    """For scripts."""
    return {**asdict(item), "state": item.state, "withheld": item.withheld}


def printable(text: str) -> str:
    """SECURITY: people wrote it to be blocked; what a terminal would obey is not shown."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _age(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"
