"""How receiver and forwarder are started, and how one asks whether they are ready."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from hookline_cli.dev.folder import DataFolder
from hookline_cli.dev.supervising import Program
from hookline_receiver.forwarder.settings import SettingsError as ForwarderSettingsError
from hookline_receiver.forwarder.settings import settings_from
from hookline_receiver.settings import SettingsError, from_environment

RECEIVER_GRACE = 30.0
"""Seconds from SIGTERM to SIGKILL: above the receiver's own limits for requests in flight."""
FORWARDER_GRACE = 30.0
"""The same for calls to handlers under way."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Addresses of the receiver."""

    host: str
    port: int
    ops_host: str
    """For readiness and metrics."""
    ops_port: int
    """The receiver's."""
    forwarder_ops_port: int

    @property
    def url(self) -> str:
        """Where webhooks are sent to."""
        return f"http://{bracketed(self.host)}:{self.port}"

    @property
    def metrics(self) -> str:
        """Where one asks for metrics, for a person."""
        host = bracketed(self.ops_host)
        return f"http://{host}:{self.ops_port}/metrics and http://{host}:{self.forwarder_ops_port}/metrics"


SURROUNDINGS: Mapping[str, str] = {"PYTHONSAFEPATH": "1"}
"""`python -m` looks into the current folder first, where the user's own `queue.py` may lie."""


def bracketed(host: str) -> str:
    """*host* as URLs and HOST:PORT want it."""
    return f"[{host}]" if ":" in host else host


def receiver(folder: DataFolder, listen: Listen, workers: int, environment: Mapping[str, str]) -> Program:
    """The receiver on *folder*; what *environment* sets of it on its own stays set."""
    own = {
        "HOOKLINE_RECEIVER_DATA_DIR": str(folder.root),
        "HOOKLINE_RECEIVER_BIND": f"{bracketed(listen.host)}:{listen.port}",
        "HOOKLINE_RECEIVER_OPS_BIND": f"{bracketed(listen.ops_host)}:{listen.ops_port}",
        "HOOKLINE_RECEIVER_WORKERS": str(workers),
    }
    arguments = (sys.executable, "-m", "hookline_receiver")
    return Program("receiver", arguments, {**environment, **SURROUNDINGS, **own}, RECEIVER_GRACE)


def forwarder(folder: DataFolder, listen: Listen, environment: Mapping[str, str]) -> Program:
    """The forwarder on *folder*."""
    own = {
        "HOOKLINE_FORWARDER_DATA_DIR": str(folder.root),
        "HOOKLINE_FORWARDER_OPS_BIND": f"{bracketed(listen.ops_host)}:{listen.forwarder_ops_port}",
    }
    arguments = (sys.executable, "-m", "hookline_receiver.forwarder")
    return Program("forwarder", arguments, {**environment, **SURROUNDINGS, **own}, FORWARDER_GRACE)


def bad_setting(receiver: Program, forwarder: Program) -> str:
    """Why one of them would end as soon as it is started: a variable that it does not know or can't take; "" if none."""
    try:
        from_environment(receiver.environment)
        settings_from(forwarder.environment)
    except (SettingsError, ForwarderSettingsError) as error:
        return str(error)
    return ""


async def readiness(listen: Listen) -> str:
    """ "" if the receiver could make an event durable now, else why not."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(listen.ops_host, listen.ops_port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = (await reader.read(65536)).decode("utf-8", "replace")
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return str(error) or "no answer"
    head, _, body = answer.partition("\r\n\r\n")
    return "" if head.split(" ")[1:2] == ["200"] else body.strip() or "no answer"
