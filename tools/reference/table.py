"""docs/triggers.md: every trigger in a line."""

import inspect
from collections.abc import Iterator, Mapping, Sequence

from hookline.cometchat.v1.payload_pb2 import Payload
from hookline_receiver.cometchat import identity
from hookline_receiver.cometchat.typed.events import FIELDS
from hookline_routes.triggers import CATEGORIES
from tools.reference import words
from tools.reference.payloads import Example

HEAD = """\
# Triggers

Every event that CometChat is known to send. Made by `python -m tools.reference`, from the tables that the code goes by; field
names lead from the payload's `data`.

- **Identity**: CometChat sends no event id. The key is a hash of subscription, webhook, app, trigger and what the table names.
  A **strong** key finds a repetition within the subscription's `deduplication.window`, a **weak** one within 60 seconds,
  the sender's retry horizon. Equal keys whose bodies differ in more than the volatile fields are two events. Where a
  field of the key is missing, a digest of the body stands in, weak.
- **Ordering key**: what `ordering: Conversation` goes by, and the attribute `partitionkey`.
- **Volatile**: objects in which a retry may show something else: of users `status` and `lastActiveAt`, of groups
  `onlineMembersCount`.
- **Payload**: `sample` is published by CometChat, `derived` made of described shapes, `observed` by others and not published.

A trigger that is not here is accepted, kept and delivered like any other, without a typed payload, with a digest of the body
for its identity, and in the category that its name tells (`message_…`, `group_…`; else `unknown`).
"""

COLLISIONS = """
## What nothing can tell apart

True events with equal keys and equal bodies, because the payload has nothing that differs. Their keys are weak, so that one
counts as a repetition only within 60 seconds of the other.

"""


def table(examples: Mapping[str, Sequence[Example]]) -> str:
    """The page."""
    return "\n".join([HEAD, *_sections(examples), COLLISIONS.strip(), "", *_collisions(), ""])


def message_of(event: str) -> str:
    """The name of the message in the field *event* of `Payload`."""
    return type(getattr(Payload(), event)).DESCRIPTOR.name


def page_of(trigger: str) -> str:
    """Name of the trigger's page."""
    return f"{trigger}.md"


def _sections(examples: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    for category in dict.fromkeys(CATEGORIES.values()):
        yield f"## {category}\n"
        yield "| trigger | typed | identity | | ordering key | time | volatile | payload |"
        yield "|---|---|---|---|---|---|---|---|"
        for trigger in (each for each, of in CATEGORIES.items() if of == category):
            yield from _lines(trigger, examples.get(trigger, ()))
        yield ""


def _lines(trigger: str, examples: Sequence[Example]) -> Iterator[str]:
    if trigger not in FIELDS:
        yield f"| `{trigger}` | none: its shape is not known | {words.DIGEST} | weak | none | none | none | none |"
        return
    link = f"[`{trigger}`](reference/triggers/{page_of(trigger)})"
    for rule in words.rules_of(trigger):
        fitting = [example for example in examples if example.rule is rule]
        events = {example.event for example in fitting} or {examples[0].event}
        typed = ", ".join(f"`{message_of(event)}`" for event in sorted(events))
        kinds = ", ".join(dict.fromkeys("derived" if one.derived else "sample" for one in fitting)) or "observed"
        name = f"{link} ({words.shape(rule)})" if words.shape(rule) else link
        cells = (words.key(rule), words.strength(rule), words.ordering(rule), words.time(rule), words.volatile(rule))
        yield f"| {name} | {typed} | {' | '.join(cells)} | {kinds} |"


def _collisions() -> Iterator[str]:
    """As the code that composes the keys lists them."""
    _, _, listed = inspect.cleandoc(identity.__doc__ or "").partition("Collisions")
    yield from listed.partition("\n\n")[2].splitlines()
