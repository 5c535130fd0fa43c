"""Waits for the forwarder to deliver what is due, once no receiver takes anything in any more."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
from grpc import aio

from hookline.admin.v1 import admin_pb2, admin_pb2_grpc
from hookline_cli.dev.folder import DataFolder
from hookline_cli.people.connection import short_path

LOOK = 0.1
"""Seconds between two looks."""


async def drain(folder: DataFolder, hurry: asyncio.Event, *, within: float, stalled: float) -> int | None:
    """
    How many deliveries are still pending when it makes no sense to wait longer; None if nobody could say.

    Waits until journals are carried and nothing is pending, for *within* seconds at most, until *hurry* is set, and
    only as long as the number changes every *stalled* seconds: what is left then waits for a handler that is down.
    """
    loop = asyncio.get_running_loop()
    began = changed = loop.time()
    before: int | None = -1
    while True:
        left = await pending(folder)
        if left is None or (left == 0 and not journals(folder.journal)):
            return left
        now = loop.time()
        if left != before:
            before, changed = left, now
        if now - changed > stalled or now - began > within or hurry.is_set():
            return left
        await asyncio.sleep(LOOK)


async def pending(folder: DataFolder) -> int | None:
    """Deliveries without an end, as the forwarder says; None if it does not answer."""
    with short_path(folder.run, "admin.sock") as path:
        if path is None:
            return None
        async with aio.insecure_channel(f"unix:{path}") as channel:
            admin = admin_pb2_grpc.EventAdminServiceStub(channel)
            try:
                backlog = await admin.GetBacklog(admin_pb2.GetBacklogRequest(), timeout=2)
            except grpc.RpcError:
                return None
    return sum(route.pending for route in backlog.routes)


def journals(folder: Path) -> list[Path]:
    """Journals that are not carried to their end yet."""
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


async def answering(folder: DataFolder, given_up: Callable[[], bool], look: float = LOOK) -> bool:
    """True once the forwarder answers; False if it is *given_up* before."""
    while await pending(folder) is None:
        if given_up():
            return False
        await asyncio.sleep(look)
    return True
