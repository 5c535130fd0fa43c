"""The operator's probes are answered in every cluster, whichever addresses its pods have."""

import asyncio
import socket
from contextlib import closing
from typing import Any

import pytest

from hookline_operator.observe.verification import Verification
from hookline_operator.ops import OperatorState, OpsServer
from hookline_operator.settings import Settings, ops_address
from support.operator_core import a_cluster


def not_asked() -> OperatorState:
    pytest.fail("nobody asks how it is doing")


async def test_probes_are_answered_at_every_address_unless_told_otherwise() -> None:
    """In a cluster of IPv6 alone the kubelet's probes were refused, and every operator pod was restarted for ever."""
    host, _ = ops_address(Settings(namespace="hookline").ops_bind)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    none: Any = None
    verification = Verification(none, a_cluster(), none, lambda change: None)
    server = OpsServer((host, port), not_asked, verification)
    await server.start()
    try:
        for address in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 5)
            writer.write(b"GET /livez HTTP/1.0\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.0 200")
            writer.close()
            await writer.wait_closed()
    finally:
        await server.stop()
