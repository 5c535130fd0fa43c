"""Writes the files that receiver and forwarder go by, and only those that change."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.forwarder.files import replace_file
from hookline_routes.inputs import Tables

SWAP = 0.5
"""Seconds within which receiver and forwarder have surely seen a new file: they look every 0.2 s."""


Table = routing.ReceiverSnapshot | routing.ForwarderSnapshot | routing.EndpointTable


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be in force."""

    tables: Tables
    endpoints: routing.EndpointTable


async def publish(folder: Path, publication: Publication, *, running: bool) -> None:
    """
    Make *publication* the files in *folder*.

    While programs are *running* the forwarder hears of a new subscription before the receiver takes its events, and of
    one that goes away after the receiver has stopped taking them: no event may arrive that it knows no routes of. Each
    step gets the time to be seen.
    """
    pause = SWAP if running else 0.0
    forwarder = folder / "forwarder.binpb"
    new = publication.tables.forwarder
    changed = _put(folder / "endpoints.binpb", publication.endpoints)
    changed |= _put(forwarder, _with_leaving(new, forwarder) if running else new)
    if changed:
        await asyncio.sleep(pause)
    if _put(folder / "receiver.binpb", publication.tables.receiver) and not _holds(forwarder, new):
        await asyncio.sleep(pause)
    _put(forwarder, new)


def _with_leaving(new: routing.ForwarderSnapshot, file: Path) -> routing.ForwarderSnapshot:
    """*new*, and the subscriptions in *file* that it no longer has."""
    both = routing.ForwarderSnapshot()
    both.CopyFrom(new)
    staying = {one.ref.uid for one in new.subscriptions}
    try:
        before = routing.ForwarderSnapshot.FromString(file.read_bytes())
    except (FileNotFoundError, DecodeError):
        return both
    both.subscriptions.extend(one for one in before.subscriptions if one.ref.uid not in staying)
    return both


def _put(file: Path, table: Table) -> bool:
    """Whether the file had to be written."""
    if _holds(file, table):
        return False
    replace_file(file, _bytes(table))
    return True


def _holds(file: Path, table: Table) -> bool:
    return file.exists() and file.read_bytes() == _bytes(table)


def _bytes(table: Table) -> bytes:
    return table.SerializeToString(deterministic=True)
