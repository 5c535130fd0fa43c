"""What can be set of the forwarder, from `HOOKLINE_FORWARDER_*` environment variables: one frozen dataclass."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

PREFIX = "HOOKLINE_FORWARDER_"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(Exception):
    """The environment asks for something that can't be; the message names the variable, the rule and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the forwarder is told when it starts. `HOOKLINE_FORWARDER_DATA_DIR` sets `data_dir`, and so on."""

    data_dir: Path
    """Folder that holds `journal/`, `routes/`, `store/`, `share/`, `aside/` and `run/` unless one is set on its own."""
    journal_dir: Path | None = None
    """Folder of the receivers' journals. Default: `journal/` in data_dir."""
    store_file: Path | None = None
    """The event store. Default: `store/events.db` in data_dir."""
    routes_file: Path | None = None
    """Where events go. Default: `routes/forwarder.binpb` in data_dir."""
    endpoints_file: Path | None = None
    """Where handlers are. Default: `routes/endpoints.binpb` in data_dir."""
    pending_file: Path | None = None
    """What waits for each subscription, for the receivers. Default: `share/pending.binpb` in data_dir."""
    admin_socket: Path | None = None
    """Where people ask; only its owner may. Default: `run/admin.sock` in data_dir."""

    ops_bind: str = "127.0.0.1:8082"
    """HOST:PORT of `/livez`, `/readyz`, `/metrics` and `/status`; "" for none."""
    client_certificate: Path | None = None
    """PEM chain that is shown to handlers with TLS, read again when it changes. Needs client_key."""
    client_key: Path | None = None
    """Its key, PEM."""

    poll_interval: float = 0.01
    """Seconds between two looks at the journals: what an event waits at most before it is carried."""
    idle_poll_interval: float = 0.025
    """The same after some seconds in which nothing came: each look costs some 0.3 ms of CPU."""
    table_interval: float = 0.05
    """Seconds between two looks for new routes and endpoints; certificates are looked at every fourth time."""
    max_calls: int = 1024
    """Calls under way at once, to all handlers together."""
    max_memory: int = 128 << 20
    """Bytes of memory for what is under way at once: bodies, the messages built of them, and once more gRPC's own."""
    message_bytes: int = 3_670_016
    """Largest DeliverRequest: 3.5 MiB, as gRPC servers take 4 MiB by default."""
    lease_margin: float = 15.0
    """Seconds that a lease outlasts the handler's timeout."""
    channels: int = 1024
    """Connections to handlers."""
    channel_idle: float = 300.0
    """Seconds after which an unused connection is closed."""
    breaker_longest_open: float = 30.0
    """Seconds that a failing handler is left alone at most before it is probed again."""
    stop_patience: float = 25.0
    """Seconds that calls under way may take after SIGTERM; their deliveries are due again if they take longer."""
    metrics_routes: int = 100
    """Routes with gauges of their own: those that wait longest; the rest are counted together."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR. Deliveries that succeed are DEBUG."""

    def __post_init__(self) -> None:
        """Raise SettingsError for the first rule that does not hold."""
        for name in (
            "poll_interval",
            "idle_poll_interval",
            "table_interval",
            "channel_idle",
            "breaker_longest_open",
            "lease_margin",
        ):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be above 0 seconds, got {getattr(self, name):g}")
        for name in ("max_calls", "channels", "max_memory"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not 65_536 <= self.message_bytes <= 1 << 30:
            raise SettingsError(f"message_bytes must be 65536 to 1073741824, got {self.message_bytes}")
        if not 0 <= self.metrics_routes <= 1000:
            raise SettingsError(f"metrics_routes must be 0 to 1000, got {self.metrics_routes}")
        if not 0 <= self.stop_patience <= 3600:
            raise SettingsError(f"stop_patience must be 0 to 3600 seconds, got {self.stop_patience:g}")
        if (self.client_certificate is None) != (self.client_key is None):
            raise SettingsError("client_certificate and client_key must be set together")
        if self.log_level not in LEVELS:
            raise SettingsError(f"log_level must be DEBUG, INFO, WARNING or ERROR, got {self.log_level!r}")
        if self.ops_bind:
            address(self.ops_bind)

    @property
    def journals(self) -> Path:
        """Where the journals are."""
        return self.journal_dir or self.data_dir / "journal"

    @property
    def store(self) -> Path:
        """Where the event store is."""
        return self.store_file or self.data_dir / "store" / "events.db"

    @property
    def routes(self) -> Path:
        """Where the route table is."""
        return self.routes_file or self.data_dir / "routes" / "forwarder.binpb"

    @property
    def endpoints(self) -> Path:
        """Where the endpoint table is."""
        return self.endpoints_file or self.data_dir / "routes" / "endpoints.binpb"

    @property
    def pending(self) -> Path:
        """Where the table of pending bytes goes."""
        return self.pending_file or self.data_dir / "share" / "pending.binpb"

    @property
    def admin(self) -> Path:
        """Where the admin service listens."""
        return self.admin_socket or self.data_dir / "run" / "admin.sock"

    @property
    def aside(self) -> Path:
        """Where unreadable records go."""
        return self.data_dir / "aside"


def address(bind: str) -> tuple[str, int]:
    """Return host and port of "HOST:PORT", or raise SettingsError."""
    host, _, port = bind.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"ops_bind must be HOST:PORT, got {bind!r}")
    return host.strip("[]"), int(port)


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Read `HOOKLINE_FORWARDER_*` of *environment*; raises SettingsError for an unknown name or a value that can't be."""
    hints = get_type_hints(Settings)
    given: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in hints:
            raise SettingsError(f"{variable} is not a setting of the forwarder")
        given[name] = _value(variable, text, hints[name])
    missing = [one.name for one in dataclasses.fields(Settings) if _required(one) and one.name not in given]
    if missing:
        raise SettingsError(f"{PREFIX}{missing[0].upper()} must be set")
    return Settings(**given)


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(variable: str, text: str, hint: Any) -> Any:
    if hint in (Path, Path | None):
        return Path(text)
    try:
        return {int: int, float: float, str: str}[hint](text)
    except ValueError:
        raise SettingsError(f"{variable} must be a number, got {text!r}") from None
