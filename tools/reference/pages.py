"""docs/reference/triggers/: a page for each trigger, with its fields, its payload and the typed form."""

import json
from collections.abc import Iterator, Mapping, Sequence

from hookline_receiver.cometchat.rules import Rule
from hookline_routes.triggers import CATEGORIES
from tools.reference import words
from tools.reference.contract import Message
from tools.reference.payloads import Example
from tools.reference.shapes import fields_table
from tools.reference.table import message_of, page_of

QUIRK = "Quirk resolved: "
SHAPES = "../shapes.md"
MADE = "<!-- Made by `python -m tools.reference`. -->"


def page(trigger: str, examples: Sequence[Example], contract: Mapping[str, Message]) -> str:
    """The trigger's page."""
    return "\n".join(_page(trigger, examples, contract))


def index(examples: Mapping[str, Sequence[Example]], contract: Mapping[str, Message]) -> str:
    """docs/reference/README.md."""
    lines = [MADE, "# Reference", "", INTRODUCTION]
    for category in dict.fromkeys(CATEGORIES.values()):
        lines += [f"## {category}", ""]
        for trigger in (each for each, of in CATEGORIES.items() if of == category and each in examples):
            first = min(examples[trigger], key=lambda one: one.event.startswith("legacy_"))
            said = contract[message_of(first.event)].comment.split(". ")[0].rstrip(".").split("\n")[0]
            lines.append(f"- [`{trigger}`](triggers/{page_of(trigger)}): {said}.")
        lines.append("")
    return "\n".join(lines)


INTRODUCTION = """\
What a handler gets for each of CometChat's events: when it comes, what identifies it, its typed payload, and an example.
[Triggers](../triggers.md) has all of it in one table, [shapes](shapes.md) the messages that events share.

What tenants and platform owners declare is in [Kubernetes API](kubernetes.md).
"""


def _page(trigger: str, examples: Sequence[Example], contract: Mapping[str, Message]) -> Iterator[str]:
    yield f"{MADE}\n# {trigger}\n"
    yield f"Category `{CATEGORIES[trigger]}`, CloudEvents type `com.cometchat.{trigger}`. [All triggers](../../triggers.md)\n"
    events = sorted(dict.fromkeys(example.event for example in examples), key=lambda name: name.startswith("legacy_"))
    for event in events:
        message = contract[message_of(event)]
        yield f"## {message.name}\n"
        yield f"{message.comment}\n"
        yield f"In `Payload` it is the field `{event}`; in the Python kit `@handler.on({message.name})`.\n"
        yield fields_table(message, contract, SHAPES)
        yield from _quirks(message, contract)
    yield "## Identity\n"
    for rule in words.rules_of(trigger):
        yield from _identity(rule)
    for event in events:
        yield from _example(next(example for example in examples if example.event == event))


def _quirks(message: Message, contract: Mapping[str, Message]) -> Iterator[str]:
    """Of the message's fields, and of the shapes that it is made of."""
    found = list(_found(message, contract, message.name, set()))
    if found:
        yield "Quirks resolved in its fields:\n"
        yield from dict.fromkeys(found)
        yield ""


def _found(message: Message, contract: Mapping[str, Message], path: str, seen: set[str]) -> Iterator[str]:
    if message.name in seen:
        return
    seen.add(message.name)
    if path != message.name and QUIRK in message.comment:
        yield f"- [{message.name}]({SHAPES}#{message.name.lower()}): {message.comment.partition(QUIRK)[2]}"
    for field in message.fields:
        if QUIRK in field.comment:
            yield f"- `{message.name}.{field.name}`: {field.comment.partition(QUIRK)[2]}"
        if field.type in contract:
            yield from _found(contract[field.type], contract, field.name, seen)


def _identity(rule: Rule) -> Iterator[str]:
    if words.shape(rule):
        yield f"In the {words.shape(rule)} shape:\n"
    yield "| | |\n|---|---|"
    for name, value in (
        ("key", f"{words.key(rule)} ({words.strength(rule)})"),
        ("ordering key", words.ordering(rule)),
        ("subject", f"`{words.subject(rule)}`"),
        ("time", words.time(rule)),
        ("may differ in a retry", words.volatile(rule)),
    ):
        yield f"| {name} | {value} |"
    yield ""


def _example(example: Example) -> Iterator[str]:
    kind = "Derived from described shapes; none is published." if example.derived else "As published by CometChat."
    yield f"## Payload: `{example.sample.name}`\n\n{kind}\n"
    yield f"```json\n{example.raw}\n```\n"
    yield "Its typed form, as JSON:\n"
    yield f"```json\n{json.dumps(example.typed, indent=2, ensure_ascii=False, sort_keys=True)}\n```\n"
