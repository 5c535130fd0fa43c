"""What is printed: tables for people, tab-separated lines where nobody looks, JSON lines for scripts."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp


def printable(text: str, keep: str = "") -> str:
    """
    *text* with everything that a terminal would act upon shown as an escape, but for the characters in *keep*.

    SECURITY: bodies, reasons and names come from others, and escape sequences can retype what a person sees.
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )


def moment(timestamp: Timestamp) -> str:
    """RFC 3339 in UTC with milliseconds; "" for a time that is not set."""
    if timestamp.seconds == 0 and timestamp.nanos == 0:
        return ""
    return timestamp.ToDatetime(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(text: str) -> str:
    """A `moment` for a person: local time to the second."""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}" if text else ""


def print_json(value: Mapping[str, Any]) -> None:
    """One object, one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table on a terminal; elsewhere a heading and tab-separated lines, for grep and cut."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for line in [columns, *cells]:
            click.echo("\t".join(line))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title or None, title_justify="left")
    for row in cells:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console().print(table)
