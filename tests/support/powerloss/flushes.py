"""Which line of the code a flush in a trace is of: told by what it flushes, and for the WAL by the program."""

import re
from enum import Enum

from support.powerloss.disk import File, Folder
from support.powerloss.trace import Step

OURS = "ours"
"""What the recorded forwarder says of its own flushes of the WAL, since SQLite flushes that file too."""
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Flush(Enum):
    """The flushes of journal, event store and what is kept aside; each is one line of code, and what it is for."""

    RECORDS = "journal/log.py: records before they are acknowledged"
    HEADER = "journal/log.py: a segment's header before it has its name"
    SEGMENT = "journal/log.py: a segment's name before a record in it is acknowledged"
    JOURNAL = "journal/writer.py: a journal's name before a record in it is acknowledged"
    JOURNAL_FOLDER = "journal/folder.py: the name of the folder of all journals"
    REMOVAL = "journal/folder.py: a journal is gone before its position is forgotten"
    WAL = "store/sqlite/file.py: what was carried before its segments are unlinked"
    STORE = "store/sqlite/opening.py: the name of a new store"
    STORE_FOLDER = "forwarder/process.py: the name of the store's folder"
    ASIDE = "forwarder/files.py: an unreadable record before its journal is let go of"
    ASIDE_NAME = "forwarder/files.py: its name"
    ASIDE_FOLDER = "forwarder/aside.py: the name of the folder of such records"
    SQLITE_DATABASE = "SQLite: pages before the WAL that holds them is emptied"
    SQLITE_WAL_NAME = "SQLite: the WAL's name before anything is in it"
    SQLITE = "SQLite: others of its own"
    NOTHING = "nothing was there to be flushed"


_PATHS = (
    (re.compile(rf"data/journal/{_UUID}/\d+\.seg"), Flush.RECORDS),
    (re.compile(rf"data/journal/(\.new-)?{_UUID}/\.\d+\.seg"), Flush.HEADER),
    (re.compile(rf"data/journal/(\.new-)?{_UUID}"), Flush.SEGMENT),
    (re.compile(r"data/aside/.*"), Flush.ASIDE),
)
_NAMES = (
    (re.compile(rf"data/journal/\.gone-{_UUID}"), Flush.REMOVAL),
    (re.compile(rf"data/journal/{_UUID}"), Flush.JOURNAL),
    (re.compile(r"data/journal"), Flush.JOURNAL_FOLDER),
    (re.compile(r"data/store"), Flush.STORE_FOLDER),
    (re.compile(r"data/store/events\.db"), Flush.STORE),
    (re.compile(r"data/store/events\.db-wal"), Flush.SQLITE_WAL_NAME),
    (re.compile(r"data/aside"), Flush.ASIDE_FOLDER),
    (re.compile(r"data/aside/.*\.record"), Flush.ASIDE_NAME),
)


def flush_of(step: Step, node: File | Folder) -> Flush:
    """What *step*, a flush of *node* as it was just before, is for."""
    for pattern, flush in _PATHS:
        if pattern.fullmatch(step.text):
            return flush if node.changes else Flush.NOTHING
    if isinstance(node, File):
        return _of_store(step)
    # The process names something in the folder and flushes it at once: its last change there tells what for.
    named = [change.new for change in node.changes if change.process == step.number and change.new]
    if not named:
        return Flush.NOTHING
    path = f"{step.text}/{named[-1]}"
    return next((flush for pattern, flush in _NAMES if pattern.fullmatch(path)), Flush.SQLITE)


def _of_store(step: Step) -> Flush:
    match step.text:
        case "data/store/events.db-wal" if step.other == OURS:
            return Flush.WAL
        case "data/store/events.db":
            return Flush.SQLITE_DATABASE
        case _:
            assert step.text.startswith("data/store/"), f"nobody knows what this is for: {step.text}"
            return Flush.SQLITE
