"""Writes the files that receiver and forwarder go by, and only those that change."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.forwarder.files import replace_file
from hookline_routes.inputs import Tables

SWAP = 0.5
"""Seconds within which the forwarder has surely seen a new file: it looks every 0.2 s."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be in force."""

    tables: Tables
    endpoints: routing.EndpointTable


async def publish(folder: Path, publication: Publication, *, running: bool) -> None:
    """
    Make *publication* the files in *folder*.

    The forwarder's come first, and while it is *running* get the time to be seen: no event of a new subscription may
    arrive that the forwarder has not heard of.
    """
    endpoints = _put(folder / "endpoints.binpb", publication.endpoints.SerializeToString(deterministic=True))
    routes = _put(folder / "forwarder.binpb", publication.tables.forwarder.SerializeToString(deterministic=True))
    if running and (endpoints or routes):
        await asyncio.sleep(SWAP)
    _put(folder / "receiver.binpb", publication.tables.receiver.SerializeToString(deterministic=True))


def _put(file: Path, content: bytes) -> bool:
    """Whether the file had to be written."""
    if file.exists() and file.read_bytes() == content:
        return False
    replace_file(file, content)
    return True
