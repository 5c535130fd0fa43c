"""What can be set of the operator, from `HOOKLINE_OPERATOR_*` environment variables: one frozen dataclass."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hookline_operator.leadership import LeaseTimings

PREFIX = "HOOKLINE_OPERATOR_"


class SettingsError(Exception):
    """The environment asks for something that can't be; the message names the variable, the rule and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the operator is told when it starts. `HOOKLINE_OPERATOR_NAMESPACE` sets `namespace`, and so on."""

    namespace: str
    """Its own: its gateways, tables and Lease are there. Default: POD_NAMESPACE."""
    name: str = ""
    """Names this replica in the Lease and in logs. Default: POD_NAME, else the host's name."""
    cluster_default: bool = False
    """Whether references to gateways without a namespace are this installation's. True for one in a cluster."""
    default_gateway: Path | None = None
    """File with the `spec`, in YAML, of the gateway "default", which is made if it is not there. Default: none is made."""
    secret_namespaces: tuple[str, ...] = ()
    """Namespaces whose Secrets may be read; the operator's own is one of them always. Default: all."""
    pod_settings: Path | None = None
    """File with what all receiver pods of the installation are to be like (image, resources, …), in YAML."""

    lease: str = "hookline-operator"
    """Name of the Lease."""
    lease_duration: float = 6.0
    """Seconds for which other replicas leave a Lease alone that does not change: a crash costs this long."""
    lease_held: float = 4.5
    """Seconds for which the leader counts on it after a renewal; at most 0.8 of lease_duration."""
    lease_renew: float = 1.0
    """Seconds between two renewals."""
    lease_look: float = 0.4
    """Seconds between two looks of the replicas that wait: a planned end costs this long."""

    sweep_seconds: float = 45.0
    """Between two verifications of all that is known: how old a ghost may get, less than a minute with the lists' own time."""
    authority_seconds: float = 60.0
    """Until a certificate of an authority that routes name is read again."""
    debounce_least: float = 0.03
    """Seconds that the routes lane waits for more changes before it publishes, when little is going on."""
    debounce_most: float = 0.25
    """The same under load. What revokes is never waited with."""
    status_per_second: float = 50.0
    """Statuses of all objects that are written in a second, twice as many at once: the API server has others to serve."""

    ops_bind: str = "[::]:8085"
    """HOST:PORT of `/livez`, `/readyz` and `/metrics`; `[::]` is every address, IPv4's too."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    def __post_init__(self) -> None:
        """Raise SettingsError for the first rule that does not hold."""
        if not self.namespace:
            raise SettingsError(f"{PREFIX}NAMESPACE (or POD_NAMESPACE) must be set: the operator's own namespace")
        if self.sweep_seconds < 1 or self.authority_seconds < 1:
            values = f"{self.sweep_seconds:g} and {self.authority_seconds:g}"
            raise SettingsError(f"sweep_seconds and authority_seconds must be 1 or more, got {values}")
        if not 0 <= self.debounce_least <= self.debounce_most <= 5:
            values = f"{self.debounce_least:g} and {self.debounce_most:g}"
            raise SettingsError(f"debounce_least must be 0 to debounce_most, and that at most 5, got {values}")
        if not 0 < self.status_per_second <= 10_000:
            raise SettingsError(f"status_per_second must be above 0 and at most 10000, got {self.status_per_second:g}")
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingsError(f"log_level must be DEBUG, INFO, WARNING or ERROR, got {self.log_level!r}")
        try:
            self.lease_timings()
        except ValueError as error:
            raise SettingsError(f"lease: {error}") from error
        ops_address(self.ops_bind)

    def lease_timings(self) -> LeaseTimings:
        """Those of the Lease."""
        return LeaseTimings(self.lease_duration, self.lease_held, self.lease_renew, self.lease_look)

    @property
    def watched_secret_namespaces(self) -> tuple[str, ...]:
        """Where Secrets are looked at; none: everywhere."""
        if not self.secret_namespaces:
            return ()
        return tuple(sorted({*self.secret_namespaces, self.namespace}))

    @property
    def default_namespace(self) -> str:
        """Whose gateways are meant where none is said; "": some other installation's."""
        return self.namespace if self.cluster_default else ""


def ops_address(bind: str) -> tuple[str, int]:
    """Host and port of *bind*; SettingsError if it is not HOST:PORT."""
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"ops_bind must be HOST:PORT, got {bind!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def from_environment(environment: Mapping[str, str]) -> Settings:
    """The settings that *environment* asks for; SettingsError for an unknown variable, a bad value or a broken rule."""
    kinds = get_type_hints(Settings)
    given: dict[str, Any] = {
        "namespace": environment.get("POD_NAMESPACE", ""),
        "name": environment.get("POD_NAME", "") or platform.node(),
    }
    for variable in sorted(name for name in environment if name.startswith(PREFIX)):
        name = variable.removeprefix(PREFIX).lower()
        if name not in kinds:
            raise SettingsError(f"{variable} is not a setting of the operator")
        given[name] = _value(variable, kinds[name], environment[variable])
    return Settings(**given)


def _value(variable: str, kind: Any, text: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float, str):
            return kind(text)
        if kind == Path | None:
            return Path(text) if text else None
        return tuple(part.strip() for part in text.split(",") if part.strip())
    except (ValueError, KeyError) as error:
        raise SettingsError(f"{variable} must be {_called(kind)}, got {text!r}") from error


def _called(kind: Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
