"""The gRPC server of a handler: the contract's service, health, reflection, a graceful end."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from hookline.handler.v1 import handler_pb2, handler_pb2_grpc
from hookline_kit.event import Event, event_of
from hookline_kit.outcome import Outcome, message_of

SERVICE = handler_pb2.DESCRIPTOR.services_by_name["EventHandlerService"].full_name

HandleBatch = Callable[[Sequence[Event]], Awaitable[Mapping[str, Outcome]]]

log = logging.getLogger("hookline_kit")


@dataclass(frozen=True, slots=True)
class TLS:
    """A server certificate, and whom to let in."""

    certificate: Path
    """PEM chain."""
    key: Path
    """PEM private key."""
    client_ca: Path | None = None
    """PEM authorities of client certificates: set, only callers with such a certificate get in (mutual TLS)."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a handler is served."""

    host: str = "0.0.0.0"
    """Address to listen on."""
    port: int = 9000
    """Port to listen on; 0: a free one."""
    tls: TLS | None = None
    """None: plain text."""
    max_message_bytes: int = 4 * 1024 * 1024
    """Largest request; the gateway's batches stay below 3.5 MiB."""
    notice: float = 1.0
    """Seconds between NOT_SERVING and the last call taken at a stop: time for the gateway to see it."""
    grace: float = 25.0
    """Seconds for calls under way to finish at a stop; what is cut off comes again. Below Kubernetes' 30 s."""


class Server:
    """A handler's server: start it, read its address, stop it."""

    def __init__(self, handle: HandleBatch, settings: ServerSettings) -> None:
        """Serve *handle*, which gives each event's outcome by its delivery id."""
        self._handle = handle
        self._settings = settings
        self._health = health.aio.HealthServicer()
        self._server: aio.Server | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port listened on, once started."""
        return self._port

    @property
    def address(self) -> str:
        """ "host:port" to reach the server at from this machine, once started."""
        host = "127.0.0.1" if self._settings.host in ("0.0.0.0", "[::]", "::") else self._settings.host
        return f"{host}:{self._port}"

    async def start(self) -> None:
        """Listen and say SERVING; raises OSError when the address can't be had."""
        self._server = self._build()
        self._port = self._bind(self._server)
        await self._server.start()
        for service in ("", SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Say NOT_SERVING, let the gateway see it, finish what is under way, end."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._settings.notice)
        await self._server.stop(self._settings.grace)

    def _build(self) -> aio.Server:
        """Made here and not in the constructor, since it belongs to the loop that is running now."""
        # so_reuseport off: two handlers on one port must be an error, not a lottery.
        options = [("grpc.max_receive_message_length", self._settings.max_message_bytes), ("grpc.so_reuseport", 0)]
        server = aio.server(options=options)
        handler_pb2_grpc.add_EventHandlerServiceServicer_to_server(_Servicer(self._handle), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        return server

    def _bind(self, server: aio.Server) -> int:
        address = f"{self._settings.host}:{self._settings.port}"
        try:
            if self._settings.tls is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, _credentials(self._settings.tls))
        except RuntimeError as error:
            raise OSError(f"can't listen on {address}: in use, or not an address of this machine") from error


class _Servicer(handler_pb2_grpc.EventHandlerServiceServicer):
    """Messages in, messages out; everything between is the handler's."""

    def __init__(self, handle: HandleBatch) -> None:
        self._handle = handle

    async def Deliver(self, request: handler_pb2.DeliverRequest, context: object) -> handler_pb2.DeliverResponse:
        """Handle a batch, one outcome per delivery."""
        outcomes = await self._handle([event_of(delivery) for delivery in request.deliveries])
        return handler_pb2.DeliverResponse(outcomes=[message_of(ident, outcome) for ident, outcome in outcomes.items()])


async def run_until_signalled(server: Server, started: Callable[[Server], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then stop gracefully; *started* is told once it listens."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await server.start()
    log.info("handler listens on %s", server.address)
    if started:
        started(server)
    try:
        await stop.wait()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await server.stop()


def _credentials(tls: TLS) -> grpc.ServerCredentials:
    """Credentials that follow the files: a renewed certificate is used from the next connection on."""
    current = _Certificates(tls)
    # The fetcher may return None for "unchanged", says grpc's documentation; its stubs do not know.
    renewed = cast("Callable[[], grpc.ServerCertificateConfiguration]", current.renewed)
    return grpc.dynamic_ssl_server_credentials(
        current.configuration, renewed, require_client_authentication=tls.client_ca is not None
    )


class _Certificates:
    """The files' content, read again when one of them has changed."""

    def __init__(self, tls: TLS) -> None:
        self._tls = tls
        self._read = self._stamp()
        self.configuration = self._load()

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration if the files have changed, else None; asked at each connection."""
        stamp = self._stamp()
        if stamp is None or stamp == self._read:
            return None
        try:
            self.configuration = self._load()
        except OSError as error:
            log.error("renewed certificate can't be read, the old one stays", extra={"error": str(error)})
            return None
        self._read = stamp
        return self.configuration

    def _load(self) -> grpc.ServerCertificateConfiguration:
        authorities = self._tls.client_ca.read_bytes() if self._tls.client_ca else None
        pair = (self._tls.key.read_bytes(), self._tls.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authorities)

    def _stamp(self) -> tuple[tuple[int, int], ...] | None:
        paths = [self._tls.key, self._tls.certificate, *([self._tls.client_ca] if self._tls.client_ca else [])]
        try:
            return tuple((path.stat().st_mtime_ns, path.stat().st_ino) for path in paths)
        except OSError:
            return None
