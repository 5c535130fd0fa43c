"""docs/reference/shapes.md: the messages that events share."""

import re
from collections.abc import Iterator, Mapping

from tools.reference.contract import Message

HEAD = """\
# Shapes

The messages that typed payloads are made of. Made by `python -m tools.reference` from `proto/hookline/cometchat/v1/`.

A field that the payload leaves out, or has as null, is absent, which differs from empty: every field says whether it is there
(`HasField` in Python, a nil pointer in Go, `undefined` in TypeScript). `Timestamp`, `Duration` and `Struct` are those of
`google.protobuf`.
"""


def shapes(contract: Mapping[str, Message], events: frozenset[str]) -> str:
    """The page: every message that is no event."""
    shared = [message for message in contract.values() if message.name not in events and message.name != "Payload"]
    parts = (f"## {message.name}\n\n{message.comment}\n\n{fields_table(message, contract)}" for message in shared)
    return "\n".join([HEAD, *parts])


def fields_table(message: Message, contract: Mapping[str, Message], shapes_page: str = "") -> str:
    """What *message* has."""
    return "\n".join(["| field | type | |", "|---|---|---|", *_rows(message, contract, shapes_page), ""])


def _rows(message: Message, contract: Mapping[str, Message], page: str) -> Iterator[str]:
    for field in message.fields:
        name = f"[{field.type}]({page}#{field.type.lower()})" if field.type in contract else field.type
        kind = f"list of {name}" if field.repeated else name
        one = f" One of `{field.oneof}`." if field.oneof else ""
        yield f"| `{field.name}` | {kind} | {_cell(field.comment)}{one} |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
