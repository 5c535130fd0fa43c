"""The limits and times of the edge, with the reason for each default."""

from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """How the receiver listens, whom it waits for and how long. Times are seconds, sizes bytes."""

    bind: str = "127.0.0.1:8080"
    """HOST:PORT (port 0: any free one), [V6]:PORT, or unix:/PATH."""
    workers: int = 1
    """Processes; each has a journal of its own."""
    backlog: int = 1024
    """Connections the kernel holds until a worker accepts them; it caps this at net.core.somaxconn."""
    reuse_port: bool = False
    """Let a successor listen on the same port before this one stops. Off: a port in use is an error worth seeing."""
    run_folder: Path | None = None
    """A writable folder for the workers' heartbeat files where /dev/shm is none; None: the system's temporary one."""

    header_timeout: float = 10.0
    """For a whole head, from the connection's start or the request's first byte. A sender's head is one packet."""
    header_max_bytes: int = 16 * 1024
    """Of a head, and of a chunked body's extensions and trailers. Senders of webhooks need less than 2 KiB."""
    header_max_count: int = 100
    """Fields in a head."""
    request_line_max_bytes: int = 4096
    """A path is /{namespace}/{name}: 320 bytes at most."""

    body_timeout: float = 20.0
    """For a whole body. CometChat itself gives up after 2 s."""
    body_progress_seconds: float = 5.0
    """How often body_progress_bytes must have arrived, so that a trickle does not last for body_timeout."""
    body_progress_bytes: int = 1024
    """See body_progress_seconds."""
    body_max_bytes: int = 16 * 1024 * 1024
    """Refused by the edge whatever the path; the application's limits, per endpoint, are lower."""

    keep_alive_timeout: float = 75.0
    """For an idle connection: above the 60 s of common proxies, so that they close first and no request meets a close."""
    send_timeout: float = 10.0
    """For a client that does not read its answer."""
    linger_timeout: float = 2.0
    """How long unread input is thrown away after a refusal, so that the sender reads the answer, not a reset."""
    linger_max_bytes: int = 16 * 1024 * 1024
    """See linger_timeout."""

    max_connections: int = 2000
    """Open at once, per worker; lowered to what the limit of open files allows."""
    max_connections_per_address: int = 500
    """Of one client address, per worker; a quarter of all, so that no single one can shut the others out."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks (or "unix") whose X-Forwarded-For is believed. None: the peer is the client."""

    drain_seconds: float = 0.0
    """After SIGTERM: how long to go on accepting while unready, until endpoints are gone. In Kubernetes about 10."""
    idle_grace: float = 2.0
    """After SIGTERM: how long an idle connection may still send a request, which is answered with Connection: close."""
    graceful_timeout: float = 20.0
    """After draining: how long requests in flight may take."""
    worker_timeout: float = 30.0
    """A worker whose event loop stood still this long is killed and replaced."""
    max_requests: int = 0
    """A worker is replaced after so many; 0: never."""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)}")
        for name in ("drain_seconds", "idle_grace", "max_requests"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for network in self.trusted_proxies:
            if network != "unix":
                ip_network(network)
        address(self.bind)


_POSITIVE = (
    "workers",
    "backlog",
    "header_timeout",
    "header_max_bytes",
    "header_max_count",
    "request_line_max_bytes",
    "body_timeout",
    "body_progress_seconds",
    "body_progress_bytes",
    "body_max_bytes",
    "keep_alive_timeout",
    "send_timeout",
    "linger_timeout",
    "linger_max_bytes",
    "max_connections",
    "max_connections_per_address",
    "graceful_timeout",
    "worker_timeout",
)


def address(bind: str) -> tuple[str, int] | str:
    """Where *bind* says to listen: host and port, or the path of a Unix socket."""
    if bind.startswith("unix:"):
        return bind.removeprefix("unix:")
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"bind must be HOST:PORT, [V6]:PORT or unix:/PATH, got {bind!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)
