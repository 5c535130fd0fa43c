"""What can be set of the agent, from `HOOKLINE_AGENT_*` environment variables: one frozen dataclass."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

PREFIX = "HOOKLINE_AGENT_"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class SettingsError(Exception):
    """The environment asks for something that can't be; the message names the variable, the rule and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the agent is told when it starts. `HOOKLINE_AGENT_DATA_DIR` sets `data_dir`, and so on."""

    data_dir: Path
    """Folder that holds `routes/` unless the folders below are set on their own."""
    plane: str
    """Whose tables it reads, in full."""
    namespace: str
    """Where they are."""
    receiver_routes: Path | None = None
    """Folder for `receiver.binpb` and its parts. Default: `routes/` in data_dir."""
    forwarder_routes: Path | None = None
    """Folder for `forwarder.binpb`, `endpoints.binpb` and their parts. Default: `routes/` in data_dir."""
    keys_dir: Path = Path("/etc/hookline/internal")
    """The mounted Secret: files `tagKey` (32 bytes) and `agentToken`, read again when they change."""

    server: str = ""
    """URL of the API server. Default: the cluster's that the pod is in."""
    token_file: Path = _ACCOUNT / "token"
    """Token for the API server, read again when it changes."""
    ca_file: Path = _ACCOUNT / "ca.crt"
    """Authorities of the API server's certificate, PEM."""

    receiver_ops: str = "127.0.0.1:8081"
    """HOST:PORT of the receiver's ops port."""
    forwarder_ops: str = "127.0.0.1:8082"
    """HOST:PORT of the forwarder's ops port."""
    report_bind: str = "127.0.0.1:8083"
    """HOST:PORT of the report to the operator (gRPC)."""
    ops_bind: str = "127.0.0.1:8084"
    """HOST:PORT of `/livez`, `/readyz`, `/metrics` and `/status`."""

    start_grace: float = 10.0
    """Seconds that a pod with a last good snapshot waits for what is published, before it is ready without."""
    watch_silence: float = 90.0
    """Seconds without a word after which a watch counts as dead: the API server sends a bookmark every 60 to 75."""
    watch_length: float = 300.0
    """Seconds after which a watch is begun anew, so that load spreads over API servers."""
    linger: float = 5.0
    """Seconds that the forwarder keeps the routes of a removed subscription after the last worker stopped to serve it:
    requests that were under way become durable meanwhile."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    def __post_init__(self) -> None:
        """Raise SettingsError for the first rule that does not hold."""
        for name in ("plane", "namespace"):
            if not getattr(self, name):
                raise SettingsError(f"{name} must not be empty")
        for name in ("start_grace", "watch_silence", "watch_length", "linger"):
            if not 0 < getattr(self, name) <= 3600:
                raise SettingsError(f"{name} must be above 0 and at most 3600 seconds, got {getattr(self, name):g}")
        for name in ("receiver_ops", "forwarder_ops", "report_bind", "ops_bind"):
            address(name, getattr(self, name))
        if self.log_level not in LEVELS:
            raise SettingsError(f"log_level must be DEBUG, INFO, WARNING or ERROR, got {self.log_level!r}")

    @property
    def receiver_index(self) -> Path:
        """The receiver's snapshot."""
        return (self.receiver_routes or self.data_dir / "routes") / "receiver.binpb"

    @property
    def forwarder_index(self) -> Path:
        """The forwarder's snapshot."""
        return (self.forwarder_routes or self.data_dir / "routes") / "forwarder.binpb"

    @property
    def endpoints_index(self) -> Path:
        """The endpoint table."""
        return self.forwarder_index.with_name("endpoints.binpb")


def address(name: str, bind: str) -> tuple[str, int]:
    """Return host and port of "HOST:PORT", the value of the setting *name*, or raise SettingsError."""
    host, _, port = bind.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"{name} must be HOST:PORT, got {bind!r}")
    return host.strip("[]"), int(port)


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Read `HOOKLINE_AGENT_*` of *environment*; raises SettingsError for an unknown name or a value that can't be."""
    hints = get_type_hints(Settings)
    given: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in hints:
            raise SettingsError(f"{variable} is not a setting of the agent")
        given[name] = _value(variable, text, hints[name])
    for field in dataclasses.fields(Settings):
        if field.default is dataclasses.MISSING and field.name not in given:
            raise SettingsError(f"{PREFIX}{field.name.upper()} must be set")
    if not given.get("server"):
        given["server"] = _own_cluster(environment)
    return Settings(**given)


def _own_cluster(environment: Mapping[str, str]) -> str:
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise SettingsError(f"{PREFIX}SERVER must be set where the agent does not run in a pod")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _value(variable: str, text: str, hint: Any) -> Any:
    if hint in (Path, Path | None):
        return Path(text)
    try:
        return {float: float, str: str}[hint](text)
    except ValueError:
        raise SettingsError(f"{variable} must be a number, got {text!r}") from None
