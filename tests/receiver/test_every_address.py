"""What listens on `[::]` takes IPv4 too: pods are told so, and the kubelet's probes and senders come by either."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from hookline_receiver.agent.report import AgentServicer, Report, ReportServer
from hookline_receiver.edge.listener import listen
from hookline_receiver.edge.settings import EdgeSettings
from hookline_receiver.forwarder.ops import OpsServer as OneProcessOps
from hookline_receiver.ops.server import OpsServer as WorkersOps

Stop = Callable[[], Awaitable[None]]


class Silent:
    """An agent without news."""

    report = Report((), False, "starting", None)

    async def moved(self, seen: Report, within: float) -> None:
        """Never."""

    async def used(self) -> tuple[()]:
        """Nothing."""
        return ()


async def one_process(port: int) -> Stop:
    """The ops port of agent and forwarder."""
    server = OneProcessOps(lambda: b"", lambda: "", dict)
    await server.start("::", port)

    async def stop() -> None:
        server.stop()

    return stop


async def workers(port: int) -> Stop:
    """The receiver's ops port."""
    server = WorkersOps(Path("nowhere"), lambda: pytest.fail("not asked"), lambda: None)
    await server.start("::", port)
    return server.stop


async def webhooks(port: int) -> Stop:
    """The receiver's own port."""
    listener = listen(EdgeSettings(bind=f"[::]:{port}"))

    async def stop() -> None:
        listener.close()

    return stop


async def report(port: int) -> Stop:
    """Where the operator asks the agent."""
    server = ReportServer(AgentServicer("default", Silent(), lambda: b"token"))
    await server.start("::", port)
    return server.stop


@pytest.mark.parametrize("start", [one_process, workers, webhooks, report])
async def test_every_address_is_listened_on(start: Callable[[int], Awaitable[Stop]]) -> None:
    """asyncio's own socket for `::` takes IPv6 alone: in an IPv4 cluster every probe failed, and every pod was restarted."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    stop = await start(port)
    try:
        for address in ("127.0.0.1", "::1"):
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 5)
            writer.close()
            await writer.wait_closed()
    finally:
        await stop()
