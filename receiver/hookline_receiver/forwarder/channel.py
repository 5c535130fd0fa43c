"""Makes gRPC channels to handlers' endpoints: addresses, options, TLS and the forwarder's own certificate."""

import ipaddress
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import grpc

from hookline_receiver.carrying.routebook import Handler, Tls

log = logging.getLogger(__name__)

_SERVICE_CONFIG = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}},
)
_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # Health checking is part of the core's round_robin; an endpoint without the health service counts as healthy.
    ("grpc.service_config", _SERVICE_CONFIG),
    # Whatever DNS may say in a TXT record.
    ("grpc.service_config_disable_resolution", 1),
    # A call is one attempt: retries are the event store's.
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    # Servers refuse pings more often than every 5 minutes by default; unacknowledged data is noticed after 10 s.
    ("grpc.keepalive_time_ms", 305_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 4 << 20),
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The forwarder's own certificate, by which handlers know it."""

    chain: bytes
    key: bytes


class CertificateFiles:
    """A certificate and its key from files, read again when they change; half a change is waited out."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._files = (chain, key)
        self._signature: tuple[tuple[int, int, int], ...] | None = None
        self._current: Certificate | None = None

    @property
    def current(self) -> Certificate | None:
        """The last pair that could be read; None: there never was one."""
        return self._current

    def refresh(self) -> bool:
        """Read what is new; whether something was."""
        try:
            signature = tuple(_signature(path) for path in self._files)
            if signature == self._signature:
                return False
            fresh = Certificate(*(path.read_bytes() for path in self._files))
            if tuple(_signature(path) for path in self._files) != signature:
                return False
        except OSError as error:
            if self._signature is not None or self._current is None:
                log.error("the client certificate can't be read", extra={"reason": str(error)})
            self._signature = None
            return False
        changed = fresh != self._current
        self._signature, self._current = signature, fresh
        return changed


class ChannelMaker:
    """Makes channels; with *certificate*, TLS is mutual."""

    def __init__(self, certificate: CertificateFiles | None = None) -> None:
        self._certificate = certificate
        if certificate:
            certificate.refresh()

    def refresh(self) -> bool:
        """Whether the certificate changed, so that channels with TLS are to be made anew."""
        return self._certificate.refresh() if self._certificate else False

    def make(self, handler: Handler, address: str) -> grpc.aio.Channel:
        """A channel to *handler*'s endpoint *address*, "host:port"; it does not connect yet."""
        if handler.tls is None:
            authority = f"{handler.service}.{handler.namespace}.svc:{handler.port}"
            return grpc.aio.insecure_channel(target(address), (*_OPTIONS, ("grpc.default_authority", authority)))
        options = (*_OPTIONS, ("grpc.ssl_target_name_override", handler.tls.server_name))
        return grpc.aio.secure_channel(target(address), self._credentials(handler.tls), options)

    def _credentials(self, tls: Tls) -> grpc.ChannelCredentials:
        own = self._certificate.current if self._certificate else None
        return grpc.ssl_channel_credentials(
            root_certificates=tls.ca_pem or None,
            private_key=own.key if own else None,
            certificate_chain=own.chain if own else None,
        )


def target(address: str) -> str:
    """Return *address* ("host:port") as gRPC wants it: names are resolved, addresses are not."""
    host, _, port = address.rpartition(":")
    try:
        parsed = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return f"dns:///{address}"
    return f"ipv4:{parsed}:{port}" if parsed.version == 4 else f"ipv6:[{parsed}]:{port}"


def _signature(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
